//! Plugins that test the tester: a small directory store and two filters that
//! are right, and each of them with one fault at a time.

mod answers;
pub(crate) mod catalog;
pub(crate) mod child;
mod emit;
mod filter;
pub(crate) mod kills;
pub(crate) mod matrix;
mod server;
pub(crate) mod store;
mod transform;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use catalog::{Mutation, Role};
use serde_json::{Value, json};

/// Arguments of the subcommand `mutant`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MutantArgs {
    /// The folder of a store.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// The fault; none is the right plugin.
    #[arg(long, value_enum)]
    pub(crate) mutant: Option<Mutation>,
    /// Lease of the files in hits: borrowed, shared or owned.
    #[arg(long, default_value = "shared")]
    pub(crate) lease: String,
    /// Writes 1 MiB to standard error first, which is no fault.
    #[arg(long)]
    pub(crate) flood: bool,
    /// Makes a filter one that changes bytes.
    #[arg(long)]
    pub(crate) transform: bool,
    /// The environment, for faults that leak it.
    #[arg(skip)]
    pub(crate) environment: String,
    /// What is not understood; said in the hello, as a plugin has to.
    #[arg(long = "unknown", hide = true)]
    pub(crate) unknown: Option<String>,
    /// The child of a filter.
    #[arg(last = true)]
    pub(crate) child: Vec<String>,
}

/// Plays the plugin until standard input ends.
pub(crate) fn run(arguments: MutantArgs) -> ExitCode {
    let role = match (&arguments.mutant, arguments.child.is_empty()) {
        (Some(mutation), _) => mutation.role(),
        (None, true) => Role::Store,
        (None, false) if arguments.transform => Role::Transformer,
        (None, false) => Role::Filter,
    };
    let outcome = match role {
        Role::Store => server::serve(&arguments),
        Role::Filter => filter::serve(&arguments, false),
        Role::Transformer => filter::serve(&arguments, true),
    };
    outcome.unwrap_or_else(|error: io::Error| {
        eprintln!("mutant: {error}");
        ExitCode::from(1)
    })
}

/// An `error` message.
fn error(id: u64, kind: &str, scope: &str, message: &str) -> Value {
    json!({"id": id, "kind": "error", "error": {"kind": kind, "scope": scope, "message": message}})
}

/// What a request that lacks something, or has a wrong type, lacks.
fn fault(request: &Value) -> Option<String> {
    let required = [
        ("v", Value::is_u64 as fn(&Value) -> bool),
        ("id", Value::is_u64),
        ("kind", Value::is_string),
        ("key", Value::is_string),
        ("unit", Value::is_object),
        ("scratch", Value::is_string),
        ("deadline-ms", Value::is_u64),
    ];
    let built = [("seal", Value::is_string as fn(&Value) -> bool), ("files", Value::is_array)];
    let optional =
        [("purpose", Value::is_string as fn(&Value) -> bool), ("replace", Value::is_boolean)];
    let more: &[_] = if request["kind"] == "built-a-thing" { &built } else { &[] };
    let lacking = required.iter().chain(more).find(|(name, fits)| !fits(&request[*name]));
    let wrong =
        optional.iter().find(|(name, fits)| !request[*name].is_null() && !fits(&request[*name]));
    if let Some((name, _)) = lacking.or(wrong) {
        return Some(format!(
            "`{name}` is missing or of a wrong type; see section 3 of the protocol"
        ));
    }
    let record = [
        ("name", Value::is_string as fn(&Value) -> bool),
        ("path", Value::is_string),
        ("size", Value::is_u64),
        ("digest", Value::is_string),
        ("executable", Value::is_boolean),
        ("lease", Value::is_string),
    ];
    let files = request["files"].as_array().into_iter().flatten();
    let mut names = files.clone().filter_map(|file| file["name"].as_str());
    if let Some(why) = names.find_map(crate::wire::names::fault) {
        return Some(format!("the name of a file is not legal: {why}"));
    }
    let mut members =
        files.flat_map(|file| record.iter().map(move |(name, fits)| (name, fits(&file[*name]))));
    let (name, _) = members.find(|(_, fits)| !fits)?;
    Some(format!("`{name}` of a file is missing or of a wrong type"))
}
