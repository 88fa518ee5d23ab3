//! The bucket as what a [`Store`](buildhook_sdk::remote::Store) needs: read ahead, and written
//! with what was written noted in the workspace's list.

use std::fs::File;
use std::io::{Read, Seek as _};
use std::sync::Arc;

use buildhook_protocol::Unit;
use buildhook_sdk::Deadline;
use buildhook_sdk::remote::{Fault, MAX_RECORD_BYTES, Names, Remote, Trouble};

use crate::ahead::{Ahead, read_all};
use crate::client::{Client, Traffic};

/// Largest object that one PUT may bring, by S3's limits: 5 GiB.
const MAX_PACK_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    client: Arc<Client>,
    ahead: Ahead,
    summary: bool,
}

impl Bucket {
    /// Sends nothing yet.
    pub(crate) fn new(client: Client, names: Names, summary: bool) -> Self {
        let client = Arc::new(client);
        let ahead = Ahead::new(Arc::clone(&client), names);
        Self { client, ahead, summary }
    }
}

impl Remote for Bucket {
    fn get(&self, object: &str, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.ahead.get(object, deadline, |body| read_all(body, MAX_RECORD_BYTES))
    }

    fn put(&self, object: &str, content: &[u8], deadline: Deadline) -> Result<(), Fault> {
        let size = content.len() as u64;
        self.client.put(object, size, deadline, || Ok(content))?;
        self.ahead.note(object, size);
        Ok(())
    }

    fn get_pack(
        &self,
        object: &str,
        _size: u64,
        deadline: Deadline,
        take: &mut dyn FnMut(&mut dyn Read) -> Result<(), Trouble>,
    ) -> Result<(), Fault> {
        self.ahead.get(object, deadline, take)
    }

    fn has_pack(&self, object: &str, size: u64, deadline: Deadline) -> Result<bool, Fault> {
        let found = self.client.head(object, deadline)?;
        // A server that does not say how long it is has it nevertheless.
        let is_there = found.is_none_or(|found| found == size);
        if is_there {
            self.ahead.note(object, size);
        }
        Ok(is_there)
    }

    fn put_pack(
        &self,
        object: &str,
        mut content: &File,
        size: u64,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        self.client.put(object, size, deadline, || content.rewind().map(|()| content))?;
        self.ahead.note(object, size);
        Ok(())
    }

    fn fatal(&self) -> Option<&Fault> {
        self.client.fatal()
    }

    fn max_pack_bytes(&self) -> u64 {
        MAX_PACK_BYTES
    }

    fn begin(&self, unit: &Unit) {
        self.ahead.begin(unit);
    }

    fn finish(&self, deadline: Deadline) -> Option<String> {
        self.ahead.finish(deadline);
        let Traffic { requests, received_bytes, sent_bytes } = self.client.traffic();
        self.summary.then(|| {
            format!(
                "{requests} requests, {received_bytes} bytes received, {sent_bytes} bytes sent, \
                 {} bytes fetched ahead in vain",
                self.ahead.unused_bytes()
            )
        })
    }
}
