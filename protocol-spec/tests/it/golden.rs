//! Replays the transcripts, and finds what SPEC.md quotes in them.

use std::fs;
use std::path::Path;

use buildhook_protocol::{
    Answer, Checked, Digest, FileRecord, Key, Lease, Message, Request, Seal, Writer, seal,
};

use crate::transcript::{self, Speaker, Transcript, Typed};

/// Messages that are not as this crate writes them, with the reason.
fn is_canonical(transcript: &Transcript, line: &str) -> bool {
    match transcript.name.as_str() {
        // Other orders and escapes, words of later versions.
        "unknown-fields" => false,
        "escapes" => !line.contains("\\u"),
        "unknown-kind" => !line.contains("graph"),
        // Members that only a `Message` keeps.
        "filter-above" | "filter-below" => !line.contains("\"x-"),
        _ => true,
    }
}

/// Lines that are there to be refused.
fn is_refused(transcript: &Transcript, line: &str) -> bool {
    match transcript.name.as_str() {
        "error-unreadable" => line == r#"{"v":1,"id":1,"id":2}"#,
        "unknown-kind" => line.contains(r#""kind":"prefetch""#),
        _ => false,
    }
}

fn written<M: Checked>(message: &M) -> String {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).write(message).unwrap();
    assert_eq!(bytes.pop(), Some(b'\n'));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_message_parses_and_is_written_again_as_it_was() {
    for transcript in transcript::all() {
        for (line, typed) in transcript.typed() {
            let place = format!("{}: {line}", transcript.name);
            if is_refused(&transcript, line) {
                assert!(typed.is_err(), "{place}");
                continue;
            }
            let again = match typed.unwrap_or_else(|error| panic!("{error}: {place}")) {
                Typed::Hello(hello) => written(&hello),
                Typed::Request(request) => written(request.as_ref()),
                Typed::Answer(answer) => written(&answer),
            };
            assert_eq!(again == line, is_canonical(&transcript, line), "{place}\n{again}");
            // A filter's view keeps every member, in whatever order it writes them.
            let message = transcript::message(line);
            assert_eq!(transcript::message(&written(&message)), message, "{place}");
        }
    }
}

#[test]
fn sessions_keep_the_order_of_the_protocol() {
    for transcript in transcript::all() {
        let (first, _) = &transcript.messages[0];
        assert_eq!(*first, Speaker::Plugin, "{}: the plugin speaks first", transcript.name);
        let mut open = Vec::new();
        for (line, typed) in transcript.typed() {
            let place = format!("{}: {line}", transcript.name);
            match typed {
                Ok(Typed::Request(request)) => {
                    assert!(!open.contains(&request.id), "{place}");
                    open.push(request.id);
                }
                Ok(Typed::Answer(answer)) if answer.id() != 0 => {
                    let index = open.iter().position(|id| *id == answer.id());
                    open.remove(index.unwrap_or_else(|| panic!("not asked: {place}")));
                }
                Err(_) => open.extend(transcript_id(line)),
                Ok(_) => {}
            }
        }
        assert!(open.is_empty(), "{}: {open:?} have no answer", transcript.name);
        let (last, exit) = transcript.events.last().unwrap();
        assert!(*last == Speaker::Plugin && exit.starts_with("(exits with code "), "{exit}");
    }
}

/// The id of a request that has no typed view.
fn transcript_id(line: &str) -> Option<u64> {
    buildhook_protocol::frame::parse(line.as_bytes()).ok()?.id()
}

/// The files of a message with the key and seal that they are stored under.
fn entries(transcript: &Transcript) -> Vec<(Key, Seal, Vec<FileRecord>)> {
    let mut requests: Vec<Request> = Vec::new();
    let mut entries = Vec::new();
    for (_, typed) in transcript.typed() {
        match typed {
            Ok(Typed::Request(request)) => {
                if let Some(seal) = request.seal.clone() {
                    entries.push((request.key, seal, request.files.clone()));
                }
                requests.push(*request);
            }
            Ok(Typed::Answer(Answer::Hit { id, seal, files, .. })) => {
                let request = requests.iter().find(|request| request.id == id).unwrap();
                entries.push((request.key, seal, files));
            }
            _ => {}
        }
    }
    entries
}

#[test]
fn seals_and_digests_are_right() {
    let known = [(3, Digest::of(b"abc")), (0, Digest::of(b""))];
    let mut seen = 0;
    for transcript in transcript::all() {
        for (key, claimed, files) in entries(&transcript) {
            assert_eq!(seal(&key, &files), claimed, "{}", transcript.name);
            for file in &files {
                assert!(known.contains(&(file.size, file.digest)), "{}", transcript.name);
            }
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn a_manifest_is_what_its_key_is_the_digest_of() {
    let transcript = transcript::named("manifest");
    let requests = transcript.typed().into_iter().filter_map(|(_, typed)| match typed {
        Ok(Typed::Request(request)) => Some(request),
        _ => None,
    });
    for request in requests {
        let manifest = request.manifest.unwrap();
        assert_eq!((Key(manifest.digest), manifest.lease), (request.key, Lease::Borrowed));
    }
}

#[test]
fn escapes_change_nothing() {
    let transcript = transcript::named("escapes");
    let mut requests: Vec<Message> = Vec::new();
    for (speaker, line) in &transcript.messages {
        if *speaker == Speaker::Host {
            let mut message = transcript::message(line);
            message.members_mut().remove("id");
            requests.push(message);
        }
    }
    assert_eq!(requests[0], requests[1]);
}

/// What a filter changes from hop to hop, and what it does not.
#[test]
fn the_two_hops_of_a_filter_belong_together() {
    let (above, below) = (transcript::named("filter-above"), transcript::named("filter-below"));
    assert_eq!(above.messages.len(), below.messages.len());
    for ((who, up), (_, down)) in above.messages.iter().zip(&below.messages).skip(1) {
        let (up, down) = (transcript::message(up), transcript::message(down));
        for (name, value) in up.members() {
            let other = &down.members()[name];
            match name.as_str() {
                "id" => {}
                "deadline-ms" => assert!(other.as_u64() < value.as_u64()),
                "files" => {
                    let (own, more) = (value.as_array().unwrap(), other.as_array().unwrap());
                    assert_eq!(own[..], more[..own.len()]);
                    let added = more[own.len()]["name"].as_str().unwrap();
                    assert!(added.starts_with("@sign/"), "{who:?} {added}");
                }
                _ => assert_eq!(value, other, "{name}"),
            }
        }
    }
}

/// Fenced blocks of SPEC.md with a language, or without one.
fn fences(tagged: bool) -> Vec<String> {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("SPEC.md");
    let spec = fs::read_to_string(spec).unwrap();
    let blocks = spec.split("\n```").skip(1).step_by(2);
    let wanted = blocks.filter(|block| block.starts_with('\n') != tagged);
    wanted.map(|block| block.split_once('\n').unwrap().1.to_owned()).collect()
}

#[test]
fn every_example_of_the_spec_is_from_a_transcript() {
    let transcripts = transcript::all();
    let examples = fences(false);
    assert!(!examples.is_empty());
    for example in examples {
        assert!(
            transcripts.iter().any(|transcript| transcript.text.contains(&example)),
            "no transcript holds\n{example}"
        );
    }
}

/// SPEC.md §11 spells out the text of one seal: that of `hit.transcript`.
#[test]
fn the_seal_of_the_spec_is_the_one_of_the_transcript() {
    let texts = fences(true);
    let example = texts.iter().find(|text| text.starts_with("buildhook-seal-v1\nblake3:"));
    let (_, sealed, _) = entries(&transcript::named("hit")).remove(0);
    assert_eq!(Digest::of(format!("{}\n", example.unwrap()).as_bytes()).to_string(), {
        let Seal(text) = sealed;
        text
    });
}
