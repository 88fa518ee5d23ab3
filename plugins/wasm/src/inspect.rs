//! `buildhook-wasm inspect`: what a module imports, and a policy that would do.

use std::fmt::Write as _;

use buildhook_wasm_engine::{engine, load};

use crate::modules::Ready;
use crate::runner::refusal;

/// The report on `module`.
///
/// # Errors
/// It cannot be loaded; in words.
pub(crate) fn describe(module: Ready) -> Result<String, String> {
    let engine = engine().map_err(|error| format!("{error:#}"))?;
    let digest = module.digest;
    let module = load(&engine, module.compiled).map_err(|error| format!("{error:#}"))?;
    let imports: Vec<(String, String)> = module
        .imports()
        .map(|import| (import.module().to_owned(), import.name().to_owned()))
        .collect();
    Ok(report(&imports, module.get_export("_start").is_some(), &digest))
}

fn report(imports: &[(String, String)], is_command: bool, digest: &blake3::Hash) -> String {
    let has = |wanted: &[&str]| imports.iter().any(|(_, name)| wanted.contains(&name.as_str()));
    let mut text = String::new();
    let mut line = |line: &str| {
        writeln!(text, "{line}").expect("text takes everything");
    };
    line(&format!("# blake3:{digest}"));
    line("# It imports:");
    for (module, name) in imports {
        let note =
            if refusal(module, name).is_some() { "  <- never given: it will not run" } else { "" };
        line(&format!("#   {module}::{name}{note}"));
    }
    if !is_command {
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
    use super::*;

    #[test]
    fn what_is_never_given_is_marked_and_the_policy_is_one() {
        let imports = [
            ("wasi_snapshot_preview1".to_owned(), "random_get".to_owned()),
            ("wasi_snapshot_preview1".to_owned(), "sock_accept".to_owned()),
        ];
        let text = report(&imports, true, &blake3::hash(b""));
        assert!(text.contains("sock_accept  <- never given"));
        assert!(text.contains("random = ") && !text.contains("[[folder]]"));
        let policy: crate::policy::Policy = toml::from_str(&text).unwrap();
        assert!(policy.module.is_some());
    }
}
