//! Programs that were started and left no log.
//!
//! Each image of a process writes one log. So a process must have as many logs as
//! times it was started: one by the spawn or fork that made it, one for each exec
//! that did not come back. The observation's first process was started by whoever
//! observes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::imports::imports_of;
use crate::observation::{Observation, Op, Outcome, Reason, Silence, Unobservable};
use crate::read::{Log, MAX_UNOBSERVABLE, Start, StartKind};

pub(crate) fn find_silent(
    observation: &Observation,
    logs: &[Log],
    starts: &[Start],
) -> Vec<Unobservable> {
    let mut silent = Vec::new();
    let mut found: HashMap<u32, usize> = HashMap::new();
    for log in logs.iter().skip(1) {
        *found.entry(log.header.pid).or_default() += 1;
    }
    let mut report = |start: &Start| {
        if silent.len() == MAX_UNOBSERVABLE {
            return;
        }
        let program = PathBuf::from(&start.program);
        let silence = silence_of(observation, start);
        silent.push(Unobservable {
            process: Some(start.process),
            module: start.module,
            reason: Reason::Silent { program, silence },
        });
    };
    for (pid, started) in by_pid(starts, |kind| kind != StartKind::Shell) {
        let failed = started.iter().filter(|start| start.kind == StartKind::ExecFailed).count();
        let begun: Vec<_> =
            started.iter().filter(|start| start.kind != StartKind::ExecFailed).collect();
        let images = found.get(&pid).copied().unwrap_or(0);
        if begun.len().saturating_sub(failed) > images {
            // The last one: an image that had no log could not have told of more.
            if let Some(start) = begun.last() {
                report(start);
            }
        }
    }
    for (pid, started) in by_pid(starts, |kind| kind == StartKind::Shell) {
        let shells = logs.iter().zip(&observation.processes).filter(|(log, process)| {
            log.header.parent_pid == pid && log.sequence == 0 && process.argv0 == "sh"
        });
        if started.len() > shells.count() {
            report(started[0]);
        }
    }
    silent
}

fn by_pid(starts: &[Start], wanted: fn(StartKind) -> bool) -> HashMap<u32, Vec<&Start>> {
    let mut by_pid: HashMap<u32, Vec<&Start>> = HashMap::new();
    for start in starts.iter().filter(|start| wanted(start.kind)) {
        by_pid.entry(start.pid).or_default().push(start);
    }
    by_pid
}

fn silence_of(observation: &Observation, start: &Start) -> Silence {
    let program = Path::new(&start.program);
    // A name without a slash was searched for, and the file found was noted.
    let searched = || {
        let name: &OsStr = &start.program;
        observation
            .events
            .iter()
            .filter(|event| event.process == start.process)
            .filter(|event| event.op == Op::Read && event.outcome == Outcome::Found)
            .find(|event| event.path().file_name() == Some(name))
            .map(|event| event.path().to_owned())
    };
    let path = if program.components().count() > 1 {
        let folder = &observation.process(start.process).working_folder;
        Some(folder.join(program))
    } else {
        searched()
    };
    match path {
        Some(path) if is_privileged(&path) => Silence::Privileged,
        Some(path) if imports_of(&path).is_ok_and(|imports| !imports.loader) => Silence::Static,
        _ => Silence::Unknown,
    }
}

fn is_privileged(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        const SET_USER_OR_GROUP: u32 = 0o6000;
        fs_err::metadata(path)
            .is_ok_and(|metadata| metadata.permissions().mode() & SET_USER_OR_GROUP != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}
