//! The one configuration of the engine: compiler and runner must agree on it, or wasmtime
//! refuses what was compiled.

use wasmtime::{Config, Engine};

/// The deepest stack of a guest, in bytes: wasmtime's default is half of it, and Rust's
/// command-line parsers use some.
pub const STACK_BYTES: usize = 1 << 20;

/// An engine that runs what was compiled and compiles nothing.
///
/// # Errors
/// The machine cannot do what the configuration needs.
pub fn engine() -> wasmtime::Result<Engine> {
    #[cfg_attr(not(feature = "compiler"), expect(unused_mut, reason = "the feature changes it"))]
    let mut config = config();
    #[cfg(feature = "compiler")]
    config.enable_compiler(false);
    Engine::new(&config)
}

/// What both sides share.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    // A loop ends by the clock.
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    // A reason that names the functions on the stack would hold the guest's words.
    config.wasm_backtrace_max_frames(None);
    // What only debuggers and backtraces read is larger than the code, and registering it takes
    // longer than everything else about loading.
    config.native_unwind_info(false);
    config.generate_address_map(false);
    config
}
