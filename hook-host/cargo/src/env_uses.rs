//! Whether a variable only locates included files.
//!
//! `include!(concat!(env!("OUT_DIR"), "/x.rs"))` puts the *content* of a file into the crate,
//! and that file is an input of its own; the folder's name does not get in. Any other use
//! of `env!("OUT_DIR")` does put it in, if only as a length or a hash.
//!
//! The sources are searched as text. A use that is not found (it comes from a macro of
//! another crate) counts as another use.

use std::path::PathBuf;

/// Whether every use of `name` in `sources` is of the form
/// `include*!(concat!(env!("NAME"), …))`, and there is one.
#[must_use]
pub fn only_locates_includes(name: &str, sources: &[PathBuf]) -> bool {
    let mut found = false;
    for source in sources {
        // A source that is no text holds no use.
        let Ok(text) = fs_err::read_to_string(source) else { continue };
        match uses(&text, name) {
            Uses::None => {}
            Uses::Includes => found = true,
            Uses::Other => return false,
        }
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
enum Uses {
    None,
    Includes,
    Other,
}

fn uses(text: &str, name: &str) -> Uses {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let quoted = format!("\"{name}\"");
    let mut result = Uses::None;
    for (at, _) in compact.match_indices(&quoted) {
        let before = &compact[..at];
        let Some(before) = before.strip_suffix("env!(") else {
            // `std::env::var("NAME")` at run time, a comment, a macro's argument: of these
            // only a macro's could be the use, so it must be one that we do not understand.
            if before.ends_with("env::var(") || before.ends_with("env::var_os(") {
                continue;
            }
            return Uses::Other;
        };
        let includes = ["include!(concat!(", "include_str!(concat!(", "include_bytes!(concat!("];
        if includes.iter().any(|form| before.ends_with(form)) {
            result = Uses::Includes;
        } else {
            return Uses::Other;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_told_apart() {
        for (text, expected) in [
            ("fn main() {}", Uses::None),
            ("include!(concat!(env!(\"OUT_DIR\"), \"/a.rs\"));", Uses::Includes),
            ("include_bytes!(\n  concat!( env!(\"OUT_DIR\") , \"/a\"))", Uses::Includes),
            ("const D: &str = env!(\"OUT_DIR\");", Uses::Other),
            ("include!(concat!(env!(\"OUT_DIR\"), \"/a\")); env!(\"OUT_DIR\").len()", Uses::Other),
            ("concat!(env!(\"OUT_DIR\"), \"/a\")", Uses::Other),
            ("option_env!(\"OUT_DIR\")", Uses::Other),
            ("tonic::include!(\"OUT_DIR\")", Uses::Other),
            ("std::env::var(\"OUT_DIR\")", Uses::None),
        ] {
            assert_eq!(uses(text, "OUT_DIR"), expected, "{text}");
        }
    }
}
