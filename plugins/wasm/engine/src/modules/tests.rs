//! Of the folder of compiled modules.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn key(module: &[u8]) -> ModuleKey {
    ModuleKey::of(&blake3::hash(module))
}

#[test]
fn the_version_is_that_of_the_lock_file() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../Cargo.lock");
    let lock = fs_err::read_to_string(lock).unwrap();
    assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"")));
}

#[test]
fn only_what_was_kept_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let modules = Modules::open(&dir.path().join("private")).unwrap();
    let (key, other) = (key(b"module"), key(b"other"));
    assert!(modules.find(&key).unwrap().is_none());
    modules.keep(&key, b"code").unwrap();
    let found = modules.find(&key).unwrap().unwrap().identity();
    assert_eq!(modules.find_again(&key, &found).unwrap().unwrap().identity(), found);

    // Another module's code, a changed byte, a short file.
    fs_err::copy(modules.path(&key), modules.path(&other)).unwrap();
    assert!(matches!(modules.find(&other), Err(ModulesError::Damaged(_))));
    let mut bytes = fs_err::read(modules.path(&key)).unwrap();
    bytes[0] ^= 1;
    fs_err::write(modules.path(&key), &bytes).unwrap();
    assert!(matches!(modules.find(&key), Err(ModulesError::Damaged(_))));
    assert!(matches!(modules.find_again(&key, &found), Err(ModulesError::Damaged(_))));
    fs_err::write(modules.path(&key), &bytes[..5]).unwrap();
    assert!(matches!(modules.find(&key), Err(ModulesError::Damaged(_))));
}

#[test]
fn what_was_whole_is_not_read_again_until_it_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let modules = Modules::open(&dir.path().join("private")).unwrap();
    let key = key(b"module");
    modules.keep(&key, b"code").unwrap();
    // Too young to be told from what may come.
    assert!(modules.was_whole(&key).unwrap().is_none());

    // That it is not read shows in damage that is not found.
    fs_err::write(modules.path(&key), b"damaged").unwrap();
    let damaged = identity(&fs_err::metadata(modules.path(&key)).unwrap());
    modules.note_whole(&key, &damaged).unwrap();
    assert_eq!(modules.find(&key).unwrap().unwrap().identity(), damaged);
    fs_err::write(modules.path(&key), b"damaged again").unwrap();
    assert!(matches!(modules.find(&key), Err(ModulesError::Damaged(_))));
    modules.keep(&key, b"code").unwrap();
    assert!(modules.find(&key).unwrap().is_some());

    fs_err::write(modules.whole_path(&key), "1 2 three").unwrap();
    assert!(modules.was_whole(&key).unwrap().is_none());
}

#[test]
fn modules_that_nobody_uses_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let modules = Modules::open(&dir.path().join("private")).unwrap();
    let backdate = |path: &Path, age: Duration| {
        let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
        file.into_file().set_modified(SystemTime::now() - age).unwrap();
    };
    let keys = [b"used", b"idle", b"read"].map(|module| key(module));
    for key in &keys {
        modules.keep(key, b"code").unwrap();
    }
    for key in &keys {
        backdate(&modules.path(key), UNUSED + DAY);
        let identity = modules.find(key).unwrap().unwrap().identity();
        modules.note_whole(key, &identity).unwrap();
        backdate(&modules.whole_path(key), UNUSED + DAY);
    }
    let [used, idle, read] = &keys;
    // That it is used is noted.
    modules.find(read).unwrap();
    backdate(&modules.whole_path(used), UNUSED - DAY);
    let [left, fresh, strange] = ["tmp-1-a", "tmp-2-b", "note"].map(|name| modules.dir.join(name));
    for path in [&left, &fresh, &strange] {
        fs_err::write(path, b"").unwrap();
    }
    backdate(&left, 2 * DAY);
    backdate(&strange, 2 * UNUSED);

    modules.keep(&key(b"new"), b"code").unwrap();
    assert!(modules.find(idle).unwrap().is_none() && !modules.whole_path(idle).exists());
    assert!(modules.find(used).unwrap().is_some() && modules.find(read).unwrap().is_some());
    assert!(!left.exists() && fresh.exists() && strange.exists());
}

#[test]
fn what_others_may_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let modules = Modules::open(&dir.path().join("private")).unwrap();
    let key = key(b"module");
    modules.keep(&key, b"code").unwrap();
    let mode = |path: &Path, mode| {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&modules.path(&key), 0o660);
    assert!(matches!(modules.find(&key), Err(ModulesError::NotPrivate { .. })));
    mode(&modules.path(&key), 0o600);
    fs_err::hard_link(modules.path(&key), dir.path().join("second")).unwrap();
    assert!(matches!(modules.find(&key), Err(ModulesError::NotPrivate { .. })));
    mode(&modules.dir, 0o770);
    assert!(matches!(
        Modules::open(&dir.path().join("private")),
        Err(ModulesError::NotPrivate { .. })
    ));
}
