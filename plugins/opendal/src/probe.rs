//! Says hello to a Redis server before `opendal` does.
//!
//! `opendal`'s connections to Redis try for longer than a request lasts, whatever the server
//! says: a wrong password or a server that is not there would look like a slow one.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::fault::UNAUTHORIZED;

/// Longest answer that is looked at, in bytes.
const MAX_ANSWER_BYTES: u64 = 1024;

/// Connects to `authority` and, where no TLS is spoken, gives the password.
pub(crate) async fn redis(
    authority: &str,
    tls: bool,
    user: Option<&str>,
    password: Option<&str>,
) -> opendal::Result<()> {
    match greet(authority, tls, user, password).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(opendal::Error::new(opendal::ErrorKind::PermissionDenied, UNAUTHORIZED)),
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
    let mut stream = TcpStream::connect(authority).await?;
    if tls {
        return Ok(true);
    }
    let words: Vec<&str> = match password {
        None => vec!["PING"],
        Some(password) => std::iter::once("AUTH").chain(user).chain([password]).collect(),
    };
    stream.write_all(command(&words).as_bytes()).await?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER_BYTES)).read_until(b'\n', &mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.as_ref() {
        fine if fine.starts_with('+') => Ok(true),
        other if ["-WRONGPASS", "-NOAUTH", "-ERR AUTH"].iter().any(|no| other.starts_with(no)) => {
            Ok(false)
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
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
