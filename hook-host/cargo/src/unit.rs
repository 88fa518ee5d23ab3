//! The description of a unit that plugins see: for people and policies, never identity.

use std::path::Path;

use buildhook_protocol::Unit;

use crate::args::Compile;
use crate::environment::Environment;
use crate::roots::{CARGO_HOME, DOWNLOADS, Roots};
use crate::toolchain::Toolchain;

/// Describes `compile`, which runs in `cwd`.
#[must_use]
pub fn describe(
    compile: &Compile,
    cwd: &Path,
    env: &Environment,
    roots: &Roots,
    toolchain: &Toolchain,
) -> Unit {
    let text = |name: &str| env.text(name).map(str::to_owned);
    let words = |text: &str| text.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Unit {
        name: Some(compile.crate_name.clone()),
        package: text("CARGO_PKG_NAME"),
        version: text("CARGO_PKG_VERSION"),
        origin: Some(origin(compile, cwd, roots).to_owned()),
        unit_type: Some(unit_type(compile).to_owned()),
        emit: compile.emit.clone(),
        target: Some(compile.target.clone().unwrap_or_else(|| toolchain.host.clone())),
        profile: profile(&compile.out_dir),
        toolchain: Some(words(&toolchain.version)),
        features: compile.features.clone(),
        // Known to the build, not to one compile.
        workspace: None,
    }
}

/// Cargo runs rustc for a workspace's members in the workspace's root with a relative
/// source, for every other package in the package's folder with an absolute one.
fn origin(compile: &Compile, cwd: &Path, roots: &Roots) -> &'static str {
    let token = roots.tokenise(cwd);
    let [registry, git] = DOWNLOADS.map(|name| Path::new(CARGO_HOME).join(name));
    if token.starts_with(registry) || cwd.join(".cargo-checksum.json").exists() {
        "registry"
    } else if token.starts_with(git) {
        "git"
    } else if compile.source.is_relative() {
        "workspace"
    } else {
        "path"
    }
}

/// The kind of target, in Cargo's words where they exist.
#[must_use]
pub fn unit_type(compile: &Compile) -> &str {
    if compile.test {
        "test"
    } else if compile.crate_name.starts_with("build_script_") {
        "build-script"
    } else if compile.out_dir.ends_with("examples") {
        "example"
    } else {
        compile.crate_types.first().map_or("bin", String::as_str)
    }
}

fn profile(out_dir: &Path) -> Option<String> {
    let in_deps = matches!(out_dir.file_name()?.to_str()?, "deps" | "examples");
    let folder = out_dir.ancestors().nth(if in_deps { 1 } else { 2 })?;
    Some(folder.file_name()?.to_str()?.to_owned())
}
