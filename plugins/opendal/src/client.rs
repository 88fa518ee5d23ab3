//! Requests to the server: bounded in time, tried again where that may help.
//!
//! `opendal`'s layers limit and repeat each attempt; all attempts end by the deadline of their
//! request. After several requests that failed the server is left alone for a while
//! ([`Breaker`]); after a fault that somebody has to mend nothing is sent any more.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use buildhook_sdk::remote::{Breaker, Fault};
use buildhook_sdk::{Deadline, StartError};
use futures::TryStreamExt as _;
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::{Buffer, OperationContext, Operator};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::fault::judge;
use crate::service::Service;
use crate::settings::Settings;
use crate::{http, probe};

/// Attempts after the first. With the pauses below the last begins within 2.8 s.
const MAX_RETRIES: usize = 3;
/// The pause before the second attempt, and up to as much again; twice as long before each
/// further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Chunks in memory at once, whatever runs: 64 MiB at the most.
const MAX_CHUNKS: usize = 16;
/// Threads that drive connections; requests run on the threads of their callers.
const THREADS: usize = 2;
/// Longest wait for a connection.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The server.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    settings: Settings,
    name: String,
    context: OperationContext,
    operator: RwLock<Operator>,
    memory: Semaphore,
    /// The server has taken the password, and has not failed since.
    greeted: AtomicBool,
    breaker: Breaker,
    /// What made this session useless.
    fatal: OnceLock<Fault>,
}

impl Client {
    /// Sends nothing.
    pub(crate) fn new(settings: &Settings) -> Result<Self, StartError> {
        let refused = |_| StartError::Config("the URL cannot be used".to_owned());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|error| StartError::Config(format!("starting threads: {error}")))?;
        let context = http::context(settings.attempt_timeout.min(MAX_CONNECT_TIMEOUT))
            .map_err(|error| StartError::Config(error.message().to_owned()))?;
        let operator = operator(settings, &context).map_err(refused)?;
        Ok(Self {
            runtime,
            settings: settings.clone(),
            name: settings.service.name(),
            context,
            operator: RwLock::new(operator),
            memory: Semaphore::new(MAX_CHUNKS),
            greeted: AtomicBool::new(false),
            breaker: Breaker::default(),
            fatal: OnceLock::new(),
        })
    }

    /// What made this session useless, when something has.
    pub(crate) fn fatal(&self) -> Option<&Fault> {
        self.fatal.get()
    }

    /// Runs `work` on the calling thread.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A place in memory for one chunk, until it is dropped. That there is none in time is no
    /// fault of the server's.
    pub(crate) async fn room(&self, deadline: Deadline) -> Result<SemaphorePermit<'_>, Fault> {
        match timeout(deadline.remaining(), self.memory.acquire()).await {
            // It is never closed.
            Ok(Ok(room)) if !deadline.has_passed() => Ok(room),
            _ => Err(Fault::Late),
        }
    }

    /// Reads an object of at most `max_bytes`.
    pub(crate) async fn get(
        &self,
        object: &str,
        max_bytes: u64,
        deadline: Deadline,
    ) -> Result<Buffer, Fault> {
        let operator = self.operator();
        let read = async {
            let mut stream = operator.reader(object).await?.into_stream(..).await?;
            let (mut pieces, mut length) = (Vec::new(), 0);
            while let Some(piece) = stream.try_next().await? {
                length += piece.len() as u64;
                if length > max_bytes {
                    return Ok(None);
                }
                pieces.push(piece);
            }
            Ok(Some(pieces.into_iter().flatten().collect()))
        };
        let longer = || Fault::Corrupt("it is longer than what was stored".to_owned());
        self.ask(deadline, read).await?.ok_or_else(longer)
    }

    /// How long an object is.
    pub(crate) async fn size(&self, object: &str, deadline: Deadline) -> Result<u64, Fault> {
        let operator = self.operator();
        let stat = async { operator.stat(object).await };
        self.ask(deadline, stat).await.map(|found| found.content_length())
    }

    /// Writes an object.
    pub(crate) async fn put(
        &self,
        object: &str,
        content: Vec<u8>,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let operator = self.operator();
        self.ask(deadline, async { operator.write(object, content).await }).await.map(drop)
    }

    async fn ask<T>(
        &self,
        deadline: Deadline,
        request: impl Future<Output = opendal::Result<T>>,
    ) -> Result<T, Fault> {
        if let Some(fault) = self.fatal.get() {
            return Err(fault.clone());
        }
        if !self.breaker.admits(Instant::now()) {
            return Err(Fault::Resting);
        }
        let greet_and_ask = async {
            self.greet().await?;
            request.await
        };
        let fault = match timeout(deadline.remaining(), greet_and_ask).await {
            Ok(Ok(found)) => {
                self.breaker.succeeded();
                return Ok(found);
            }
            Ok(Err(error)) => judge(&self.name, &error),
            Err(_) => Fault::Late,
        };
        match &fault {
            Fault::NotFound | Fault::Denied(_) => self.breaker.succeeded(),
            Fault::Final(..) => {
                // The first one is told; another thread may have had it.
                let _ = self.fatal.set(fault.clone());
            }
            _ => {
                self.breaker.failed(Instant::now());
                self.renew();
            }
        }
        Err(fault)
    }

    /// Makes sure that a server of Redis is there and takes the password.
    async fn greet(&self) -> opendal::Result<()> {
        let Service::Redis { authority, tls, .. } = &self.settings.service else { return Ok(()) };
        if self.greeted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let password = self.settings.password.as_ref().map(|password| password.reveal());
        probe::redis(authority, *tls, self.settings.user.as_deref(), password).await?;
        self.greeted.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves all connections: one on which an answer is outstanding would give it to the
    /// next question.
    pub(crate) fn renew(&self) {
        self.greeted.store(false, Ordering::Relaxed);
        if let Ok(operator) = operator(&self.settings, &self.context) {
            *self.operator.write().unwrap_or_else(PoisonError::into_inner) = operator;
        }
    }

    fn operator(&self) -> Operator {
        self.operator.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn operator(settings: &Settings, context: &OperationContext) -> opendal::Result<Operator> {
    let limits = TimeoutLayer::new()
        .with_timeout(settings.attempt_timeout)
        .with_io_timeout(settings.attempt_timeout);
    let retries =
        RetryLayer::new().with_max_times(MAX_RETRIES).with_min_delay(FIRST_PAUSE).with_jitter();
    // Limits are below retries: each attempt has its own.
    let operator = settings.service.operator(settings)?.with_context(context.clone());
    Ok(operator.layer(limits).layer(retries))
}
