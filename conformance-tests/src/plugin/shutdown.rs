//! The end of a session.

use std::time::Duration;

use super::bench::{Bench, expect_hit};
use super::{Check, Need, Run};
use crate::session::{describe, short};
use crate::verdict::{Outcome, fail, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "end-answers-first",
        requirement: "BH-END-001",
        title: "requests that were written before standard input closed are answered",
        needs: &[Need::Entries],
        run: Run::Active(answers_first),
    },
    Check {
        id: "end-in-time",
        requirement: "BH-END-001",
        title: "a session without requests, and one after a hit, end with code 0 in time",
        needs: &[],
        run: Run::Active(in_time),
    },
    Check {
        id: "end-after-cut-line",
        requirement: "BH-WIRE-010",
        title: "a request cut off by the end of standard input is not carried out, and the plugin ends",
        needs: &[Need::Built],
        run: Run::Active(cut_line),
    },
    Check {
        id: "end-leaves-nothing",
        requirement: "BH-END-004",
        title: "no process is left when the plugin has ended",
        needs: &[],
        run: Run::Active(leaves_nothing),
    },
    Check {
        id: "end-exit-code",
        requirement: "BH-END-008",
        title: "the exit codes are 0, 1 and 2 only",
        needs: &[],
        run: Run::Active(exit_code),
    },
];

fn broken(bench: &Bench<'_>, requirement: &str) -> Outcome {
    match bench.log.violations().iter().find(|violation| violation.requirement == requirement) {
        Some(violation) => fail!("{}", violation.text),
        None => Ok(()),
    }
}

fn answers_first(bench: &mut Bench<'_>) -> Outcome {
    let entry = bench.entry("late")?;
    let mut session = bench.session()?;
    bench.seed(&mut session, &entry)?;
    session.close()?;
    for _ in 0..5 {
        let mut session = bench.session()?;
        let request = bench.want(&entry)?;
        let id = session.send(request);
        let ending = session.close()?;
        let Some(answer) = ending.answers.get(&id) else {
            fail!("the request before the end of standard input was not answered");
        };
        expect_hit(answer, &entry)?;
    }
    Ok(())
}

fn in_time(bench: &mut Bench<'_>) -> Outcome {
    let session = bench.session()?;
    session.close()?;
    let mut session = bench.session()?;
    if bench.setup.capabilities.entries {
        let entry = bench.entry("before the end")?;
        bench.seed(&mut session, &entry)?;
        bench.expect_hit(&mut session, &entry)?;
    }
    session.close()?;
    broken(bench, "BH-END-001")
}

fn cut_line(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("cut")?;
    let mut request = bench.built(&entry)?;
    request["id"] = 7.into();
    let text = request.to_string().into_bytes();
    session.send_as(7, request, text[..text.len() - 20].to_vec());
    session.fault_sent = true;
    let ending = session.close()?;
    require!(ending.status.is_some(), "the plugin hangs");
    let answer = ending.answers.get(&7);
    let stored = answer.is_some_and(|answer| answer["kind"] == "done" && answer["stored"] != "no");
    require!(
        !stored,
        "a request that was cut off was answered: {}",
        answer.map(short).unwrap_or_default()
    );
    Ok(())
}

fn leaves_nothing(bench: &mut Bench<'_>) -> Outcome {
    in_time_quietly(bench)?;
    broken(bench, "BH-END-004")
}

fn exit_code(bench: &mut Bench<'_>) -> Outcome {
    in_time_quietly(bench)?;
    let mut session = bench.session()?;
    session.send_raw(b"this is no message\n".to_vec());
    let limit = bench.limit(Duration::from_secs(2));
    if let Some(status) = session.wait_end(limit) {
        let usual = matches!(status.code(), Some(0..=2));
        require!(usual, "after a line that is no message it ended with {}", describe(status));
    }
    broken(bench, "BH-END-008")
}

/// A session with one request of each kind.
fn in_time_quietly(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("ordinary")?;
    if bench.setup.capabilities.built {
        bench.tell(&mut session, &entry)?;
    }
    if bench.setup.capabilities.want {
        bench.ask(&mut session, &entry)?;
    }
    session.close().map(|_| ())
}
