//! The self-test on the command line: broken things against the suites, and the
//! kill matrix that comes of it.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::cli::SelfTestArgs;
use crate::mutant::kills::Kills;
use crate::mutant::matrix::{Row, SelfTest, idle, render, untried};
use crate::verdict::{EXIT_NOT_CONFORMANT, Stop};
use crate::{suite_error, usage};

/// Rows at once for each processor: many broken things are waited for, which
/// takes none.
const ROWS_PER_PROCESSOR: usize = 3;

/// Runs the self-test; `root` is an existing folder for what it writes.
pub(crate) fn run(arguments: &SelfTestArgs, root: &Path, processors: usize) -> ExitCode {
    let mut kills = match arguments.matrix.as_deref().map(read).transpose() {
        Ok(kills) => kills,
        Err(error) => return usage(&error),
    };
    let test = SelfTest {
        root,
        seed: arguments.seed,
        jobs: ROWS_PER_PROCESSOR * processors,
        factor: arguments.time_factor,
        aimed: arguments.aimed,
        only: &arguments.only,
    };
    if let Err(error) = test.known() {
        return usage(&error);
    }
    let start = Instant::now();
    let rows = match test.run(&|row| println!("{}", render(row))) {
        Ok(rows) => rows,
        Err(stop) => return suite_error(&told(stop)),
    };
    let mut wrong: Vec<String> = rows.iter().filter(|row| !row.holds()).map(render).collect();
    if !arguments.aimed && arguments.only.is_empty() {
        wrong.extend(idle(&rows).iter().map(|id| format!("nothing broken dies on {id}")));
    }
    if let (Some(kills), Some(path)) = (&mut kills, &arguments.matrix) {
        if arguments.accept {
            rows.iter().for_each(|row| kills.accept(row));
            if let Err(error) = fs::write(path, kills.render()) {
                return suite_error(&format!("{}: {error}", path.display()));
            }
        }
        match test.compare(&rows, kills) {
            Ok(texts) => wrong.extend(texts),
            Err(stop) => return suite_error(&told(stop)),
        }
    }
    conclude(&rows, &wrong, start)
}

fn conclude(rows: &[Row], wrong: &[String], start: Instant) -> ExitCode {
    for untried in untried(rows) {
        println!("untried: {}: {}", untried.check, untried.why);
    }
    for text in wrong {
        println!("wrong: {text}");
    }
    println!("{} things in {} s, {} wrong", rows.len(), start.elapsed().as_secs(), wrong.len());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_CONFORMANT) }
}

/// A matrix; an empty one where there is no file yet.
fn read(path: &Path) -> Result<Kills, String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    Kills::parse(&text)
        .map_err(|line| format!("{}:{line}: no `name | made for | dies on | may`", path.display()))
}

fn told(stop: Stop) -> String {
    match stop {
        Stop::Fail(text)
        | Stop::NotApplicable(text)
        | Stop::Untestable(text)
        | Stop::Suite(text) => text,
    }
}
