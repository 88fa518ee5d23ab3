//! Entries: one folder each, made under another name and renamed.

use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::call::Call;
use crate::fault::{Behaviour, Fault};

/// Stands for the suffix that Cargo puts behind names of outputs.
const SUFFIX: &str = "<suffix>";

pub(crate) struct Store {
    root: PathBuf,
    fault: &'static Fault,
}

/// What a compilation said.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Entry {
    /// Whether stderr holds nothing but JSON: anything else was said of the
    /// machine, not of the code.
    pub(crate) fn speaks_json(&self) -> bool {
        String::from_utf8_lossy(&self.stderr).lines().all(|line| line.starts_with('{'))
    }
}

impl Store {
    pub(crate) fn new(root: PathBuf, fault: &'static Fault) -> Self {
        Self { root, fault }
    }

    /// A lock that another process may hold, which is an error here.
    pub(crate) fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.root)?;
        let file = File::create(self.root.join("lock"))?;
        file.try_lock().map_err(io::Error::other)?;
        Ok(file)
    }

    /// Restores an entry's files; `None` when there is none or it is damaged.
    pub(crate) fn get(&self, key: &str, call: &Call) -> io::Result<Option<Entry>> {
        let folder = self.root.join(key);
        if self.fault.is(Behaviour::Fails) {
            fs::create_dir_all(&self.root)?;
        }
        if !folder.is_dir() {
            return Ok(None);
        }
        let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json"))?)?;
        let files = index["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut restored = Vec::new();
        for (i, file) in files.iter().enumerate() {
            let stored = folder.join(i.to_string());
            let bytes = fs::read(&stored)?;
            let digest = blake3::hash(&bytes).to_hex();
            if file["digest"] != json!(digest.as_str()) && !self.fault.is(Behaviour::TrustsStore) {
                return Ok(None);
            }
            restored.push((file, stored, bytes));
        }
        let said = |name: &str| fs::read(folder.join(name));
        let (stdout, stderr) = (said("stdout")?, said("stderr")?);
        for name in ["stdout", "stderr"] {
            let digest = blake3::hash(if name == "stdout" { &stdout } else { &stderr }).to_hex();
            if index[name] != json!(digest.as_str()) && !self.fault.is(Behaviour::TrustsStore) {
                return Ok(None);
            }
        }
        fs::create_dir_all(&call.out_dir)?;
        for (file, stored, mut bytes) in restored {
            if self.fault.is(Behaviour::Garbles) {
                bytes.truncate(bytes.len() / 2);
            }
            let name = file["name"].as_str().unwrap_or_default();
            let path = call.out_dir.join(name.replace(SUFFIX, &call.suffix));
            let executable = file["executable"] == Value::Bool(true);
            self.restore(&stored, &bytes, executable, &path)?;
        }
        let code = index["code"].as_i64().and_then(|c| i32::try_from(c).ok());
        Ok(Some(Entry { code: code.unwrap_or(1), stdout, stderr }))
    }

    fn restore(
        &self,
        stored: &Path,
        bytes: &[u8],
        executable: bool,
        path: &Path,
    ) -> io::Result<()> {
        if self.fault.is(Behaviour::HardLinks) {
            // What is not there need not be removed.
            let _ = fs::remove_file(path);
            fs::hard_link(stored, path)?;
            let now = FileTimes::new().set_modified(SystemTime::now());
            return File::open(path)?.set_times(now);
        }
        let mut mode = match executable && !self.fault.is(Behaviour::LosesMode) {
            true => 0o755,
            false => 0o644,
        };
        if self.fault.is(Behaviour::ReadOnlyOutputs) {
            mode &= 0o555;
        }
        let temporary = path.with_extension(format!("restoring-{}", process::id()));
        fs::write(&temporary, bytes)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
        if self.fault.is(Behaviour::OldTimes) {
            let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::open(&temporary)?.set_times(FileTimes::new().set_modified(old))?;
        }
        fs::rename(&temporary, path)
    }

    /// Stores the outputs of a call.
    pub(crate) fn put(&self, key: &str, call: &Call, entry: &Entry) -> io::Result<()> {
        let temporary = self.root.join(format!("making-{}", process::id()));
        fs::create_dir_all(&temporary)?;
        let mut files = Vec::new();
        if entry.code == 0 {
            let mut outputs: Vec<_> = fs::read_dir(&call.out_dir)?.collect::<io::Result<_>>()?;
            outputs.sort_by_key(fs::DirEntry::file_name);
            for output in outputs {
                let name = output.file_name().to_string_lossy().into_owned();
                if !call.owns(&name) || self.leaves_out(&output.path())? {
                    continue;
                }
                let bytes = fs::read(output.path())?;
                let mode = output.metadata()?.permissions().mode();
                let stored = temporary.join(files.len().to_string());
                fs::write(&stored, &bytes)?;
                fs::set_permissions(&stored, fs::Permissions::from_mode(mode))?;
                files.push(json!({
                    "name": match call.suffix.is_empty() {
                        true => name,
                        false => name.replace(&call.suffix, SUFFIX),
                    },
                    "executable": mode & 0o100 != 0,
                    "digest": blake3::hash(&bytes).to_hex().as_str(),
                }));
            }
        }
        fs::write(temporary.join("stdout"), &entry.stdout)?;
        fs::write(temporary.join("stderr"), &entry.stderr)?;
        let index = json!({
            "code": entry.code,
            "files": files,
            "stdout": blake3::hash(&entry.stdout).to_hex().as_str(),
            "stderr": blake3::hash(&entry.stderr).to_hex().as_str(),
        });
        fs::write(temporary.join("index.json"), index.to_string())?;
        let folder = self.root.join(key);
        if folder.is_dir() {
            // A damaged entry, or one that another process has just made.
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(temporary, folder)
    }

    fn leaves_out(&self, path: &Path) -> io::Result<bool> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let usual = ["", "a", "d", "rlib", "rmeta", "so"].contains(&extension);
        Ok((self.fault.is(Behaviour::LosesSidecars) && !usual)
            || (self.fault.is(Behaviour::LosesDepInfo) && extension == "d")
            || (self.fault.is(Behaviour::LosesEmpty) && path.metadata()?.len() == 0))
    }
}
