//! Compiling: untrusted input to a large program, so it runs in a process of its own.

use wasmtime::Engine;

use crate::config::config;

/// An engine that compiles.
///
/// # Errors
/// The machine cannot do what the configuration needs.
pub fn compiler() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// The compiled form of `wasm`, a module in binary form.
///
/// # Errors
/// It is no valid module, or too large for the compiler.
pub fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    engine.precompile_module(wasm)
}
