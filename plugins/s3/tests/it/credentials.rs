//! Credentials from each source that there is, its service being played by the test; and proxies.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use buildhook_sdk::testing::Session;
use buildhook_stack_tests::tls::Authority;

use super::server::{ACCESS_KEY, Encrypted, SECRET, Server, TOKEN};

/// Of temporary credentials.
const EXPIRY: &str = "2999-01-01T00:00:00Z";
const STS: &str = "sts.amazonaws.com";
const START_URL: &str = "https://example.awsapps.com/start";
/// The SHA-1 of [`START_URL`], by which AWS's tools name what they keep of a login.
const LOGIN: &str = "e8be5486177c5b5392bd9aa76563515b29358e6e.json";

/// A server that does the same for each connection, until it is dropped.
struct Service {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, serve) = (Arc::clone(&is_over), Arc::new(serve));
        let thread = thread::spawn(move || {
            for client in listener.incoming().take_while(|_| !over.load(Ordering::SeqCst)) {
                let serve = Arc::clone(&serve);
                // A client that goes away in the middle is no failure of the test.
                thread::spawn(move || client.and_then(|client| serve(client)));
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A request's head and, where it says how long one is, its body.
fn read_request(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = client.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                return Ok(text);
            }
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What AWS's services answer, to those who know what they have to.
fn answer(request: &str) -> Option<String> {
    let has = |text: &str| request.to_ascii_lowercase().contains(&text.to_ascii_lowercase());
    let (method, rest) = request.split_once(' ')?;
    let (path, _) = rest.split_once(' ')?;
    let keys = format!(
        r#""AccessKeyId":"{ACCESS_KEY}","SecretAccessKey":"{SECRET}","Token":"{TOKEN}","Expiration":"{EXPIRY}""#
    );
    let role = "/latest/meta-data/iam/security-credentials/";
    let is_known = has("x-aws-ec2-metadata-token: of-imds");
    match (method, path) {
        ("GET", "/ecs") if has("authorization: of-ecs") => Some(format!("{{{keys}}}")),
        ("PUT", "/latest/api/token") if has("x-aws-ec2-metadata-token-ttl-seconds: ") => {
            Some("of-imds".to_owned())
        }
        ("GET", path) if path == role && is_known => Some("builder".to_owned()),
        ("GET", path) if path.strip_prefix(role) == Some("builder") && is_known => {
            Some(format!(r#"{{"Code":"Success",{keys}}}"#))
        }
        ("GET", "/sso?role_name=builder&account_id=1") if has("bearer_token: of-sso") => {
            Some(format!(
                r#"{{"roleCredentials":{{"accessKeyId":"{ACCESS_KEY}","secretAccessKey":"{SECRET}","sessionToken":"{TOKEN}","expiration":32472144000000}}}}"#
            ))
        }
        ("POST", "/") if has("AssumeRoleWithWebIdentity") && has("WebIdentityToken=of-ci") => {
            Some(format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
                 <SessionToken>{TOKEN}</SessionToken><Expiration>{EXPIRY}</Expiration></Credentials>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ))
        }
        _ => None,
    }
}

/// The services of AWS that hand out credentials.
fn aws() -> Service {
    Service::start(|mut client| {
        let request = read_request(&mut client)?;
        let (status, body) = match answer(&request) {
            Some(body) => ("200 OK", body),
            None => ("403 Forbidden", request),
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        client.write_all((head + &body).as_bytes())
    })
}

/// A proxy, and the hosts that it was asked for; of these it knows where `name` is, and addresses.
fn proxy(name: &'static str, place: SocketAddr) -> (Service, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let service = Service::start(move |mut client| {
        let request = read_request(&mut client)?;
        let host = request.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(request.starts_with("CONNECT "), "{request}");
        noted.lock().unwrap().push(host.clone());
        let is_known = host.strip_suffix(":443") == Some(name);
        let mut server = TcpStream::connect(if is_known { place } else { host.parse().unwrap() })?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            to_server.shutdown(std::net::Shutdown::Write)
        });
        io::copy(&mut server, &mut client)?;
        client.shutdown(std::net::Shutdown::Both)
    });
    (service, asked)
}

/// The plugin without credentials.
fn bare(server: &Server, options: &[&str]) -> Command {
    let mut command = server.plugin(options);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"] {
        command.env_remove(name);
    }
    command
}

/// Whether an entry can be had with what `command` finds; nothing is said in either case but that
/// there is nothing.
fn assert_finds(server: &Server, command: Command, finds: bool, what: &str) {
    let mut session = Session::spawn(command);
    let hit = session.ask(server.fixture.want("k"));
    let stderr = session.close().1;
    assert_eq!(hit["kind"] == "hit", finds, "{what}: {hit} {stderr}");
    assert_eq!(stderr.contains("no valid credentials were found"), !finds, "{what}: {stderr}");
    for secret in [SECRET, TOKEN, "of-ecs", "of-imds", "of-sso", "of-ci"] {
        assert!(!format!("{hit}{stderr}").contains(secret), "{what}: {hit} {stderr}");
    }
}

#[test]
fn credentials_come_from_a_profile_or_a_process_too() {
    let server = Server::start();
    server.store("k", &[("out/x", b"content", false)], &[]);
    let aws = server.home().join(".aws");
    std::fs::create_dir(&aws).unwrap();
    let script = server.home().join("process");
    let (access_key, secret) = (&server.access_key, &server.secret);
    let answer =
        format!(r#"{{"Version":1,"AccessKeyId":"{access_key}","SecretAccessKey":"{secret}"}}"#);
    std::fs::write(&script, answer).unwrap();
    std::fs::write(
        aws.join("credentials"),
        format!("[team]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n"),
    )
    .unwrap();
    std::fs::write(
        aws.join("config"),
        format!("[profile tool]\ncredential_process = /bin/cat {}\n", script.display()),
    )
    .unwrap();
    for profile in ["team", "tool"] {
        let mut command = server.plugin(&["--profile", profile]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        let mut session = Session::spawn(command);
        let hit = session.ask(server.fixture.want("k"));
        assert_eq!(hit["kind"], "hit", "{profile}: {hit} {}", session.close().1);
    }
}

/// With what lets them in, and with something wrong.
#[test]
fn credentials_come_from_services_of_aws() {
    let server = Server::start();
    if server.is_other {
        // It knows none of these credentials.
        return;
    }
    server.store("k", &[("out/x", b"content", false)], &[]);
    let aws = aws();
    let at = |path: &str| format!("http://{}{path}", aws.address);
    let folder = server.home().join(".aws");
    std::fs::create_dir_all(folder.join("sso/cache")).unwrap();
    let profile = format!(
        "[profile sso]\nsso_start_url = {START_URL}\nsso_region = us-east-1\nsso_account_id = 1\n\
         sso_role_name = builder\n"
    );
    std::fs::write(folder.join("config"), profile).unwrap();
    for is_right in [true, false] {
        let token = |right: &str| if is_right { right.to_owned() } else { format!("not-{right}") };
        let mut ecs = bare(&server, &[]);
        ecs.env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", at("/ecs"))
            .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", token("of-ecs"));
        assert_finds(&server, ecs, is_right, "ECS");

        let mut imds = bare(&server, &[]);
        let place = if is_right { at("") } else { at("/elsewhere") };
        imds.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", place);
        assert_finds(&server, imds, is_right, "IMDSv2");

        let login = token("of-sso");
        let login = format!(r#"{{"accessToken":"{login}","expiresAt":"{EXPIRY}"}}"#);
        std::fs::write(folder.join("sso/cache").join(LOGIN), login).unwrap();
        let mut sso = bare(&server, &["--profile=sso"]);
        sso.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_SSO_ENDPOINT", at("/sso"));
        assert_finds(&server, sso, is_right, "SSO");
    }
}

/// What CI systems give a job is changed into credentials by STS, which is behind a proxy here, and
/// so is the bucket, unless it is said not to be.
#[test]
fn credentials_of_a_web_identity_come_through_a_proxy() {
    let server = Server::start();
    if server.is_other {
        return;
    }
    server.store("k", &[("out/x", b"content", false)], &[]);
    let authority = Authority::new("ours");
    let trusted = server.home().join("authority.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let token = server.home().join("token");
    let aws = aws();
    let sts = Encrypted::start(aws.address, &authority.identity(STS));
    let bucket = server.address.to_string();
    for (given, direct, hosts) in [
        ("of-ci", "", vec![format!("{STS}:443"), bucket]),
        ("of-ci", "127.0.0.1", vec![format!("{STS}:443")]),
        ("not-known", "", vec![format!("{STS}:443")]),
    ] {
        let (proxy, asked) = proxy(STS, sts.address);
        std::fs::write(&token, given).unwrap();
        let mut command = bare(&server, &["--system-certificates"]);
        command
            .env("SSL_CERT_FILE", &trusted)
            .env("HTTPS_PROXY", format!("http://{}", proxy.address))
            .env("NO_PROXY", direct)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ROLE_ARN", "arn:aws:iam::1:role/builder")
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
        assert_finds(&server, command, given == "of-ci", given);
        let mut asked = asked.lock().unwrap().clone();
        // Several connections at once.
        asked.dedup();
        assert_eq!(asked, hosts, "{given} {direct}");
    }
}
