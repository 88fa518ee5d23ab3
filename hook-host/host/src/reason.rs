//! Reason codes that only a host gives, beside those of the protocol: why a plugin was not
//! even asked.

/// No plugin is configured for the hook.
pub const NO_PLUGIN: &str = "no-plugin";
/// The plugin does not offer the hook: it is read-only or write-only.
pub const NOT_OFFERED: &str = "not-offered";
/// The plugin, or this hook of it, is left alone for the rest of the build.
pub const SWITCHED_OFF: &str = "switched-off";
/// The host has been closed.
pub const CLOSED: &str = "closed";
/// What was offered cannot be said in the protocol: too many files, two of one name.
pub const UNFIT: &str = "unfit";
