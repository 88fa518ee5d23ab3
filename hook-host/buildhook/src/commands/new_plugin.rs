//! `buildhook new-plugin`: a small, complete plugin in Rust, to be changed.
//!
//! It is the SDK's example of a store under another name, so it compiles as long as that
//! does. Nothing that exists is written over.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{Answer, Refusal};
use crate::environment::Environment;

/// What stands in the template where the plugin's name belongs.
const TEMPLATE_NAME: &str = "shelf";
/// The project's files.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../../../plugins/template/manifest.toml")),
    ("src/main.rs", include_str!("../../../../plugins/sdk/examples/shelf.rs")),
    ("tests/session.rs", include_str!("../../../../plugins/template/tests.rs")),
    (".gitignore", "/target\n"),
];
/// Longest name, in bytes: `buildhook-` and it make a file's name everywhere.
const MAX_NAME_BYTES: usize = 64;

/// The name of a plugin: lower-case letters, digits and `-`, a letter first.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("buildhook-").unwrap_or(text);
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(is_plain)
        && name.len() <= MAX_NAME_BYTES;
    let what = "lower-case letters, digits and `-`, beginning with a letter, such as `my-store`";
    if fits { Ok(name.to_owned()) } else { Err(format!("a plugin's name is made of {what}")) }
}

pub(super) fn new_plugin(
    env: &Environment,
    name: &str,
    sdk: Option<&Path>,
) -> Result<Answer, Refusal> {
    let folder = format!("buildhook-{name}");
    let project = env.current_dir.join(&folder);
    let sdk = sdk_dependency(env, sdk)?;
    fs::create_dir(&project).map_err(|error| Refusal::usage(error.to_string()))?;
    for (path, text) in FILES {
        let path = project.join(path);
        let text = text.replace("\"SDK\"", &sdk).replace(TEMPLATE_NAME, name);
        fs::create_dir_all(path.parent().unwrap_or(&project))?;
        fs::write(&path, text)?;
    }
    Ok(Answer::text(format!(
        "made {folder}, a store in a folder, to be changed\n\
         try it:\n  cd {folder} && cargo test && cargo build\n  \
         BUILDHOOK_HOOK=\"$PWD/target/debug/{folder} /tmp/{name}\" buildhook run -- cargo build\n"
    )))
}

/// How the manifest names the SDK: of this version, or where a person has it.
fn sdk_dependency(env: &Environment, sdk: Option<&Path>) -> Result<String, Refusal> {
    let Some(sdk) = sdk else { return Ok(format!("\"{}\"", env!("CARGO_PKG_VERSION"))) };
    let path: PathBuf = fs::canonicalize(env.current_dir.join(sdk))
        .map_err(|error| Refusal::usage(format!("--sdk: {error}")))?;
    if !path.join("Cargo.toml").is_file() {
        return Err(Refusal::usage(format!("--sdk: {} is no package", path.display())));
    }
    let text = path.to_str();
    let text = text.ok_or_else(|| Refusal::usage("--sdk: the path is not Unicode"))?;
    // A JSON string is a string of TOML too.
    Ok(format!("{{ path = {} }}", serde_json::Value::from(text)))
}
