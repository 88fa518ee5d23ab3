//! The two other programs of the sandbox, which lie beside this one.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use buildhook_sdk::StartError;
use buildhook_wasm_engine::MAX_COMPILED_BYTES;

/// Has guests in it, and looks at modules.
pub(crate) const RUNNER: &str = "buildhook-wasm-run";
/// Makes modules into what the runner loads.
pub(crate) const COMPILER: &str = "buildhook-wasm-compile";

/// Where the program `name` is.
///
/// # Errors
/// [`StartError::Config`]: it is not known where this one is.
pub(crate) fn find(name: &str) -> Result<PathBuf, StartError> {
    let this = std::env::current_exe()
        .map_err(|error| StartError::Config(format!("this program has no place: {error}")))?;
    Ok(this.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// That the program at `path` cannot be started.
pub(crate) fn cannot_start(path: &Path, error: &std::io::Error) -> String {
    format!("cannot start {}, which must lie beside buildhook-wasm: {error}", path.display())
}

/// What the program at `path`, which people call `who`, answers to `input`. It limits itself,
/// and reads and writes nothing but its standard streams.
///
/// # Errors
/// It cannot be started, ends otherwise than well, or what it says; in words.
pub(crate) fn ask(
    path: &Path,
    who: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Vec<u8>, String> {
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(path, &error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // It reads everything before it writes anything, and says little on standard error.
    let fed = stdin.map(|mut stdin| stdin.write_all(input));
    let mut answer = Vec::new();
    let read = stdout.map(|out| out.take(MAX_COMPILED_BYTES).read_to_end(&mut answer));
    let mut said = String::new();
    let _ = stderr.map(|err| err.take(4096).read_to_string(&mut said));
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() && matches!(fed, Some(Ok(()))) && matches!(read, Some(Ok(_))) {
        return Ok(answer);
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let said = said.trim().trim_start_matches(&format!("{name}: "));
    Err(if said.is_empty() { format!("{who} ended: {status}") } else { said.to_owned() })
}
