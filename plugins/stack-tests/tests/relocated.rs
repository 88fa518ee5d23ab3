//! A host that takes links for what the store also keeps: each content is on the disk once.

#![cfg(unix)]

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use buildhook_stack_tests::{example, program};
use fs_err as fs;

#[test]
fn files_of_a_folder_become_links_to_the_store() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::create_dir_all(at("target/deps")).unwrap();
    for (name, content) in [("target/a", "one"), ("target/deps/b", "two"), ("target/c", "one")] {
        fs::write(at(name), content.repeat(10_000)).unwrap();
    }
    let output = Command::new(example("host", "relocate"))
        .args([at("target"), at("scratch"), program("local-dir")])
        .arg("--dir")
        .arg(at("store"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(said.starts_with("files: 3, linked: 3\n"), "{said}{errors}");
    assert!(said.ends_with("of its own after: 0\n"), "{said}");

    let inode = |name: &str| fs::metadata(at(name)).unwrap().ino();
    assert_eq!(inode("target/a"), inode("target/c"), "one content, one file");
    assert_eq!(fs::read_to_string(at("target/deps/b")).unwrap(), "two".repeat(10_000));
}
