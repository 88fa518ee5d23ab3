//! What may be configured, on the command line or in a file, and what it comes to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buildhook_sdk::StartError;
use buildhook_sdk::remote::{Conduct, Wishes};
use serde::Deserialize;

use crate::service::Service;
use crate::{NAME, VERSION};

/// For one attempt to bring or take a chunk: at 4 MiB that is 420 kB a second.
const DEFAULT_ATTEMPT_TIMEOUT_MS: u64 = 10_000;
/// Longest prefix: memcached allows 250 bytes for a name, of which ours take up to 100.
const MAX_PREFIX_BYTES: usize = 128;
/// Longest file with a password that is read, in bytes.
const MAX_PASSWORD_BYTES: u64 = 64 * 1024;

/// As written by a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// The server, for example `redis://cache.example.org`, `memcached://cache:11211` or
    /// `webdav+https://files.example.org/cache`.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Everything is stored below this name, for example `ci/rust`.
    #[arg(long, value_name = "NAME")]
    pub prefix: Option<String>,
    /// Who asks, where the server wants to know.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file with the password in its first line; without it BUILDHOOK_OPENDAL_PASSWORD is
    /// taken. For `gcs` a service account's key file.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Compresses what is uploaded with zstd, at level 1 (fast) to 19 (small); 0 does not.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(0..=19))]
    pub zstd: Option<i32>,
    /// Answers when an entry is in the store, not before: builds wait for their uploads.
    #[arg(long)]
    pub wait: bool,
    /// Longest that one attempt to read or write a piece may take, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub attempt_timeout_ms: Option<u64>,
    /// Longest that builds wait for the server in vain, in all, beyond what its hits have
    /// spared, in milliseconds; then it is only written to.
    #[arg(long, value_name = "MS")]
    pub patience_ms: Option<u64>,
    /// Requests of the host that are worked on at once, 1 to 256.
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
    /// Longest that uploads may go on when the build has ended, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub drain_ms: Option<u64>,
}

impl Options {
    /// These, and where they say nothing `base`.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        Self {
            url: self.url.or(base.url),
            prefix: self.prefix.or(base.prefix),
            user: self.user.or(base.user),
            password_file: self.password_file.or(base.password_file),
            zstd: self.zstd.or(base.zstd),
            wait: self.wait || base.wait,
            attempt_timeout_ms: self.attempt_timeout_ms.or(base.attempt_timeout_ms),
            patience_ms: self.patience_ms.or(base.patience_ms),
            max_in_flight: self.max_in_flight.or(base.max_in_flight),
            drain_ms: self.drain_ms.or(base.drain_ms),
        }
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Options that make sense together.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) service: Service,
    pub(crate) conduct: Conduct,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) attempt_timeout: Duration,
}

impl Settings {
    /// Settles what was left open; `password` is what was found outside the options.
    ///
    /// # Errors
    /// [`StartError::Config`]: an option is missing or makes no sense; names it.
    pub fn new(options: Options, password: Option<Secret>) -> Result<Self, StartError> {
        let url = options.url.ok_or_else(|| {
            config("the server is missing: say `--url URL`, or `url = \"URL\"` in the file")
        })?;
        let service =
            Service::parse(&url).map_err(|error| StartError::Config(error.to_string()))?;
        let wishes = Wishes {
            prefix: options.prefix,
            zstd: options.zstd,
            wait: options.wait,
            patience_ms: options.patience_ms,
            max_in_flight: options.max_in_flight,
            drain_ms: options.drain_ms,
        };
        let conduct = Conduct::new(NAME, VERSION, MAX_PREFIX_BYTES, wishes)?;
        let password = match &options.password_file {
            Some(file) => Some(read_password(file, &service)?),
            None => password,
        };
        if service.wants_user() && options.user.is_some() != password.is_some() {
            return Err(config(
                "`user` and a password go together: give both or neither (the password in \
                 `password-file` or in BUILDHOOK_OPENDAL_PASSWORD)",
            ));
        }
        let attempt_timeout_ms = options.attempt_timeout_ms.unwrap_or(DEFAULT_ATTEMPT_TIMEOUT_MS);
        if attempt_timeout_ms == 0 {
            return Err(config("`attempt-timeout-ms` must not be 0"));
        }
        Ok(Self {
            service,
            conduct,
            user: options.user,
            password,
            attempt_timeout: Duration::from_millis(attempt_timeout_ms),
        })
    }
}

/// The first line of `file`, or all of it for a service whose key is a document.
fn read_password(file: &Path, service: &Service) -> Result<Secret, StartError> {
    let named = |what: String| StartError::Config(format!("`password-file`: {what}"));
    let size = fs_err::metadata(file).map_err(|error| named(error.to_string()))?.len();
    if size > MAX_PASSWORD_BYTES {
        return Err(named(format!("{} is too long for a password", file.display())));
    }
    let text = fs_err::read_to_string(file).map_err(|error| named(error.to_string()))?;
    let text = match service {
        Service::Gcs { .. } => text.as_str(),
        _ => text.lines().next().unwrap_or_default(),
    };
    if text.is_empty() {
        return Err(named(format!("the first line of {} is empty", file.display())));
    }
    Ok(Secret::new(text.to_owned()))
}

fn config(message: &str) -> StartError {
    StartError::Config(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(toml: &str) -> Result<Settings, String> {
        let options: Options = buildhook_sdk::config::parse_toml(Path::new("o.toml"), toml)
            .map_err(|error| error.to_string())?;
        Settings::new(options, None).map_err(|error| error.to_string())
    }

    #[test]
    fn wrong_words_are_refused_and_named() {
        let cases = [
            ("", "the server is missing"),
            ("url = 'redis://h'\nprefx = 'x'", "o.toml:2: unknown field `prefx`"),
            ("url = 'redis://h'\nprefx = 'x'", "did you mean `prefix`?"),
            ("url = 'redis://h'\npassword = 'x'", "did you mean `password-file`?"),
            ("url = 'redis://h'\nprefix = 'a//b'", "`a//b` is no prefix"),
            ("url = 'redis://h'\nprefix = 'a b'", "`a b` is no prefix"),
            ("url = 'memcached://h'\nuser = 'me'", "`user` and a password go together"),
            ("url = 'redis://h'\nmax-in-flight = 0", "`max-in-flight` is a number from 1 to 256"),
            ("url = 'redis://h'\nzstd = 20", "`zstd` is a level from 1 to 19, or 0"),
            ("url = 'redis://h'\nattempt-timeout-ms = 0", "`attempt-timeout-ms` must not be 0"),
            ("url = 'redis://h'\npassword-file = '/absent'", "`password-file`: "),
        ];
        for (toml, expected) in cases {
            let error = settle(toml).unwrap_err();
            assert!(error.contains(expected), "{toml}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let settings = Settings::new(
            Options { url: Some("redis://h".to_owned()), ..Options::default() },
            Some(Secret::new("planted".to_owned())),
        );
        assert!(!format!("{:?}", settings.unwrap()).contains("planted"));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = Options { url: Some("f".into()), max_in_flight: Some(3), ..Options::default() };
        let line = Options { url: Some("l".into()), wait: true, ..Options::default() };
        let both = line.over(file);
        assert_eq!(
            (both.url.as_deref(), both.max_in_flight, both.wait),
            (Some("l"), Some(3), true)
        );
    }
}
