//! A small host that is right, and the same with one fault at a time: tests
//! the host suite.
//!
//! Its build is a handful of text files, each a unit; it asks, builds and
//! tells about them one after the other.

mod connection;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::catalog::HostMutation;
use crate::plugin::bench::text;
use crate::wire;
use connection::Session;

/// Units of a build.
const UNITS: u64 = 8;
/// Time for an answer.
const DEADLINE_MS: u64 = 1_000;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FakeHostArgs {
    /// Where to build.
    #[arg(long)]
    target: PathBuf,
    #[arg(long, value_enum)]
    mutant: Option<HostMutation>,
    /// `BUILDHOOK_HOOK`, read by `main`.
    #[arg(skip)]
    pub(crate) hook: String,
    /// The environment, for the fault that leaks it.
    #[arg(skip)]
    pub(crate) environment: String,
}

struct Host {
    arguments: FakeHostArgs,
    session: Option<Session>,
    faults: u32,
    gone: bool,
}

/// Does one build.
pub(crate) fn run(arguments: FakeHostArgs) -> io::Result<ExitCode> {
    let mut host = Host { arguments, session: None, faults: 0, gone: false };
    for unit in 0..UNITS {
        if !host.unit(unit)? {
            return Ok(ExitCode::from(1));
        }
    }
    if let Some(session) = host.session.take() {
        host.end(session)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Host {
    fn is(&self, mutation: HostMutation) -> bool {
        self.arguments.mutant == Some(mutation)
    }

    /// Asks for a unit, builds it on a miss and tells about it.
    fn unit(&mut self, unit: u64) -> io::Result<bool> {
        let scratch = tempfile::tempdir()?;
        let Some(mut request) = self.request(unit, "want-to-build", scratch.path())? else {
            return self.build(unit, false, scratch.path());
        };
        let answer = self.ask(&mut request)?;
        if self.is(HostMutation::FailsOnError)
            && answer.as_ref().is_some_and(|answer| answer["kind"] == "error")
        {
            return Ok(false);
        }
        let hit = answer.filter(|answer| answer["kind"] == "hit");
        let restored = match &hit {
            Some(hit) => self.restore(&request, hit)?,
            None => false,
        };
        if restored { Ok(true) } else { self.build(unit, true, scratch.path()) }
    }

    fn folder(&self, unit: u64) -> PathBuf {
        self.arguments.target.join(format!("unit-{unit}"))
    }

    fn build(&mut self, unit: u64, tell: bool, scratch: &Path) -> io::Result<bool> {
        let folder = self.folder(unit);
        fs::create_dir_all(&folder)?;
        for name in ["library", "info"] {
            fs::write(folder.join(name), format!("{name} of unit {unit}\n"))?;
        }
        if self.gone && self.is(HostMutation::FailsWithoutPlugin) {
            return Ok(false);
        }
        let told = if tell { self.request(unit, "built-a-thing", scratch)? } else { None };
        if let Some(mut request) = told {
            let second = self.is(HostMutation::ChangesShared);
            self.ask(&mut request)?;
            if second {
                fs::write(folder.join("library"), "changed afterwards\n")?;
            }
        }
        Ok(true)
    }

    /// A request, if there is a plugin that takes it.
    fn request(&mut self, unit: u64, kind: &str, scratch: &Path) -> io::Result<Option<Value>> {
        if !self.connect()? {
            return Ok(None);
        }
        let empty = scratch.join(kind);
        fs::create_dir(&empty)?;
        let Some(session) = &mut self.session else { return Ok(None) };
        let announced = session.hello["hooks"]
            .as_array()
            .is_some_and(|hooks| hooks.iter().any(|hook| hook == kind));
        if !announced && self.arguments.mutant != Some(HostMutation::IgnoresHooks) {
            return Ok(None);
        }
        let id =
            if self.arguments.mutant == Some(HostMutation::OneId) { 1 } else { session.next_id };
        session.next_id += 1;
        let version = session.version;
        let wants_manifest = session.hello["features"]
            .as_array()
            .is_some_and(|all| all.iter().any(|name| name == "manifest"));
        let manifest = self.manifest(unit);
        let key = wire::digest(manifest.as_bytes());
        let mut request = json!({"v": version, "id": id, "kind": kind, "key": key, "unit": {"name": "fake"},
                                 "scratch": text(&empty), "deadline-ms": DEADLINE_MS});
        if wants_manifest && !self.is(HostMutation::NoManifest) {
            let path = scratch.join(format!("manifest-{kind}"));
            fs::write(&path, &manifest)?;
            request["manifest"] = record("manifest.json", &path)?;
        }
        if kind == "built-a-thing" {
            self.add_files(&mut request, unit)?;
        }
        self.spoil(&mut request);
        Ok(Some(request))
    }

    fn add_files(&self, request: &mut Value, unit: u64) -> io::Result<()> {
        let folder = self.folder(unit);
        let mut files = vec![
            record("out/library", &folder.join("library"))?,
            record("out/info", &folder.join("info"))?,
        ];
        match self.arguments.mutant {
            Some(HostMutation::DeviceNames) => files[0]["name"] = "out/aux".into(),
            Some(HostMutation::SameNames) => files[1]["name"] = "out/LIBRARY".into(),
            Some(HostMutation::LongNames) => {
                files[0]["name"] = format!("out{}", "/folder".repeat(14)).into();
            }
            Some(HostMutation::RelativePaths) => files[0]["path"] = "library".into(),
            Some(HostMutation::OwnedOutside) => files[0]["lease"] = "owned".into(),
            Some(HostMutation::ChangesShared) => files[0]["lease"] = "shared".into(),
            _ => {}
        }
        let key = request["key"].as_str().unwrap_or_default().to_owned();
        request["seal"] = match self.is(HostMutation::WrongSeals) {
            true => wire::digest(b"a seal over nothing").into(),
            false => wire::seal(&key, &files).into(),
        };
        request["files"] = files.into();
        Ok(())
    }

    fn spoil(&self, request: &mut Value) {
        match self.arguments.mutant {
            Some(HostMutation::DeepRequests) => {
                request["x-deep"] = (0..35).fold(json!(1), |inner, _| json!([inner]));
            }
            Some(HostMutation::SendsNulls) => request["purpose"] = Value::Null,
            Some(HostMutation::SendsOwnMembers) => request["fake-host"] = true.into(),
            Some(HostMutation::SendsFractions) => request["x-cost"] = json!(1.5),
            Some(HostMutation::NoDeadline) => {
                if let Some(members) = request.as_object_mut() {
                    members.remove("deadline-ms");
                }
            }
            _ => {}
        }
    }
    /// Verifies a hit, then puts its files in place; false makes it a miss.
    fn restore(&self, request: &Value, hit: &Value) -> io::Result<bool> {
        let odd = |value: &Value| {
            value.as_object().is_some_and(|all| all.keys().any(|name| name.starts_with("x-")))
        };
        if self.is(HostMutation::RejectsUnknown) && odd(hit)
            || self.is(HostMutation::NullIsAValue) && hit.get("cost-ms").is_some_and(Value::is_null)
        {
            return Ok(false);
        }
        let files = hit["files"].as_array().cloned().unwrap_or_default();
        let seal = wire::seal(request["key"].as_str().unwrap_or_default(), &files);
        if hit["seal"] != seal
            && !self.is(HostMutation::TrustsSeals)
            && !self.is(HostMutation::RestoresPartly)
        {
            return Ok(false);
        }
        let unit: u64 = (0..UNITS)
            .find(|unit| wire::digest(self.manifest(*unit).as_bytes()) == request["key"])
            .unwrap_or(0);
        let folder = self.folder(unit);
        fs::create_dir_all(&folder)?;
        if !self.is(HostMutation::RestoresPartly) && !files.iter().all(|file| self.is_sound(file)) {
            return Ok(false);
        }
        for file in &files {
            let source = PathBuf::from(file["path"].as_str().unwrap_or_default());
            let name = file["name"].as_str().unwrap_or_default();
            let target = folder.join(name.strip_prefix("out/").unwrap_or(name));
            fs::create_dir_all(target.parent().unwrap_or(&folder))?;
            if !source.exists() {
                return Ok(true);
            }
            match self.arguments.mutant {
                Some(HostMutation::LinksBorrowed) if file["lease"] == "borrowed" => {
                    fs::hard_link(&source, &target)?;
                }
                Some(HostMutation::TouchesShared) => {
                    let now = std::time::SystemTime::now();
                    fs::File::options().append(true).open(&source)?.set_modified(now)?;
                    fs::copy(&source, &target)?;
                }
                _ => {
                    let temporary = folder.join("restoring");
                    fs::copy(&source, &temporary)?;
                    fs::rename(&temporary, &target)?;
                }
            }
        }
        Ok(true)
    }

    /// What the key of a unit stands for.
    fn manifest(&self, unit: u64) -> String {
        let mut manifest = json!({"host": "fake", "manifest-version": 1, "unit": unit}).to_string();
        if self.is(HostMutation::LeaksIntoManifest) {
            manifest = json!({"env": self.arguments.environment, "host": "fake", "unit": unit})
                .to_string();
        }
        if self.is(HostMutation::LooseManifest) {
            manifest.push('\n');
        }
        manifest
    }

    fn is_sound(&self, file: &Value) -> bool {
        let path = Path::new(file["path"].as_str().unwrap_or_default());
        let Ok(metadata) = fs::symlink_metadata(path) else { return false };
        let sized = metadata.is_file() && Some(metadata.len()) == file["size"].as_u64();
        let blind = self.is(HostMutation::TrustsDigests);
        sized && (blind || wire::digest_file(path).ok().as_deref() == file["digest"].as_str())
    }
}

fn record(name: &str, path: &Path) -> io::Result<Value> {
    let content = fs::read(path)?;
    Ok(
        json!({"name": name, "path": text(path), "size": content.len(), "digest": wire::digest(&content),
              "executable": false, "lease": "borrowed"}),
    )
}
