//! From a `.wasm` file to its compiled form in the private folder.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use buildhook_sdk::StartError;
use buildhook_wasm_engine::{Kept, MAX_MODULE_BYTES, ModuleKey, Modules, ModulesError, Sound};

use crate::beside;
use crate::policy::Module;

/// What every module in binary form begins with.
const MAGIC: [u8; 8] = *b"\0asm\x01\0\0\0";

/// A module that can be run.
pub(crate) struct Ready {
    /// The digest of the module itself.
    pub(crate) digest: blake3::Hash,
    /// Its compiled form.
    pub(crate) compiled: Kept,
}

/// The module at `path` with its compiled form in `cache`, which is made if need be.
///
/// # Errors
/// [`StartError::Config`]: it is no module, not the one that the policy names, or cannot be
/// compiled or kept.
pub(crate) fn ensure(
    path: &Path,
    expected: Option<Module>,
    cache: &Path,
) -> Result<Ready, StartError> {
    let wrong = |what: String| StartError::Config(format!("{}: {what}", path.display()));
    let not_kept = |error: ModulesError| StartError::Config(error.to_string());
    let mut file = open(path).map_err(wrong)?;
    let digest = digest(&mut file).map_err(wrong)?;
    if let Some(Module(expected)) = expected
        && expected != digest
    {
        return Err(wrong(format!("it is blake3:{digest}, the policy allows blake3:{expected}")));
    }
    let key = ModuleKey::of(&digest);
    let modules = Modules::open(cache).map_err(not_kept)?;
    let ready = |module: ModuleKey, found: Sound| {
        let compiled = Kept { cache: cache.to_owned(), module, file: found.identity() };
        Ready { digest, compiled }
    };
    match modules.find(&key) {
        Ok(Some(found)) => return Ok(ready(key, found)),
        Ok(None) => {}
        // It is made anew, which heals it.
        Err(ModulesError::Damaged(path)) => {
            eprintln!("buildhook-wasm: {} is damaged: compiling again", path.display());
        }
        Err(error) => return Err(not_kept(error)),
    }
    let wasm = read_again(&mut file, &digest).map_err(wrong)?;
    let compiler = beside::find(beside::COMPILER)?;
    let compiled = beside::ask(&compiler, "the compiler", &[], &wasm).map_err(wrong)?;
    let kept = modules.keep(&key, &compiled).map_err(not_kept)?;
    Ok(ready(key, kept))
}

fn open(path: &Path) -> Result<File, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err("it is no file".to_owned());
    }
    let mut magic = [0; MAGIC.len()];
    if file.read_exact(&mut magic).is_err() || magic != MAGIC {
        return Err("it is no WebAssembly module (compiled forms are never taken)".to_owned());
    }
    Ok(file)
}

/// In pieces: whoever has it compiled already need not have it in memory.
fn digest(file: &mut File) -> Result<blake3::Hash, String> {
    let mut hasher = blake3::Hasher::new();
    file.rewind()
        .and_then(|()| hasher.update_reader(file.take(MAX_MODULE_BYTES + 1)).map(|_| ()))
        .map_err(|error| error.to_string())?;
    if hasher.count() > MAX_MODULE_BYTES {
        return Err(format!("it is larger than {MAX_MODULE_BYTES} bytes"));
    }
    Ok(hasher.finalize())
}

/// The content that had this digest.
fn read_again(file: &mut File, digest: &blake3::Hash) -> Result<Vec<u8>, String> {
    let mut wasm = Vec::new();
    file.rewind()
        .and_then(|()| file.take(MAX_MODULE_BYTES).read_to_end(&mut wasm))
        .map_err(|error| error.to_string())?;
    if blake3::hash(&wasm) != *digest {
        return Err("it was changed while it was read".to_owned());
    }
    Ok(wasm)
}
