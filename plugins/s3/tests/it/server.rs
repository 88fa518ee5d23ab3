//! A server of S3 in the test's own process, and sessions of the plugin with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use buildhook_sdk::testing::{Fixture, Session};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_buildhook-s3");
pub(crate) const BUCKET: &str = "cache";
pub(crate) const ACCESS_KEY: &str = "AKIATESTTESTTEST0001";
pub(crate) const SECRET: &str = "planted-secret/4f9c1e7ab2";
pub(crate) const TOKEN: &str = "planted-token-83d0c5";

/// A bucket on a server, both of which go with it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    root: tempfile::TempDir,
    runtime: Option<Runtime>,
    pub(crate) fixture: Fixture,
}

impl Server {
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["server", "server/cache", "files", "home"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let files = s3s_fs::FileSystem::new(root.path().join("server")).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET));
        let service = service.build();
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
        let fixture = Fixture::new(&root.path().join("files"));
        Self { address, root, runtime: Some(runtime), fixture }
    }

    /// The plugin with credentials for this server, reached at `address`.
    pub(crate) fn plugin_at(&self, address: SocketAddr, options: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .arg(format!("--endpoint=http://{address}"))
            .args(options);
        if !options.iter().any(|option| option.starts_with("--bucket")) {
            command.args(["--bucket", BUCKET]);
        }
        command
    }

    pub(crate) fn plugin(&self, options: &[&str]) -> Command {
        self.plugin_at(self.address, options)
    }

    pub(crate) fn session(&self, options: &[&str]) -> Session {
        Session::spawn(self.plugin(options))
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.root.path().join("server").join(BUCKET)
    }

    /// The objects below `folder` of the bucket.
    pub(crate) fn objects(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.bucket().join(folder), &mut found);
        found
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

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
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
