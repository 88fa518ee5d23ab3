//! Changes every byte of every file on the way down and back on the way up.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::catalog::Mutation;
use crate::plugin::bench::text;
use crate::wire;

/// What names begin with below the filter.
const PREFIX: &str = "@flip/";
/// A file that the filter adds.
const ADDED: &str = "@flip/about";

/// Changes the files of a request for the child.
///
/// # Errors
/// Why the request must not be forwarded.
pub(super) fn down(request: &mut Value, mutation: Option<Mutation>) -> Result<(), String> {
    let scratch = PathBuf::from(request["scratch"].as_str().unwrap_or_default());
    let below = scratch.join("below");
    fs::create_dir(&below).map_err(|error| error.to_string())?;
    request["scratch"] = text(&below).into();
    let Some(files) = request.get_mut("files").and_then(Value::as_array_mut) else { return Ok(()) };
    let plain = mutation == Some(Mutation::AddsPlainNames);
    for (index, record) in files.iter_mut().enumerate() {
        let content = read(record, mutation == Some(Mutation::Launders))?;
        write(record, &flip(content), &below.join(format!("down-{index}")))?;
        if !plain {
            record["name"] = format!("{PREFIX}{}", name(record)).into();
        }
    }
    let mut about = json!({"name": ADDED, "executable": false});
    write(&mut about, b"every byte is changed", &below.join("about"))?;
    files.push(about);
    Ok(())
}

/// Changes an answer of the child back.
///
/// # Errors
/// Why the answer must not be forwarded.
pub(super) fn up(
    answer: &mut Value,
    request: &Value,
    mutation: Option<Mutation>,
) -> Result<(), String> {
    if mutation != Some(Mutation::PassesRelocated)
        && let Some(members) = answer.as_object_mut()
    {
        members.remove("relocated");
    }
    let scratch = PathBuf::from(request["scratch"].as_str().unwrap_or_default());
    let Some(files) = answer.get_mut("files").and_then(Value::as_array_mut) else { return Ok(()) };
    if mutation != Some(Mutation::LeavesItsFiles) {
        files.retain(|record| name(record) != ADDED);
    }
    for (index, record) in files.iter_mut().enumerate() {
        if name(record) == ADDED {
            continue;
        }
        let content = read(record, mutation == Some(Mutation::TrustsChild))?;
        write(record, &flip(content), &scratch.join(format!("up-{index}")))?;
        let original = name(record).strip_prefix(PREFIX).unwrap_or(name(record)).to_owned();
        record["name"] = original.into();
    }
    Ok(())
}

fn name(record: &Value) -> &str {
    record["name"].as_str().unwrap_or_default()
}

fn flip(mut content: Vec<u8>) -> Vec<u8> {
    content.iter_mut().for_each(|byte| *byte ^= 0x5a);
    content
}

/// The content of a file, verified unless `blind`.
fn read(record: &Value, blind: bool) -> Result<Vec<u8>, String> {
    let path = Path::new(record["path"].as_str().unwrap_or_default());
    let content = fs::read(path).map_err(|error| error.to_string())?;
    let sound = record["size"] == content.len() && record["digest"] == wire::digest(&content);
    if sound || blind {
        Ok(content)
    } else {
        Err(format!("{} contradicts its record", name(record)))
    }
}

/// Writes changed content and makes `record` that of the new file.
fn write(record: &mut Value, content: &[u8], path: &Path) -> Result<(), String> {
    fs::write(path, content).map_err(|error| error.to_string())?;
    record["path"] = text(path).into();
    record["size"] = content.len().into();
    record["digest"] = wire::digest(content).into();
    record["lease"] = "owned".into();
    Ok(())
}
