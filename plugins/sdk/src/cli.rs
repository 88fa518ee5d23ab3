//! Command lines: clap, with its faults turned into [`StartError`]s.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, Parser, value_parser};

use crate::StartError;

/// The process's arguments as an `A`.
///
/// # Errors
/// [`StartError::Help`] for `--help` and `--version`, otherwise [`StartError::Config`] with
/// clap's words, which name the nearest valid argument.
pub fn parse<A: Parser>() -> Result<A, StartError> {
    parse_from(std::env::args_os())
}

/// [`parse`] for given arguments, the program's name first.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_from<A: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<A, StartError> {
    A::try_parse_from(arguments).map_err(start_error)
}

/// The arguments of a filter, the program's name first: an `A`, and the command of the next
/// plugin, which must stand after `--`.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_filter<A: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(A, Vec<OsString>), StartError> {
    const NEXT: &str = "NEXT";
    let next = Arg::new(NEXT)
        .help("The next plugin and its arguments")
        .last(true)
        .required(true)
        .num_args(1..)
        .value_parser(value_parser!(OsString));
    let mut command = A::command().arg(next);
    let mut matches = command.try_get_matches_from_mut(arguments).map_err(start_error)?;
    let next = matches.remove_many(NEXT).unwrap_or_default().collect();
    let own = A::from_arg_matches_mut(&mut matches);
    own.map(|own| (own, next)).map_err(|error| start_error(error.format(&mut command)))
}

fn start_error(error: clap::Error) -> StartError {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => StartError::Help(text),
        _ => StartError::Config(text.trim().trim_start_matches("error: ").to_owned()),
    }
}

/// A number of bytes with an optional unit: `20GB`, `512 MiB`, `1000`. For `value_parser`.
///
/// # Errors
/// A sentence that lists what is understood.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(bytes_help(text)),
    };
    let count: u64 = digits.parse().map_err(|_| bytes_help(text))?;
    count.checked_mul(factor).ok_or_else(|| bytes_help(text))
}

fn bytes_help(text: &str) -> String {
    format!("`{text}` is no size: write a whole number and B, KB, MB, GB, TB or KiB, MiB, GiB, TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("20GB", Some(20_000_000_000)),
            ("512 MiB", Some(512 << 20)),
            ("7", Some(7)),
            ("1.5GB", None),
            ("", None),
            ("GB", None),
            ("-1", None),
            ("99999999999TB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        }
    }
}
