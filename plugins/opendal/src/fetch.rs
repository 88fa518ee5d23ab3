//! A hit: one request for the record, then its content in chunks, several at once, verified on
//! its way into the scratch folder.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use buildhook_sdk::entry::{Encoding, Record, StoredFile};
use buildhook_sdk::files::{Hashed, unique_name};
use buildhook_sdk::remote::{deliver, inlined};
use buildhook_sdk::{Call, Deadline, Hit};
use fs_err::File;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::client::Client;
use crate::fault::Fault;
use crate::layout::Layout;
use crate::service::Service;

/// Files of one entry that are fetched at once. Entries of compilers have two or three.
const MAX_FILES: usize = 4;
/// Chunks of one file that are fetched at once.
const MAX_AHEAD: usize = 4;

/// How entries are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch<'a> {
    pub(crate) client: &'a Client,
    pub(crate) layout: &'a Layout,
    pub(crate) service: &'a Service,
    pub(crate) deadline: Deadline,
}

impl Fetch<'_> {
    /// The entry that `call` asks for, with its files in the scratch folder.
    pub(crate) async fn entry(&self, call: &Call) -> Result<Hit, Fault> {
        let record = self.record(call).await?;
        let paths: Vec<PathBuf> =
            record.files.iter().map(|_| call.scratch.join(unique_name())).collect();
        let files = record.files.iter().zip(&paths);
        stream::iter(files.map(|(file, path)| self.file(file, path)))
            .buffer_unordered(MAX_FILES)
            .try_collect::<()>()
            .await?;
        let files = record.files.iter().zip(paths).map(|(file, path)| deliver(file, path));
        let files = files.collect::<io::Result<_>>().map_err(local)?;
        Ok(Hit { seal: record.seal, files, cost_ms: record.cost_ms })
    }

    async fn record(&self, call: &Call) -> Result<Record, Fault> {
        let object = self.layout.record(&call.key, call.purpose);
        let content =
            self.client.get(&object, self.service.max_record_bytes(), self.deadline).await?;
        let record = Record::decode(&content.to_vec())
            .ok_or_else(|| Fault::Corrupt("the entry's record is damaged".to_owned()))?;
        if !record.answers(call) {
            return Err(Fault::Corrupt("the record is that of another entry".to_owned()));
        }
        Ok(record)
    }

    async fn file(&self, file: &StoredFile, path: &Path) -> Result<(), Fault> {
        match inlined(file) {
            Some(Some(content)) => fs_err::write(path, content).map_err(local),
            Some(None) => Err(corrupt(file, "its content is damaged")),
            None if file.encoding != Encoding::Plain => {
                Err(corrupt(file, "its content is in a form that this store never writes"))
            }
            None => self.chunks(file, path).await,
        }
    }

    async fn chunks(&self, file: &StoredFile, path: &Path) -> Result<(), Fault> {
        let chunk_bytes = self.service.chunk_bytes();
        let mut sink = Hashed::new(File::create(path).map_err(local)?);
        let mut chunks = stream::iter(0..file.size.div_ceil(chunk_bytes))
            .map(|number| async move {
                let room = self.client.room().await;
                let object = self.layout.chunk(&file.digest, number);
                let content = self.client.get(&object, chunk_bytes, self.deadline).await;
                content.map(|content| (content, room))
            })
            .buffered(MAX_AHEAD);
        while let Some(chunk) = chunks.next().await {
            let (content, _room) = chunk.map_err(|fault| about(file, fault))?;
            for piece in content {
                sink.write_all(&piece).map_err(local)?;
            }
        }
        if sink.finish() != (file.digest, file.size) {
            return Err(corrupt(file, "its content is not what was stored"));
        }
        Ok(())
    }
}

fn about(file: &StoredFile, fault: Fault) -> Fault {
    match fault {
        Fault::NotFound => {
            Fault::Gone(format!("{}: a part of its content is no longer in the store", file.name))
        }
        Fault::Corrupt(why) => corrupt(file, &why),
        other => other,
    }
}

fn corrupt(file: &StoredFile, why: &str) -> Fault {
    Fault::Corrupt(format!("{}: {why}", file.name))
}

fn local(error: io::Error) -> Fault {
    Fault::Local(error.to_string())
}
