//! The list of requirements, `protocol-spec/requirements.toml`, as built in.

use std::sync::LazyLock;

use serde::Deserialize;

/// How much a requirement binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) enum Level {
    /// MUST and MUST NOT.
    Must,
    /// SHOULD and SHOULD NOT.
    Should,
    /// MAY: a permission, listed because it has an id.
    May,
}

/// Whom a requirement binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Side {
    /// Every plugin.
    Plugin,
    /// A host.
    Host,
    /// A plugin that has a child.
    Filter,
}

/// One row.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Requirement {
    pub(crate) id: String,
    pub(crate) level: Level,
    /// Heading of the section of SPEC.md.
    pub(crate) clause: String,
    /// The words of SPEC.md.
    pub(crate) sentence: String,
    pub(crate) side: Vec<Side>,
    /// What a hello or a command line must declare for it to apply.
    #[serde(default)]
    pub(crate) capability: Option<String>,
    /// The version of SPEC.md that first had it.
    pub(crate) since: String,
    /// Ids of the checks that put it to the test.
    #[serde(default)]
    pub(crate) checks: Vec<String>,
    /// Why (the rest of) it cannot be tested from outside.
    #[serde(default)]
    pub(crate) untestable: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    requirement: Vec<Requirement>,
}

static ALL: LazyLock<Vec<Requirement>> = LazyLock::new(|| {
    let text = include_str!("../../protocol-spec/requirements.toml");
    let document: Document =
        toml::from_str(text).expect("the registry that was built in is tested to be readable");
    document.requirement
});

/// Every row, in the order of SPEC.md.
pub(crate) fn all() -> &'static [Requirement] {
    &ALL
}

/// The row with this id.
pub(crate) fn find(id: &str) -> Option<&'static Requirement> {
    all().iter().find(|row| row.id == id)
}
