//! Hello and negotiation.

use std::time::Duration;

use super::bench::Bench;
use super::{Check, Run};
use crate::session::{Session, describe, short};
use crate::verdict::{Outcome, Stop, fail, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "hello-first",
        requirement: "BH-HELLO-001",
        title: "a hello comes before anything is written to the plugin",
        needs: &[],
        run: Run::Active(first),
    },
    Check {
        id: "hello-hooks-answered",
        requirement: "BH-HELLO-004",
        title: "every kind of request that the hello names gets an answer of its kind",
        needs: &[],
        run: Run::Active(hooks_answered),
    },
    Check {
        id: "hello-wrong-argument",
        requirement: "BH-HELLO-008",
        title: "an argument that does not exist gives a hello with an error of kind config",
        needs: &[],
        run: Run::Active(wrong_argument),
    },
    Check {
        id: "hello-wrong-argument-exit",
        requirement: "BH-END-008",
        title: "the exit code is 2 after an argument that does not exist",
        needs: &[],
        run: Run::Active(wrong_argument_exit),
    },
];

fn first(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.start(&bench.launch())?;
    session.any_hello()?;
    session.close().map(|_| ())
}

fn hooks_answered(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let hooks = session.hello["hooks"].as_array().cloned().unwrap_or_default();
    let entry = bench.entry("named")?;
    for hook in &hooks {
        let request = match hook.as_str() {
            Some("want-to-build") => bench.want(&entry)?,
            Some("built-a-thing") => bench.built(&entry)?,
            _ => continue,
        };
        let answer = session.ask(request)?;
        let unknown = answer["error"]["kind"] == "unknown-kind";
        require!(!unknown, "the hello names {hook}, but it was answered: {}", short(&answer));
    }
    session.close().map(|_| ())
}

/// The plugin with an argument that no plugin has.
fn with_wrong_argument(bench: &Bench<'_>) -> Outcome<Session> {
    let Some(command) = bench.setup.command.with_argument("--conformance-no-such-option") else {
        let text = "where the filter's own arguments end is not marked by `--`";
        return Err(Stop::NotApplicable(text.to_owned()));
    };
    let argv = command.expand(&bench.store_folder(), &bench.child(&[]));
    bench.start(&bench.launch_argv(argv))
}

fn wrong_argument(bench: &mut Bench<'_>) -> Outcome {
    let mut session = with_wrong_argument(bench)?;
    let hello = session.any_hello()?;
    let kind = &hello["error"]["kind"];
    require!(kind == "config", "expected an error of kind config, got {}", short(&hello));
    Ok(())
}

fn wrong_argument_exit(bench: &mut Bench<'_>) -> Outcome {
    let mut session = with_wrong_argument(bench)?;
    session.any_hello()?;
    let limit = bench.limit(Duration::from_secs(3));
    match session.wait_end(limit) {
        Some(status) if status.code() == Some(2) => Ok(()),
        Some(status) => fail!("it ended with {}, not exit code 2", describe(status)),
        None => fail!("it did not end"),
    }
}
