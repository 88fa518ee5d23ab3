//! What may be configured, on the command line or in a file, and what it comes to.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use buildhook_sdk::StartError;
use buildhook_sdk::remote::{Conduct, Wishes};
use http::Uri;
use serde::Deserialize;

use crate::{NAME, VERSION, profile};

/// Long enough for a lost packet to be sent again (1 s), on any path that is of use.
const DEFAULT_CONNECT_TIMEOUT_MS: u64 = 3_000;
/// S3 answers within 100–200 ms; what says nothing for this long is stuck.
const DEFAULT_READ_TIMEOUT_MS: u64 = 5_000;
/// Longest prefix: S3 allows 1,024 bytes for a name, of which ours take less than 100.
const MAX_PREFIX_BYTES: usize = 512;

/// As written by a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// The bucket; it must exist.
    #[arg(long, value_name = "NAME")]
    pub bucket: Option<String>,
    /// Everything is stored below this name in the bucket, for example `ci/rust`.
    #[arg(long, value_name = "NAME")]
    pub prefix: Option<String>,
    /// The server, when it is not AWS, for example `https://minio.example.org:9000`.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The bucket's region; found out by the first request when it is not given.
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The profile in `~/.aws` to take credentials from.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Sends requests without a signature and looks for no credentials: for public buckets.
    #[arg(long)]
    pub anonymous: bool,
    /// Where the bucket's name stands; `path` with an endpoint, otherwise `virtual`.
    #[arg(long, value_name = "STYLE")]
    pub addressing: Option<Addressing>,
    /// Trusts the system's certificates in place of Mozilla's, which are built in.
    #[arg(long)]
    pub system_certificates: bool,
    /// Compresses what is uploaded with zstd, at level 1 (fast) to 19 (small); 0 does not.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(0..=19))]
    pub zstd: Option<i32>,
    /// Answers when an entry is in the bucket, not before: builds wait for their uploads.
    #[arg(long)]
    pub wait: bool,
    /// Longest wait for a connection, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub connect_timeout_ms: Option<u64>,
    /// Longest silence of the server, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub read_timeout_ms: Option<u64>,
    /// Longest that builds wait for the bucket in vain, in all, beyond what its hits have
    /// spared, in milliseconds; then it is only written to.
    #[arg(long, value_name = "MS")]
    pub patience_ms: Option<u64>,
    /// Requests of the host that are worked on at once, 1 to 256.
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
    /// Longest that uploads may go on when the build has ended, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub drain_ms: Option<u64>,
    /// Says at the end how many requests and bytes the session took, on standard error.
    #[arg(long)]
    pub summary: bool,
}

impl Options {
    /// These, and where they say nothing `base`.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        Self {
            bucket: self.bucket.or(base.bucket),
            prefix: self.prefix.or(base.prefix),
            endpoint: self.endpoint.or(base.endpoint),
            region: self.region.or(base.region),
            profile: self.profile.or(base.profile),
            anonymous: self.anonymous || base.anonymous,
            addressing: self.addressing.or(base.addressing),
            system_certificates: self.system_certificates || base.system_certificates,
            zstd: self.zstd.or(base.zstd),
            wait: self.wait || base.wait,
            connect_timeout_ms: self.connect_timeout_ms.or(base.connect_timeout_ms),
            read_timeout_ms: self.read_timeout_ms.or(base.read_timeout_ms),
            patience_ms: self.patience_ms.or(base.patience_ms),
            max_in_flight: self.max_in_flight.or(base.max_in_flight),
            drain_ms: self.drain_ms.or(base.drain_ms),
            summary: self.summary || base.summary,
        }
    }
}

/// Where the bucket's name stands in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// `https://server/bucket/object`: what most servers other than AWS expect.
    Path,
    /// `https://bucket.server/object`.
    Virtual,
}

/// What the process finds around it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The variables whose names begin with `AWS_`.
    pub variables: HashMap<String, String>,
    /// The folder that `.aws` is looked for in.
    pub home: Option<PathBuf>,
    /// The proxy that the variables name.
    pub proxy: Option<ureq::Proxy>,
}

/// Options that make sense together.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) bucket: String,
    pub(crate) conduct: Conduct,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) region: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) anonymous: bool,
    pub(crate) addressing: Addressing,
    pub(crate) system_certificates: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) summary: bool,
    pub(crate) surroundings: Surroundings,
}

/// A server that was named: scheme, and host with port and perhaps a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    /// Begins with a slash when it is not empty, and does not end in one.
    pub(crate) path: String,
}

impl Settings {
    /// Settles what was left open.
    ///
    /// # Errors
    /// [`StartError::Config`]: an option is missing or makes no sense; names it.
    pub fn new(options: Options, surroundings: Surroundings) -> Result<Self, StartError> {
        let variable = |names: [&str; 2]| {
            names.iter().find_map(|name| surroundings.variables.get(*name)).cloned()
        };
        let bucket = options.bucket.ok_or_else(|| {
            config("the bucket is missing: say `--bucket NAME`, or `bucket = \"NAME\"` in the file")
        })?;
        check_word("bucket", &bucket, "")?;
        let wishes = Wishes {
            prefix: options.prefix,
            zstd: options.zstd,
            wait: options.wait,
            patience_ms: options.patience_ms,
            max_in_flight: options.max_in_flight,
            drain_ms: options.drain_ms,
        };
        let conduct = Conduct::new(NAME, VERSION, MAX_PREFIX_BYTES, wishes)?;
        let named =
            options.endpoint.or_else(|| variable(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
        let endpoint = named.as_deref().map(parse_endpoint).transpose()?;
        // As with credentials, a profile that is named is meant, whatever the variables hold.
        let named = options.profile.as_deref();
        let region = options
            .region
            .or_else(|| named.and_then(|named| profile::region(Some(named), &surroundings)))
            .or_else(|| variable(["AWS_REGION", "AWS_DEFAULT_REGION"]))
            .or_else(|| profile::region(None, &surroundings).filter(|_| named.is_none()));
        if let Some(region) = &region {
            check_word("region", region, "")?;
        }
        if options.anonymous && options.profile.is_some() {
            return Err(config("`anonymous` looks for no credentials: leave `profile` out"));
        }
        // Dots in the bucket's name would be levels of the host's name, which the wildcard in
        // the server's certificate does not cover.
        let addressing = options.addressing.unwrap_or(match &endpoint {
            None if !bucket.contains('.') => Addressing::Virtual,
            _ => Addressing::Path,
        });
        Ok(Self {
            bucket,
            conduct,
            endpoint,
            region,
            profile: options.profile,
            anonymous: options.anonymous,
            addressing,
            system_certificates: options.system_certificates,
            connect_timeout: limit(
                "connect-timeout-ms",
                options.connect_timeout_ms,
                DEFAULT_CONNECT_TIMEOUT_MS,
            )?,
            read_timeout: limit(
                "read-timeout-ms",
                options.read_timeout_ms,
                DEFAULT_READ_TIMEOUT_MS,
            )?,
            summary: options.summary,
            surroundings,
        })
    }
}

fn limit(name: &str, written_ms: Option<u64>, default_ms: u64) -> Result<Duration, StartError> {
    match written_ms.unwrap_or(default_ms) {
        0 => Err(config(&format!("`{name}` must not be 0"))),
        ms => Ok(Duration::from_millis(ms)),
    }
}

/// Words that go into a URL and a signature as they are.
fn check_word(what: &str, word: &str, also: &str) -> Result<(), StartError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || also.contains(c);
    if word.is_empty() || !word.chars().all(valid) {
        return Err(config(&format!(
            "`{word}` is no {what}: only letters, digits, `-`, `.` and `_` are valid"
        )));
    }
    Ok(())
}

fn parse_endpoint(text: &str) -> Result<Endpoint, StartError> {
    // Not repeated when it holds a password.
    if text.contains('@') {
        return Err(config(
            "the endpoint must not hold a user or a password: AWS_ACCESS_KEY_ID \
            and AWS_SECRET_ACCESS_KEY do",
        ));
    }
    let wrong =
        || config(&format!("`{text}` is no endpoint: write `https://host` or `http://host:port`"));
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let scheme = match uri.scheme_str() {
        Some("https") => "https",
        Some("http") => "http",
        _ => return Err(wrong()),
    };
    let authority = uri.authority().ok_or_else(wrong)?.to_string();
    if uri.query().is_some() {
        return Err(wrong());
    }
    let path = uri.path().trim_end_matches('/').to_owned();
    if !path.is_empty() {
        check_word("path in the endpoint", &path, "/")?;
    }
    Ok(Endpoint { scheme, authority, path })
}

fn config(message: &str) -> StartError {
    StartError::Config(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(toml: &str) -> Result<Settings, String> {
        let path = std::path::Path::new("s3.toml");
        let options: Options =
            buildhook_sdk::config::parse_toml(path, toml).map_err(|error| error.to_string())?;
        Settings::new(options, Surroundings::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn wrong_words_are_refused_and_named() {
        let cases = [
            ("", "the bucket is missing"),
            ("bucket = 'b'\nprefx = 'x'", "s3.toml:2: unknown field `prefx`"),
            ("bucket = 'b'\nprefx = 'x'", "did you mean `prefix`?"),
            ("bucket = 'a/b'", "`a/b` is no bucket"),
            ("bucket = 'b'\nprefix = 'a//b'", "`a//b` is no prefix"),
            ("bucket = 'b'\nendpoint = 'host:9000'", "`host:9000` is no endpoint"),
            ("bucket = 'b'\nendpoint = 'ftp://host'", "`ftp://host` is no endpoint"),
            ("bucket = 'b'\nzstd = 20", "`zstd` is a level from 1 to 19, or 0"),
            ("bucket = 'b'\nmax-in-flight = 0", "`max-in-flight` is a number from 1 to 256"),
            ("bucket = 'b'\nread-timeout-ms = 0", "`read-timeout-ms` must not be 0"),
            ("bucket = 'b'\nprofile = 'p'\nanonymous = true", "leave `profile` out"),
        ];
        for (toml, expected) in cases {
            let error = settle(toml).unwrap_err();
            assert!(error.contains(expected), "{toml}: {error}");
        }
        let error = settle("bucket = 'b'\nendpoint = 'http://me:secret@host'").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn addressing_follows_the_endpoint_and_the_name() {
        assert_eq!(settle("bucket = 'b'").unwrap().addressing, Addressing::Virtual);
        assert_eq!(settle("bucket = 'b.c'").unwrap().addressing, Addressing::Path);
        let custom = settle("bucket = 'b'\nendpoint = 'http://host:9000/s3/'").unwrap();
        assert_eq!(custom.addressing, Addressing::Path);
        let endpoint = custom.endpoint.unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.path.as_str()), ("host:9000", "/s3"));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = Options { bucket: Some("f".into()), zstd: Some(3), ..Options::default() };
        let line = Options { bucket: Some("l".into()), anonymous: true, ..Options::default() };
        let both = line.over(file);
        assert_eq!((both.bucket.as_deref(), both.zstd, both.anonymous), (Some("l"), Some(3), true));
    }
}
