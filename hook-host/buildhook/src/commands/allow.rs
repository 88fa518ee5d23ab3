//! `buildhook allow` and `deny`: whether a workspace file decides what is run.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use super::{Answer, Refusal, exit};
use crate::config::{self, WORKSPACE_FILE};
use crate::environment::Environment;
use crate::folders::Folders;

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Decision {
    path: PathBuf,
    allowed: bool,
    /// The settings that this is about.
    settings: Vec<&'static str>,
}

pub(super) fn allow(env: &Environment, path: Option<&Path>, json: bool) -> Result<Answer, Refusal> {
    let (folders, path) = find(env, path)?;
    let (content, settings) = config::privileged_settings(&path)?;
    config::allow(&folders, &path, &content)?;
    Ok(Answer::of(json, &Decision { path, allowed: true, settings }, |decision| {
        let path = decision.path.display();
        if decision.settings.is_empty() {
            return format!("allowed {path}; nothing in it needs to be\n");
        }
        format!(
            "allowed {path}, as it is now, to decide: {}\n\
             The programs that it names are not checked; they can change without asking again.\n",
            decision.settings.join(", ")
        )
    }))
}

pub(super) fn deny(env: &Environment, path: Option<&Path>, json: bool) -> Result<Answer, Refusal> {
    let (folders, path) = find(env, path)?;
    let was_allowed = config::deny(&folders, &path)?;
    let decision = Decision { path, allowed: false, settings: Vec::new() };
    let answer = Answer::of(json, &decision, |decision| {
        let path = decision.path.display();
        if was_allowed {
            format!("{path} is no longer allowed\n")
        } else {
            format!("{path} was not allowed\n")
        }
    });
    Ok(answer.with_code(exit::OK))
}

/// The folders, and the workspace file meant.
fn find(env: &Environment, path: Option<&Path>) -> Result<(Folders, PathBuf), Refusal> {
    let folders = Folders::locate(env).map_err(|error| Refusal::usage(error.to_string()))?;
    let Some(path) = path else {
        let found = config::find_workspace_file(env, &env.current_dir);
        let none = || Refusal::usage(format!("no {WORKSPACE_FILE} here or in a folder above"));
        return found.map(|path| (folders, path)).ok_or_else(none);
    };
    let path = env.current_dir.join(path);
    let file = if path.is_dir() { path.join(WORKSPACE_FILE) } else { path };
    if file.file_name().is_none_or(|name| name != WORKSPACE_FILE) {
        let what = if file.exists() { "is not called" } else { "does not exist; name a" };
        return Err(Refusal::usage(format!("`{}` {what} {WORKSPACE_FILE}", file.display())));
    }
    // A file that is gone can still be denied; its folder decides the rest of its name.
    let dir = file.parent().unwrap_or(Path::new("/"));
    let dir = fs::canonicalize(dir).map_err(|error| Refusal::usage(error.to_string()))?;
    Ok((folders, dir.join(WORKSPACE_FILE)))
}
