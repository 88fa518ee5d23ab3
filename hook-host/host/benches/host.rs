//! What one hook call and one restore cost: `cargo bench -p buildhook-host`.
//!
//! The plugin is this program itself, started with the argument `plugin`; it answers `miss`
//! to everything, so that what is left is the host, the pipes and the process. Each figure
//! is the fastest and the median of many runs, in microseconds.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use buildhook_host::{
    Ask, DigestCache, Entry, Hooks, Host, Identity, Launch, Limits, Lookup, PluginCommand, Streams,
};
use buildhook_protocol::{Digest, EntryName, FileRecord, Key, Lease, Purpose, Unit, seal};
use serde_json::{Value, json};

const HELLO: &str =
    r#"{"v":[1],"plugin":{"name":"bench","version":"1"},"hooks":["want-to-build"]}"#;

fn main() {
    if env::args().nth(1).as_deref() == Some("plugin") {
        return serve(io::stdin().lock(), io::stdout().lock(), &json!({"kind": "miss"}));
    }
    let dir = tempfile::tempdir().expect("a folder");
    println!("{:<44} {:>10} {:>10}", "", "fastest µs", "median µs");
    calls(dir.path());
    restores(dir.path());
    digests(dir.path());
}

/// Writes `answer` to each request, with its id.
fn serve(requests: impl BufRead, mut output: impl Write, answer: &Value) {
    let mut write = |line: String| output.write_all(line.as_bytes()).and_then(|()| output.flush());
    let mut result = write(format!("{HELLO}\n"));
    for line in requests.lines().map_while(Result::ok) {
        let request: Value = serde_json::from_str(&line).expect("the host writes JSON");
        let mut answer = answer.clone();
        answer["id"] = request["id"].clone();
        result = result.and_then(|()| write(format!("{answer}\n")));
    }
    // A host that hangs up early is no failure of the bench.
    drop(result);
}

fn in_memory(answer: Value) -> Launch {
    Launch::InMemory(Arc::new(move || -> io::Result<Streams> {
        let (output, their_output) = io::pipe()?;
        let (their_input, input) = io::pipe()?;
        let answer = answer.clone();
        thread::spawn(move || serve(io::BufReader::new(their_input), their_output, &answer));
        Ok((Box::new(output), Box::new(input)))
    }))
}

fn process() -> Launch {
    let program = env::current_exe().expect("this program");
    Launch::Command(PluginCommand::new(program, [OsString::from("plugin")], []))
}

fn measure(what: &str, runs: usize, mut run: impl FnMut() -> Duration) {
    let mut times: Vec<_> = (0..runs).map(|_| run()).collect();
    times.sort();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{what:<44} {:>10.1} {:>10.1}", us(times[0]), us(times[runs / 2]));
}

fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    let result = run();
    let took = started.elapsed();
    drop(result);
    took
}

fn want(host: &Host, dir: &Path) -> Lookup {
    let (unit, scratch_root) = (Unit::default(), dir.join("scratch"));
    let key = Key(Digest::of(b"bench"));
    let purpose = Purpose::Outputs;
    let lookup = host.want_to_build(&Ask {
        key,
        purpose,
        unit: &unit,
        scratch_root: &scratch_root,
        manifest: None,
    });
    if let Lookup::Miss(reason) = &lookup {
        assert_eq!(reason.code, "other", "the plugin of the bench gives no reason: {reason:?}");
    }
    lookup
}

fn calls(dir: &Path) {
    for (what, launch) in
        [("a call, in memory", in_memory(json!({"kind": "miss"}))), ("a call, session", process())]
    {
        let host = Host::new(Hooks::both(launch), Limits::default());
        want(&host, dir);
        measure(what, 2000, || timed(|| want(&host, dir)));
    }
    measure("one shot: start, one call, close", 200, || {
        timed(|| {
            let host = Host::new(Hooks::both(process()), Limits::default());
            want(&host, dir);
            host.close()
        })
    });
}

fn restores(dir: &Path) {
    for (size, runs) in
        [(3_000, 500), (30_000, 500), (300_000, 300), (3_000_000, 100), (60_000_000, 10)]
    {
        let content: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        let path = dir.join("stored");
        fs::write(&path, &content).expect("a file");
        let record = FileRecord {
            name: EntryName::new("out/a").expect("a name"),
            path: path.clone(),
            size: size as u64,
            digest: Digest::of(&content),
            executable: false,
            lease: Lease::Shared,
        };
        let key = Key(Digest::of(b"bench"));
        let files = [record];
        let answer = json!({"kind": "hit", "seal": seal(&key, &files), "files": files});
        let host = Host::new(Hooks::both(in_memory(answer)), Limits::default());
        let Lookup::Hit(entry) = want(&host, dir) else { panic!("a miss") };
        let target = dir.join("restored");
        let plan = [(files[0].name.clone(), target.clone())];
        let restore = |entry: &Entry| entry.restore(&plan).expect("restored");
        measure(&format!("restoring {size} bytes"), runs, || {
            let _ = fs::remove_file(&target);
            timed(|| restore(&entry))
        });
        measure(&format!("  cp of {size} bytes, not verified"), runs, || {
            let _ = fs::remove_file(&target);
            timed(|| fs::copy(&path, &target).expect("copied"))
        });
    }
}

fn digests(dir: &Path) {
    let file = dir.join("digests");
    let path = dir.join("stored");
    let identity = Identity::of_path(&path).expect("the file");
    let cache = DigestCache::new();
    for n in 0..10_000 {
        let path = format!("/home/someone/projects/a-workspace/target/debug/deps/libfoo-{n}.rmeta");
        cache.remember(Path::new(&path), identity, Digest::of(b"x"));
    }
    cache.remember(&path, identity, Digest::of(b"x"));
    cache.save(&file).expect("saved");
    measure("loading 10,000 digests", 100, || timed(|| DigestCache::load(&file)));
    measure("a digest that is known", 2000, || timed(|| cache.digest(&path).expect("known")));
}
