//! Says hello to a Redis server before `opendal` does.
//!
//! `opendal`'s connections to Redis try for longer than a request lasts, whatever the server
//! says: a wrong password or a server that is not there would look like a slow one.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fault::{UNAUTHORIZED, UNTRUSTED};

/// Longest answer that is looked at, in bytes.
const MAX_ANSWER_BYTES: u64 = 1024;

/// Connects to `authority` and gives the password.
pub(crate) async fn redis(
    authority: &str,
    tls: bool,
    user: Option<&str>,
    password: Option<&str>,
) -> opendal::Result<()> {
    match greet(authority, tls, user, password).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(opendal::Error::new(opendal::ErrorKind::PermissionDenied, UNAUTHORIZED)),
        // What rustls says of a certificate.
        Err(error) if error.kind() == io::ErrorKind::InvalidData && tls => {
            Err(opendal::Error::new(opendal::ErrorKind::ConfigInvalid, UNTRUSTED))
        }
        Err(_) => {
            let error = opendal::Error::new(opendal::ErrorKind::Unexpected, "no connection");
            Err(error.set_temporary())
        }
    }
}

/// Whether the server takes the password.
async fn greet(
    authority: &str,
    tls: bool,
    user: Option<&str>,
    password: Option<&str>,
) -> io::Result<bool> {
    let stream = TcpStream::connect(authority).await?;
    let words: Vec<&str> = match password {
        None => vec!["PING"],
        Some(password) => std::iter::once("AUTH").chain(user).chain([password]).collect(),
    };
    if !tls {
        return is_taken(stream, &words).await;
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name =
        ServerName::try_from(host).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    is_taken(connector().connect(name, stream).await?, &words).await
}

/// With the system's certificates, as `opendal` has it.
fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    // With none that can be read nothing is trusted, which is told.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Whether the answer to a command is a good one.
async fn is_taken(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    words: &[&str],
) -> io::Result<bool> {
    stream.write_all(command(words).as_bytes()).await?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER_BYTES)).read_until(b'\n', &mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.as_ref() {
        fine if fine.starts_with('+') => Ok(true),
        other if ["-WRONGPASS", "-NOAUTH", "-ERR AUTH"].iter().any(|no| other.starts_with(no)) => {
            Ok(false)
        }
        _ => Err(io::ErrorKind::Other.into()),
    }
}

/// A command of the protocol of Redis.
fn command(words: &[&str]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text
}
