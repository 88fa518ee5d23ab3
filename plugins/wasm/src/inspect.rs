//! `buildhook-wasm inspect`: what a module imports, and a policy that would do.

use std::fmt::Write as _;
use std::path::Path;

use buildhook_wasm_engine::{IMPORTS, Imports};

use crate::beside;
use crate::modules::Ready;

/// The report on `module`, which `runner` looks at.
///
/// # Errors
/// It cannot be loaded; in words.
pub(crate) fn describe(module: &Ready, runner: &Path) -> Result<String, String> {
    let imports = imports(module, runner)?;
    Ok(report(&imports, &module.digest))
}

fn imports(module: &Ready, runner: &Path) -> Result<Imports, String> {
    let mut line = serde_json::to_vec(&module.compiled).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let answer = beside::ask(runner, "the runner", &[IMPORTS], &line)?;
    serde_json::from_slice(&answer).map_err(|error| error.to_string())
}

fn report(asked: &Imports, digest: &blake3::Hash) -> String {
    let has = |wanted: &[&str]| asked.imports.iter().any(|import| wanted.contains(&&*import.name));
    let mut text = String::new();
    let mut line = |line: &str| {
        writeln!(text, "{line}").expect("text takes everything");
    };
    line(&format!("# blake3:{digest}"));
    line("# It imports:");
    for import in &asked.imports {
        let note = if import.is_given { "" } else { "  <- never given: it will not run" };
        // Names may hold anything, line feeds and escapes of terminals too.
        let (module, name) = (import.module.escape_debug(), import.name.escape_debug());
        line(&format!("#   {module}::{name}{note}"));
    }
    if !asked.is_command {
        line("# It has no `_start`: it is no command, and will not run.");
    }
    line("\n# Only this very module:");
    line(&format!("module = \"blake3:{digest}\""));
    line("# What it can ask for. What stands behind `#` is the default.");
    if has(&["clock_time_get"]) {
        line("# clock = \"fixed\"      # or \"real\": the time of day");
    }
    if has(&["random_get"]) {
        line(
            "# random = \"fixed\"     # or \"real\": needed where several make files in one folder",
        );
    }
    if has(&["environ_get"]) {
        line("# env = []             # names of variables");
    }
    if has(&["path_open"]) {
        line("# contents = true      # false: it needs no file that a request names");
        line("# [[folder]]           # for a store; filters need none");
        line("# path = \"/somewhere\"");
        line("# guest = \"/store\"");
        line("# access = \"write\"     # or \"read\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use buildhook_wasm_engine::Import;

    use super::*;

    #[test]
    fn what_is_never_given_is_marked_and_the_policy_is_one() {
        let import = |name: &str, is_given| Import {
            module: "wasi_snapshot_preview1".to_owned(),
            name: name.to_owned(),
            is_given,
        };
        let imports = vec![import("random_get", true), import("sock_accept", false)];
        let text = report(&Imports { imports, is_command: true }, &blake3::hash(b""));
        assert!(text.contains("sock_accept  <- never given"));
        assert!(text.contains("random = ") && !text.contains("[[folder]]"));
        let policy: crate::policy::Policy = toml::from_str(&text).unwrap();
        assert!(policy.module.is_some());
    }
}
