//! A name for the workspace that is built, the same on every machine: plugins may guess by it
//! what a build will ask for next. It identifies nothing else.
//!
//! It is made of the root manifest's content, so it survives new versions of dependencies
//! and moves to other folders, and two workspaces of one text share it. Known gap: a Cargo
//! that is started outside of its workspace (`--manifest-path`) has none.

use std::path::Path;

use buildhook_protocol::Digest;

/// Largest manifest that is read, in bytes; longer ones are written by no person.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// Of 64: enough to tell workspaces apart.
const DIGITS: usize = 16;

/// The name of the workspace that `folder` is in.
#[must_use]
pub fn name(folder: &Path) -> Option<String> {
    let manifests: Vec<String> =
        folder.ancestors().filter_map(|folder| read(&folder.join("Cargo.toml"))).collect();
    let root = manifests.iter().find(|manifest| is_root(manifest)).or(manifests.first())?;
    let mut name = Digest::of(root.as_bytes()).to_hex();
    name.truncate(DIGITS);
    Some(name)
}

fn read(path: &Path) -> Option<String> {
    let size = fs_err::metadata(path).ok()?.len();
    if size > MAX_MANIFEST_BYTES {
        return None;
    }
    fs_err::read_to_string(path).ok()
}

/// Whether it has a table `workspace`, as far as its lines tell: a guess is enough here.
fn is_root(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line.starts_with("[workspace]") || line.starts_with("[workspace."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_root_wherever_it_lies() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        for place in ["a", "b/c"] {
            write(&format!("{place}/Cargo.toml"), "[workspace]\nmembers = ['m']\n");
            write(&format!("{place}/m/Cargo.toml"), "[package]\nname = 'm'\n");
        }
        write("single/Cargo.toml", "[package]\nname = 'single'\n");
        let of = |path: &str| name(&root.path().join(path)).unwrap();
        assert_eq!(of("a"), of("b/c"));
        assert_eq!(of("a/m"), of("a"), "that of the root, not that of the member");
        assert_ne!(of("single"), of("a"));
        assert_eq!(of("a").len(), DIGITS);
    }
}
