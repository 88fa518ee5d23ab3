//! The command line.

use std::path::PathBuf;

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
    /// Lists every requirement and its checks.
    List {
        /// Checks and broken things as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one requirement or check.
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

/// Arguments of a suite.
#[derive(Debug, clap::Args)]
pub(crate) struct SuiteArgs {
    /// core: a SHOULD that does not hold is a warning; strict: it is a failure.
    #[arg(long, value_enum, default_value_t = Profile::Core)]
    pub(crate) profile: Profile,
    /// Writes report.json, junit.xml and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Makes content, keys and moments of killing the same again.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// A check or a requirement; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// A file with the ids of checks or requirements that are known to fail,
    /// one per line; `#` begins a comment.
    #[arg(long, value_name = "FILE")]
    pub(crate) expected_failures: Option<PathBuf>,
    /// Multiplies every time limit; for slow machines and slow plugins.
    #[arg(long, default_value_t = 1.0, value_parser = parse_factor)]
    pub(crate) time_factor: f64,
    /// Checks at once; by default as many as there are processors.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// The command under test. `{store}` in it becomes a fresh folder in each
    /// check; `{child}` the command line of a child, for a filter.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) argv: Vec<String>,
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
