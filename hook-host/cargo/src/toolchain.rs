//! Which compiler this is: the content of everything that it is made of.
//!
//! The version text is not enough: a patched compiler, another standard library or another
//! linker in the sysroot keep it. So the identity covers, by content: the programs that
//! are called, the driver and LLVM (`lib/*.so`), and `lib/rustlib/<triple>` of host and
//! target with its linkers and codegen backends. Whether the library sources are installed
//! is part of it too, since diagnostics then show them.
//!
//! A program that is no compiler itself (a rustup proxy, a script named by `RUSTC`) is asked
//! for its sysroot. rustup's proxy stands for the compiler that it starts; anything else is
//! part of the identity by its content.
//!
//! Known gap: a script that chooses a compiler by variables of its own is asked once a
//! session and folder.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use buildhook_host::DigestCache;
use buildhook_protocol::Digest;

use crate::args::Compile;
use crate::environment::Environment;

/// A compiler for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Over all that the module's head lists.
    pub identity: Digest,
    /// The compiler's own installation.
    pub sysroot: PathBuf,
    /// The triple of the machine that it runs on.
    pub host: String,
    /// The first line of `-vV`, such as `rustc 1.95.0 (…)`.
    pub version: String,
    /// `commit-hash` of `-vV`, when known.
    pub commit_hash: Option<String>,
}

/// All compilers of one session.
#[derive(Debug)]
pub struct Toolchains {
    /// Version texts by content of compiler and driver, across sessions.
    folder: PathBuf,
    known: Mutex<HashMap<Question, Arc<Toolchain>>>,
}

/// What decides which compiler answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    launcher: Vec<String>,
    target: Option<String>,
    sysroot: Option<PathBuf>,
    cwd: PathBuf,
    rustup_toolchain: Option<OsString>,
    path: Option<OsString>,
}

impl Toolchains {
    /// Keeps version texts in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: Mutex::default() }
    }

    /// The compiler that `compile` calls in `cwd`.
    ///
    /// # Errors
    /// It cannot be found, read, or asked.
    pub fn of(
        &self,
        compile: &Compile,
        cwd: &Path,
        env: &Environment,
        digests: &DigestCache,
    ) -> io::Result<Arc<Toolchain>> {
        let own = |name: &str| env.get(name).map(ToOwned::to_owned);
        let absolute = compile.launcher.iter().all(|word| Path::new(word).is_absolute());
        let question = Question {
            launcher: compile.launcher.clone(),
            target: compile.target.clone(),
            sysroot: compile.sysroot.clone(),
            // A bare name may be rustup's proxy, which decides by folder.
            cwd: if absolute { PathBuf::new() } else { cwd.to_owned() },
            rustup_toolchain: own("RUSTUP_TOOLCHAIN"),
            path: if absolute { None } else { own("PATH") },
        };
        if let Some(known) = self.lock().get(&question) {
            return Ok(Arc::clone(known));
        }
        let toolchain = Arc::new(self.examine(compile, cwd, env, digests)?);
        self.lock().insert(question, Arc::clone(&toolchain));
        Ok(toolchain)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Question, Arc<Toolchain>>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn examine(
        &self,
        compile: &Compile,
        cwd: &Path,
        env: &Environment,
        digests: &DigestCache,
    ) -> io::Result<Toolchain> {
        let launcher = compile.launcher.iter().map(|word| env.find_program(word, cwd));
        let mut programs = launcher.collect::<io::Result<Vec<_>>>()?;
        let compiler = programs.last().cloned().unwrap_or_default();
        let sysroot = match installation(&compiler) {
            Some(sysroot) => sysroot,
            None => PathBuf::from(ask(&compiler, &["--print=sysroot"], cwd, env)?.trim_end()),
        };
        for program in &mut programs {
            if is_rustup(program) {
                let name = program.file_name().unwrap_or_default();
                *program = sysroot.join("bin").join(name);
            }
        }

        let mut parts = Vec::new();
        for program in &programs {
            parts.push(format!("program {}", digests.digest(program)?.0));
        }
        for file in listing(&sysroot.join("lib"))? {
            if file.is_file() {
                parts.push(describe(&file, &sysroot, digests)?);
            }
        }
        let content = Digest::of(parts.join("\n").as_bytes());
        let text = self.version_text(content, &compiler, cwd, env)?;
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
        };
        let host = field("host:").unwrap_or_default();

        let libraries = compile.sysroot.as_deref().unwrap_or(&sysroot).join("lib/rustlib");
        let target = compile.target.as_deref().unwrap_or(&host);
        let mut triples = vec![host.as_str(), target_name(target)];
        triples.dedup();
        for triple in triples {
            for file in files_below(&libraries.join(triple))? {
                parts.push(describe(&file, &libraries, digests)?);
            }
        }
        if target.ends_with(".json") {
            parts.push(format!("target {}", digests.digest(&cwd.join(target))?.0));
        }
        parts.push(format!("sources {}", libraries.join("src/rust").exists()));
        parts.push(text.clone());
        Ok(Toolchain {
            identity: Digest::of(parts.join("\n").as_bytes()),
            sysroot,
            host,
            version: text.lines().next().unwrap_or_default().to_owned(),
            commit_hash: field("commit-hash:").filter(|hash| hash != "unknown"),
        })
    }

    /// `-vV`, which is a function of the compiler's content and costs 30 ms to ask for.
    fn version_text(
        &self,
        content: Digest,
        compiler: &Path,
        cwd: &Path,
        env: &Environment,
    ) -> io::Result<String> {
        let memory = self.folder.join(content.to_hex());
        if let Ok(text) = fs_err::read_to_string(&memory)
            && text.contains("host:")
        {
            return Ok(text);
        }
        let text = ask(compiler, &["-vV"], cwd, env)?;
        // Best effort: without it the question is asked again.
        let _ = crate::atomic::write(&memory, text.as_bytes());
        Ok(text)
    }
}

/// The installation that a real compiler belongs to; `None` for a proxy or a script.
fn installation(compiler: &Path) -> Option<PathBuf> {
    let sysroot = fs_err::canonicalize(compiler).ok()?.parent()?.parent()?.to_owned();
    let driver = |entry: &PathBuf| {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("librustc_driver")
    };
    listing(&sysroot.join("lib")).ok()?.iter().any(driver).then_some(sysroot)
}

fn is_rustup(program: &Path) -> bool {
    let real = fs_err::canonicalize(program).unwrap_or_default();
    if real.file_stem().is_some_and(|name| name == "rustup") {
        return true;
    }
    // Older rustups install proxies as hard links beside themselves.
    let same = |a: &Path, b: &Path| {
        use std::os::unix::fs::MetadataExt;
        let (Ok(a), Ok(b)) = (fs_err::metadata(a), fs_err::metadata(b)) else { return false };
        (a.dev(), a.ino()) == (b.dev(), b.ino())
    };
    same(program, &program.with_file_name("rustup"))
}

fn ask(compiler: &Path, args: &[&str], cwd: &Path, env: &Environment) -> io::Result<String> {
    let output = Command::new(compiler)
        .args(args)
        .current_dir(cwd)
        .env_clear()
        .envs(env.iter())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{} {args:?} failed", compiler.display())));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

fn describe(file: &Path, base: &Path, digests: &DigestCache) -> io::Result<String> {
    let name = file.strip_prefix(base).unwrap_or(file);
    Ok(format!("{} {}", digests.digest(file)?.0, name.display()))
}

/// What is directly in `folder`, sorted; empty when there is no such folder.
fn listing(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in listing(folder)? {
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// The folder name of a target under `rustlib`: its triple, or the stem of its JSON file.
fn target_name(target: &str) -> &str {
    let Some(file) = target.strip_suffix(".json") else { return target };
    file.rsplit('/').next().unwrap_or(file)
}
