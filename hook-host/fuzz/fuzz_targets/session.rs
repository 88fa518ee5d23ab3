//! Any bytes as what a plugin writes: the host comes back in time, restores nothing that is
//! not what was sealed, and touches no file but those that it may.
//!
//! The first line is the hello; each further one is written when a request has been read, so
//! that ids can fit. `@S` and `@P` in a line become the request's scratch folder and a folder
//! of the plugin's; a file `f` lies in each.
#![no_main]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildhook_host::{
    Ask, Built, Entry, Hooks, Host, Launch, Limits, Lookup, OfferedFile, Streams,
};
use buildhook_protocol::{Digest, EntryName, Key, Lease, Purpose, Unit};
use libfuzzer_sys::fuzz_target;

/// The content of the plugin's file, and of the one that is offered to it.
const CONTENT: &[u8] = b"abc";
/// Requests in one session.
const ASKED: usize = 3;
/// Every limit together is far below this.
const LONGEST: Duration = Duration::from_secs(15);

fuzz_target!(|script: &[u8]| {
    let root = tempfile::tempdir().expect("a folder");
    let plugins = root.path().join("plugin");
    fs::create_dir(&plugins).expect("a folder");
    fs::write(plugins.join("f"), CONTENT).expect("a file");
    let mine = root.path().join("mine");
    fs::write(&mine, CONTENT).expect("a file");

    let started = Instant::now();
    let host = Host::new(Hooks::both(plugin(script.to_vec(), plugins.clone())), limits());
    for _ in 0..ASKED {
        one_unit(&host, root.path(), &mine);
    }
    host.close();
    assert!(started.elapsed() < LONGEST, "the host waited");
    assert_eq!(fs::read(plugins.join("f")).expect("it stays"), CONTENT);
    assert_eq!(fs::read(&mine).expect("it stays"), CONTENT);
});

/// Nothing is waited for long: a plugin here answers at once or never will.
fn limits() -> Limits {
    let short = Duration::from_millis(50);
    Limits {
        hello: short,
        want: short,
        built: short,
        drain: short,
        exit: short,
        ..Limits::default()
    }
}

/// Asks for a unit, restores what comes, and offers it.
fn one_unit(host: &Host, root: &Path, mine: &Path) {
    let unit = Unit::default();
    let scratch_root = root.join("scratch");
    let ask = Ask {
        key: Key(Digest::of(b"key")),
        purpose: Purpose::Outputs,
        unit: &unit,
        scratch_root: &scratch_root,
        manifest: None,
    };
    if let Lookup::Hit(entry) = host.want_to_build(&ask) {
        restore(&entry, &root.join("target"));
    }
    let file = OfferedFile {
        name: EntryName::new("out/f").expect("a name"),
        path: mine.to_owned(),
        size: CONTENT.len() as u64,
        digest: Digest::of(CONTENT),
        executable: false,
        lease: Lease::Borrowed,
    };
    let files = [file];
    let _ = host.built_a_thing(&ask, &Built { files: &files, cost_ms: None, replace: false });
}

fn restore(entry: &Entry, target: &Path) {
    let numbered = entry.files().iter().enumerate();
    let plan: Vec<_> =
        numbered.map(|(index, file)| (file.name.clone(), target.join(index.to_string()))).collect();
    fs::create_dir_all(target).expect("a folder");
    if let Ok(restored) = entry.restore(&plan) {
        for (file, claimed) in restored.iter().zip(entry.files()) {
            let content = fs::read(&file.path).expect("what was restored");
            assert_eq!(content.len() as u64, claimed.size);
            assert_eq!(Digest::of(&content), claimed.digest);
        }
    }
    let left = fs::read_dir(target).expect("the folder").count();
    assert!(left == 0 || left == plan.len(), "all files or none");
    fs::remove_dir_all(target).expect("it can be removed");
}

/// A plugin in memory that keeps to the script.
fn plugin(script: Vec<u8>, folder: PathBuf) -> Launch {
    Launch::InMemory(Arc::new(move || -> io::Result<Streams> {
        // Sockets: a fuzzer's process, unlike a program in Rust, is ended by the signal that
        // comes of writing to a closed pipe.
        let (output, theirs) = UnixStream::pair()?;
        let (requests, input) = UnixStream::pair()?;
        let (script, folder) = (script.clone(), folder.clone());
        std::thread::spawn(move || {
            // The host may have closed its ends long before.
            let _ = perform(&script, &folder, BufReader::new(requests), theirs);
        });
        Ok((Box::new(output), Box::new(input)))
    }))
}

fn perform(
    script: &[u8],
    folder: &Path,
    mut requests: BufReader<UnixStream>,
    mut output: UnixStream,
) -> io::Result<()> {
    let mut scratch = String::new();
    for (index, line) in script.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            let mut request = Vec::new();
            if requests.read_until(b'\n', &mut request)? == 0 {
                return Ok(());
            }
            let request: serde_json::Value = serde_json::from_slice(&request)?;
            scratch = request["scratch"].as_str().unwrap_or_default().to_owned();
            fs::write(Path::new(&scratch).join("f"), CONTENT)?;
        }
        output.write_all(&placed(line, scratch.as_bytes(), folder))?;
    }
    Ok(())
}

/// `line` with the two folders in place of their marks.
fn placed(line: &[u8], scratch: &[u8], folder: &Path) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((first, behind)) = rest.split_first() {
        let (written, left) = match (first, behind.first()) {
            (b'@', Some(b'S')) => (scratch, &behind[1..]),
            (b'@', Some(b'P')) => (folder.as_os_str().as_encoded_bytes(), &behind[1..]),
            _ => (&rest[..1], behind),
        };
        text.extend_from_slice(written);
        rest = left;
    }
    text
}
