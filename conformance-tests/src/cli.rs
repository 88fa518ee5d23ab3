//! The command line.

use std::path::PathBuf;

use buildhook_conformance::cache::Root;

use crate::cache_suite::{parse_remap, parse_variable};
use crate::host::fake::FakeHostArgs;
use crate::host::script::ScriptArgs;
use crate::mutant::MutantArgs;
use crate::mutant::child::ChildOptions;
use crate::sandbox::Sandbox;
use crate::verdict::Profile;

/// Tells what a buildhook plugin, host or build cache gets wrong.
///
/// Exit codes: 0 conformant, 1 not conformant, 2 wrong usage, 3 the suite
/// itself failed.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-conformance", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Tests an executable that claims to speak the protocol.
    Plugin(SuiteArgs),
    /// Tests a host. CMD does one build over the plugin in BUILDHOOK_HOOK;
    /// `{target}` in it becomes a fresh folder for what it builds.
    Host(SuiteArgs),
    /// Tests a build cache by real Cargo builds; it need not know of buildhook.
    Cache(CacheArgs),
    /// Lists every requirement with its checks, and the cases of the cache suite.
    List {
        /// Checks and broken things as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one requirement, check or case.
    Show {
        /// For example BH-WIRE-005 or wire-unknown-members.
        id: String,
    },
    /// Runs the checks named by `--only`, of whichever suite they are.
    Run(SuiteArgs),
    /// Tests this program itself with broken plugins and hosts.
    SelfTest(SelfTestArgs),
    #[command(hide = true)]
    Mutant(MutantArgs),
    #[command(hide = true)]
    FakeChild(ChildOptions),
    #[command(hide = true)]
    Script(ScriptArgs),
    #[command(hide = true)]
    FakeHost(FakeHostArgs),
    #[command(hide = true)]
    Sandbox {
        #[command(flatten)]
        sandbox: Sandbox,
        #[arg(last = true, required = true)]
        argv: Vec<String>,
    },
}

/// Arguments of every suite.
#[derive(Debug, clap::Args)]
pub(crate) struct CommonArgs {
    /// core: a SHOULD that does not hold is a warning; strict: it is a failure.
    #[arg(long, value_enum, default_value_t = Profile::Core)]
    pub(crate) profile: Profile,
    /// Writes report.json, junit.xml and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// A check, a case or a requirement; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// A file with the ids of checks, cases or requirements that are known to
    /// fail, one per line; `#` begins a comment.
    #[arg(long, value_name = "FILE")]
    pub(crate) expected_failures: Option<PathBuf>,
    /// Checks or cases at once; by default as many as there are processors, for a
    /// host one.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
}

/// Arguments of the suites that run a command.
#[derive(Debug, clap::Args)]
pub(crate) struct SuiteArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Makes content, keys and moments of killing the same again.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Multiplies every time limit; for slow machines and slow plugins.
    #[arg(long, default_value_t = 1.0, value_parser = parse_factor)]
    pub(crate) time_factor: f64,
    /// Leaves out the few checks of plugins that take many seconds or gigabytes.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The command under test. `{store}` in it becomes a fresh folder in each
    /// check; `{child}` the command line of a child, for a filter.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) argv: Vec<String>,
}

/// Arguments of the cache suite. Values of `--env`, `--start` and `--stop` may
/// hold {cache}, {home}, {case} and {port}.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The RUSTC_WRAPPER.
    #[arg(long, value_name = "PATH", required_unless_present = "build_command")]
    pub(crate) wrapper: Option<PathBuf>,
    /// A variable of the cache.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) env: Vec<(String, String)>,
    /// A shell command that starts the cache's server.
    #[arg(long, value_name = "CMD")]
    pub(crate) start: Option<String>,
    /// A shell command that stops it.
    #[arg(long, value_name = "CMD")]
    pub(crate) stop: Option<String>,
    /// What to run in place of `cargo build`; {command} in it stands for
    /// cargo's subcommand.
    #[arg(long, value_name = "CMD")]
    pub(crate) build_command: Option<String>,
    /// What the cache is documented to write in place of a folder: workspace,
    /// target, cargo-home or sysroot.
    #[arg(long, value_name = "TEXT=ROOT", value_parser = parse_remap)]
    pub(crate) remap: Vec<(String, Root)>,
    /// Keeps the folders of cases that did not pass.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Arguments of the self-test.
#[derive(Debug, clap::Args)]
pub(crate) struct SelfTestArgs {
    /// As for a suite.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Multiplies every time limit.
    #[arg(long, default_value_t = 1.0, value_parser = parse_factor)]
    pub(crate) time_factor: f64,
    /// Runs against each broken thing only the checks it is made for.
    #[arg(long)]
    pub(crate) aimed: bool,
    /// The kill matrix to compare with.
    #[arg(long, value_name = "FILE", conflicts_with = "aimed")]
    pub(crate) matrix: Option<PathBuf>,
    /// Writes this run into the matrix instead.
    #[arg(long, requires = "matrix")]
    pub(crate) accept: bool,
    /// Only the broken thing of this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
}

fn parse_factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (0.1..=100.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 0.1 to 100 is needed".to_owned()),
    }
}
