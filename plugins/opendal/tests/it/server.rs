//! Servers of the test's own: on a port of loopback, with all they write in a temporary
//! folder, and killed however the test ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use buildhook_sdk::testing::{Fixture, Session};
use buildhook_stack_tests::tls::Authority;

use super::sasl;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_buildhook-opendal");
pub(crate) const PASSWORD: &str = "planted-password-4f9c1e7ab2";
pub(crate) const VARIABLE: &str = "BUILDHOOK_OPENDAL_PASSWORD";
pub(crate) const USER: &str = "builder";
/// Longer than any server takes to start; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ports that are tried: another process may take one between the look and the start.
const ATTEMPTS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    /// Reached by TLS only.
    RedisTls,
    Memcached,
    /// Wants a password, by SASL.
    MemcachedSasl,
    Webdav,
}

/// A server, and files to store there.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// Of the plugin.
    pub(crate) address: SocketAddr,
    /// Without TLS.
    plain: SocketAddr,
    child: Child,
    root: tempfile::TempDir,
    pub(crate) fixture: Fixture,
}

/// Calls `test` with a fresh server of each kind that is installed.
pub(crate) fn each(test: impl Fn(&mut Server)) {
    for kind in [Kind::Redis, Kind::RedisTls, Kind::Memcached, Kind::MemcachedSasl, Kind::Webdav] {
        if let Some(mut server) = Server::start(kind) {
            test(&mut server);
        }
    }
}

impl Server {
    /// `None`, and a word about it, where the server is not installed.
    fn start(kind: Kind) -> Option<Self> {
        let name = match kind {
            Kind::Redis | Kind::RedisTls => "redis-server",
            Kind::Memcached | Kind::MemcachedSasl => "memcached",
            Kind::Webdav => "lighttpd",
        };
        let Some(program) = find(name) else {
            let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!strict, "{name} is not installed");
            eprintln!("not run: tests that need {name}, which is not installed");
            return None;
        };
        let root = tempfile::tempdir().unwrap();
        for folder in ["dav", "tmp", "files"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        for _ in 0..ATTEMPTS {
            let [plain, encrypted] = free_addresses();
            let address = if kind == Kind::RedisTls { encrypted } else { plain };
            let mut child = launch(kind, &program, [plain, address], root.path());
            if listens(&mut child, address) {
                let fixture = Fixture::new(&root.path().join("files"));
                return Some(Self { kind, address, plain, child, root, fixture });
            }
        }
        let log = std::fs::read_to_string(root.path().join("log")).unwrap_or_default();
        panic!("{name} does not start (is its WebDAV module installed?): {log}");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The variable that names the authority of the server's certificate.
    pub(crate) fn trust(&self) -> Option<(&'static str, PathBuf)> {
        (self.kind == Kind::RedisTls).then(|| ("SSL_CERT_FILE", self.path("authority.pem")))
    }

    pub(crate) fn kill(&mut self) {
        // It may be dead.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The plugin's options for this kind of server at `address`.
    pub(crate) fn options_at(&self, address: SocketAddr) -> Vec<String> {
        let mut options = match self.kind {
            Kind::Redis => vec![format!("--url=redis://{address}")],
            Kind::RedisTls => vec![format!("--url=rediss://{address}")],
            Kind::Memcached | Kind::MemcachedSasl => vec![format!("--url=memcached://{address}")],
            Kind::Webdav => vec![format!("--url=webdav+http://{address}")],
        };
        if matches!(self.kind, Kind::Webdav | Kind::MemcachedSasl) {
            options.push(format!("--user={USER}"));
        }
        options
    }

    /// What the server wants to know.
    pub(crate) fn password(&self) -> Option<&'static str> {
        (self.kind != Kind::Memcached).then_some(PASSWORD)
    }

    pub(crate) fn plugin_at(&self, address: SocketAddr, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().args(self.options_at(address)).args(more);
        // Machines under load wait in vain for long.
        command.envs(self.trust()).arg("--patience-ms=3600000");
        if let Some(password) = self.password() {
            command.env(VARIABLE, password);
        }
        command
    }

    pub(crate) fn session(&self, more: &[&str]) -> Session {
        Session::spawn(self.plugin_at(self.address, more))
    }

    /// Stores `files` in a session of its own, so that they are there for sure.
    pub(crate) fn store(&self, key: &str, files: &[(&str, &[u8], bool)], more: &[&str]) {
        let mut session = self.session(more);
        let files: Vec<_> =
            files.iter().map(|(n, c, executable)| self.fixture.file(n, c, *executable)).collect();
        let done = session.ask(self.fixture.built(key, &files));
        assert_eq!(done["stored"], "later", "{done}");
        let (status, stderr) = session.close();
        assert!(status.success());
        assert_eq!(stderr, "", "{:?}", self.kind);
    }

    /// Puts `content` under the name `object`, past the plugin; `None` removes it.
    pub(crate) fn overwrite(&self, object: &str, content: Option<&str>) {
        let file = self.path("dav").join(object);
        match (self.kind, content) {
            (Kind::Webdav, Some(content)) => std::fs::write(file, content).unwrap(),
            (Kind::Webdav, None) => std::fs::remove_file(file).unwrap(),
            (Kind::Redis | Kind::RedisTls, Some(content)) => {
                let length = content.len();
                let name = format!("${}\r\n{object}", object.len());
                let set = format!("*3\r\n$3\r\nSET\r\n{name}\r\n${length}\r\n{content}");
                self.tell(&[&format!("AUTH {PASSWORD}"), &set]);
            }
            (Kind::Redis | Kind::RedisTls, None) => {
                self.tell(&[&format!("AUTH {PASSWORD}"), &format!("DEL {object}")]);
            }
            (Kind::MemcachedSasl, content) => sasl::overwrite(self.address, object, content),
            (Kind::Memcached, Some(content)) => {
                self.tell(&[&format!("set {object} 0 0 {}\r\n{content}", content.len())]);
            }
            (Kind::Memcached, None) => self.tell(&[&format!("delete {object}")]),
        }
    }

    /// Sends commands, each of which is answered with a line that names no error.
    fn tell(&self, commands: &[&str]) {
        let mut stream = TcpStream::connect(self.plain).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        for command in commands {
            stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            answers.read_line(&mut answer).unwrap();
            assert!(["+OK", ":1", "STORED", "DELETED"].contains(&answer.trim_end()), "{answer}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where people's PATH does not lead.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// At the first address, and with TLS at the second one.
fn launch(kind: Kind, program: &Path, addresses: [SocketAddr; 2], root: &Path) -> Child {
    let [port, tls_port] = &addresses.map(|address| address.port().to_string());
    // The system kills the server should the test be killed.
    let mut command = match find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    match kind {
        Kind::Redis | Kind::RedisTls => command
            .args(["--bind", "127.0.0.1", "--port", port, "--requirepass", PASSWORD])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(root)
            .args(if kind == Kind::RedisTls { tls(root, tls_port) } else { Vec::new() }),
        // Root has to name the user that it runs as.
        Kind::Memcached | Kind::MemcachedSasl => {
            if kind == Kind::MemcachedSasl {
                command.arg("-S").env("SASL_CONF_PATH", sasl::configure(root));
            }
            command.args(["-l", "127.0.0.1", "-p", port, "-U", "0", "-u", "root"])
        }
        Kind::Webdav => {
            let config = root.join("lighttpd.conf");
            std::fs::write(root.join("users"), format!("{USER}:{PASSWORD}\n")).unwrap();
            std::fs::write(&config, lighttpd(root, port)).unwrap();
            command.arg("-D").arg("-f").arg(config)
        }
    };
    let log = std::fs::File::create(root.join("log")).unwrap();
    let command = command.current_dir(root).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// The options of Redis for TLS, with a certificate of its own.
fn tls(root: &Path, port: &str) -> Vec<String> {
    let authority = Authority::new("ours");
    let identity = authority.identity("127.0.0.1");
    let file = |name: &str, content: &str| {
        std::fs::write(root.join(name), content).unwrap();
        root.join(name).display().to_string()
    };
    let authority = file("authority.pem", authority.pem());
    let certificate = file("certificate.pem", &identity.certificate_pem);
    let key = file("key.pem", &identity.key_pem);
    let options = [
        ("port", port),
        ("cert-file", &certificate),
        ("key-file", &key),
        ("ca-cert-file", &authority),
        ("auth-clients", "no"),
    ];
    options
        .iter()
        .flat_map(|(name, value)| [format!("--tls-{name}"), (*value).to_owned()])
        .collect()
}

fn lighttpd(root: &Path, port: &str) -> String {
    let root = root.display();
    format!(
        r#"server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{root}/dav"
server.upload-dirs = ("{root}/tmp")
server.modules = ("mod_auth", "mod_authn_file", "mod_webdav")
webdav.activate = "enable"
server.stat-cache-engine = "disable"
auth.backend = "plain"
auth.backend.plain.userfile = "{root}/users"
auth.require = ("/" => ("method" => "basic", "realm" => "cache", "require" => "valid-user"))
"#
    )
}

/// Waits until the server listens; false when it has ended.
fn listens(child: &mut Child, address: SocketAddr) -> bool {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(started.elapsed() < PATIENCE, "the server does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Whoever has taken the port before answers too.
    child.try_wait().unwrap().is_none()
}

/// Bytes that differ by `seed`.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..size).map(next).collect()
}
