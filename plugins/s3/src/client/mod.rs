//! Requests to the bucket: signed, bounded in time, tried again where that may help.
//!
//! Every attempt ends by the deadline of its request. Answers of 5xx and 429 and broken
//! connections are tried again after a pause with jitter; a body that breaks off is asked for
//! again from its start. After several requests that failed the server is left alone for a
//! while ([`Breaker`]); after a fault that somebody has to mend nothing is sent any more.

mod fault;
mod signing;
mod sources;
mod target;
mod transport;

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use buildhook_sdk::Deadline;
use buildhook_sdk::remote::{Breaker, Fault, Trouble};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, RustlsConnector};
use ureq::{Agent, AsSendBody, Body, SendBody};

use fault::{Failure, MAX_DOCUMENT_BYTES, Scene, element};
use signing::Signing;
use target::{DEFAULT_REGION, Target};
use transport::QuickConnector;

use crate::settings::Settings;

/// Attempts of one request. With the pauses below the last begins within 1.4 s.
const MAX_ATTEMPTS: u32 = 4;
/// Longest pause before the second attempt; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Bodies from this size on wait for the server to say that it wants them, in bytes: one
/// that refuses closes the connection, and what it said would be lost.
const EXPECT_FROM_BYTES: u64 = 1024 * 1024;
/// Connections kept open between requests.
const MAX_IDLE_CONNECTIONS: usize = 64;
/// As many bytes as one read of a socket may well bring.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a session took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Attempts, whatever became of them.
    pub(crate) requests: u64,
    /// Bytes of objects, as they came, including those that broke off.
    pub(crate) received_bytes: u64,
    /// Bytes of objects that are stored.
    pub(crate) sent_bytes: u64,
}

/// The bucket.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    target: Target,
    signing: Option<Signing>,
    system_certificates: bool,
    region: RwLock<String>,
    breaker: Breaker,
    requests: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// What made this session useless.
    fatal: OnceLock<Fault>,
}

impl Client {
    /// Sends nothing.
    pub(crate) fn new(settings: &Settings) -> Self {
        let agent = agent(settings);
        let region = settings.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let signing = (!settings.anonymous).then(|| Signing::new(settings, &region, &agent));
        Self {
            agent,
            target: Target::new(settings),
            signing,
            system_certificates: settings.system_certificates,
            region: RwLock::new(region),
            breaker: Breaker::default(),
            requests: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            fatal: OnceLock::new(),
        }
    }

    /// What made this session useless, when something has.
    pub(crate) fn fatal(&self) -> Option<&Fault> {
        self.fatal.get()
    }

    /// What was asked and moved so far.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
        }
    }

    /// Reads an object through `take`, which begins anew for each attempt.
    pub(crate) fn get<T>(
        &self,
        object: &str,
        deadline: Deadline,
        mut take: impl FnMut(&mut dyn Read) -> Result<T, Trouble>,
    ) -> Result<T, Fault> {
        self.with_retries(deadline, || {
            let response = self.send(Method::GET, object, deadline, None, ())?;
            let mut body = Watched {
                inner: response.into_body().into_reader(),
                broke: Cell::new(None),
                bytes: &self.received_bytes,
            };
            take(&mut body).map_err(|trouble| match (body.broke.take(), trouble) {
                (Some(broke), _) => {
                    self.with_scene(|scene| scene.broken(&ureq::Error::from(broke)))
                }
                (None, trouble) => Fault::from(trouble).into(),
            })
        })
    }

    /// How long an object is; `None` when the server does not say.
    pub(crate) fn head(&self, object: &str, deadline: Deadline) -> Result<Option<u64>, Fault> {
        self.with_retries(deadline, || {
            let response = self.send(Method::HEAD, object, deadline, None, ())?;
            let length = response.headers().get(CONTENT_LENGTH);
            Ok(length.and_then(|length| length.to_str().ok()?.parse().ok()))
        })
    }

    /// Writes an object of `size` bytes; `open` begins its content anew for each attempt.
    pub(crate) fn put<R: Read>(
        &self,
        object: &str,
        size: u64,
        deadline: Deadline,
        mut open: impl FnMut() -> io::Result<R>,
    ) -> Result<(), Fault> {
        self.with_retries(deadline, || {
            let mut content = open().map_err(|error| Fault::Local(error.to_string()))?;
            let body = SendBody::from_reader(&mut content);
            self.send(Method::PUT, object, deadline, Some(size), body)?;
            self.sent_bytes.fetch_add(size, Ordering::Relaxed);
            Ok(())
        })
    }

    fn with_retries<T>(
        &self,
        deadline: Deadline,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Fault> {
        if let Some(fault) = self.fatal.get() {
            return Err(fault.clone());
        }
        if !self.breaker.admits(Instant::now()) {
            return Err(Fault::Resting);
        }
        let mut moved = false;
        let mut renewed = false;
        let mut attempts = 0;
        loop {
            if deadline.has_passed() {
                // Says nothing about the server when it was never asked.
                if attempts > 0 {
                    self.breaker.failed(Instant::now());
                }
                return Err(Fault::Late);
            }
            let credentials = self.signing.as_ref().map(Signing::generation);
            let why = match attempt() {
                Ok(value) => {
                    self.breaker.succeeded();
                    return Ok(value);
                }
                Err(Failure::Settled(fault)) => {
                    self.breaker.succeeded();
                    return Err(self.remember(fault));
                }
                Err(Failure::Expired(fault)) => match (&self.signing, credentials) {
                    (Some(signing), Some(used)) if !renewed => {
                        renewed = true;
                        signing.renew(used);
                        continue;
                    }
                    _ => {
                        self.breaker.succeeded();
                        return Err(self.remember(fault));
                    }
                },
                Err(Failure::Elsewhere(region)) if !moved => {
                    moved = true;
                    self.move_to(&region);
                    continue;
                }
                Err(Failure::Elsewhere(region)) => {
                    format!("the bucket is said to be in {region}, and then elsewhere")
                }
                Err(Failure::Passing(why)) => why,
            };
            attempts += 1;
            let pause = pause(attempts);
            if attempts >= MAX_ATTEMPTS || pause >= deadline.remaining() {
                self.breaker.failed(Instant::now());
                return Err(Fault::Unavailable(why));
            }
            std::thread::sleep(pause);
        }
    }

    /// One attempt, with a body of `size` bytes or without; the answer is a success.
    fn send(
        &self,
        method: Method,
        object: &str,
        deadline: Deadline,
        size: Option<u64>,
        body: impl AsSendBody,
    ) -> Result<Response<Body>, Failure> {
        let url = self.target.url(&self.region(), object);
        let request = Request::builder().method(method.clone()).uri(url).body(());
        let (mut parts, ()) =
            request.map_err(|error| Fault::Local(error.to_string()))?.into_parts();
        if let Some(signing) = &self.signing {
            signing.sign(&mut parts)?;
        }
        if let Some(size) = size {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
            if size >= EXPECT_FROM_BYTES {
                parts.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
            }
        }
        let request = self
            .agent
            .configure_request(Request::from_parts(parts, body))
            .timeout_global(Some(deadline.remaining()))
            .build();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = self
            .agent
            .run(request)
            .map_err(|error| self.with_scene(|scene| scene.broken(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(&method, response))
    }

    fn refused(&self, method: &Method, response: Response<Body>) -> Failure {
        let (parts, body) = response.into_parts();
        let mut document = String::new();
        // The status says enough when the document cannot be read.
        let _ = body.into_reader().take(MAX_DOCUMENT_BYTES).read_to_string(&mut document);
        let code = element(&document, "Code");
        if parts.status == StatusCode::NOT_FOUND && code != Some("NoSuchBucket") {
            return Fault::NotFound.into();
        }
        match self.other_region(&parts.headers, &document) {
            // Any answer names the region; only to these is it the reason.
            Some(region) if matches!(parts.status.as_u16(), 301 | 307 | 400) => {
                Failure::Elsewhere(region)
            }
            // An answer to HEAD has no document: 400 and 403 say nothing.
            _ if *method == Method::HEAD && parts.status.is_client_error() => {
                Fault::Denied(format!("HEAD answers {}", parts.status.as_u16())).into()
            }
            _ => self.with_scene(|scene| scene.judge(parts.status, code)),
        }
    }

    /// The region that the server names, when it is not the one in use.
    fn other_region(&self, headers: &HeaderMap, document: &str) -> Option<String> {
        let header = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
        let named = header.or_else(|| element(document, "Region"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let valid = !named.is_empty() && named.len() <= 64 && named.chars().all(plain);
        (valid && named != self.region()).then(|| named.to_owned())
    }

    fn move_to(&self, region: &str) {
        region.clone_into(&mut self.region.write().unwrap_or_else(PoisonError::into_inner));
        if let Some(signing) = &self.signing {
            signing.move_to(region);
        }
    }

    fn remember(&self, fault: Fault) -> Fault {
        if matches!(fault, Fault::Final(..)) {
            // The first one is as good as any other.
            let _ = self.fatal.set(fault.clone());
        }
        fault
    }

    fn region(&self) -> String {
        self.region.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with_scene<T>(&self, look: impl FnOnce(&Scene<'_>) -> T) -> T {
        let region = self.region();
        look(&Scene {
            bucket: self.target.bucket(),
            server: &self.target.server(&region),
            region: &region,
            anonymous: self.signing.is_none(),
            system_certificates: self.system_certificates,
        })
    }
}

fn agent(settings: &Settings) -> Agent {
    let roots =
        if settings.system_certificates { RootCerts::PlatformVerifier } else { RootCerts::WebPki };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("buildhook-s3/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(settings.surroundings.proxy.clone())
        .timeout_resolve(Some(settings.connect_timeout))
        .timeout_connect(Some(settings.connect_timeout))
        .timeout_per_read(Some(settings.read_timeout))
        .timeout_per_write(Some(settings.read_timeout))
        .max_idle_connections(MAX_IDLE_CONNECTIONS)
        .max_idle_connections_per_host(MAX_IDLE_CONNECTIONS)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(QuickConnector)
            .chain(RustlsConnector::default());
    Agent::with_parts(config, connector, DefaultResolver::default())
}

/// Between half of the longest pause before the next attempt and all of it.
fn pause(attempts: u32) -> Duration {
    let longest = FIRST_PAUSE * 2u32.pow(attempts.saturating_sub(1).min(MAX_ATTEMPTS));
    let random = RandomState::new().hash_one(attempts) as u32;
    longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Counts what comes, and remembers whether it was the connection that broke.
struct Watched<'a, R> {
    inner: R,
    broke: Cell<Option<io::Error>>,
    bytes: &'a AtomicU64,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer).map_err(|error| {
            let told = io::Error::from(error.kind());
            self.broke.set(Some(error));
            told
        })?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        for attempts in 1..MAX_ATTEMPTS {
            let longest = FIRST_PAUSE * 2u32.pow(attempts - 1);
            for _ in 0..100 {
                let pause = pause(attempts);
                assert!(pause >= longest / 2 && pause <= longest, "{attempts}: {pause:?}");
            }
        }
        assert_ne!(pause(3), pause(3));
    }
}
