//! The one place where compiled code becomes a module.

use wasmtime::{Engine, Module};

use crate::modules::Sound;

/// The module in `compiled`, mapped and not read: it starts with the pages that it uses.
///
/// # Errors
/// It is of another version or configuration of wasmtime, or for another machine.
pub fn load(engine: &Engine, compiled: Sound) -> wasmtime::Result<Module> {
    #[expect(unsafe_code, reason = "compiled code cannot be checked, only where it is from")]
    // SAFETY: `deserialize_open_file` wants what `Engine::precompile_module` has made, in a file
    // that stays as it is. A `Sound` is made in one way only: from a file in the private folder
    // of modules that belongs to this user, that nobody else may write to, and whose digest over
    // name and content was right, in this process or in the one that told its identity.
    // `Modules::keep` is the only writer there; it writes what our own compiler process returned,
    // and replaces files, never changes them.
    unsafe {
        Module::deserialize_open_file(engine, compiled.file)
    }
}
