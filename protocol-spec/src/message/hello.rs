//! Hello (SPEC.md §2).

use serde::{Deserialize, Serialize};

use super::{ErrorBody, Hook, is_zero};
use crate::limits::{MAX_IN_FLIGHT, MAX_INTEGER};
use crate::strict;

/// The first message of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", schemars(extend("oneOf" = [
    {"required": ["hooks"]}, {"required": ["error"]}
])))]
pub struct Hello {
    /// The protocol versions it speaks.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub v: Vec<u32>,
    /// Who it is.
    #[serde(deserialize_with = "strict::object")]
    pub plugin: PluginInfo,
    /// The kinds of request it answers; absent exactly when `error` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<String>>,
    /// What it wants beyond the basics, such as `manifest` (SPEC.md §8).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// How many requests it accepts before it has answered.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_IN_FLIGHT)))]
    pub max_in_flight: u32,
    /// How long it wants to go on after standard input has closed, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_INTEGER)))]
    pub drain_ms: u64,
    /// Why it cannot work.
    #[serde(
        default,
        deserialize_with = "strict::optional_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub error: Option<ErrorBody>,
}

impl Hello {
    /// Whether the plugin answers `hook`.
    #[must_use]
    pub fn has_hook(&self, hook: Hook) -> bool {
        self.hooks.iter().flatten().any(|name| name == hook.as_str())
    }

    /// Whether the plugin asks for `feature`.
    #[must_use]
    pub fn has_feature(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }

    /// What BH-HELLO-002, 003 and the bounds of §2 say, beyond the types.
    ///
    /// # Errors
    /// The first rule broken, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.v.is_empty() {
            return Err("`v` names no version");
        }
        if self.plugin.name.is_empty() || self.plugin.version.is_empty() {
            return Err("`plugin` has no name or no version");
        }
        if self.hooks.is_some() == self.error.is_some() {
            return Err("exactly one of `hooks` and `error` is due");
        }
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err("`max-in-flight` is not between 1 and 256");
        }
        if self.drain_ms > MAX_INTEGER {
            return Err("`drain-ms` is above 2^53 - 1");
        }
        Ok(())
    }
}

/// Who a plugin is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// For example `local-dir`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub name: String,
    /// Its own version, in any form.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub version: String,
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == 1
}
