//! Any bytes as a stream of messages.
#![no_main]

use buildhook_protocol::{Answer, Checked, Hello, Message, Reader, Request, Writer, seal};
use libfuzzer_sys::fuzz_target;

fn written<M: Checked>(message: &M) -> Vec<u8> {
    let mut line = Vec::new();
    Writer::new(&mut line).write(message).expect("what was read can be written");
    line
}

fn read(line: &[u8]) -> Message {
    Reader::new(line).next_message().expect("what was written can be read").expect("a message")
}

macro_rules! round_trip {
    ($message:expr, $($type:ty),*) => {$(
        if let Ok(typed) = $message.parse::<$type>() {
            let again = read(&written(&typed)).parse::<$type>().expect("the same view");
            assert_eq!(again, typed);
        }
    )*};
}

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(message)) = reader.next_message() {
        assert_eq!(read(&written(&message)), message);
        round_trip!(message, Hello, Request, Answer);
        if let Ok(request) = message.parse::<Request>() {
            let _ = seal(&request.key, &request.files);
        }
    }
});
