//! The folders whose place must not matter, and the tokens that stand for them.
//!
//! A token looks like an absolute path that no system has (`/.buildhook/workspace`).
//! rustc writes it in place of the folder (`--remap-path-prefix`), so that outputs are the
//! same in every checkout; keys and stored texts hold it; whatever goes back to a person
//! or to Cargo has the real folder again.
//!
//! A folder reached by a link has two spellings, and so have files in a folder of Cargo's home that
//! is a link; all lead to the same token, and a token always leads to the spelling that Cargo used.
//!
//! Known gap: a folder of which another one is a textual prefix without a separator is no
//! problem for paths (components are compared) but is for free text, where a longer match
//! is preferred and a component boundary is asked for on the right only.

use std::path::{Path, PathBuf};

/// The common beginning of all tokens.
pub const TOKEN_PREFIX: &str = "/.buildhook/";
/// Stands for Cargo's target (or build) folder.
pub const TARGET: &str = "/.buildhook/target";
/// Stands for `CARGO_HOME`.
pub const CARGO_HOME: &str = "/.buildhook/cargo-home";
/// In [`CARGO_HOME`], sources of registries and checkouts of git repositories. Either may be a link,
/// where several homes share their downloads.
pub const DOWNLOADS: [&str; 2] = ["registry", "git"];
/// Stands for the folder that rustc runs in, unless that is inside `CARGO_HOME`: the
/// workspace root for its members, the package folder for other path packages.
pub const WORKSPACE: &str = "/.buildhook/workspace";
/// Stands for the compiler's installation.
pub const SYSROOT: &str = "/.buildhook/sysroot";

/// With a number, stands for a folder that many levels above the workspace:
/// `/.buildhook/above/1`. Files looked for on the way up are found there.
pub const ABOVE: &str = "/.buildhook/above";

/// One folder and its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// One of the constants above.
    pub token: &'static str,
    /// The folder as Cargo spells it.
    pub path: PathBuf,
}

/// The folders of one compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    roots: Vec<Root>,
    /// The longest first: of several that match, it is the one that is meant.
    spellings: Vec<Spelling>,
}

/// A name of a root, or of a folder in one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spelling {
    folder: PathBuf,
    /// The root's token.
    root: &'static str,
    /// What is written in place of `folder`: the token, or the token and a folder in it.
    token: PathBuf,
}

impl Roots {
    /// The roots of a compile that runs in `cwd` and writes to `out_dir`.
    #[must_use]
    pub fn new(cwd: &Path, cargo_home: &Path, out_dir: &Path, sysroot: &Path) -> Self {
        let mut all = Self { roots: Vec::new(), spellings: Vec::new() };
        all.add(TARGET, &target_root(out_dir));
        all.add(CARGO_HOME, cargo_home);
        for name in DOWNLOADS {
            let path = cargo_home.join(name);
            if path.is_symlink() {
                all.spell(CARGO_HOME, name, &path);
            }
        }
        all.add(SYSROOT, sysroot);
        let mut of_home = all.spellings.iter().filter(|spelling| spelling.root == CARGO_HOME);
        if !of_home.any(|spelling| cwd.starts_with(&spelling.folder)) {
            all.add(WORKSPACE, cwd);
        }
        all.spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.folder.as_os_str().len()));
        all
    }

    /// Adds a root, unless it is the root folder itself.
    fn add(&mut self, token: &'static str, path: &Path) {
        if path.parent().is_some() {
            self.roots.push(Root { token, path: path.to_owned() });
            self.spell(token, "", path);
        }
    }

    /// Adds the names of `path`, which is the folder `inside` the root `root`, or the root itself.
    fn spell(&mut self, root: &'static str, inside: &str, path: &Path) {
        // `join("")` would add a separator.
        let token = if inside.is_empty() { root.into() } else { Path::new(root).join(inside) };
        let real = fs_err::canonicalize(path).ok().filter(|real| real != path);
        for folder in [Some(path.to_owned()), real].into_iter().flatten() {
            self.spellings.push(Spelling { folder, root, token: token.clone() });
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Root> {
        self.roots.iter()
    }

    /// The folder behind `token`.
    #[must_use]
    pub fn get(&self, token: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.token == token)
    }

    /// Every name of the folder behind `token`, the one that Cargo uses first: outputs that
    /// hold one of them are right where all are the same.
    #[must_use]
    pub fn place(&self, token: &str) -> Option<String> {
        let root = self.get(token)?;
        let others = self.spellings.iter().filter(|spelling| spelling.root == token);
        let others = others.map(|spelling| &spelling.folder).filter(|folder| **folder != root.path);
        let names = std::iter::once(&root.path).chain(others);
        Some(names.map(|name| name.to_string_lossy()).collect::<Vec<_>>().join("\n"))
    }

    /// `path` with its root replaced by the token; unchanged when it has none.
    #[must_use]
    pub fn tokenise(&self, path: &Path) -> PathBuf {
        for Spelling { folder, token, .. } in &self.spellings {
            if let Ok(rest) = path.strip_prefix(folder) {
                return if rest.as_os_str().is_empty() { token.clone() } else { token.join(rest) };
            }
        }
        self.above(path).unwrap_or_else(|| path.to_owned())
    }

    /// A token for what lies directly in a folder above the workspace, other than `/`.
    fn above(&self, path: &Path) -> Option<PathBuf> {
        let workspace = self.get(WORKSPACE)?;
        let folder = path.parent().filter(|folder| folder.parent().is_some())?;
        let levels = workspace.path.ancestors().position(|above| above == folder)?;
        Some(Path::new(ABOVE).join(levels.to_string()).join(path.file_name()?))
    }

    /// The opposite of [`tokenise`](Self::tokenise); `None` for a token that has no folder here.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        if !path.starts_with(TOKEN_PREFIX) {
            return Some(path.to_owned());
        }
        if let Ok(rest) = path.strip_prefix(ABOVE) {
            let mut parts = rest.iter();
            let levels: usize = parts.next()?.to_str()?.parse().ok()?;
            let folder = self.get(WORKSPACE)?.path.ancestors().nth(levels)?;
            return Some(folder.join(parts.as_path()));
        }
        self.roots.iter().find_map(|root| {
            let rest = path.strip_prefix(root.token).ok()?;
            Some(if rest.as_os_str().is_empty() { root.path.clone() } else { root.path.join(rest) })
        })
    }

    /// The tokens of all roots that `text` mentions.
    #[must_use]
    pub fn mentioned_in(&self, text: &[u8]) -> Vec<&'static str> {
        let mentions =
            |path: &Path| memchr::memmem::find(text, path.as_os_str().as_encoded_bytes()).is_some();
        let mut tokens = Vec::new();
        let mut missing: Vec<&Path> = Vec::new();
        // From short to long: what does not mention a folder mentions none in it.
        for Spelling { folder, root, .. } in self.spellings.iter().rev() {
            if missing.iter().any(|absent| folder.starts_with(absent)) {
                continue;
            }
            if !mentions(folder) {
                missing.push(folder);
            } else if !tokens.contains(root) {
                tokens.push(root);
            }
        }
        tokens
    }

    /// `text` with every mention of a root replaced by its token.
    #[must_use]
    pub fn tokenise_text(&self, text: &str) -> String {
        let pairs = self.spellings.iter();
        let pairs = pairs.filter_map(|it| Some((it.folder.to_str()?, it.token.to_str()?)));
        replace_all(text, pairs)
    }

    /// `text` with every token replaced by its folder, each passed through `escape`.
    #[must_use]
    pub fn resolve_text(&self, text: &str, escape: impl Fn(&str) -> String) -> String {
        if !text.contains(TOKEN_PREFIX) {
            return text.to_owned();
        }
        let folders: Vec<(&str, String)> = self
            .roots
            .iter()
            .filter_map(|root| Some((root.token, escape(root.path.to_str()?))))
            .collect();
        replace_all(text, folders.iter().map(|(token, folder)| (*token, folder.as_str())))
    }

    /// The arguments that make rustc write tokens, `commit_hash` being the compiler's.
    ///
    /// Of several prefixes that match, rustc takes the last one given, so the longest
    /// comes last; a person's own remaps follow and win over all of these.
    #[must_use]
    pub fn remap_arguments(&self, commit_hash: Option<&str>) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut remap = |from: &Path, to: &str| {
            if let Some(from) = from.to_str() {
                arguments.push(format!("--remap-path-prefix={from}={to}"));
            }
        };
        for Spelling { folder, root, token } in self.spellings.iter().rev() {
            if *root != SYSROOT {
                remap(folder, &token.to_string_lossy());
            }
        }
        // The name that the standard library was compiled under, with or without its sources.
        if let (Some(sysroot), Some(hash)) = (self.get(SYSROOT), commit_hash) {
            let sources = sysroot.path.join("lib/rustlib/src/rust");
            remap(&sources, &format!("/rustc/{hash}"));
        }
        arguments
    }
}

/// Cargo's target (or build) folder above an output folder.
///
/// Cargo marks it with `CACHEDIR.TAG`, and for another platform also `<target>/<triple>`; without
/// the mark the layout decides:
/// `<target>[/triple]/<profile>/{deps,examples,build/<package>-<hash>}`.
fn target_root(out_dir: &Path) -> PathBuf {
    const MAX_LEVELS: usize = 6;
    let marked = |folder: &&Path| folder.join("CACHEDIR.TAG").exists();
    if let Some(folder) = out_dir.ancestors().take(MAX_LEVELS).find(marked) {
        return folder.parent().filter(marked).unwrap_or(folder).to_owned();
    }
    let levels = match out_dir.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => 2,
        _ => 3,
    };
    out_dir.ancestors().nth(levels).unwrap_or(out_dir).to_owned()
}

/// Replaces each occurrence of a left side, where several match the first in `pairs`.
///
/// A match must end at the end of a path component: not before a letter, digit, `-`, `_` or
/// a dot that goes on with one (`/ws` is not in `/ws-2`, but is in `/ws.`).
fn replace_all<'a>(text: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.filter(|(from, _)| !from.is_empty()).collect();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    'scan: while !rest.is_empty() {
        for (from, to) in &pairs {
            if let Some(after) = rest.strip_prefix(from)
                && ends_component(after)
            {
                out.push_str(to);
                rest = after;
                continue 'scan;
            }
        }
        // All left sides are absolute paths: only a slash can begin the next match.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let next = rest[first..].find('/').map_or(rest.len(), |at| at + first);
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    out
}

fn ends_component(after: &str) -> bool {
    let mut chars = after.chars();
    let word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    match chars.next() {
        None => true,
        Some('.') => !chars.next().is_some_and(word),
        Some(c) => !word(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots() -> Roots {
        Roots::new(
            Path::new("/ws"),
            Path::new("/home/u/.cargo"),
            Path::new("/ws/target/debug/deps"),
            Path::new("/opt/rust"),
        )
    }

    #[test]
    fn paths_and_tokens() {
        let roots = roots();
        for (path, token) in [
            ("/ws", "/.buildhook/workspace"),
            ("/ws/src/lib.rs", "/.buildhook/workspace/src/lib.rs"),
            ("/ws/target/debug/deps/x", "/.buildhook/target/debug/deps/x"),
            ("/home/u/.cargo/registry/src/a", "/.buildhook/cargo-home/registry/src/a"),
            ("/ws2/src/lib.rs", "/ws2/src/lib.rs"),
            ("/usr/lib/libc.so", "/usr/lib/libc.so"),
            ("/clippy.toml", "/clippy.toml"),
        ] {
            assert_eq!(roots.tokenise(Path::new(path)), Path::new(token));
            assert_eq!(roots.resolve(Path::new(token)), Some(PathBuf::from(path)));
        }
        assert_eq!(roots.resolve(Path::new("/.buildhook/unknown/x")), None);
    }

    #[test]
    fn what_is_looked_for_above_the_workspace_is_found_above_another() {
        let at = |folder: &str| {
            let out = format!("{folder}/target/debug/deps");
            Roots::new(folder.as_ref(), Path::new("/c"), out.as_ref(), Path::new("/opt/rust"))
        };
        let token = at("/home/a/ws").tokenise(Path::new("/home/a/clippy.toml"));
        assert_eq!(token, Path::new("/.buildhook/above/1/clippy.toml"));
        assert_eq!(at("/b/ws").resolve(&token), Some("/b/clippy.toml".into()));
        assert_eq!(at("/ws").resolve(Path::new("/.buildhook/above/7/x")), None);
    }

    #[test]
    fn a_registry_package_has_no_workspace() {
        let roots = Roots::new(
            Path::new("/c/registry/src/i/foo-1.0"),
            Path::new("/c"),
            Path::new("/ws/target/release/build/foo-1234"),
            Path::new("/opt/rust"),
        );
        assert_eq!(roots.get(WORKSPACE), None);
        assert_eq!(roots.get(TARGET).unwrap().path, Path::new("/ws/target"));
    }

    #[test]
    fn a_linked_registry_is_inside_the_home() {
        let folder = tempfile::tempdir().unwrap();
        let (home, far) = (folder.path().join("home"), folder.path().join("far"));
        let package = far.join("src/i/foo-1.0");
        fs_err::create_dir_all(&package).unwrap();
        fs_err::create_dir(&home).unwrap();
        std::os::unix::fs::symlink(&far, home.join("registry")).unwrap();
        let roots =
            Roots::new(&package, &home, Path::new("/ws/target/debug/deps"), Path::new("/s"));
        assert_eq!(roots.get(WORKSPACE), None);
        let token = Path::new("/.buildhook/cargo-home/registry/src/i/foo-1.0");
        let spelt = home.join("registry/src/i/foo-1.0");
        for path in [&package, &spelt] {
            assert_eq!(roots.tokenise(path), token);
        }
        assert_eq!(roots.resolve(token), Some(spelt));
        let place = roots.place(CARGO_HOME).unwrap();
        assert!(place.contains(far.to_str().unwrap()), "{place}");
    }

    #[test]
    fn text_is_replaced_at_component_ends() {
        let roots = roots();
        let text = "at /ws/a.rs, in /ws. Not /ws-2 or /ws.old; --> /ws/target/x (/ws)";
        let tokens = roots.tokenise_text(text);
        assert_eq!(
            tokens,
            "at /.buildhook/workspace/a.rs, in /.buildhook/workspace. Not /ws-2 or /ws.old; \
             --> /.buildhook/target/x (/.buildhook/workspace)"
        );
        assert_eq!(roots.resolve_text(&tokens, str::to_owned), text);
        assert_eq!(roots.mentioned_in(b"x/ws/target/y"), [WORKSPACE, TARGET]);
    }

    #[test]
    fn the_longest_prefix_is_remapped_last() {
        let arguments = roots().remap_arguments(Some("abc"));
        assert_eq!(
            arguments,
            [
                "--remap-path-prefix=/ws=/.buildhook/workspace",
                "--remap-path-prefix=/ws/target=/.buildhook/target",
                "--remap-path-prefix=/home/u/.cargo=/.buildhook/cargo-home",
                "--remap-path-prefix=/opt/rust/lib/rustlib/src/rust=/rustc/abc",
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn text_comes_back(text in "(/ws|/ws/target|/c|/é|[a-z. /-]){0,12}") {
            let roots = roots();
            let back = roots.resolve_text(&roots.tokenise_text(&text), str::to_owned);
            proptest::prop_assert_eq!(back, text);
        }

        #[test]
        fn any_text_is_read(text: String) {
            let _ = roots().tokenise_text(&text);
        }
    }
}
