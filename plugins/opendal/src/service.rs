//! The services, and how a URL names one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildhook_sdk::config::nearest;
use http::Uri;
use opendal::services::{Azblob, Gcs, Memcached, Redis, Webdav};
use opendal::{Operator, Result};

use crate::settings::Settings;

/// The schemes that are understood.
const SCHEMES: [&str; 8] = [
    "redis",
    "rediss",
    "memcached",
    "webdav+http",
    "webdav+https",
    "gcs",
    "azblob+http",
    "azblob+https",
];
const REDIS_PORT: u16 = 6379;
const MEMCACHED_PORT: u16 = 11_211;
/// A value of memcached is at most 1 MiB, its name and header included, unless it is started
/// with another limit.
const MEMCACHED_CHUNK_BYTES: u64 = 1_000_000;
/// Elsewhere: few enough requests for a large file, and little enough memory for several.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// A service and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    /// `database` is a number; `tls` for `rediss`.
    Redis {
        authority: String,
        database: i64,
        tls: bool,
    },
    Memcached {
        authority: String,
    },
    /// The URL of a folder, without a slash at its end.
    Webdav {
        endpoint: String,
    },
    Gcs {
        bucket: String,
    },
    Azblob {
        endpoint: String,
        container: String,
    },
}

/// Why a URL names no service. Repeats nothing of a URL that may hold a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UrlError {
    Password,
    Scheme { written: String, meant: Option<&'static str> },
    Form(&'static str),
}

impl fmt::Display for UrlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password => formatter.write_str(
                "the URL must not hold a user or a password: say `user`, and give the password \
                 in `password-file` or in BUILDHOOK_OPENDAL_PASSWORD",
            ),
            Self::Scheme { written, meant } => {
                write!(formatter, "`{written}` is no service: write ")?;
                write!(formatter, "{}", SCHEMES.map(|scheme| format!("`{scheme}://`")).join(", "))?;
                match meant {
                    Some(meant) => write!(formatter, "; did you mean `{meant}://`?"),
                    None => Ok(()),
                }
            }
            Self::Form(form) => write!(formatter, "the URL is not of the form `{form}`"),
        }
    }
}

impl Service {
    pub(crate) fn parse(url: &str) -> std::result::Result<Self, UrlError> {
        if url.contains('@') {
            return Err(UrlError::Password);
        }
        let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
        if !SCHEMES.contains(&scheme) {
            let written = scheme.chars().take(40).collect();
            return Err(UrlError::Scheme { written, meant: nearest(scheme, SCHEMES) });
        }
        match scheme {
            "redis" | "rediss" => parse_redis(url, scheme == "rediss"),
            "memcached" => {
                let form = UrlError::Form("memcached://HOST[:PORT]");
                match parts(url) {
                    Some(uri) if uri.path().len() <= 1 => {
                        Ok(Self::Memcached { authority: with_port(&uri, MEMCACHED_PORT) })
                    }
                    _ => Err(form),
                }
            }
            "gcs" => match parts(url) {
                Some(uri) if uri.path().len() <= 1 && uri.port().is_none() => {
                    Ok(Self::Gcs { bucket: uri.host().unwrap_or_default().to_owned() })
                }
                _ => Err(UrlError::Form("gcs://BUCKET")),
            },
            // The address follows the `+`.
            _ => parse_http(url),
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Redis { authority, .. } => format!("Redis on {authority}"),
            Self::Memcached { authority } => format!("memcached on {authority}"),
            Self::Webdav { endpoint } => format!("WebDAV on {}", host_of(endpoint)),
            Self::Gcs { bucket } => format!("Google's bucket {bucket}"),
            Self::Azblob { endpoint, .. } => format!("Azure on {}", host_of(endpoint)),
        }
    }

    /// The size of a chunk but the last one of content. Part of the format.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        match self {
            Self::Memcached { .. } => MEMCACHED_CHUNK_BYTES,
            _ => CHUNK_BYTES,
        }
    }

    /// Longest record that it takes.
    pub(crate) fn max_record_bytes(&self) -> u64 {
        match self {
            Self::Memcached { .. } => MEMCACHED_CHUNK_BYTES,
            _ => buildhook_sdk::remote::MAX_RECORD_BYTES,
        }
    }

    /// Whether to ask if a chunk is there costs less than to write it.
    pub(crate) fn is_quick_to_ask(&self) -> bool {
        // memcached answers with the content.
        !matches!(self, Self::Memcached { .. })
    }

    /// Whether a password is of no use without a user's name.
    pub(crate) fn wants_user(&self) -> bool {
        matches!(self, Self::Memcached { .. } | Self::Webdav { .. })
    }

    /// `opendal`'s operator for the service, without layers. Sends nothing.
    pub(crate) fn operator(&self, settings: &Settings) -> Result<Operator> {
        let user = settings.user.as_deref().unwrap_or_default();
        let password = settings.password.as_ref().map_or("", |password| password.reveal());
        match self {
            Self::Redis { authority, database, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let endpoint = format!("{scheme}://{authority}");
                let builder = Redis::default().endpoint(&endpoint).db(*database);
                Operator::new(builder.username(user).password(password))
            }
            Self::Memcached { authority } => {
                let builder = Memcached::default().endpoint(&format!("tcp://{authority}"));
                Operator::new(match password {
                    "" => builder,
                    password => builder.username(user).password(password),
                })
            }
            Self::Webdav { endpoint } => {
                let builder = Webdav::default().endpoint(endpoint);
                Operator::new(builder.username(user).password(password))
            }
            Self::Gcs { bucket } => {
                let builder = Gcs::default().bucket(bucket);
                Operator::new(match password {
                    "" => builder,
                    key => builder.credential(&STANDARD.encode(key)),
                })
            }
            Self::Azblob { endpoint, container } => {
                let account = match user {
                    "" => host_of(endpoint).split('.').next().unwrap_or_default(),
                    user => user,
                };
                let builder = Azblob::default().endpoint(endpoint).container(container);
                Operator::new(match password {
                    "" => builder.skip_signature(),
                    key => builder.account_name(account).account_key(key),
                })
            }
        }
    }
}

fn parse_redis(url: &str, tls: bool) -> std::result::Result<Service, UrlError> {
    let form = || UrlError::Form("redis://HOST[:PORT][/DATABASE]");
    let uri = parts(url).ok_or_else(form)?;
    let database = match uri.path().trim_start_matches('/') {
        "" => 0,
        number => number.parse().ok().filter(|number| *number >= 0).ok_or_else(form)?,
    };
    Ok(Service::Redis { authority: with_port(&uri, REDIS_PORT), database, tls })
}

fn parse_http(url: &str) -> std::result::Result<Service, UrlError> {
    let (service, address) = url.split_once('+').unwrap_or_default();
    let form = || match service {
        "webdav" => UrlError::Form("webdav+https://HOST[:PORT][/FOLDER]"),
        _ => UrlError::Form("azblob+https://ACCOUNT.blob.core.windows.net/CONTAINER"),
    };
    let uri = parts(address).ok_or_else(form)?;
    let address = address.trim_end_matches('/');
    if service == "webdav" {
        return Ok(Service::Webdav { endpoint: address.to_owned() });
    }
    let container = uri.path().trim_matches('/').to_owned();
    let endpoint = address.strip_suffix(&format!("/{container}")).filter(|_| !container.is_empty());
    let endpoint = endpoint.ok_or_else(form)?.to_owned();
    if container.contains('/') {
        return Err(form());
    }
    Ok(Service::Azblob { endpoint, container })
}

/// A URL with a host and without a query.
fn parts(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host().is_some_and(|host| !host.is_empty());
    (host && uri.query().is_none()).then_some(uri)
}

fn with_port(uri: &Uri, default: u16) -> String {
    format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(default))
}

/// Host and port of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Service::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn urls_name_services() {
        let redis = |authority: &str, database, tls| Service::Redis {
            authority: authority.to_owned(),
            database,
            tls,
        };
        let webdav = |endpoint: &str| Service::Webdav { endpoint: endpoint.to_owned() };
        let cases = [
            ("redis://h", redis("h:6379", 0, false)),
            ("rediss://h:1/2", redis("h:1", 2, true)),
            ("redis://[::1]:7/", redis("[::1]:7", 0, false)),
            ("memcached://h", Service::Memcached { authority: "h:11211".to_owned() }),
            ("webdav+http://h:8/a/b/", webdav("http://h:8/a/b")),
            ("webdav+https://h", webdav("https://h")),
            ("gcs://bucket", Service::Gcs { bucket: "bucket".to_owned() }),
            (
                "azblob+https://me.blob.core.windows.net/c",
                Service::Azblob {
                    endpoint: "https://me.blob.core.windows.net".to_owned(),
                    container: "c".to_owned(),
                },
            ),
        ];
        for (url, service) in cases {
            assert_eq!(Service::parse(url), Ok(service), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_what_is_meant() {
        assert!(refused("reddis://h").contains("did you mean `redis://`?"));
        assert!(refused("webdav://h").contains("did you mean `webdav+http"));
        assert!(refused("https://h").contains("`https` is no service"));
        for url in ["redis://", "redis://h/x", "redis://h/-1", "redis://h?db=1"] {
            assert!(refused(url).contains("redis://HOST[:PORT][/DATABASE]"), "{url}");
        }
        assert!(refused("memcached://h/x").contains("memcached://HOST[:PORT]"));
        assert!(refused("azblob+https://h").contains("/CONTAINER"));
        assert!(refused("azblob+https://h/a/b").contains("/CONTAINER"));
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for url in ["redis://me:planted@h", "webdav+https://planted@h/x", "x://:planted@h"] {
            let message = refused(url);
            assert!(message.contains("password-file") && !message.contains("planted"), "{message}");
        }
    }
}
