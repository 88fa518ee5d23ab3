//! `buildhook-only [POLICY…] -- next-plugin args…`: lets through what the policy allows.
//!
//! "Dependencies are shared, my own project is not" is
//! `buildhook-only --origin registry,git -- …`.
//!
//! What the policy does not allow is a miss, and is not stored, both with the code `policy`
//! and the rule that said so; the next plugin is not asked. A member of `unit` that a rule
//! looks at and the host did not give is not allowed: a policy that protects must not be
//! passed by silence. The rules on size and cost look at `built-a-thing` only, because
//! before a build nobody knows them.

mod policy;

use std::ffi::OsString;
use std::process::ExitCode;

use buildhook_sdk::filter::{Depth, Next};
use buildhook_sdk::protocol::{FEATURE_MANIFEST, Hook, ReasonCode};
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, Want, cli};

use policy::Policy;

const NAME: &str = "only";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lets through to the next plugin only what a policy allows.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-only", version)]
struct Args {
    #[command(flatten)]
    policy: Policy,
    /// The next plugin and its arguments.
    #[arg(last = true, required = true, value_name = "NEXT")]
    next: Vec<OsString>,
}

struct Only {
    next: Next,
    policy: Policy,
}

impl Plugin for Only {
    fn about(&self) -> About {
        let about = self.next.about(NAME, VERSION, &[Hook::WantToBuild, Hook::BuiltAThing]);
        if self.policy.needs_manifest() { about.feature(FEATURE_MANIFEST) } else { about }
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        match self.policy.forbids(call) {
            Some(rule) => Ok(Want::miss(ReasonCode::POLICY, rule)),
            None => self.next.want(call),
        }
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        match self.policy.forbids(call).or_else(|| self.policy.forbids_result(built)) {
            Some(rule) => Ok(Done::declined(ReasonCode::POLICY, rule)),
            None => self.next.done(call),
        }
    }

    fn drain(&self) {
        self.next.close();
    }
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    buildhook_sdk::main(NAME, VERSION, || {
        let args: Args = cli::parse()?;
        let next = Next::start(&args.next, Depth::new(depth)?)?;
        Ok(Only { next, policy: args.policy })
    })
}
