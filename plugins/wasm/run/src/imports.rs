//! What a module asks for, without running any of it: for `buildhook-wasm inspect`.

use std::io::{BufRead as _, Write as _};

use buildhook_wasm_engine::{Import, Imports, Kept, engine};

use super::guard::refusal;
use super::load_kept;

/// Reads where the module is, writes what it imports. The error is for people.
pub(crate) fn answer() -> Result<(), String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    let kept: Kept = serde_json::from_str(&line).map_err(|error| error.to_string())?;
    let engine = engine().map_err(|error| format!("the engine: {error:#}"))?;
    let module = load_kept(&engine, &kept)?;
    let import = |import: wasmtime::ImportType<'_>| Import {
        module: import.module().to_owned(),
        name: import.name().to_owned(),
        is_given: refusal(import.module(), import.name()).is_none(),
    };
    let answer = Imports {
        imports: module.imports().map(import).collect(),
        is_command: module.get_export("_start").is_some(),
    };
    let text = serde_json::to_string(&answer).map_err(|error| error.to_string())?;
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}
