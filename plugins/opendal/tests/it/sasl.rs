//! What memcached needs to ask for passwords: a configuration of SASL, somebody who knows the
//! right one (in the place of `saslauthd`), and a client that gives it.

use std::fs;
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::server::{PASSWORD, USER};

/// Requests of memcached's binary protocol, and their length without key and value.
const SET: u8 = 0x01;
const DELETE: u8 = 0x04;
const AUTHENTICATE: u8 = 0x21;
const HEADER_BYTES: usize = 24;

/// The folder of a configuration below `root`, by which a thread of this process is asked.
pub(crate) fn configure(root: &Path) -> PathBuf {
    let (folder, socket) = (root.join("sasl"), root.join("mux"));
    // It may be there from an earlier attempt to start.
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "pwcheck_method: saslauthd\nsaslauthd_path: {}\nmech_list: plain\n",
        socket.display()
    );
    fs::write(folder.join("memcached.conf"), text).unwrap();
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // memcached is killed whenever a test likes.
            let _ = answer(client);
        }
    });
    folder
}

/// Name, password, service and realm, each with its length; the answer likewise.
fn answer(mut client: UnixStream) -> io::Result<()> {
    let mut words = Vec::new();
    for _ in 0..4 {
        let mut length = [0; 2];
        client.read_exact(&mut length)?;
        let mut word = vec![0; u16::from_be_bytes(length).into()];
        client.read_exact(&mut word)?;
        words.push(word);
    }
    let is_right = words[0] == USER.as_bytes() && words[1] == PASSWORD.as_bytes();
    client.write_all(if is_right { b"\0\x02OK" } else { b"\0\x02NO" })
}

/// Puts `content` under the name `object`, or removes it.
pub(crate) fn overwrite(address: SocketAddr, object: &str, content: Option<&str>) {
    let mut stream = TcpStream::connect(address).unwrap();
    ask(&mut stream, AUTHENTICATE, &[], "PLAIN", &format!("\0{USER}\0{PASSWORD}"));
    match content {
        // Flags and expiry.
        Some(content) => ask(&mut stream, SET, &[0; 8], object, content),
        None => ask(&mut stream, DELETE, &[], object, ""),
    }
}

fn ask(stream: &mut TcpStream, operation: u8, extras: &[u8], key: &str, value: &str) {
    let mut header = [0; HEADER_BYTES];
    let total = u32::try_from(extras.len() + key.len() + value.len()).unwrap();
    header[..2].copy_from_slice(&[0x80, operation]);
    header[2..4].copy_from_slice(&u16::try_from(key.len()).unwrap().to_be_bytes());
    header[4] = u8::try_from(extras.len()).unwrap();
    header[8..12].copy_from_slice(&total.to_be_bytes());
    stream.write_all(&[&header, extras, key.as_bytes(), value.as_bytes()].concat()).unwrap();
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[6..8], [0, 0], "the status of {operation}");
    let length = u32::from_be_bytes(header[8..12].try_into().unwrap());
    io::copy(&mut stream.take(length.into()), &mut io::sink()).unwrap();
}
