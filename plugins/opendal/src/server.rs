//! The server as what a [`Store`](buildhook_sdk::remote::Store) needs: records are values, and
//! packs are cut into chunks, several of which are on the way at once.
//!
//! Chunk `n` of a pack, from 0, lies under the pack's name and `.n`. Chunks have one size by
//! service, which belongs to the format: whoever reads must know it. They stay below the
//! largest value that a service takes, and bound the memory that a pack of any size needs.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use buildhook_sdk::Deadline;
use buildhook_sdk::remote::{Fault, Remote, Trouble};
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use opendal::Buffer;
use tokio::sync::SemaphorePermit;

use crate::client::Client;
use crate::service::Service;

/// Chunks of one pack that are on the way at once.
const MAX_AHEAD: usize = 4;

/// A server.
#[derive(Debug)]
pub struct Server {
    client: Client,
    service: Service,
}

impl Server {
    pub(crate) fn new(client: Client, service: Service) -> Self {
        Self { client, service }
    }
}

impl Remote for Server {
    fn get(&self, object: &str, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let get = self.client.get(object, self.max_record_bytes(), deadline);
        self.client.wait(get).map(|content| content.to_vec())
    }

    fn put(&self, object: &str, content: &[u8], deadline: Deadline) -> Result<(), Fault> {
        self.client.wait(self.client.put(object, content.to_vec(), deadline))
    }

    fn get_pack(
        &self,
        object: &str,
        size: u64,
        deadline: Deadline,
        take: &mut dyn FnMut(&mut dyn Read) -> Result<(), Trouble>,
    ) -> Result<(), Fault> {
        let chunk_bytes = self.service.chunk_bytes();
        let chunks = stream::iter(0..size.div_ceil(chunk_bytes))
            .map(|number| async move {
                let room = self.client.room(deadline).await?;
                let content = self.client.get(&chunk(object, number), chunk_bytes, deadline).await;
                content.map(|content| (content, room))
            })
            .buffered(MAX_AHEAD);
        let mut source =
            Source { client: &self.client, chunks: Box::pin(chunks), current: None, fault: None };
        let taken = take(&mut source);
        let fault = source.fault.take();
        let outcome = fault.map_or_else(|| taken.map_err(Fault::from), Err);
        if outcome.is_err() {
            // Connections may be left with answers to requests that nobody waits for any more.
            self.client.renew();
        }
        outcome
    }

    fn has_pack(&self, object: &str, size: u64, deadline: Deadline) -> Result<bool, Fault> {
        if !self.service.is_quick_to_ask() {
            return Ok(false);
        }
        let sizes = stream::iter(cut(size, self.service.chunk_bytes()))
            .map(|(number, _, length)| async move {
                let found = self.client.size(&chunk(object, number), deadline).await;
                found.map(|found| found == length)
            })
            .buffer_unordered(MAX_AHEAD);
        self.client.wait(sizes.try_all(|is_there| async move { is_there }))
    }

    fn put_pack(
        &self,
        object: &str,
        content: &File,
        size: u64,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let written = stream::iter(cut(size, self.service.chunk_bytes()))
            .map(|(number, start, length)| async move {
                let _room = self.client.room(deadline).await?;
                let bytes =
                    read_at(content, start, length).map_err(|error| Fault::local(&error))?;
                self.client.put(&chunk(object, number), bytes, deadline).await
            })
            .buffer_unordered(MAX_AHEAD);
        self.client.wait(written.try_collect())
    }

    fn fatal(&self) -> Option<&Fault> {
        self.client.fatal()
    }

    fn max_record_bytes(&self) -> u64 {
        self.service.max_record_bytes()
    }

    fn doubt(&self) {
        // It may have been the answer to another question.
        self.client.renew();
    }
}

/// Chunks one after the other.
struct Source<'a, S> {
    client: &'a Client,
    chunks: S,
    /// The chunk that is being read, and its place in memory.
    current: Option<(Buffer, SemaphorePermit<'a>)>,
    /// Why there are no more.
    fault: Option<Fault>,
}

impl<'a, S> Read for Source<'a, S>
where
    S: Stream<Item = Result<(Buffer, SemaphorePermit<'a>), Fault>> + Unpin,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((content, _)) = &mut self.current {
                match content.read(buffer)? {
                    0 => self.current = None,
                    read => return Ok(read),
                }
            }
            match self.client.wait(self.chunks.next()) {
                Some(Ok(chunk)) => self.current = Some(chunk),
                Some(Err(fault)) => {
                    self.fault = Some(fault);
                    return Err(io::ErrorKind::Other.into());
                }
                None => return Ok(0),
            }
        }
    }
}

/// The name of one chunk of a pack.
fn chunk(pack: &str, number: u64) -> String {
    format!("{pack}.{number}")
}

/// Number, start and length of each chunk of `size` bytes.
fn cut(size: u64, chunk_bytes: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    (0..size.div_ceil(chunk_bytes)).map(move |number| {
        let start = number * chunk_bytes;
        (number, start, chunk_bytes.min(size - start))
    })
}

/// Only one thread reads a file that waits here, and between two waits of its own.
fn read_at(mut file: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_bytes_once() {
        let cut = |size, chunk_bytes| cut(size, chunk_bytes).collect::<Vec<_>>();
        assert_eq!(cut(0, 10), []);
        assert_eq!(cut(10, 10), [(0, 0, 10)]);
        assert_eq!(cut(21, 10), [(0, 0, 10), (1, 10, 10), (2, 20, 1)]);
    }
}
