//! `--toolchain`: a name that rustup knows, or the folder of a compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Refusal;
use crate::environment::Environment;

/// Which Cargo and compiler are called.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) cargo: PathBuf,
    /// `None`: the one that Cargo finds.
    pub(super) rustc: Option<PathBuf>,
    /// The first line of the compiler's `-V`.
    pub(super) version: String,
}

/// Finds the toolchain; `None` is the one in effect here.
pub(super) fn find(env: &Environment, named: Option<&str>) -> Result<Toolchain, Refusal> {
    let cargo = PathBuf::from(env.get("CARGO").unwrap_or("cargo".as_ref()));
    let rustc = named.map(|named| rustc_of(env, named)).transpose()?;
    let cargo = match &rustc {
        // The one that belongs to it, if one does.
        Some(rustc) => Some(rustc.with_file_name("cargo")).filter(|c| c.is_file()).unwrap_or(cargo),
        None => cargo,
    };
    let asked = rustc.clone().or_else(|| env.get("RUSTC").map(PathBuf::from));
    let asked = asked.unwrap_or_else(|| "rustc".into());
    let version = output(env, &asked, &["-V"])?;
    Ok(Toolchain { cargo, rustc, version })
}

fn rustc_of(env: &Environment, named: &str) -> Result<PathBuf, Refusal> {
    let is_path = Path::new(named).components().count() > 1 || Path::new(named).is_absolute();
    if !is_path {
        let found = output(env, Path::new("rustup"), &["which", "--toolchain", named, "rustc"]);
        return found.map(PathBuf::from).map_err(|refusal| {
            Refusal::usage(format!(
                "--toolchain {named}: rustup does not have it, and it is no path: {}",
                refusal.message
            ))
        });
    }
    let path = env.current_dir.join(named);
    let candidates = [path.join("bin/rustc"), path.clone()];
    let found = candidates.iter().find(|path| path.is_file()).ok_or_else(|| {
        Refusal::usage(format!(
            "--toolchain {named}: neither a compiler nor the folder of one, with bin/rustc in it"
        ))
    })?;
    // Links stay: they may be what makes this folder another toolchain.
    Ok(found.clone())
}

/// The first line that `program` prints.
fn output(env: &Environment, program: &Path, args: &[&str]) -> Result<String, Refusal> {
    let output = Command::new(program).args(args).current_dir(&env.current_dir).output();
    let output = output.map_err(|error| {
        Refusal::usage(format!("cannot start `{}`: {error}", program.display()))
    })?;
    let first = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned()
    };
    if !output.status.success() {
        let why = first(&output.stderr);
        return Err(Refusal::usage(format!("`{}` says: {why}", program.display())));
    }
    Ok(first(&output.stdout))
}
