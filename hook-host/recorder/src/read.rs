//! From a folder of logs to an [`Observation`].
//!
//! Every number in a log is checked, every amount bounded: the programs that were
//! observed could write anything there.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::format::{Defect, Events, HEADER_BYTES, Header, RawEvent};
use crate::observation::{
    Event, ModuleId, Observation, Op, Outcome, Process, ProcessId, Reason, Unobservable,
};
use crate::silence::find_silent;
use crate::text::os_string;

/// Logs of one observation: beyond this it is not whole.
const MAX_LOGS: usize = 16_384;
/// Bytes of all logs together: sixteen full ones.
const MAX_TOTAL_BYTES: u64 = 1 << 30;
/// Distinct events of one observation, at some 200 bytes each.
const MAX_EVENTS: usize = 1_000_000;
/// Programs started, or tried in vain.
const MAX_STARTS: usize = 65_536;
/// What is missing is told in no more words than these.
pub(crate) const MAX_UNOBSERVABLE: usize = 256;

/// Reads all logs in `folder`. Never fails: what could not be read is said in
/// [`Observation::unobservable`]. Read it when the tree has ended; what a process
/// writes later is missing.
pub fn read(folder: &Path) -> Observation {
    let mut reader = Reader::default();
    let mut logs = match paths(folder) {
        Ok(paths) => reader.open_all(paths),
        Err(error) => {
            reader.miss(None, None, Reason::Unreadable(error.to_string()));
            Vec::new()
        }
    };
    // An image has its number before its events are read, in order of start.
    logs.sort_by_key(|log| (log.header.started_ns, log.header.pid, log.sequence));
    for (index, log) in logs.iter().enumerate() {
        reader.read_log(ProcessId(index as u32), log);
    }
    reader.finish(&logs)
}

/// A log whose header has been read.
pub(crate) struct Log {
    path: PathBuf,
    pub(crate) sequence: u32,
    pub(crate) header: Header,
}

/// A program that was started, or was to be: what `silence` counts.
pub(crate) struct Start {
    pub(crate) process: ProcessId,
    pub(crate) module: Option<ModuleId>,
    pub(crate) kind: StartKind,
    pub(crate) pid: u32,
    pub(crate) program: OsString,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartKind {
    Exec,
    ExecFailed,
    Spawn,
    Shell,
}

fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).take(MAX_LOGS + 1).collect()
}

/// The sequence in `<pid>.<sequence>`.
fn sequence_of(path: &Path) -> Option<u32> {
    let (pid, sequence) = path.file_name()?.to_str()?.split_once('.')?;
    pid.parse::<u32>().ok()?;
    sequence.parse().ok()
}

fn read_header(path: &Path) -> io::Result<Option<Header>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_BYTES];
    match fs::File::open(path)?.read_exact(&mut bytes) {
        Ok(()) => Ok(Header::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_events(log: &Log, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(&log.path)?.take(limit_bytes).read_to_end(&mut bytes)?;
    bytes.drain(..HEADER_BYTES.min(bytes.len()));
    Ok(bytes)
}

#[derive(Default)]
struct Reader {
    observation: Observation,
    module_ids: HashMap<PathBuf, ModuleId>,
    starts: Vec<Start>,
    read_bytes: u64,
}

type Seen<'a> = HashSet<(u16, u16, u32, u32, &'a [u8])>;

impl Reader {
    fn miss(&mut self, process: Option<ProcessId>, module: Option<ModuleId>, reason: Reason) {
        let unobservable = Unobservable { process, module, reason };
        let all = &mut self.observation.unobservable;
        if all.len() < MAX_UNOBSERVABLE && !all.contains(&unobservable) {
            all.push(unobservable);
        }
    }

    fn open_all(&mut self, mut paths: Vec<PathBuf>) -> Vec<Log> {
        if paths.is_empty() {
            self.miss(None, None, Reason::Nothing);
        }
        if paths.len() > MAX_LOGS {
            paths.truncate(MAX_LOGS);
            self.miss(None, None, Reason::Overflow);
        }
        let mut logs = Vec::new();
        for path in paths {
            match (sequence_of(&path), read_header(&path)) {
                (Some(sequence), Ok(Some(header))) => logs.push(Log { path, sequence, header }),
                (_, Ok(_)) => self.miss(None, None, Reason::Malformed(path)),
                (_, Err(error)) => self.miss(None, None, Reason::Unreadable(error.to_string())),
            }
        }
        logs
    }

    fn read_log(&mut self, process: ProcessId, log: &Log) {
        self.observation.processes.push(Process {
            pid: log.header.pid,
            parent: None,
            executable: PathBuf::new(),
            argv0: OsString::new(),
            working_folder: PathBuf::new(),
            modules: Vec::new(),
            started_ns: log.header.started_ns,
        });
        for defect in log.header.defects() {
            self.miss_defect(process, log, defect);
        }
        let left_bytes = MAX_TOTAL_BYTES.saturating_sub(self.read_bytes);
        if log.header.used_bytes > left_bytes {
            self.miss(None, None, Reason::Overflow);
        }
        let used_bytes = log.header.used_bytes.min(left_bytes);
        self.read_bytes += used_bytes;
        let bytes = match read_events(log, used_bytes) {
            Ok(bytes) => bytes,
            Err(error) => {
                return self.miss(Some(process), None, Reason::Unreadable(error.to_string()));
            }
        };
        let mut modules = HashMap::new();
        let mut seen = Seen::new();
        for event in Events::new(&bytes) {
            match event {
                Ok(event) => self.take(process, log, event, &mut modules, &mut seen),
                Err(defect) => self.miss_defect(process, log, defect),
            }
        }
    }

    fn miss_defect(&mut self, process: ProcessId, log: &Log, defect: Defect) {
        let reason = match defect {
            Defect::Malformed => Reason::Malformed(log.path.clone()),
            Defect::Overflow => Reason::Overflow,
            Defect::Dropped => Reason::Dropped,
            Defect::Unfinished => Reason::Unfinished,
        };
        self.miss(Some(process), None, reason);
    }

    fn take<'a>(
        &mut self,
        process: ProcessId,
        log: &Log,
        raw: RawEvent<'a>,
        modules: &mut HashMap<u32, ModuleId>,
        seen: &mut Seen<'a>,
    ) {
        let module = modules.get(&raw.module).copied();
        let op = match raw.op {
            1 => return self.take_start(process, raw.text),
            2 => {
                let id = self.intern(os_string(raw.text).into());
                modules.insert(raw.value, id);
                return self.observation.processes[process.0 as usize].modules.push(id);
            }
            18 => return self.take_program(process, module, StartKind::ExecFailed, raw),
            21 => {
                let what = String::from_utf8_lossy(raw.text).into_owned();
                return self.miss(Some(process), module, Reason::Undescribed(what));
            }
            code => match op_of(code) {
                Some(op) => op,
                None => return self.miss_defect(process, log, Defect::Malformed),
            },
        };
        match op {
            Op::Exec => self.take_program(process, module, StartKind::Exec, raw),
            Op::Spawn => self.take_program(process, module, StartKind::Spawn, raw),
            Op::Shell => self.take_program(process, module, StartKind::Shell, raw),
            Op::Read if is_environment_file(raw.text) => {
                self.miss(Some(process), module, Reason::WholeEnvironment);
            }
            _ => {}
        }
        let outcome = match raw.outcome {
            0 => Outcome::Found,
            1 => Outcome::Absent,
            _ => Outcome::Failed(raw.value),
        };
        let error = if raw.outcome > 1 { raw.value } else { 0 };
        if !seen.insert((raw.op, raw.outcome, error, raw.module, raw.text)) {
            return;
        }
        if self.observation.events.len() == MAX_EVENTS {
            return self.miss(None, None, Reason::Overflow);
        }
        let subject = os_string(raw.text);
        let time_ns = raw.time_ns;
        self.observation.events.push(Event { process, module, op, outcome, subject, time_ns });
    }

    fn take_start(&mut self, process: ProcessId, text: &[u8]) {
        let mut parts = text.split(|&byte| byte == 0).map(os_string);
        let process = &mut self.observation.processes[process.0 as usize];
        process.executable = parts.next().unwrap_or_default().into();
        process.argv0 = parts.next().unwrap_or_default();
        process.working_folder = parts.next().unwrap_or_default().into();
    }

    fn take_program(
        &mut self,
        process: ProcessId,
        module: Option<ModuleId>,
        kind: StartKind,
        raw: RawEvent<'_>,
    ) {
        if self.starts.len() == MAX_STARTS {
            return self.miss(None, None, Reason::Overflow);
        }
        let program = os_string(raw.text);
        self.starts.push(Start { process, module, kind, pid: raw.value, program });
    }

    fn intern(&mut self, path: PathBuf) -> ModuleId {
        let modules = &mut self.observation.modules;
        *self.module_ids.entry(path).or_insert_with_key(|path| {
            modules.push(path.clone());
            ModuleId(modules.len() as u32 - 1)
        })
    }

    fn finish(mut self, logs: &[Log]) -> Observation {
        self.observation.events.sort_by_key(|event| event.time_ns);
        for index in 0..logs.len() {
            self.observation.processes[index].parent = parent_of(index, logs);
        }
        let silent = find_silent(&self.observation, logs, &self.starts);
        for Unobservable { process, module, reason } in silent {
            self.miss(process, module, reason);
        }
        self.observation.note_made();
        self.observation
    }
}

/// The image that this one replaced, or the last of its parent's before it.
fn parent_of(index: usize, logs: &[Log]) -> Option<ProcessId> {
    let Header { pid, parent_pid, .. } = logs[index].header;
    let earlier = || (0..index).rev();
    earlier()
        .find(|&other| logs[other].header.pid == pid)
        .or_else(|| earlier().find(|&other| logs[other].header.pid == parent_pid))
        .map(|other| ProcessId(other as u32))
}

fn is_environment_file(path: &[u8]) -> bool {
    path.starts_with(b"/proc/") && path.ends_with(b"/environ")
}

/// The numbers of `enum op` in `preload/recorder.h` that become events.
fn op_of(code: u16) -> Option<Op> {
    Some(match code {
        3 => Op::Read,
        4 => Op::Stat,
        5 => Op::Readlink,
        6 => Op::Resolve,
        7 => Op::List,
        8 => Op::Write,
        9 => Op::MakeDir,
        10 => Op::Place,
        11 => Op::Remove,
        12 => Op::Chdir,
        13 => Op::Getcwd,
        14 => Op::Getenv,
        15 => Op::Setenv,
        16 => Op::Dlopen,
        17 => Op::Exec,
        19 => Op::Spawn,
        20 => Op::Shell,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::{encode, encode_header};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever programs write, there is an observation, and it can be asked.
        #[test]
        fn forged_logs_are_read(
            logs in prop::collection::vec(
                (0u32..4, 0u32..4, any::<u32>(), prop::collection::vec(
                    (0u16..24, 0u16..4, 0u32..3, 0u32..4, "[a/.\\x00]{0,6}"), 0..12)),
                0..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            for (sequence, (pid, parent_pid, used_bytes, events)) in logs.iter().enumerate() {
                let mut bytes = encode_header(*pid, *parent_pid, (*used_bytes).into());
                for (op, outcome, module, value, text) in events {
                    bytes.extend(encode(*op, *outcome, *module, *value, text.as_bytes()));
                }
                fs::write(folder.path().join(format!("{pid}.{sequence}")), bytes).unwrap();
            }
            let observation = read(folder.path());
            prop_assert_eq!(observation.processes.len(), logs.len());
            prop_assert!(observation.inputs().count() <= observation.events.len());
            for event in &observation.events {
                observation.process(event.process);
                event.module.map(|module| observation.module(module));
            }
        }
    }
}
