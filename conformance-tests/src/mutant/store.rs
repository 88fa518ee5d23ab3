//! A directory store: files first, each under a name of its own; then one
//! record that names them, by rename.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::catalog::Mutation;
use crate::plugin::bench::text;
use crate::wire;

static UNIQUE: AtomicU64 = AtomicU64::new(0);

/// The store below one folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    mutation: Option<Mutation>,
    environment: String,
}

/// Why an entry was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    #[error("{0} contradicts its record; nothing was stored")]
    Contradiction(String),
    #[error("another process stores; try again later")]
    Locked,
    #[error("the store cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// What is under a key.
#[derive(Debug)]
pub(crate) enum Found {
    Entry(Value),
    Nothing,
    Damaged,
}

impl Store {
    pub(crate) fn new(folder: PathBuf, mutation: Option<Mutation>, environment: String) -> Self {
        Self { folder, mutation, environment }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn unique(&self, folder: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(folder);
        fs::create_dir_all(&folder)?;
        let number = UNIQUE.fetch_add(1, Ordering::Relaxed);
        Ok(folder.join(format!("{}-{number}-{}", std::process::id(), nanos())))
    }

    /// Where the record of a request lies.
    fn record_path(&self, request: &Value) -> PathBuf {
        let mut key = request["key"].as_str().unwrap_or_default().to_owned();
        if self.is(Mutation::KeyAsPath) {
            return self.folder.join(key);
        }
        if self.is(Mutation::TruncatedKey) {
            key = key.chars().take("blake3:".len() + 16).collect();
        }
        if self.is(Mutation::UnitInKey) {
            key.push_str(&request["unit"].to_string());
        }
        let purpose = request["purpose"].as_str().unwrap_or("outputs");
        let purpose = if self.is(Mutation::IgnoresPurpose) { "outputs" } else { purpose };
        let identity = format!("{key}\n{purpose}");
        self.folder.join("entries").join(&wire::digest(identity.as_bytes())["blake3:".len()..])
    }

    /// Stores an entry and returns the records of the stored files.
    pub(crate) fn put(&self, request: &Value) -> Result<Vec<Value>, PutError> {
        let record_path = self.record_path(request);
        let lock = self.folder.join("lock");
        if self.is(Mutation::StaleLock) && File::create_new(&lock).is_err() {
            return Err(PutError::Locked);
        }
        let mut seal = request["seal"].clone();
        let files = request["files"].as_array().cloned().unwrap_or_default();
        if self.is(Mutation::RecomputesSeal) {
            seal = wire::seal(request["key"].as_str().unwrap_or_default(), &files).into();
        }
        let mut kept = Vec::new();
        let mut paths = Vec::new();
        for (index, file) in files.iter().enumerate() {
            paths.push(self.blob_path(&record_path, index)?);
            kept.push(self.record(file, &paths[index]));
        }
        if self.is(Mutation::DropsEmptyFiles) {
            kept.retain(|file| file["size"] != 0);
        }
        if self.is(Mutation::SecondStoreBreaks) && record_path.exists() {
            kept.push(kept[0].clone());
        }
        let mut record = json!({"seal": seal, "cost-ms": request["cost-ms"], "files": kept});
        if self.is(Mutation::LeaksEnvironment) {
            record["environment"] = self.environment.as_str().into();
        }
        if self.is(Mutation::EntryBeforeFiles) {
            self.publish(&record_path, &record)?;
        }
        for (file, path) in files.iter().zip(&paths) {
            self.take(file, path)?;
        }
        if !self.is(Mutation::StoresNothing) && !self.is(Mutation::EntryBeforeFiles) {
            self.publish(&record_path, &record)?;
        }
        if self.is(Mutation::StaleLock) {
            fs::remove_file(&lock)?;
        }
        Ok(kept)
    }

    fn blob_path(&self, record_path: &Path, index: usize) -> io::Result<PathBuf> {
        if self.is(Mutation::WritesInPlace) || self.is(Mutation::RewritesShared) {
            let folder = self.folder.join("blobs");
            fs::create_dir_all(&folder)?;
            let name = record_path.file_name().unwrap_or_default().to_string_lossy();
            return Ok(folder.join(format!("{name}-{index}")));
        }
        self.unique("blobs")
    }

    fn record(&self, file: &Value, blob: &Path) -> Value {
        let mut name = file["name"].as_str().unwrap_or_default().to_owned();
        if self.is(Mutation::ManglesSpaces) {
            name = name.replace(' ', "_");
        }
        if self.is(Mutation::ManglesLetters) {
            name = name.replace(|letter: char| !letter.is_ascii(), "?");
        }
        if self.is(Mutation::ShortensNames) {
            name = name.chars().take(64).collect();
        }
        let path =
            if self.is(Mutation::StoresPaths) { file["path"].clone() } else { text(blob).into() };
        let mut size = file["size"].as_u64().unwrap_or(0);
        if self.is(Mutation::CountsWith32Bits) {
            size &= u64::from(u32::MAX);
        }
        let executable = file["executable"] == true && !self.is(Mutation::LosesExecutableBit);
        json!({
            "name": name,
            "path": path,
            "size": size,
            "digest": file["digest"],
            "executable": executable,
            "lease": "shared",
        })
    }

    /// Copies one file of a request to `blob`, verifying it on the way.
    fn take(&self, file: &Value, blob: &Path) -> Result<(), PutError> {
        let source = PathBuf::from(file["path"].as_str().unwrap_or_default());
        let name = file["name"].as_str().unwrap_or_default();
        let metadata = fs::symlink_metadata(&source)?;
        if !metadata.is_file() {
            return Err(PutError::Contradiction(name.to_owned()));
        }
        let lease = file["lease"].as_str().unwrap_or_default();
        match self.mutation {
            Some(Mutation::StoresPaths) => return Ok(()),
            Some(Mutation::HardLinksSource) => return Ok(fs::hard_link(&source, blob)?),
            Some(Mutation::HardLinksBorrowed) if lease == "borrowed" => {
                // The link is made and removed: the content is copied, rightly.
                let link = self.unique("links")?;
                fs::hard_link(&source, &link)?;
            }
            _ => {}
        }
        let (size, digest) = self.copy(&source, blob)?;
        let wrong = digest != file["digest"] || size != file["size"].as_u64().unwrap_or(0);
        let lenient = matches!(
            self.mutation,
            Some(
                Mutation::KeepsWrongSizes | Mutation::TruncatesAt64Kib | Mutation::OneTemporaryName
            )
        );
        if wrong && !lenient {
            return Err(PutError::Contradiction(name.to_owned()));
        }
        self.harm(&source, lease)?;
        Ok(())
    }

    /// What some mutants do to the files of a request.
    fn harm(&self, source: &Path, lease: &str) -> io::Result<()> {
        match self.mutation {
            Some(Mutation::TouchesShared) if lease == "shared" => {
                fs::set_permissions(source, fs::Permissions::from_mode(0o444))
            }
            Some(Mutation::DeletesOriginals) if lease == "borrowed" => fs::remove_file(source),
            Some(Mutation::ChangesInputs) if lease == "borrowed" => {
                File::options().append(true).open(source)?.write_all(b"\n")
            }
            _ => Ok(()),
        }
    }

    fn copy(&self, source: &Path, blob: &Path) -> io::Result<(u64, String)> {
        let fixed = self.is(Mutation::OneTemporaryName);
        let slow = fixed || self.is(Mutation::WritesInPlace) || self.is(Mutation::EntryBeforeFiles);
        let slow = slow || self.is(Mutation::StaleLock);
        let target = if fixed { self.folder.join("temporary") } else { blob.to_owned() };
        let mut from = File::open(source)?;
        // In place means that what is there stays until it is overwritten.
        let in_place = self.is(Mutation::WritesInPlace);
        let mut to = File::options().write(true).create(true).truncate(!in_place).open(&target)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; if slow { BLOCK_BYTES / 2 } else { BLOCK_BYTES }];
        let mut size = 0;
        loop {
            let mut count = from.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            if self.is(Mutation::TruncatesAt64Kib) {
                count = count.min((64 << 10) - usize::try_from(size).unwrap_or(0).min(64 << 10));
            }
            hasher.update(&buffer[..count]);
            write_sparse(&mut to, &buffer[..count])?;
            size += count as u64;
            if count == 0 {
                break;
            }
            if slow {
                // Long enough that others run meanwhile.
                sleep(Duration::from_millis(1));
            }
        }
        to.set_len(size)?;
        if fixed {
            fs::rename(&target, blob)?;
        }
        Ok((size, format!("blake3:{}", hasher.finalize().to_hex())))
    }

    fn publish(&self, path: &Path, record: &Value) -> io::Result<()> {
        let temporary = self.unique("temporary-entries")?;
        fs::write(&temporary, record.to_string())?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::rename(&temporary, path)
    }

    /// Looks an entry up and verifies its files.
    pub(crate) fn get(&self, request: &Value) -> Found {
        let path = self.record_path(request);
        let Ok(text) = fs::read(&path) else { return Found::Nothing };
        let Ok(record) = serde_json::from_slice::<Value>(&text) else { return Found::Damaged };
        let files = record["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let blind = [
            Mutation::TrustsItsStore,
            Mutation::EntryBeforeFiles,
            Mutation::WritesInPlace,
            Mutation::StoresPaths,
            Mutation::HardLinksSource,
        ];
        let blind = blind.into_iter().any(|mutation| self.is(mutation));
        if !blind && !files.iter().all(|file| self.is_sound(file)) {
            return Found::Damaged;
        }
        if self.is(Mutation::HitConsumes) {
            // What cannot be removed is found again, which is the fault too.
            let _ = fs::remove_file(&path);
        }
        Found::Entry(record)
    }

    fn is_sound(&self, file: &Value) -> bool {
        let path = Path::new(file["path"].as_str().unwrap_or_default());
        let Ok(metadata) = fs::symlink_metadata(path) else { return false };
        let sized = metadata.is_file() && Some(metadata.len()) == file["size"].as_u64();
        let same = || wire::digest_file(path).ok().as_deref() == file["digest"].as_str();
        match self.mutation {
            Some(Mutation::TrustsDigests) => sized,
            Some(
                Mutation::CountsWith32Bits | Mutation::KeepsWrongSizes | Mutation::TruncatesAt64Kib,
            ) => true,
            _ => sized && same(),
        }
    }

    /// Whether there is a record for this request.
    pub(crate) fn has(&self, request: &Value) -> bool {
        self.record_path(request).exists()
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// What is read and written at once.
const BLOCK_BYTES: usize = 64 << 10;
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Writes `bytes`, leaving a hole where a whole block is zero.
fn write_sparse(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    use std::io::Seek as _;
    if bytes.len() == ZEROS.len() && bytes == ZEROS {
        file.seek_relative(i64::try_from(bytes.len()).unwrap_or(0))
    } else {
        file.write_all(bytes)
    }
}

fn nanos() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos())
}
