//! Properties: reading is total, and what is written is read again as it was.

use buildhook_protocol::{
    Answer, Checked, Digest, EntryName, ErrorBody, ErrorKind, FileRecord, Hello, Hook, Key, Lease,
    Message, PluginInfo, Purpose, Reader, Reason, Request, Scope, Seal, Stored, Unit, Writer,
    frame, seal,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

const MAX: u64 = buildhook_protocol::limits::MAX_INTEGER;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

/// Files with names of their own: unique whatever the rest of the name is.
fn files(at_least: usize) -> impl Strategy<Value = Vec<FileRecord>> {
    let lease = prop_oneof![Just(Lease::Borrowed), Just(Lease::Shared), Just(Lease::Owned)];
    let record = ("[a-zä ]{0,4}", 0..=MAX, digest(), any::<bool>(), lease, "/[^\0]{0,20}");
    vec(record, at_least..4).prop_map(|records| {
        let folders = ["out", "log", "@sign"];
        let file = |(index, (tail, size, digest, executable, lease, path)): (usize, _)| {
            let (tail, path): (String, String) = (tail, path);
            let name = format!("{}/{index}{tail}x", folders[index % 3]);
            let name = EntryName::new(name).unwrap();
            FileRecord { name, path: path.into(), size, digest, executable, lease }
        };
        records.into_iter().enumerate().map(file).collect()
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let who = (".+", ".+").prop_map(|(name, version)| PluginInfo { name, version });
    let hooks = prop_oneof![vec(".*", 0..3).prop_map(Ok), error().prop_map(Err)];
    (vec(any::<u32>(), 1..3), who, hooks, vec(".*", 0..3), 1..=256u32, 0..=MAX).prop_map(
        |(v, plugin, hooks, features, max_in_flight, drain_ms)| {
            let (hooks, error) = match hooks {
                Ok(hooks) => (Some(hooks), None),
                Err(error) => (None, Some(error)),
            };
            Hello { v, plugin, hooks, features, max_in_flight, drain_ms, error }
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let numbers = (any::<u32>(), 1..=MAX, 0..=MAX, option::of(0..=MAX));
    let unit = (option::of(".*"), option::of(".*"), vec(".*", 0..3));
    let purpose = prop_oneof![Just(Purpose::Outputs), Just(Purpose::Inputs), Just(Purpose::Other)];
    (numbers, digest(), unit, "/[^\0]*", option::of(files(1)), purpose, any::<bool>()).prop_map(
        |(
            (v, id, deadline_ms, cost_ms),
            key,
            (name, unit_type, emit),
            scratch,
            built,
            purpose,
            replace,
        )| {
            let key = Key(key);
            let kind = if built.is_some() { Hook::BuiltAThing } else { Hook::WantToBuild };
            let seal = built.as_ref().map(|files| seal(&key, files));
            let files = built.unwrap_or_default();
            let unit = Unit { name, unit_type, emit, ..Unit::default() };
            let (scratch, manifest) = (scratch.into(), files.first().cloned());
            Request {
                v,
                id,
                kind,
                key,
                purpose,
                unit,
                scratch,
                deadline_ms,
                manifest,
                seal,
                files,
                cost_ms,
                replace,
            }
        },
    )
}

fn error() -> impl Strategy<Value = ErrorBody> {
    let scope = prop_oneof![Just(Scope::Request), Just(Scope::Session)];
    (".*", scope, vec(".*", 0..3)).prop_map(|(message, scope, caused_by)| ErrorBody {
        kind: ErrorKind::NoSpace,
        message,
        scope,
        caused_by,
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let id = 1..=MAX;
    let reason = || {
        option::of((".*", option::of(".*")))
            .prop_map(|reason| reason.map(|(code, message)| Reason { code, message }))
    };
    prop_oneof![
        (id.clone(), "[ -~]{1,256}", files(1), option::of(0..=MAX)).prop_map(
            |(id, seal, files, cost_ms)| Answer::Hit { id, seal: Seal(seal), files, cost_ms }
        ),
        (id.clone(), reason()).prop_map(|(id, reason)| Answer::Miss { id, reason }),
        (id, reason(), files(0)).prop_map(|(id, reason, relocated)| Answer::Done {
            id,
            stored: Stored::Later,
            reason,
            relocated
        }),
        (0..=MAX, error()).prop_map(|(id, error)| Answer::Error { id, error }),
    ]
}

/// Any JSON that a message may hold.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..=MAX).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Text that looks like a message until one looks closer.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let (line, any_bytes) = (request(), vec(any::<u8>(), 0..4));
    (line, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any_bytes).prop_map(
        |(request, from, to, bytes)| {
            let line = written(&request);
            let (a, b) = (from.index(line.len()), to.index(line.len()));
            let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 8));
            [&line[..start], &bytes, &line[end..]].concat()
        },
    )
}

fn written<M: Checked>(message: &M) -> Vec<u8> {
    let mut line = Vec::new();
    Writer::new(&mut line).write(message).unwrap();
    line
}

fn round_trip<M>(message: &M)
where
    M: Checked + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let line = written(message);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let read = Reader::new(&line[..]).next_message().unwrap().unwrap();
    assert_eq!(read.parse::<M>().unwrap(), *message);
    assert_eq!(Message::of(message).unwrap(), read);
}

/// Whatever `bytes` are, reading ends, and what was read can be written and read again.
fn read_all(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(message)) = reader.next_message() {
        let again = Reader::new(&written(&message)[..]).next_message().unwrap().unwrap();
        assert_eq!(again, message);
        let _ = (message.parse::<Hello>(), message.parse::<Request>(), message.parse::<Answer>());
    }
}

proptest! {
    #[test]
    fn hellos_round_trip(hello in hello()) { round_trip(&hello); }

    #[test]
    fn requests_round_trip(request in request()) { round_trip(&request); }

    #[test]
    fn answers_round_trip(answer in answer()) { round_trip(&answer); }

    #[test]
    fn any_object_round_trips(members in btree_map(any::<String>(), value(), 0..5)) {
        let members: Map<String, Value> = members.into_iter().collect();
        let line = Value::Object(members.clone()).to_string();
        let message = frame::parse(line.as_bytes()).unwrap();
        prop_assert_eq!(message.members(), &members);
        read_all(&written(&message));
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in vec(any::<u8>(), 0..200)) { read_all(&bytes); }

    #[test]
    fn any_text_is_read_to_an_end(text in "[\\[\\]{}\",:\\\\ u0d8a\n\rtfnl.e-]{0,60}") {
        read_all(text.as_bytes());
    }

    #[test]
    fn damaged_messages_are_read_to_an_end(line in nearly_a_message()) { read_all(&line); }

    #[test]
    fn seals_differ_when_anything_of_the_host_differs(
        key in digest(), other in digest(), files in files(1), which in 0..5
    ) {
        let key = Key(key);
        let original = seal(&key, &files);
        let mut changed = files.clone();
        let changed_seal = match which {
            0 => seal(&Key(other), &files),
            1 => { changed[0].size ^= 1; seal(&key, &changed) }
            2 => { changed[0].digest = other; seal(&key, &changed) }
            3 => { changed[0].executable ^= true; seal(&key, &changed) }
            _ => { changed.remove(0); seal(&key, &changed) }
        };
        prop_assert_ne!(&changed_seal, &original);
        // Neither where the files are nor their order matters, nor those of filters.
        let mut same = files.clone();
        same.reverse();
        for file in &mut same { file.path = "/elsewhere".into(); file.lease = Lease::Shared; }
        same.retain(|file| file.name.is_host_owned());
        prop_assert_eq!(seal(&key, &same), original);
    }
}
