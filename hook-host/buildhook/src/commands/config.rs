//! `buildhook config`: the configuration in effect and where each value comes from.

use std::fmt::{Display, Write as _};

use serde::Serialize;
use serde_json::Value;

use super::{Answer, Refusal};
use crate::config::{self, Config, ConfigFile, Hooks, Sourced};
use crate::environment::Environment;
use crate::report::render::Bytes;

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    settings: Vec<Setting>,
    files: Vec<ConfigFile>,
    notes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Setting {
    key: &'static str,
    value: Value,
    source: Value,
    #[serde(skip)]
    text: String,
}

pub(super) fn show(env: &Environment, json: bool) -> Result<Answer, Refusal> {
    let config = config::load(env, &env.current_dir)?;
    let notes = config.notes();
    let shown = Shown { settings: settings(&config), files: config.files, notes };
    Ok(Answer::of(json, &shown, text))
}

fn settings(config: &Config) -> Vec<Setting> {
    let mut settings = Vec::new();
    match &config.hooks {
        Hooks::Embedded { dir, max_size } => {
            settings.push(setting("store.dir", dir, dir.value.display()));
            settings.push(setting("store.max-size", max_size, Bytes(max_size.value)));
        }
        Hooks::Commands { want_to_build, built_a_thing } => {
            let hooks =
                [("hooks.want-to-build", want_to_build), ("hooks.built-a-thing", built_a_thing)];
            for (key, hook) in hooks {
                settings.extend(hook.as_ref().map(|hook| setting(key, hook, &hook.value)));
            }
        }
    }
    let limits = &config.limits;
    for (key, limit) in [
        ("limits.hello-ms", &limits.hello_ms),
        ("limits.want-to-build-ms", &limits.want_to_build_ms),
        ("limits.built-a-thing-ms", &limits.built_a_thing_ms),
        ("limits.drain-ms", &limits.drain_ms),
        ("limits.faults", &limits.faults),
    ] {
        settings.push(setting(key, limit, limit.value));
    }
    settings.push(setting("log.file", &config.log.file, config.log.file.value.display()));
    settings.push(setting("log.level", &config.log.level, config.log.level.value));
    settings
}

fn setting<T: Serialize>(key: &'static str, value: &Sourced<T>, shown: impl Display) -> Setting {
    // A path that is not Unicode has no JSON value; its text is shown all the same.
    let json = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
    Setting {
        key,
        value: json(serde_json::to_value(&value.value)),
        source: json(serde_json::to_value(&value.source)),
        text: format!("{key} = {shown}  ({})", value.source),
    }
}

fn text(shown: &Shown) -> String {
    let mut text = String::new();
    for setting in &shown.settings {
        let _ = writeln!(text, "{}", setting.text);
    }
    for file in &shown.files {
        let _ = writeln!(text, "read: {}", file.path.display());
    }
    for note in &shown.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
