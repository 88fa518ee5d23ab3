//! What can go wrong, told apart, in words that say what to change.
//!
//! What `opendal` or a server says is searched for words that are known and never repeated:
//! it may hold what was sent.

use buildhook_protocol::ErrorKind;
use buildhook_sdk::remote::Fault;

/// Marks that a server wants other credentials.
pub(crate) const UNAUTHORIZED: &str = "buildhook: unauthorized";
/// Marks that a server's certificate is not trusted.
pub(crate) const UNTRUSTED: &str = "buildhook: untrusted";
/// Marks that a server has no room.
pub(crate) const FULL: &str = "buildhook: full";

/// Words of servers for credentials that are missing or wrong.
const AUTH_WORDS: [&str; 5] =
    [UNAUTHORIZED, "WRONGPASS", "NOAUTH", "AuthenticationFailed", "Password authentication failed"];
/// Status of memcached's binary protocol for the same: authentication error, and go on with it.
const MEMCACHED_AUTH: [&str; 2] = ["32", "33"];
/// Words for certificates that are not trusted, the latter of rustls.
const UNTRUSTED_WORDS: [&str; 2] = [UNTRUSTED, "invalid peer certificate"];
/// Words for rights that are missing.
const DENIED_WORDS: [&str; 2] = ["NOPERM", "READONLY"];
/// Words for no room left.
const FULL_WORDS: [&str; 2] = [FULL, "OOM command not allowed"];
/// Status of memcached's binary protocol for the same: too large, not stored, out of memory.
const MEMCACHED_FULL: [&str; 3] = ["3", "5", "130"];

/// Judges what `opendal` says about the server that people call `server`.
pub(crate) fn judge(server: &str, error: &opendal::Error) -> Fault {
    use opendal::ErrorKind as Kind;
    // With its context and its causes.
    let said = format!("{error:?}");
    let has_status = |numbers: &[&str]| {
        said.lines().any(|line| {
            line.trim().strip_prefix("message: ").is_some_and(|text| numbers.contains(&text))
        })
    };
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match error.kind() {
        Kind::NotFound => Fault::NotFound,
        _ if says(&AUTH_WORDS) || has_status(&MEMCACHED_AUTH) => Fault::Final(
            ErrorKind::Auth,
            format!(
                "{server} does not accept the user or the password: correct `user`, and \
                 `password-file` or BUILDHOOK_OPENDAL_PASSWORD"
            ),
        ),
        _ if says(&UNTRUSTED_WORDS) => Fault::Final(
            ErrorKind::Config,
            format!(
                "no secure connection to {server}: its certificate is not trusted, or it speaks no \
                 TLS there: correct `url`, add the certificate's authority to the system's, or \
                 name its file in SSL_CERT_FILE"
            ),
        ),
        Kind::PermissionDenied => Fault::Denied(denied(server)),
        _ if says(&DENIED_WORDS) => Fault::Denied(denied(server)),
        _ if says(&FULL_WORDS) || has_status(&MEMCACHED_FULL) => Fault::Full(format!(
            "{server} has no room, or takes no values of this size: give it more, or let it \
             remove what is old"
        )),
        Kind::ConfigInvalid => {
            Fault::Final(ErrorKind::Config, format!("{server} cannot be used with these settings"))
        }
        Kind::RateLimited => Fault::Unavailable(format!("{server} is asked too often")),
        _ if error.is_temporary() || error.is_persistent() => {
            Fault::Unavailable(format!("{server} cannot be reached, or fails"))
        }
        _ => Fault::Unavailable(format!(
            "{server} answers what is no answer to this request: is it what the URL says?"
        )),
    }
}

fn denied(server: &str) -> String {
    format!("{server} does not let this user do this: the user needs to read and to write")
}

#[cfg(test)]
mod tests {
    use super::*;
    use opendal::{Error, ErrorKind as Kind};

    fn judged(error: Error) -> Fault {
        judge("a server", &error)
    }

    fn unexpected(message: &str) -> Error {
        Error::new(Kind::Unexpected, message)
    }

    #[test]
    fn each_fault_is_told_apart_and_nothing_is_repeated() {
        let status =
            |number: &str| unexpected("unexpected status received").with_context("message", number);
        for error in [unexpected(UNAUTHORIZED), unexpected("WRONGPASS planted"), status("32")] {
            assert!(matches!(judged(error), Fault::Final(ErrorKind::Auth, _)));
        }
        let untrusted = judged(unexpected("invalid peer certificate: planted"));
        assert!(
            matches!(untrusted, Fault::Final(ErrorKind::Config, why) if !why.contains("planted"))
        );
        for error in [unexpected("NOPERM planted"), Error::new(Kind::PermissionDenied, "403")] {
            assert!(matches!(judged(error), Fault::Denied(_)));
        }
        for error in [unexpected(FULL), status("3"), status("130")] {
            assert!(matches!(judged(error), Fault::Full(_)));
        }
        assert_eq!(judged(Error::new(Kind::NotFound, "planted")), Fault::NotFound);
        for error in [unexpected("planted"), unexpected("planted").set_temporary()] {
            let Fault::Unavailable(why) = judged(error) else { panic!("passing") };
            assert!(why.starts_with("a server") && !why.contains("planted"), "{why}");
        }
    }
}
