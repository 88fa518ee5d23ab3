//! The time of one call of a plugin: as a process of its own, and in a session.
//!
//! Speaks the protocol in plain JSON, as a host that knows nothing of this project would.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::Serialize;
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::error::Error;

const ONE_SHOT_CALLS: usize = 200;
const SESSION_CALLS: usize = 2000;
/// About the median size of what a compiler call makes.
const FILE_BYTES: usize = 300_000;

/// A plugin that is there.
pub(crate) struct Hook<'a> {
    environment: &'a Environment,
    program: PathBuf,
    args: Vec<String>,
}

/// Microseconds of wall time for one call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Calls {
    pub(crate) what: &'static str,
    pub(crate) calls: usize,
    pub(crate) median_us: f64,
    pub(crate) p95_us: f64,
}

/// The plugin of `command`, unless it is not there.
pub(crate) fn find<'a>(
    environment: &'a Environment,
    command: &str,
) -> Result<Option<Hook<'a>>, Error> {
    let mut words = shlex::split(command).unwrap_or_default().into_iter();
    let name = words.next().unwrap_or_default();
    let path = Path::new(&name);
    let program = if path.is_absolute() { Some(path.to_owned()) } else { environment.find(&name) };
    let Some(program) = program else {
        eprintln!("{name} is not on PATH: calls are not timed");
        return Ok(None);
    };
    Ok(Some(Hook { environment, program, args: words.collect() }))
}

/// Times misses and hits, one-shot and in a session, with a store in `folder`.
pub(crate) fn measure(hook: &Hook<'_>, folder: &Path) -> Result<Vec<Calls>, Error> {
    crate::project::remove(folder)?;
    let store = folder.join("store");
    let scratch = folder.join("scratch");
    fs::create_dir_all(&store)?;
    fs::create_dir_all(&scratch)?;
    let file = folder.join("output");
    fs::write(&file, vec![b'x'; FILE_BYTES])?;
    let known = key(b"known");
    let record = json!({
        "name": "out/output", "path": file, "size": FILE_BYTES,
        "digest": key(&vec![b'x'; FILE_BYTES]), "executable": false, "lease": "borrowed"
    });
    let mut session = Session::open(hook, &store)?;
    let stored = json!({"seal": known, "files": [record]});
    session.ask("done", &request(1, "built-a-thing", &known, &scratch, stored))?;
    session.close()?;

    let want = |id, key: &str| request(id, "want-to-build", key, &scratch, json!({}));
    let mut all = Vec::new();
    let unknown = key(b"unknown");
    for (what, key, answer) in
        [("one-shot miss", &unknown, "miss"), ("one-shot hit", &known, "hit")]
    {
        all.push(times(what, ONE_SHOT_CALLS, &mut |_| {
            let mut session = Session::open(hook, &store)?;
            session.ask(answer, &want(1, key))?;
            session.close()
        })?);
    }
    for (what, key, answer) in [("session miss", &unknown, "miss"), ("session hit", &known, "hit")]
    {
        let mut session = Session::open(hook, &store)?;
        all.push(times(what, SESSION_CALLS, &mut |id| session.ask(answer, &want(id, key)))?);
        session.close()?;
    }
    Ok(all)
}

fn times(
    what: &'static str,
    calls: usize,
    call: &mut dyn FnMut(usize) -> Result<(), Error>,
) -> Result<Calls, Error> {
    let mut times = Vec::with_capacity(calls);
    for id in 1..=calls {
        let start = Instant::now();
        call(id)?;
        times.push(start.elapsed());
    }
    times.sort();
    let at = |part: f64| micros(times[((calls - 1) as f64 * part) as usize]);
    Ok(Calls { what, calls, median_us: at(0.5), p95_us: at(0.95) })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn key(content: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(content).to_hex())
}

fn request(id: usize, kind: &str, key: &str, scratch: &Path, more: Value) -> String {
    let mut request = json!({
        "v": 1, "id": id, "kind": kind, "key": key, "unit": {"name": "bench"},
        "scratch": scratch, "deadline-ms": 10_000
    });
    if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
        request.extend(more);
    }
    request.to_string()
}

/// One process of the plugin, its hello read.
struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Session {
    fn open(hook: &Hook<'_>, store: &Path) -> Result<Self, Error> {
        let store = store.to_string_lossy();
        let mut command = hook.environment.command(&hook.program);
        command.args(hook.args.iter().map(|arg| arg.replace("{dir}", &store)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for");
        };
        let mut session =
            Self { child, stdin, stdout: BufReader::new(stdout), line: String::new() };
        let hello = session.read()?;
        if hello["hooks"].is_null() {
            return Err(Error::Plugin { expected: "hello", said: session.line });
        }
        Ok(session)
    }

    fn ask(&mut self, expected: &'static str, request: &str) -> Result<(), Error> {
        self.stdin.write_all(format!("{request}\n").as_bytes())?;
        let answer = self.read()?;
        if answer["kind"] != expected {
            return Err(Error::Plugin { expected, said: self.line.clone() });
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Value, Error> {
        self.line.clear();
        self.stdout.read_line(&mut self.line)?;
        Ok(serde_json::from_str(&self.line).unwrap_or(Value::Null))
    }

    fn close(self) -> Result<(), Error> {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        let status = child.wait()?;
        if !status.success() {
            return Err(Error::Command {
                command: "the plugin".to_owned(),
                status: status.to_string(),
                said: String::new(),
            });
        }
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Answers by key, with a fixed id: enough for one-shot calls.
    const PLUGIN: &str = r#"echo '{"v":[1],"plugin":{"name":"p","version":"1"},"hooks":["x"]}'
        while read -r line; do case "$line" in
            *built*) echo '{"kind":"done"}';; *"$1"*) echo '{"kind":"hit"}';;
            *) echo '{"kind":"miss"}';; esac; done"#;

    #[test]
    fn all_calls_are_timed() {
        let temp = tempfile::tempdir().unwrap();
        let own = Ok(temp.path().join("none"));
        let environment = Environment::new(
            &|name| (name != "RUSTUP_TOOLCHAIN").then(|| "/bin:/usr/bin".into()),
            own,
        )
        .unwrap();
        let script = temp.path().join("plugin.sh");
        fs::write(&script, PLUGIN).unwrap();
        let command = format!("sh {} {}", script.display(), key(b"known"));
        let hook = find(&environment, &command).unwrap().unwrap();
        let calls = measure(&hook, &temp.path().join("work")).unwrap();
        let names: Vec<_> = calls.iter().map(|calls| calls.what).collect();
        assert_eq!(names, ["one-shot miss", "one-shot hit", "session miss", "session hit"]);
        assert!(calls.iter().all(|calls| calls.median_us > 0.0 && calls.p95_us >= calls.median_us));
        // A session need not start a process for each call.
        assert!(calls[2].median_us < calls[0].median_us);
    }

    #[test]
    fn a_wrong_answer_ends_the_measurement() {
        let temp = tempfile::tempdir().unwrap();
        let environment =
            Environment::new(&|_| Some("/bin:/usr/bin".into()), Ok(temp.path().join("none")))
                .unwrap();
        let hook = find(&environment, r#"sh -c 'echo "{}"'"#).unwrap().unwrap();
        let error = measure(&hook, &temp.path().join("work")).unwrap_err();
        assert!(matches!(error, Error::Plugin { expected: "hello", .. }), "{error}");
        assert!(find(&environment, "no-such-plugin").unwrap().is_none());
    }
}
