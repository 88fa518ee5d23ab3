//! What one source (a file, the variables) sets: every setting optional.

use std::path::PathBuf;

use super::problem::{ConfigError, Place, Problem};
use super::value::{HookCommand, LogLevel, Source, Sourced, parse_log};
use crate::environment::Environment;

/// A limit's key and range.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Its key in `[limits]`.
    pub(crate) key: &'static str,
    /// The largest value.
    pub(crate) max: u64,
}

/// Ten minutes: nobody waits longer for a cache.
const MAX_MS: u64 = 600_000;

/// The limits, in the order of [`super::Limits`].
pub(crate) const LIMITS: [Limit; 5] = [
    Limit { key: "hello-ms", max: MAX_MS },
    Limit { key: "want-to-build-ms", max: MAX_MS },
    Limit { key: "built-a-thing-ms", max: MAX_MS },
    Limit { key: "drain-ms", max: MAX_MS },
    Limit { key: "faults", max: 1_000_000 },
];

impl Limit {
    pub(super) fn check(&self, number: u64) -> Result<u64, String> {
        if (1..=self.max).contains(&number) {
            Ok(number)
        } else {
            Err(format!("{number} is out of range, 1 to {}", self.max))
        }
    }
}

/// The settings of one source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layer {
    /// For whichever of the two below is not set in this layer.
    pub(super) hook: Option<Sourced<HookCommand>>,
    pub(super) want_to_build: Option<Sourced<HookCommand>>,
    pub(super) built_a_thing: Option<Sourced<HookCommand>>,
    pub(super) store_dir: Option<Sourced<PathBuf>>,
    pub(super) max_size: Option<Sourced<u64>>,
    pub(super) limits: [Option<Sourced<u64>>; LIMITS.len()],
    pub(super) log_file: Option<Sourced<PathBuf>>,
    pub(super) log_level: Option<Sourced<LogLevel>>,
}

impl Layer {
    /// The settings in variables.
    pub(super) fn of_variables(env: &Environment) -> Result<Self, ConfigError> {
        let mut layer = Self::default();
        let mut problems = Vec::new();
        let base = &env.current_dir;
        let mut read = |name: &'static str| {
            let value = env.get(name)?;
            if value.to_str().is_none() {
                problems.push(problem(name, "is not Unicode".to_owned()));
            }
            value.to_str().map(|text| (text, Source::Place(Place::Variable(name.to_owned()))))
        };
        let hooks = ["BUILDHOOK_HOOK", "BUILDHOOK_WANT_TO_BUILD", "BUILDHOOK_BUILT_A_THING"];
        let hook_texts = hooks.map(|name| (name, read(name)));
        let log = read("BUILDHOOK_LOG");
        let slots = [&mut layer.hook, &mut layer.want_to_build, &mut layer.built_a_thing];
        for ((name, text), slot) in hook_texts.into_iter().zip(slots) {
            let Some((text, source)) = text else { continue };
            match HookCommand::split(text, base) {
                Ok(value) => *slot = Some(Sourced { value, source }),
                Err(why) => problems.push(problem(name, why)),
            }
        }
        if let Some((text, source)) = log {
            match parse_log(text, base) {
                Ok((level, file)) => {
                    layer.log_file = file.map(|value| Sourced { value, source: source.clone() });
                    layer.log_level = Some(Sourced { value: level, source });
                }
                Err(why) => problems.push(problem("BUILDHOOK_LOG", why)),
            }
        }
        layer.spread_hook();
        if problems.is_empty() { Ok(layer) } else { Err(ConfigError { problems }) }
    }

    /// Lets `hook` stand for the hooks that this layer does not set.
    pub(super) fn spread_hook(&mut self) {
        let hook = self.hook.take();
        self.want_to_build = self.want_to_build.take().or_else(|| hook.clone());
        self.built_a_thing = self.built_a_thing.take().or(hook);
    }

    /// Takes away what a file that came with somebody's sources may not decide: what is
    /// run, and where is written or evicted. Gives the names of what was taken.
    pub(super) fn take_privileged(&mut self) -> Vec<&'static str> {
        let taken = [
            ("hooks.want-to-build", self.want_to_build.take().is_some()),
            ("hooks.built-a-thing", self.built_a_thing.take().is_some()),
            ("store.dir", self.store_dir.take().is_some()),
            ("store.max-size", self.max_size.take().is_some()),
            ("log.file", self.log_file.take().is_some()),
        ];
        taken.into_iter().filter_map(|(name, was_set)| was_set.then_some(name)).collect()
    }

    /// This layer, and `lower` for what it does not set.
    pub(super) fn over(self, lower: Self) -> Self {
        let mut limits = self.limits;
        for (limit, lower) in limits.iter_mut().zip(lower.limits) {
            *limit = limit.take().or(lower);
        }
        Self {
            hook: None,
            want_to_build: self.want_to_build.or(lower.want_to_build),
            built_a_thing: self.built_a_thing.or(lower.built_a_thing),
            store_dir: self.store_dir.or(lower.store_dir),
            max_size: self.max_size.or(lower.max_size),
            limits,
            log_file: self.log_file.or(lower.log_file),
            log_level: self.log_level.or(lower.log_level),
        }
    }
}

fn problem(name: &str, message: String) -> Problem {
    Problem { place: Place::Variable(name.to_owned()), message, help: None }
}
