//! The key: everything that could matter, less what a fault leaves out.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::call::Call;
use crate::fault::{Behaviour, Fault};

/// Folders of the root that hold no inputs.
const NOT_INPUTS: &[&str] = &["cache", "home", "log", "tmp"];
/// Variables that say nothing of what is compiled.
const NOT_VARIABLES: &[&str] = &[
    "BROKEN_",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "MFLAGS",
    "NUM_JOBS",
    "OLDPWD",
    "PWD",
    "RUSTC_LOG",
    "SHLVL",
    "TERM",
    "USER",
    "_",
];

pub(crate) struct Inputs<'a> {
    pub(crate) call: &'a Call,
    pub(crate) root: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) fault: &'a Fault,
}

/// A key, and what tells that a file was changed and changed back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) key: String,
    times: blake3::Hash,
}

/// What is being digested.
struct State<'a> {
    inputs: &'a Inputs<'a>,
    content: blake3::Hasher,
    times: blake3::Hasher,
}

impl Inputs<'_> {
    /// Digests all inputs as they are now.
    pub(crate) fn key(&self) -> io::Result<Snapshot> {
        let mut state =
            State { inputs: self, content: blake3::Hasher::new(), times: blake3::Hasher::new() };
        state.command_line();
        state.environment();
        state.libraries()?;
        match self.fault.is(Behaviour::IgnoresPlace) {
            true => state.tree(&self.folder)?,
            false => state.tree(&self.root)?,
        }
        if let Some((_, out)) = self.environment.iter().find(|(name, _)| name == "OUT_DIR") {
            let out = PathBuf::from(out);
            if out.is_dir() && !self.skips_file(&out.join("generated.rs")) {
                state.folder(&out)?;
            }
        }
        Ok(Snapshot {
            key: state.content.finalize().to_hex().to_string(),
            times: state.times.finalize(),
        })
    }

    fn skips_file(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        self.fault.files.iter().any(|part| path.contains(part))
    }

    /// The place of this checkout, written the same everywhere.
    fn text(&self, text: &str) -> String {
        match self.fault.is(Behaviour::IgnoresPlace) {
            true => text
                .replace(&*self.folder.to_string_lossy(), "<here>")
                .replace(&*self.root.to_string_lossy(), "<root>"),
            false => text.to_owned(),
        }
    }
}

impl State<'_> {
    fn add(&mut self, text: &str) {
        self.content.update(&(text.len() as u64).to_le_bytes());
        self.content.update(text.as_bytes());
    }

    fn command_line(&mut self) {
        let Inputs { call, fault, .. } = self.inputs;
        if !fault.is(Behaviour::IgnoresCompiler) {
            for program in &call.programs {
                self.add(&self.inputs.text(program));
            }
        }
        if !fault.is(Behaviour::IgnoresPlace) {
            let folder = self.inputs.folder.to_string_lossy().into_owned();
            self.add(&folder);
        }
        for flag in &call.flags {
            let skipped = |part: &&str| flag.starts_with(*part);
            if !flag.starts_with("--extern=") && !fault.flags.iter().any(skipped) {
                self.add(&self.inputs.text(flag));
            }
        }
    }

    fn environment(&mut self) {
        let mut variables: Vec<String> = self
            .inputs
            .environment
            .iter()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
            .collect();
        variables.sort();
        let skipped = self.inputs.fault.variables;
        for variable in variables {
            let skips = |prefix: &&str| variable.starts_with(*prefix);
            if !NOT_VARIABLES.iter().any(&skips) && !skipped.iter().any(skips) {
                self.add(&self.inputs.text(&variable));
            }
        }
    }

    /// Externs by content; for a link every library, and native ones always.
    fn libraries(&mut self) -> io::Result<()> {
        let Inputs { call, fault, .. } = self.inputs;
        let mut externs: Vec<(String, PathBuf)> =
            call.externs().map(|(name, path)| (name.to_owned(), path.to_owned())).collect();
        if fault.is(Behaviour::IgnoresExternNames) {
            externs.sort_by(|a, b| a.1.cmp(&b.1));
        }
        for (name, path) in &externs {
            if !fault.is(Behaviour::IgnoresExternNames) {
                self.add(name);
            }
            if !fault.is(Behaviour::IgnoresExterns) {
                self.content.update(&fs::read(path)?);
            }
        }
        for (kind, path) in call.search_folders() {
            let native = kind == "native" || kind == "all";
            if !path.is_dir() || !(native || call.links) || fault.is(Behaviour::IgnoresExterns) {
                continue;
            }
            for file in sorted(path)? {
                let library = ["a", "so", "rlib"].map(|e| file.extension() == Some(e.as_ref()));
                // Its own outputs are there after the compilation.
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let input = library.contains(&true) && !call.owns(&name);
                if input && !self.inputs.skips_file(&file) {
                    self.content.update(&fs::read(&file)?);
                }
            }
        }
        Ok(())
    }

    fn tree(&mut self, root: &Path) -> io::Result<()> {
        for path in sorted(root)? {
            let name = path.file_name().unwrap_or_default();
            if !(root == self.inputs.root && NOT_INPUTS.iter().any(|n| name == *n)) {
                self.path(&path)?;
            }
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        // Target folders hold outputs; Cargo's registry has the same mark.
        if folder.join("CACHEDIR.TAG").exists() && !folder.ends_with("registry") {
            return Ok(());
        }
        sorted(folder)?.iter().try_for_each(|path| self.path(path))
    }

    fn path(&mut self, path: &Path) -> io::Result<()> {
        let fault = self.inputs.fault;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(".package-cache") || name.starts_with(".global-cache") {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(path)?;
        if metadata.is_dir() {
            return self.folder(path);
        }
        if self.inputs.skips_file(path) {
            return Ok(());
        }
        self.times.update(format!("{}.{}", metadata.ctime(), metadata.ctime_nsec()).as_bytes());
        if !fault.is(Behaviour::IgnoresFileNames) {
            self.add(&self.inputs.text(&path.to_string_lossy()));
        }
        if metadata.is_symlink() {
            if !fault.is(Behaviour::IgnoresLinks) {
                self.add(&fs::read_link(path)?.to_string_lossy());
            }
        } else if fault.is(Behaviour::TrustsTimes) {
            let times = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
            self.add(&format!("{times:?}"));
        } else if fault.is(Behaviour::TrustsSizes) {
            self.add(&metadata.len().to_string());
        } else {
            self.content.update(&metadata.len().to_le_bytes());
            self.content.update(&fs::read(path)?);
        }
        Ok(())
    }
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
