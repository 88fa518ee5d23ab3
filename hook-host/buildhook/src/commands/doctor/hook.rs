//! Whether the configured plugins start and say hello, and the recorder can be put in place.

use buildhook_host::{Hooks as HostHooks, Host};

use super::Check;
use crate::config::{Config, HookCommand, Hooks, Sourced};
use crate::environment::Environment;

/// Starts each plugin, waits for its hello and ends it again.
pub(super) fn plugins(config: &Config, env: &Environment) -> Vec<Check> {
    const NAME: &str = "hook";
    let Hooks::Commands { want_to_build, built_a_thing } = &config.hooks else {
        return vec![Check::ok(NAME, "none configured; the embedded store is used")];
    };
    let launch = |hook: &Option<Sourced<HookCommand>>| {
        hook.as_ref().map(|hook| hook.value.launch(env.variables.clone()))
    };
    let hooks =
        HostHooks { want_to_build: launch(want_to_build), built_a_thing: launch(built_a_thing) };
    let host = Host::new(hooks, config.limits.for_host());
    // Asking what they want starts them; what is wrong with them is in the report.
    let _ = host.wants_manifest();
    let mut checks = Vec::new();
    for plugin in host.close().plugins {
        for fault in &plugin.faults {
            checks
                .push(Check::wrong(NAME, format!("`{}`: {}", plugin.command, fault.fault.message)));
        }
        if plugin.faults.is_empty() {
            let name = plugin.name.unwrap_or_default();
            let version = plugin.version.unwrap_or_default();
            checks.push(Check::ok(NAME, format!("`{}` is {name} {version}", plugin.command)));
        }
    }
    if want_to_build.is_none() {
        checks.push(Check::note(NAME, "nothing is asked before building: built-a-thing only"));
    }
    if built_a_thing.is_none() {
        checks.push(Check::note(NAME, "nothing is stored: want-to-build only"));
    }
    checks
}

/// Without the recorder what a compile reads is not observed.
pub(super) fn recorder(config: &Config) -> Check {
    const NAME: &str = "recorder";
    let usable = buildhook_recorder::install(&config.folders.recorder())
        .map_err(|error| error.to_string())
        .and_then(|library| {
            buildhook_recorder::preload_value(None, &library).map_err(|error| error.to_string())
        });
    match usable {
        Ok(_) => Check::ok(NAME, "can be preloaded"),
        Err(why) => Check::wrong(NAME, format!("what compiles read is not observed: {why}")),
    }
}
