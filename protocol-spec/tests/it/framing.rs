//! Lines on a stream: their ends, their bounds, and what becomes of the stream.

use std::io::{self, Read};

use buildhook_protocol::limits::{MAX_FILES, MAX_INTEGER, MAX_LINE_BYTES};
use buildhook_protocol::{
    Digest, EntryName, FileRecord, FrameError, Hello, Key, Lease, Message, Reader, Request, Unit,
    Writer, seal,
};
use serde_json::json;

fn messages(stream: &[u8]) -> Vec<Result<Message, FrameError>> {
    let mut reader = Reader::new(stream);
    let mut all = Vec::new();
    loop {
        match reader.next_message() {
            Ok(None) => return all,
            Ok(Some(message)) => all.push(Ok(message)),
            Err(error) => {
                all.push(Err(error));
                return all;
            }
        }
    }
}

#[test]
fn lines_end_in_a_line_feed() {
    assert!(messages(b"").is_empty());
    assert_eq!(messages(b"{\"id\":1}\n{\"id\":2}\n").len(), 2);
    for carriage in [&b"{\"id\":1}\r\n{\"id\":2}\r\n"[..], b"{\"id\":1}\r\n\t{\"id\":2} \r\r\n"] {
        let ids: Vec<_> = messages(carriage).into_iter().map(|m| m.unwrap().id()).collect();
        assert_eq!(ids, [Some(1), Some(2)]);
    }
    for cut in [&b"{"[..], b"{}", b"{}\r", b"\xff", b" "] {
        assert!(matches!(messages(cut)[..], [Err(FrameError::Truncated)]), "{cut:?}");
    }
    for noise in [&b"\n"[..], b"\r\n", b"starting...\n", b"{}{}\n", b"{\n}\n", b"\xff\n"] {
        assert!(matches!(messages(noise)[..], [Err(FrameError::Malformed(_))]), "{noise:?}");
    }
    assert!(matches!(messages(b"{}\n{}")[..], [Ok(_), Err(FrameError::Truncated)]));
}

/// A line of `bytes` bytes, its line feed included.
fn line_of(bytes: usize) -> Vec<u8> {
    let mut line = vec![b'x'; bytes];
    line[..6].copy_from_slice(b"{\"a\":\"");
    line[bytes - 3..].copy_from_slice(b"\"}\n");
    line
}

#[test]
fn a_line_has_a_bound() {
    assert!(matches!(messages(&line_of(MAX_LINE_BYTES - 1))[..], [Ok(_)]));
    assert!(matches!(messages(&line_of(MAX_LINE_BYTES))[..], [Ok(_)]));
    assert!(matches!(messages(&line_of(MAX_LINE_BYTES + 1))[..], [Err(FrameError::TooLong)]));
    let cut = &line_of(MAX_LINE_BYTES + 1)[..MAX_LINE_BYTES];
    assert!(matches!(messages(cut)[..], [Err(FrameError::Truncated)]));
}

#[test]
fn an_endless_line_is_given_up_at_the_bound() {
    let mut counted = Counted { read: 0 };
    assert!(matches!(Reader::new(&mut counted).next_message(), Err(FrameError::TooLong)));
    assert!(counted.read < MAX_LINE_BYTES + 64 * 1024, "{}", counted.read);
}

/// Gives blanks for ever.
struct Counted {
    read: usize,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b' ');
        self.read += buffer.len();
        Ok(buffer.len())
    }
}

/// Gives one byte at a time, with an interruption before each.
struct Slow<'a> {
    bytes: &'a [u8],
    interrupted: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.bytes.read(&mut buffer[..1])
    }
}

#[test]
fn a_slow_stream_gives_the_same_messages() {
    let bytes = b"{\"id\":1}\n{\"id\":2}\n";
    let mut reader = Reader::new(Slow { bytes, interrupted: false });
    assert_eq!(reader.next_message().unwrap().unwrap().id(), Some(1));
    assert_eq!(reader.next_message().unwrap().unwrap().id(), Some(2));
    assert!(reader.next_message().unwrap().is_none());
}

fn files(count: usize) -> Vec<FileRecord> {
    let record = |index| FileRecord {
        name: EntryName::new(format!("out/{index}")).unwrap(),
        path: "/f".into(),
        size: 0,
        digest: Digest::of(b""),
        executable: false,
        lease: Lease::Borrowed,
    };
    (0..count).map(record).collect()
}

fn request(files: Vec<FileRecord>) -> Request {
    let key = Key(Digest::of(b"abc"));
    Request {
        v: 1,
        id: 1,
        kind: buildhook_protocol::Hook::BuiltAThing,
        key,
        purpose: Default::default(),
        unit: Unit::default(),
        scratch: "/s".into(),
        deadline_ms: 1,
        manifest: None,
        seal: Some(seal(&key, &files)),
        files,
        cost_ms: None,
        replace: false,
    }
}

#[test]
fn a_list_of_files_has_a_bound() {
    for (count, fits) in [(MAX_FILES - 1, true), (MAX_FILES, true), (MAX_FILES + 1, false)] {
        let mut line = Vec::new();
        let written = Writer::new(&mut line).write(&request(files(count)));
        assert_eq!(written.is_ok(), fits, "{count}");
        assert_eq!(line.is_empty(), !fits);

        for list in ["files", "relocated"] {
            let raw = format!("{{\"{list}\":[{}1]}}\n", "1,".repeat(count - 1));
            let message = messages(raw.as_bytes()).remove(0);
            assert_eq!(message.is_ok(), fits, "{count} {list}");
            if let Err(error) = message {
                assert!(matches!(error, FrameError::TooManyFiles), "{error}");
            }
        }
    }
}

#[test]
fn nothing_is_written_that_would_be_refused() {
    let message = |members: serde_json::Value| {
        let mut message = Message::of(&request(files(1))).unwrap();
        message.members_mut().clear();
        message.members_mut().insert("x".to_owned(), members);
        message
    };
    let mut nested = json!(1);
    for _ in 0..31 {
        nested = json!([nested]);
    }
    let cases = [
        (message(json!(MAX_INTEGER)), true),
        (message(json!(MAX_INTEGER + 1)), false),
        (message(json!([{"y": -1}])), false),
        (message(json!(0.5)), false),
        (message(nested.clone()), true),
        (message(json!([nested])), false),
        (message(json!("x".repeat(MAX_LINE_BYTES - 9))), true),
        (message(json!("x".repeat(MAX_LINE_BYTES - 8))), false),
    ];
    for (message, fits) in cases {
        let mut line = Vec::new();
        let written = Writer::new(&mut line).write(&message);
        let start = &message.members()["x"].to_string()[..1];
        assert_eq!(written.is_ok(), fits, "{start}");
        match written {
            Ok(()) => assert_eq!(messages(&line).remove(0).unwrap(), message),
            Err(error) => {
                assert_eq!((error.kind(), line.len()), (io::ErrorKind::InvalidInput, 0));
            }
        }
    }
}

#[test]
fn a_message_is_one_write_and_flushed() {
    #[derive(Default)]
    struct Sink {
        calls: Vec<&'static str>,
    }
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls.push("write");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.calls.push("flush");
            Ok(())
        }
    }
    let mut sink = Sink::default();
    let hello: Hello = serde_json::from_value(json!({
        "v": [1], "plugin": {"name": "p", "version": "1"}, "hooks": []
    }))
    .unwrap();
    Writer::new(&mut sink).write(&hello).unwrap();
    assert_eq!(sink.calls, ["write", "flush"]);
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_unicode_is_not_written() {
    use std::os::unix::ffi::OsStrExt;
    let mut request = request(files(1));
    request.scratch = std::ffi::OsStr::from_bytes(b"/\xff").into();
    let mut line = Vec::new();
    let error = Writer::new(&mut line).write(&request).unwrap_err();
    assert_eq!((error.kind(), line.len()), (io::ErrorKind::InvalidInput, 0));
    assert!(Message::of(&request).is_err());
}
