//! The projects, each in two folders, and the Cargo home that holds their packages.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;

use crate::environment::{Environment, output};
use crate::error::Error;

/// Fetched as a package, since that is what everybody can get without git.
const RIPGREP: &str = "ripgrep";
const RIPGREP_VERSION: &str = "14.1.1";

/// A small service with the usual dependencies; the lock file fixes their versions.
const TEMPLATE: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("../template/manifest.toml")),
    ("Cargo.lock", include_str!("../template/lock.toml")),
    ("src/main.rs", include_str!("../template/main.rs")),
];

/// Where the source comes from.
#[derive(Clone)]
pub(crate) enum Source {
    /// ripgrep, from the package registry.
    Ripgrep,
    /// The service that is part of this program.
    Template,
    /// A person's project, which is copied.
    Folder(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            RIPGREP => Self::Ripgrep,
            "template" => Self::Template,
            path => Self::Folder(path.into()),
        })
    }
}

impl Source {
    /// For tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Ripgrep => format!("{RIPGREP} {RIPGREP_VERSION}"),
            Self::Template => "template (hyper, reqwest, tokio, serde)".to_owned(),
            Self::Folder(path) => path.display().to_string(),
        }
    }
}

/// A project that is ready to be built without a network.
pub(crate) struct Project {
    /// Two checkouts of the same source.
    pub(crate) folders: [PathBuf; 2],
    /// The Cargo home of all builds.
    pub(crate) cargo_home: PathBuf,
    /// Holds homes and caches of the tools.
    pub(crate) work: PathBuf,
    /// The file to edit, relative, and what it holds before; none when it is not known.
    source: Option<(&'static str, String)>,
}

impl Project {
    pub(crate) fn can_be_edited(&self) -> bool {
        self.source.is_some()
    }

    /// Adds a function to the program in `folder`, another one for each `tag` and each time.
    pub(crate) fn edit(&self, folder: &Path, tag: &str) -> Result<(), Error> {
        let Some((name, _)) = &self.source else { return Ok(()) };
        let path = folder.join(name);
        let content = fs::read_to_string(&path)?;
        let lines = content.lines().count();
        let function = format!(
            "\n#[allow(dead_code)]\nfn edited_{tag}_{lines}() -> u32 {{\n    {lines}\n}}\n"
        );
        Ok(fs::write(path, content + &function)?)
    }

    /// Takes all edits back.
    pub(crate) fn restore_source(&self) -> Result<(), Error> {
        let Some((name, content)) = &self.source else { return Ok(()) };
        for folder in &self.folders {
            fs::write(folder.join(name), content)?;
        }
        Ok(())
    }
}

/// Where programs begin: in ripgrep, and by Cargo's convention.
const SOURCES: [&str; 3] = ["crates/core/main.rs", "src/main.rs", "src/lib.rs"];

/// Makes the project's folders below `work` and fetches its packages.
pub(crate) fn prepare(
    environment: &Environment,
    source: &Source,
    work: &Path,
) -> Result<Project, Error> {
    let cargo_home = work.join("cargo-home");
    share_downloads(&environment.cargo_home, &cargo_home)?;
    let folders = ["checkout", "other-checkout"].map(|name| work.join(name));
    let first = &folders[0];
    remove(first)?;
    match source {
        Source::Ripgrep => copy(&fetch_ripgrep(environment, work, &cargo_home)?, first)?,
        Source::Template => {
            for (name, content) in TEMPLATE {
                write(&first.join(name), content)?;
            }
        }
        Source::Folder(path) => copy(&fs::canonicalize(path)?, first)?,
    }
    stand_alone(first)?;
    fetch(environment, first, &cargo_home)?;
    remove(&folders[1])?;
    copy(first, &folders[1])?;
    let source = SOURCES.into_iter().find(|name| folders[0].join(name).is_file());
    let source = match source {
        Some(name) => Some((name, fs::read_to_string(folders[0].join(name))?)),
        None => None,
    };
    Ok(Project { folders, cargo_home, work: work.to_owned(), source })
}

/// Lets `ours` use what `theirs` has downloaded. Sources are unpacked anew: their paths are
/// what compilers see.
fn share_downloads(theirs: &Path, ours: &Path) -> Result<(), Error> {
    let registry = ours.join("registry");
    fs::create_dir_all(&registry)?;
    for part in ["cache", "index"] {
        let (from, to) = (theirs.join("registry").join(part), registry.join(part));
        #[cfg(unix)]
        if from.is_dir() && !to.exists() {
            fs::os::unix::fs::symlink(from, to)?;
        }
        #[cfg(not(unix))]
        let _ = (from, to);
    }
    Ok(())
}

/// Lets Cargo fetch the package by way of a project that depends on it.
fn fetch_ripgrep(
    environment: &Environment,
    work: &Path,
    cargo_home: &Path,
) -> Result<PathBuf, Error> {
    let project = work.join("fetch");
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
         [dependencies]\n{RIPGREP} = \"={RIPGREP_VERSION}\"\n"
    );
    write(&project.join("Cargo.toml"), &manifest)?;
    write(&project.join("src/lib.rs"), "")?;
    stand_alone(&project)?;
    fetch(environment, &project, cargo_home)?;
    let package = format!("{RIPGREP}-{RIPGREP_VERSION}");
    for index in fs::read_dir(cargo_home.join("registry/src"))? {
        let source = index?.path().join(&package);
        if source.is_dir() {
            return Ok(source);
        }
    }
    Err(Error::NotFound(package))
}

fn fetch(environment: &Environment, project: &Path, cargo_home: &Path) -> Result<(), Error> {
    let mut command = environment.command("cargo");
    command.arg("fetch").current_dir(project).env("CARGO_HOME", cargo_home);
    output(&mut command).map(drop)
}

/// Keeps Cargo from taking the project for a member of a workspace further up.
fn stand_alone(project: &Path) -> Result<(), Error> {
    let path = project.join("Cargo.toml");
    let manifest = fs::read_to_string(&path)?;
    if !manifest.lines().any(|line| line.trim_start().starts_with("[workspace")) {
        fs::write(&path, format!("{manifest}\n[workspace]\n"))?;
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, content)?)
}

/// Copies a folder, but not what builds and version control have put there.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let target = to.join(&name);
        if kind.is_dir() && name != "target" && name != ".git" {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Removes a folder that need not be there, and what it leads to if it is a link.
pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
    let Ok(kind) = std::fs::symlink_metadata(folder) else {
        return Ok(());
    };
    if kind.is_symlink() {
        if let Ok(target) = std::fs::canonicalize(folder) {
            fs::remove_dir_all(target)?;
        }
        return Ok(fs::remove_file(folder)?);
    }
    Ok(fs::remove_dir_all(folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_stands_alone_once() {
        let temp = tempfile::tempdir().unwrap();
        write(&temp.path().join("Cargo.toml"), "[package]\n").unwrap();
        for _ in 0..2 {
            stand_alone(temp.path()).unwrap();
            let manifest = fs::read_to_string(temp.path().join("Cargo.toml")).unwrap();
            assert_eq!(manifest, "[package]\n\n[workspace]\n");
        }
    }

    #[test]
    fn copies_have_no_target_folder() {
        let temp = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| temp.path().join(name));
        for name in ["src/main.rs", "target/debug/x", ".git/HEAD", ".cargo/config.toml"] {
            write(&from.join(name), name).unwrap();
        }
        copy(&from, &to).unwrap();
        assert!(to.join("src/main.rs").is_file() && to.join(".cargo/config.toml").is_file());
        assert!(!to.join("target").exists() && !to.join(".git").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_removed_with_what_it_leads_to() {
        let temp = tempfile::tempdir().unwrap();
        let [target, link] = ["real", "link"].map(|name| temp.path().join(name));
        write(&target.join("file"), "").unwrap();
        fs::os::unix::fs::symlink(&target, &link).unwrap();
        remove(&link).unwrap();
        assert!(!target.exists() && std::fs::symlink_metadata(&link).is_err());
        remove(&link).unwrap();
    }
}
