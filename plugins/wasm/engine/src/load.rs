//! The one place where compiled code becomes a module.

use wasmtime::{Engine, Module};

use crate::modules::Sound;

/// The module in `compiled`.
///
/// # Errors
/// It is of another version or configuration of wasmtime, or for another machine.
pub fn load(engine: &Engine, compiled: &Sound) -> wasmtime::Result<Module> {
    #[expect(unsafe_code, reason = "compiled code cannot be checked, only where it is from")]
    // SAFETY: `deserialize` wants bytes that `Engine::precompile_module` has made. A `Sound` is
    // made in one way only: from a file in the private folder of modules that belongs to this
    // user, that nobody else may write to, and whose digest over name and content is right;
    // `Modules::keep` is the only writer there and writes what our own compiler process
    // returned.
    unsafe {
        Module::deserialize(engine, compiled.bytes())
    }
}
