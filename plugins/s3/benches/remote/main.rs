//! Real builds over a bucket that is near or far: a first machine that fills it, a second one
//! by another user (another checkout folder, another `CARGO_HOME`) that has nothing but the
//! bucket, the same once more with what it has now, with its local store alone, and once more,
//! beside plain Cargo and, when it is on PATH, sccache with the same server.
//!
//! ```sh
//! cargo build --release -p buildhook -p buildhook-local-dir -p buildhook-tier -p buildhook-s3
//! cargo bench -p buildhook-s3 --bench remote -- --runs 3
//! cargo bench -p buildhook-s3 --bench remote -- --project path/to/ripgrep --round-trip-ms 0 --mbit 0
//! ```
//!
//! The server is `s3s-fs` in this process, with signatures checked, so its processor time is
//! taken from the builds'. sccache builds in the same folder both times, which it needs for
//! its hits; its second build begins with no local cache either (it has none with S3).

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/objects.rs"]
mod objects;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/server.rs"]
mod server;

mod link;
mod machine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use link::SlowLink;
use machine::{Built, Machine, Tool};
use server::Server;

/// Longer than the link makes anything take.
const DEFAULT_ROUND_TRIP_MS: u64 = 50;
const DEFAULT_MBIT: u64 = 100;

#[derive(Debug, Parser)]
struct Arguments {
    /// The project: a folder with a Cargo.toml; a service with hyper and reqwest when it is left out.
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// The link's round trip; 0 together with `--mbit 0` is no link at all.
    #[arg(long, default_value_t = DEFAULT_ROUND_TRIP_MS)]
    round_trip_ms: u64,
    /// The link's width, in millions of bits a second.
    #[arg(long, default_value_t = DEFAULT_MBIT)]
    mbit: u64,
    /// Rounds; each begins with an empty bucket.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Where `buildhook` and its plugins are; beside this program's folder when left out.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Further options of the plugin, for example `--zstd=0`.
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    option: Vec<String>,
    /// Leaves out plain Cargo: requests and bytes can be counted without it.
    #[arg(long)]
    without_plain: bool,
    /// With the limits that the host and the plugins have when nobody sets any.
    #[arg(long)]
    default_limits: bool,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one step of a round took.
struct Row {
    round: u32,
    what: &'static str,
    built: Built,
    requests: u64,
    up_bytes: u64,
    down_bytes: u64,
}

fn main() {
    let arguments = Arguments::parse();
    let programs = arguments.programs.clone().unwrap_or_else(|| {
        let own = std::env::current_exe().expect("this program has a path");
        own.parent().and_then(Path::parent).expect("it is in deps").to_owned()
    });
    let work = tempfile::tempdir().expect("a temporary folder");
    let project = arguments.project.clone().unwrap_or_else(|| template(work.path()));
    // Builds run in folders of their own.
    let [programs, project] =
        [programs, project].map(|path| std::path::absolute(path).expect("a path"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = |variable: &str, folder: &str| {
        let below_home = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(folder);
        std::env::var_os(variable).map_or_else(below_home, PathBuf::from)
    };
    let mut tools = vec![Tool::Plain, Tool::Buildhook];
    tools.retain(|tool| *tool != Tool::Plain || !arguments.without_plain);
    let sccache = std::env::split_paths(&path).map(|dir| dir.join("sccache")).find(|p| p.is_file());
    match &sccache {
        Some(_) => tools.push(Tool::Sccache),
        None => eprintln!("sccache is not on PATH and not measured"),
    }
    let around = machine::Around {
        path,
        rustup_home: home("RUSTUP_HOME", ".rustup"),
        toolchain: std::env::var_os("RUSTUP_TOOLCHAIN"),
        downloads: home("CARGO_HOME", ".cargo"),
        programs,
        sccache,
        project,
        options: arguments.option.clone(),
        default_limits: arguments.default_limits,
    };
    let mut rows = Vec::new();
    for round in 1..=arguments.runs {
        // Each round begins with another tool: none is always the first.
        tools.rotate_left(usize::from(round > 1));
        for tool in &tools {
            measure(&around, &arguments, *tool, round, &mut rows);
        }
    }
    print(&rows);
}

/// All steps of one tool, over an empty bucket.
fn measure(
    around: &machine::Around,
    arguments: &Arguments,
    tool: Tool,
    round: u32,
    rows: &mut Vec<Row>,
) {
    let server = Server::start();
    let is_direct = arguments.round_trip_ms == 0 && arguments.mbit == 0;
    let link = (!is_direct).then(|| {
        let bits = if arguments.mbit == 0 { u64::MAX } else { arguments.mbit * 1_000_000 };
        SlowLink::start(server.address, Duration::from_millis(arguments.round_trip_ms), bits)
    });
    let address = link.as_ref().map_or(server.address, |link| link.address);
    let traffic = || link.as_ref().map_or((0, 0), |link| link.bytes());
    let root = tempfile::tempdir().expect("a temporary folder");
    let first = Machine::new(around, &root.path().join("first/work"), address);
    let second = Machine::new(around, &root.path().join("second/home/ada/deeper"), address);
    let steps: &[(&'static str, &Machine<'_>, Tool)] = match tool {
        Tool::Plain => &[("builds", &first, tool)],
        Tool::Buildhook | Tool::Local => &[
            ("fills the bucket", &first, Tool::Buildhook),
            ("another machine, first time", &second, Tool::Buildhook),
            ("another machine, second time", &second, Tool::Buildhook),
            ("the same with its local store alone", &second, Tool::Local),
            ("another machine, third time", &second, Tool::Buildhook),
        ],
        Tool::Sccache => {
            &[("fills the bucket", &first, tool), ("same folder, no local cache", &first, tool)]
        }
    };
    for (what, machine, tool) in steps {
        let (up, down) = traffic();
        let requests = server.requests();
        let built = machine.build(*tool);
        let (up_bytes, down_bytes) = (traffic().0 - up, traffic().1 - down);
        let requests = server.requests() - requests;
        eprintln!("round {round}: {:9} {what:30} {:8.2} s", tool.name(), built.wall.as_secs_f64());
        rows.push(Row { round, what, built, requests, up_bytes, down_bytes });
        machine.clean();
    }
}

fn print(rows: &[Row]) {
    let plain = |round| {
        let row = rows.iter().find(|row| row.round == round && row.built.tool == Tool::Plain);
        row.map_or(f64::NAN, |row| row.built.wall.as_secs_f64())
    };
    println!(
        "| round | tool | | s | × plain | hits | misses | requests | a unit | MB up | MB down |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for Row { round, what, built, requests, up_bytes, down_bytes } in rows {
        let units = built.hits + built.misses;
        let mb = |bytes: &u64| *bytes as f64 / 1e6;
        println!(
            "| {round} | {} | {what} | {:.2} | {:.2} | {} | {} | {requests} | {:.1} | {:.1} | {:.1} |",
            built.tool.name(),
            built.wall.as_secs_f64(),
            built.wall.as_secs_f64() / plain(*round),
            built.hits,
            built.misses,
            *requests as f64 / units.max(1) as f64,
            mb(up_bytes),
            mb(down_bytes),
        );
    }
    for row in rows.iter().filter(|row| !row.built.said.is_empty()) {
        println!(
            "\nround {}, {}, {}: {}",
            row.round,
            row.built.tool.name(),
            row.what,
            row.built.said
        );
    }
}

/// The service that the host's own measurements build, too.
fn template(work: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hook-host/bench/template");
    let folder = work.join("template");
    std::fs::create_dir_all(folder.join("src")).expect("a folder");
    for (from, to) in
        [("manifest.toml", "Cargo.toml"), ("lock.toml", "Cargo.lock"), ("main.rs", "src/main.rs")]
    {
        std::fs::copy(source.join(from), folder.join(to)).expect("the template is there");
    }
    folder
}
