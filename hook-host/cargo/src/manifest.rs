//! Actions, manifests and keys.
//!
//! An *action* is what is known before anything is read: compiler, arguments, direct
//! dependencies. A *manifest* is an action with the values of its inputs; its BLAKE3 is the
//! key. Both are canonical JSON: members in the order of their names (the structs
//! below are written in that order), no white space.
//!
//! What is deliberately not in it: `--out-dir`, the place of the incremental folder, the
//! jobserver, and every folder that [`Roots`] replaces by a token.

use std::io;
use std::path::{Path, PathBuf};

use buildhook_host::DigestCache;
use buildhook_protocol::{Digest, Key};
use serde::{Deserialize, Serialize};

use crate::args::Compile;
use crate::environment::Environment;
use crate::inputs::Input;
use crate::roots::Roots;
use crate::toolchain::Toolchain;

/// Raised whenever the same manifest could come to mean something else.
pub const MANIFEST_VERSION: u32 = 3;

/// What a compile is, before anything is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Action {
    /// All arguments without a place of their own here, in order, to the letter.
    pub arguments: Vec<String>,
    /// The identity of the compiler, by content.
    pub compiler: Digest,
    /// The same, for people.
    pub compiler_version: String,
    /// What this machine's processor can do, when the arguments ask for it.
    pub cpu: Option<Digest>,
    /// `--crate-name`.
    pub crate_name: String,
    /// `--crate-type`, in order.
    pub crate_types: Vec<String>,
    /// The folder that the compiler runs in.
    pub cwd: PathBuf,
    /// `--emit`, in order.
    pub emit: Vec<String>,
    /// Direct dependencies, in order.
    pub externs: Vec<ActionExtern>,
    /// Who made this, so that no other host's manifest is ever the same.
    pub host: String,
    /// [`MANIFEST_VERSION`].
    pub manifest_version: u32,
    /// `-L`, in order.
    pub search: Vec<String>,
    /// The crate's root file.
    pub source: PathBuf,
    /// `--target`.
    pub target: Option<String>,
    /// Variables that the compiler reads for itself and that change what it accepts.
    pub variables: Vec<(String, Digest)>,
}

/// A direct dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActionExtern {
    /// Of the file's content; `None` for crates of the sysroot.
    pub digest: Option<Digest>,
    /// The file's name.
    pub file: String,
    /// The name that it is imported under.
    pub name: String,
    /// `priv`, `noprelude`, ….
    pub options: String,
}

/// Everything that the outputs depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// What is compiled.
    pub action: Action,
    /// What it reads.
    pub inputs: Vec<Input>,
}

/// Read by rustc itself, and named in no dep-info file.
const COMPILER_VARIABLES: &[&str] = &["RUSTC_BOOTSTRAP", "RUSTC_FORCE_RUSTC_VERSION"];

impl Action {
    /// The action of `compile`.
    ///
    /// # Errors
    /// A dependency or the processor's description cannot be read.
    pub fn new(
        compile: &Compile,
        cwd: &Path,
        env: &Environment,
        roots: &Roots,
        toolchain: &Toolchain,
        digests: &DigestCache,
    ) -> io::Result<Self> {
        let externs = compile.externs.iter().map(|dependency| {
            let (file, digest) = match &dependency.path {
                None => (String::new(), None),
                Some(path) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    (name.into_owned(), Some(digests.digest(&cwd.join(path))?.0))
                }
            };
            let (name, options) = (dependency.name.clone(), dependency.options.clone());
            Ok(ActionExtern { digest, file, name, options })
        });
        let variable = |name: &&str| {
            let value = env.get(name)?;
            Some(((*name).to_owned(), Digest::of(value.as_encoded_bytes())))
        };
        let search = compile.search.iter();
        Ok(Self {
            arguments: compile.rest.clone(),
            compiler: toolchain.identity,
            compiler_version: toolchain.version.clone(),
            cpu: if compile.native_cpu { Some(cpu()?) } else { None },
            crate_name: compile.crate_name.clone(),
            crate_types: compile.crate_types.clone(),
            cwd: roots.tokenise(cwd),
            emit: compile.emit.clone(),
            externs: externs.collect::<io::Result<_>>()?,
            host: "buildhook".to_owned(),
            manifest_version: MANIFEST_VERSION,
            search: search
                .map(|(kind, path)| format!("{kind}={}", roots.tokenise(path).display()))
                .collect(),
            source: roots.tokenise(&compile.source),
            target: compile.target.clone(),
            variables: COMPILER_VARIABLES.iter().filter_map(variable).collect(),
        })
    }

    /// The canonical bytes: the manifest of this action's record of inputs.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// The key of this action's record of inputs.
    #[must_use]
    pub fn key(&self) -> Key {
        Key(Digest::of(&self.to_bytes()))
    }
}

impl Manifest {
    /// The canonical bytes, of which the key is the hash.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key(Digest::of(&self.to_bytes()))
    }
}

fn canonical(value: &impl Serialize) -> Vec<u8> {
    // Fails only for paths that are not Unicode; the front end lets none in.
    serde_json::to_vec(value).unwrap_or_default()
}

/// What `-C target-cpu=native` stands for: model and features of this processor.
#[cfg(target_os = "linux")]
fn cpu() -> io::Result<Digest> {
    const FIELDS: &[&str] =
        &["vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part"];
    let text = fs_err::read_to_string("/proc/cpuinfo")?;
    let first = text.split("\n\n").next().unwrap_or_default();
    let told =
        |line: &&str| line.split_once(':').is_some_and(|(name, _)| FIELDS.contains(&name.trim()));
    let lines: Vec<_> = first.lines().filter(told).collect();
    Ok(Digest::of(lines.join("\n").as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn cpu() -> io::Result<Digest> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this processor's features are not known here"))
}
