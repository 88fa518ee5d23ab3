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

use std::process::ExitCode;

use buildhook_sdk::filter::{self, Depth, Filter, Next};
use buildhook_sdk::protocol::{FEATURE_MANIFEST, Hook, Reason, ReasonCode};
use buildhook_sdk::{About, Built, Call};

use policy::Policy;

const NAME: &str = "only";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lets through to the next plugin only what a policy allows.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-only", version)]
struct Args {
    #[command(flatten)]
    policy: Policy,
}

impl Filter for Policy {
    fn about(&self, next: &Next) -> About {
        let about = next.about(NAME, VERSION, &[Hook::WantToBuild, Hook::BuiltAThing]);
        if self.needs_manifest() { about.feature(FEATURE_MANIFEST) } else { about }
    }

    fn refuse(&mut self, call: &Call, built: Option<&Built>) -> Option<Reason> {
        let of_result = || built.and_then(|built| self.forbids_result(built));
        let rule = self.forbids(call).or_else(of_result)?;
        Some(Reason::new(ReasonCode::POLICY, rule))
    }
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    filter::main(NAME, VERSION, || {
        let (args, next) = filter::start::<Args>(depth)?;
        Ok((args.policy, next))
    })
}
