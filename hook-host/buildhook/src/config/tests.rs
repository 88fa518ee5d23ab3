use std::path::Path;

use fs_err as fs;
use tempfile::TempDir;

use super::*;

/// A home, a workspace below it, and variables of the test's own.
struct Fixture {
    root: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("ws/deep")).unwrap();
        fs::create_dir_all(root.path().join("home/.config/buildhook")).unwrap();
        Self { root, variables: Vec::new() }
    }

    fn user(self, text: &str) -> Self {
        fs::write(self.root.path().join("home/.config/buildhook/config.toml"), text).unwrap();
        self
    }

    fn workspace(self, text: &str) -> Self {
        fs::write(self.workspace_file(), text).unwrap();
        self
    }

    fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn allow(self) -> Self {
        let path = self.workspace_file();
        let folders = Folders::locate(&self.env()).unwrap();
        allow(&folders, &path, &fs::read(&path).unwrap()).unwrap();
        self
    }

    fn workspace_file(&self) -> PathBuf {
        self.root.path().join("ws").join(WORKSPACE_FILE)
    }

    fn env(&self) -> Environment {
        let home = self.root.path().join("home");
        let mut variables = vec![("HOME", home.as_path())];
        variables.extend(self.variables.iter().map(|(name, value)| (*name, Path::new(value))));
        // The XDG and macOS places differ; name the file so that the tests run anywhere.
        let file = home.join(".config/buildhook/config.toml");
        if file.exists() && !self.variables.iter().any(|(name, _)| *name == "BUILDHOOK_CONFIG") {
            variables.push(("BUILDHOOK_CONFIG", &file));
        }
        Environment { current_dir: "/cwd".into(), ..Environment::of(&variables) }
    }

    fn load(&self) -> Result<Config, String> {
        load(&self.env(), &self.root.path().join("ws/deep")).map_err(|e| self.shown(&e))
    }

    /// Text with the temporary folder replaced.
    fn shown(&self, text: &dyn std::fmt::Display) -> String {
        text.to_string().replace(self.root.path().to_str().unwrap(), "ROOT")
    }

    /// Both hooks and their sources, in one line each.
    fn hooks(&self) -> String {
        let show = |hook: Option<Sourced<HookCommand>>| {
            hook.map_or("nobody".into(), |hook| format!("{} ({})", hook.value, hook.source))
        };
        let text = match self.load().unwrap().hooks {
            Hooks::Embedded { dir, max_size } => {
                let dir_text = format!("{} ({})", dir.value.display(), dir.source);
                format!("embedded {dir_text}, {} ({})", max_size.value, max_size.source)
            }
            Hooks::Commands { want_to_build, built_a_thing } => {
                format!("{}\n{}", show(want_to_build), show(built_a_thing))
            }
        };
        self.shown(&text)
    }
}

#[test]
fn nothing_configured_is_the_embedded_store() {
    let config = Fixture::new().load().unwrap();
    assert!(matches!(config.hooks, Hooks::Embedded { .. }));
    assert_eq!(config.limits.hello_ms, Sourced::default_value(3_000));
    assert_eq!(config.limits.faults, Sourced::default_value(5));
    assert_eq!(config.log.level.value, LogLevel::Error);
    assert!(config.files.is_empty() && config.notes().is_empty());
}

#[test]
fn later_sources_stand_above_earlier_ones() {
    let user = "[hooks]\nhook = 'user-plugin --x'\n[limits]\nfaults = 7\nhello-ms = 0x10\n";
    let fixture = Fixture::new().user(user);
    insta::assert_snapshot!(fixture.hooks(), @r"
    user-plugin --x (ROOT/home/.config/buildhook/config.toml:2)
    user-plugin --x (ROOT/home/.config/buildhook/config.toml:2)
    ");
    let limits = fixture.load().unwrap().limits;
    assert_eq!((limits.faults.value, limits.hello_ms.value), (7, 16));
    let fixture = fixture.workspace("[hooks]\nbuilt-a-thing = ['./tool', 'a b']\n").allow();
    insta::assert_snapshot!(fixture.hooks(), @r"
    user-plugin --x (ROOT/home/.config/buildhook/config.toml:2)
    ROOT/ws/./tool 'a b' (ROOT/ws/buildhook.toml:2)
    ");
    let fixture =
        fixture.variable("BUILDHOOK_HOOK", "both").variable("BUILDHOOK_WANT_TO_BUILD", "w");
    insta::assert_snapshot!(fixture.hooks(), @r"
    w (the variable BUILDHOOK_WANT_TO_BUILD)
    both (the variable BUILDHOOK_HOOK)
    ");
}

#[test]
fn one_hook_alone_leaves_the_other_to_nobody() {
    let fixture = Fixture::new().variable("BUILDHOOK_WANT_TO_BUILD", "reader");
    insta::assert_snapshot!(fixture.hooks(), @r"
    reader (the variable BUILDHOOK_WANT_TO_BUILD)
    nobody
    ");
}

#[test]
fn the_store_can_be_moved_and_bounded() {
    let fixture = Fixture::new().user("[store]\ndir = 'here'\nmax-size = '2 GiB'\n");
    insta::assert_snapshot!(fixture.hooks(), @"embedded ROOT/home/.config/buildhook/here (ROOT/home/.config/buildhook/config.toml:2), 2147483648 (ROOT/home/.config/buildhook/config.toml:3)");
    let fixture = fixture.variable("BUILDHOOK_CACHE_DIR", "/c");
    insta::assert_snapshot!(fixture.hooks(), @"embedded /c/store (the variable BUILDHOOK_CACHE_DIR), 2147483648 (ROOT/home/.config/buildhook/config.toml:3)");
}

#[test]
fn a_workspace_file_decides_nothing_that_matters_until_allowed() {
    let text = "[hooks]\nhook = 'evil'\n[store]\ndir = '/etc'\nmax-size = '1B'\n\
                [log]\nfile = '/etc/passwd'\nlevel = 'debug'\n[limits]\nfaults = 2\n";
    let fixture = Fixture::new().workspace(text);
    let config = fixture.load().unwrap();
    assert!(matches!(&config.hooks, Hooks::Embedded { dir, max_size }
        if *dir == Sourced::default_value(config.folders.store())
            && *max_size == Sourced::default_value(DEFAULT_MAX_SIZE_BYTES)));
    assert_eq!((config.limits.faults.value, config.log.level.value), (2, LogLevel::Debug));
    assert!(!config.log.file.value.starts_with("/etc"));
    insta::assert_snapshot!(fixture.shown(&config.notes().join("\n")), @"ROOT/ws/buildhook.toml: hooks.want-to-build, hooks.built-a-thing, store.dir, store.max-size, log.file not used: you have not allowed the file; read it, then `buildhook allow ROOT/ws/buildhook.toml`");

    let fixture = fixture.allow();
    insta::assert_snapshot!(fixture.hooks(), @r"
    evil (ROOT/ws/buildhook.toml:2)
    evil (ROOT/ws/buildhook.toml:2)
    ");
    assert!(fixture.load().unwrap().notes().is_empty());

    let fixture = fixture.workspace(&format!("{text}\n"));
    let notes = fixture.load().unwrap().notes();
    assert!(notes[0].contains("the file has changed since you allowed it"), "{notes:?}");
    let folders = fixture.load().unwrap().folders;
    assert!(deny(&folders, &fixture.workspace_file()).unwrap());
    assert!(!deny(&folders, &fixture.workspace_file()).unwrap());
}

#[test]
fn the_search_ends_at_the_workspace() {
    let fixture = Fixture::new().workspace("[limits]\nfaults = 9\n");
    assert_eq!(fixture.load().unwrap().limits.faults.value, 9);
    let deep = fixture.root.path().join("ws/deep");
    fs::write(deep.join("Cargo.toml"), "[workspace]\n").unwrap();
    assert_eq!(fixture.load().unwrap().limits.faults.value, 5);
    fs::write(deep.join("Cargo.toml"), "[package]\nname = 'member'\n").unwrap();
    assert_eq!(fixture.load().unwrap().limits.faults.value, 9);
    fs::create_dir(deep.join(".git")).unwrap();
    assert_eq!(fixture.load().unwrap().limits.faults.value, 5);
}

#[test]
fn mistakes_are_told_by_place_with_the_nearest_word() {
    let text = "\
[hook]
[hooks]
want-to-bild = 'x'
built-a-thing = 7
hook = \"a 'b\"
[store]
max-size = '20 gigs'
dir = ['x']
[limits]
hello-ms = 0
drain-ms = 'soon'
want-to-build-ms = -5
patience = 1
[log]
level = 'wran'
";
    let fixture = Fixture::new().workspace(text).variable("BUILDHOOK_HOOK", "'open");
    insta::assert_snapshot!(fixture.load().unwrap_err());
}

#[test]
fn text_that_is_not_toml_is_told_by_line() {
    let fixture = Fixture::new().user("[hooks]\nhook = \n");
    insta::assert_snapshot!(fixture.load().unwrap_err());
    let fixture = Fixture::new().user("log = 3\n");
    insta::assert_snapshot!(fixture.load().unwrap_err(), @"ROOT/home/.config/buildhook/config.toml:1: `log` is a table; write `[log]` on a line of its own");
}

#[test]
fn a_file_named_by_the_variable_must_exist() {
    let fixture = Fixture::new().variable("BUILDHOOK_CONFIG", "/does/not/exist.toml");
    let error = fixture.load().unwrap_err();
    assert!(error.starts_with("/does/not/exist.toml: "), "{error}");
}
