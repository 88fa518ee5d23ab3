//! The folder of compiled modules.
//!
//! ```text
//! DIR/modules/<key>         compiled code, then 32 bytes: the BLAKE3 hash, under a purpose of
//!                           its own, of the key and the code; mode 0600
//! DIR/modules/<key>.whole   the identity of that file when it was last read and found whole;
//!                           changed at least once a day on which it is used
//! DIR/modules/tmp-…         one that is being written
//! ```
//!
//! Whoever adds a module removes those that nobody has used for long.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::{Deserialize, Serialize};

/// The version of wasmtime: compiled code of another one is not looked for. A test compares
/// it with the lock file; wasmtime itself compares it again on loading.
const WASMTIME: &str = "48.0.8";
/// Changed with the engine's configuration or the form of the files.
const FORM: &str = "buildhook-wasm 2026-11 module, form 2";
/// The largest compiled module, in bytes: a dozen times that of the largest plugin here.
pub const MAX_COMPILED_BYTES: u64 = 256 << 20;
/// The largest module in binary form, in bytes.
pub const MAX_MODULE_BYTES: u64 = 64 << 20;
/// A file that was changed later than that before it was read may be changed once more and have
/// the same times: those of some file systems are whole seconds.
const SETTLED: Duration = Duration::from_secs(2);
/// A module that was not used for that long is removed: compiling it again takes seconds.
const UNUSED: Duration = Duration::from_hours(30 * 24);
/// Use is noted this often; and nobody writes one file for so long.
const DAY: Duration = Duration::from_hours(24);
/// Everything but the owner's own rights.
const OTHERS: u32 = 0o077;

/// Which module: its content, for this version of wasmtime and this kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ModuleKey(blake3::Hash);

impl ModuleKey {
    /// The key of the module with this digest.
    #[must_use]
    pub fn of(module: &blake3::Hash) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(FORM);
        for part in [WASMTIME, std::env::consts::ARCH, std::env::consts::OS] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(module.as_bytes());
        Self(hasher.finalize())
    }
}

impl From<ModuleKey> for String {
    fn from(key: ModuleKey) -> Self {
        key.0.to_hex().to_string()
    }
}

impl TryFrom<String> for ModuleKey {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(text).map(Self)
    }
}

/// Compiled code that lies where only this user writes, and is whole.
#[derive(Debug)]
pub struct Sound {
    #[cfg_attr(not(feature = "runtime"), expect(dead_code, reason = "the runner loads it"))]
    pub(crate) file: File,
    identity: Identity,
}

impl Sound {
    /// What tells another process that it has the same file before it, unchanged.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }
}

/// A file and the state that it is in: device, inode, size, and both times of change. Whatever
/// writes to it changes the last of them, which no program can set.
pub type Identity = [i64; 7];

fn identity(meta: &std::fs::Metadata) -> Identity {
    [
        meta.dev() as i64,
        meta.ino() as i64,
        meta.len() as i64,
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ]
}

/// Why a module cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// The folder could be written to by somebody else.
    #[error("{path} {what}: compiled code is only kept where nobody else may write")]
    NotPrivate {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It is not what was written.
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The folder.
#[derive(Debug)]
pub struct Modules {
    dir: PathBuf,
}

impl Modules {
    /// The folder `dir/modules`, made if need be.
    ///
    /// # Errors
    /// It cannot be made, or `dir` or it is not this user's alone.
    pub fn open(dir: &Path) -> Result<Self, ModulesError> {
        let modules = dir.join("modules");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&modules)?;
        for folder in [dir, &modules] {
            check(folder, &fs_err::symlink_metadata(folder)?, true)?;
        }
        Ok(Self { dir: modules })
    }

    /// The compiled form of the module, if it is here. It is read whole, unless it is the file
    /// that was read before and has not been changed since.
    ///
    /// # Errors
    /// What is here is not private, or damaged.
    pub fn find(&self, key: &ModuleKey) -> Result<Option<Sound>, ModulesError> {
        let path = self.path(key);
        let Some((mut file, meta)) = open(&path)? else { return Ok(None) };
        let identity = identity(&meta);
        if let Some((whole, noted)) = self.was_whole(key)?
            && whole == identity
        {
            if age(&noted) > DAY {
                // Else it is compiled again some day.
                let _ = self.note_whole(key, &identity);
            }
            return Ok(Some(Sound { file, identity }));
        }
        let sealed = meta.len().checked_sub(blake3::OUT_LEN as u64);
        let Some(length) = sealed.filter(|_| meta.len() <= MAX_COMPILED_BYTES) else {
            return Err(ModulesError::Damaged(path));
        };
        // In pieces: memory that is new to the process costs more than the digest.
        let mut hasher = sealer(key);
        hasher.update_reader((&mut file).take(length))?;
        let mut seal = Vec::with_capacity(blake3::OUT_LEN);
        (&mut file).take(meta.len()).read_to_end(&mut seal)?;
        if seal != hasher.finalize().as_bytes() {
            return Err(ModulesError::Damaged(path));
        }
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(meta.ctime().max(0) as u64);
        if changed.elapsed().is_ok_and(|age| age > SETTLED) {
            // Else it is read again.
            let _ = self.note_whole(key, &identity);
        }
        Ok(Some(Sound { file, identity }))
    }

    /// [`find`](Self::find) for what another process has found: not read again while it is as
    /// it was.
    ///
    /// # Errors
    /// Those of [`find`](Self::find).
    pub fn find_again(
        &self,
        key: &ModuleKey,
        found: &Identity,
    ) -> Result<Option<Sound>, ModulesError> {
        match open(&self.path(key))? {
            Some((file, meta)) if identity(&meta) == *found => {
                Ok(Some(Sound { file, identity: *found }))
            }
            // Somebody else has compiled it, too.
            _ => self.find(key),
        }
    }

    /// Keeps `compiled`, which the compiler has made of the module with this key, and finds it.
    ///
    /// # Errors
    /// It cannot be written, or is too large; or those of [`find`](Self::find).
    pub fn keep(&self, key: &ModuleKey, compiled: &[u8]) -> Result<Sound, ModulesError> {
        if compiled.len() as u64 > MAX_COMPILED_BYTES - blake3::OUT_LEN as u64 {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        let temporary = self.dir.join(format!("tmp-{}-{}", std::process::id(), key.0.to_hex()));
        // What a killed process with the same number has left is no one's.
        let _ = fs_err::remove_file(&temporary);
        let written = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(compiled)?;
                file.write_all(sealer(key).update(compiled).finalize().as_bytes())?;
                // Its name is not to be there before its content, whatever happens.
                file.sync_all()
            })
            .and_then(|()| fs_err::rename(&temporary, self.path(key)));
        written.inspect_err(|_| {
            // The error that counts is the first one.
            let _ = fs_err::remove_file(&temporary);
        })?;
        // What cannot be removed now can be the next time.
        let _ = self.sweep();
        self.find(key)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
    }

    /// Removes what nobody has used for long, and what was never finished.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs_err::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_over = |limit| entry.metadata().is_ok_and(|meta| age(&meta) > limit);
            if let Ok(key) = blake3::Hash::from_hex(name.as_bytes()).map(ModuleKey) {
                let whole = self.whole_path(&key);
                let is_used = fs_err::metadata(&whole).is_ok_and(|meta| age(&meta) <= UNUSED);
                if is_over(UNUSED) && !is_used {
                    fs_err::remove_file(entry.path())?;
                    // It may never have been read.
                    let _ = fs_err::remove_file(whole);
                }
            } else if name.starts_with("tmp-") && is_over(DAY) {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The file that was found whole last, and the note that says so.
    fn was_whole(
        &self,
        key: &ModuleKey,
    ) -> Result<Option<(Identity, std::fs::Metadata)>, ModulesError> {
        let Some((file, meta)) = open(&self.whole_path(key))? else { return Ok(None) };
        let mut text = String::new();
        file.take(1024).read_to_string(&mut text)?;
        let numbers: Result<Vec<i64>, _> = text.split(' ').map(str::parse).collect();
        let identity: Option<Identity> = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        Ok(identity.map(|identity| (identity, meta)))
    }

    fn note_whole(&self, key: &ModuleKey, identity: &Identity) -> Result<(), ModulesError> {
        let text = identity.map(|number| number.to_string()).join(" ");
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        Ok(options.open(self.whole_path(key))?.write_all(text.as_bytes())?)
    }

    fn whole_path(&self, key: &ModuleKey) -> PathBuf {
        self.path(key).with_extension("whole")
    }

    fn path(&self, key: &ModuleKey) -> PathBuf {
        self.dir.join(key.0.to_hex().as_str())
    }
}

/// Opens a file of the folder, if it is there, and makes sure that it is private.
fn open(path: &Path) -> Result<Option<(File, std::fs::Metadata)>, ModulesError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = fs_err::OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?.into_file(),
    };
    let meta = file.metadata()?;
    check(path, &meta, false)?;
    Ok(Some((file, meta)))
}

/// Since it was changed; nothing where the clock goes back.
fn age(meta: &std::fs::Metadata) -> Duration {
    meta.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default()
}

/// Makes what stands behind the code: bound to the key, so that one file is no good as another.
fn sealer(key: &ModuleKey) -> blake3::Hasher {
    blake3::Hasher::new_keyed(key.0.as_bytes())
}

fn check(path: &Path, meta: &std::fs::Metadata, is_folder: bool) -> Result<(), ModulesError> {
    let what = if is_folder != meta.is_dir() || (!is_folder && !meta.is_file()) {
        "is not of its kind"
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        "belongs to somebody else"
    } else if meta.mode() & OTHERS != 0 {
        "may be used by others (`chmod go=` takes that away)"
    } else if !is_folder && meta.nlink() != 1 {
        "has several names"
    } else {
        return Ok(());
    };
    Err(ModulesError::NotPrivate { path: path.to_owned(), what })
}

#[cfg(test)]
mod tests;
