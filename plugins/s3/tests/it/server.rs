//! A server of S3 in the test's own process, and sessions of the plugin with it; or, where
//! [`OTHER`] names one, another server that is there already, where every test works below a
//! prefix of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use buildhook_sdk::testing::{Fixture, Session};
use buildhook_stack_tests::tls::Identity;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::objects::Objects;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_buildhook-s3");
pub(crate) const BUCKET: &str = "cache";
/// `ADDRESS REGION ACCESS_KEY SECRET` of a server with a bucket [`BUCKET`]; see servers.sh.
pub(crate) const OTHER: &str = "BUILDHOOK_S3_TEST_SERVER";
pub(crate) const ACCESS_KEY: &str = "AKIATESTTESTTEST0001";
pub(crate) const SECRET: &str = "planted-secret/4f9c1e7ab2";
pub(crate) const TOKEN: &str = "planted-token-83d0c5";

/// A bucket on a server, both of which go with it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    root: tempfile::TempDir,
    runtime: Option<Runtime>,
    requests: Arc<AtomicU64>,
    pub(crate) fixture: Fixture,
    pub(crate) objects: Objects,
    /// Not that of this process.
    pub(crate) is_other: bool,
    pub(crate) access_key: String,
    pub(crate) secret: String,
    region: Option<String>,
    /// What comes before every prefix.
    prefix: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        match std::env::var(OTHER) {
            Ok(words) => Self::other(&words),
            Err(_) => Self::own(),
        }
    }

    fn other(words: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let [address, region, access_key, secret] =
            words.split(' ').collect::<Vec<_>>().try_into().expect("four words");
        let root = tempfile::tempdir().unwrap();
        for folder in ["files", "home"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let prefix = format!("{now}-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let bucket = format!("http://{address}/{BUCKET}");
        Self {
            address: address.parse().unwrap(),
            runtime: None,
            requests: Arc::default(),
            fixture: Fixture::new(&root.path().join("files")),
            objects: Objects::at(bucket, access_key, secret, region, prefix.clone()),
            is_other: true,
            access_key: access_key.to_owned(),
            secret: secret.to_owned(),
            region: Some(region.to_owned()),
            prefix,
            root,
        }
    }

    fn own() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["server", "server/cache", "files", "home"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let files = s3s_fs::FileSystem::new(root.path().join("server")).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET));
        let requests = Arc::new(AtomicU64::new(0));
        let service = Counting { inner: service.build(), requests: Arc::clone(&requests) };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    // A connection that a test breaks is no failure of the server.
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self {
            address,
            runtime: Some(runtime),
            requests,
            fixture: Fixture::new(&root.path().join("files")),
            objects: Objects::Folder(root.path().join("server").join(BUCKET)),
            is_other: false,
            access_key: ACCESS_KEY.to_owned(),
            secret: SECRET.to_owned(),
            region: None,
            prefix: String::new(),
            root,
        }
    }

    /// The plugin with credentials for this server, reached at `address`.
    pub(crate) fn plugin_at(&self, address: SocketAddr, options: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("AWS_ACCESS_KEY_ID", &self.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.region());
        // A word that a test leaves out.
        let says = |word: &str| options.iter().any(|option| option.starts_with(word));
        if !says("--endpoint") {
            command.arg(format!("--endpoint=http://{address}"));
        }
        if !says("--bucket") {
            command.args(["--bucket", BUCKET]);
        }
        // Machines under load wait in vain for long: whether that matters is for some tests to say.
        if !says("--patience-ms") {
            command.arg("--patience-ms=3600000");
        }
        if !says("--prefix") && self.is_other {
            command.arg(format!("--prefix={}", self.prefix));
        }
        command.args(options.iter().map(|option| match option.strip_prefix("--prefix=") {
            Some(prefix) => format!("--prefix={}", self.prefixed(prefix)),
            None => (*option).to_owned(),
        }));
        command
    }

    pub(crate) fn plugin(&self, options: &[&str]) -> Command {
        self.plugin_at(self.address, options)
    }

    pub(crate) fn session(&self, options: &[&str]) -> Session {
        Session::spawn(self.plugin(options))
    }

    /// The same server, reached by TLS under this identity.
    pub(crate) fn encrypted(&self, identity: &Identity) -> Encrypted {
        Encrypted::start(self.address, identity)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// What is to be said as prefix for what this test calls so.
    pub(crate) fn prefixed(&self, prefix: &str) -> String {
        if self.is_other {
            format!("{}/{}", self.prefix, prefix.trim_matches('/'))
        } else {
            prefix.to_owned()
        }
    }

    /// The variable that says which region it wants to be called.
    pub(crate) fn region(&self) -> Option<(&'static str, &str)> {
        self.region.as_deref().map(|region| ("AWS_REGION", region))
    }

    /// The objects below `folder`.
    pub(crate) fn objects(&self, folder: &str) -> Vec<String> {
        self.objects.names(folder)
    }

    /// Stores `files` in a session of its own, so that they are in the bucket for sure.
    pub(crate) fn store(&self, key: &str, files: &[(&str, &[u8], bool)], options: &[&str]) {
        let mut session = self.session(options);
        let files: Vec<_> = files
            .iter()
            .map(|(name, content, executable)| self.fixture.file(name, content, *executable))
            .collect();
        let done = session.ask(self.fixture.built(key, &files));
        assert_eq!(done["stored"], "later", "{done}");
        let (status, stderr) = session.close();
        assert!(status.success());
        assert_eq!(stderr, "");
    }
}

/// TLS in front of a server.
pub(crate) struct Encrypted {
    pub(crate) address: SocketAddr,
    /// Ends it.
    _runtime: Runtime,
}

impl Encrypted {
    /// In front of `server`, under this identity.
    pub(crate) fn start(server: SocketAddr, identity: &Identity) -> Self {
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![identity.certificate.clone().into()],
                PrivateKeyDer::Pkcs8(identity.key.clone().into()),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust it goes away.
                    let Ok(mut client) = acceptor.accept(socket).await else { return };
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, _runtime: runtime }
    }
}

/// Passes requests on and counts them.
#[derive(Clone)]
struct Counting<S> {
    inner: S,
    requests: Arc<AtomicU64>,
}

impl<R, S: Service<R>> Service<R> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> Self::Future {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.inner.call(request)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Bytes that do not compress well and differ by `seed`.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect()
}
