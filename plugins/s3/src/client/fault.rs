//! What can go wrong, told apart, in words that say what to change.
//!
//! What a server writes in an error's message is never repeated: it may hold parts of the
//! signature. Its code, a word, is.

use buildhook_protocol::ErrorKind;
use buildhook_sdk::remote::Fault;
use http::StatusCode;

/// Longest error document that is looked at, in bytes.
pub(super) const MAX_DOCUMENT_BYTES: u64 = 64 * 1024;
/// Longest error code that is repeated.
const MAX_CODE_BYTES: usize = 64;

/// Why one attempt has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// No other attempt would do better.
    Settled(Fault),
    /// Another attempt may.
    Passing(String),
    /// The credentials are not valid any more, in words; others may be.
    Expired(Fault),
    /// The bucket is in this region.
    Elsewhere(String),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Settled(fault)
    }
}

/// What the words are about.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) bucket: &'a str,
    /// Host and port.
    pub(super) server: &'a str,
    pub(super) region: &'a str,
    pub(super) anonymous: bool,
    pub(super) system_certificates: bool,
}

impl Scene<'_> {
    /// Judges an answer that is neither what was asked for nor a plain 404 of an object.
    pub(super) fn judge(&self, status: StatusCode, code: Option<&str>) -> Failure {
        let Self { bucket, server, region, .. } = self;
        let said = code.unwrap_or("no code");
        match (status.as_u16(), said) {
            (_, "NoSuchBucket") => fatal(
                ErrorKind::Config,
                format!(
                    "there is no bucket `{bucket}` on {server}: create it, or correct `bucket`"
                ),
            ),
            (_, "InvalidBucketName") => fatal(
                ErrorKind::Config,
                format!("{server} does not accept the name `{bucket}`: correct `bucket`"),
            ),
            (_, "RequestTimeTooSkewed") => fatal(
                ErrorKind::Auth,
                format!("this machine's clock is too far from that of {server}: set the clock"),
            ),
            (_, "SignatureDoesNotMatch") => fatal(
                ErrorKind::Auth,
                format!("{server} rejects the signature: the secret access key is wrong"),
            ),
            (_, "InvalidAccessKeyId" | "NotSignedUp") => fatal(
                ErrorKind::Auth,
                format!(
                    "{server} does not know the access key: correct AWS_ACCESS_KEY_ID or the profile"
                ),
            ),
            (_, "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException") => {
                expired("the credentials have expired: sign in again")
            }
            (_, "InvalidToken") => expired("the session token is not valid: sign in again"),
            (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
            | (301 | 307 | 308, _) => fatal(
                ErrorKind::Config,
                format!(
                    "{server} does not accept the region `{region}` for the bucket `{bucket}`: \
                     say which region it is in with `region`"
                ),
            ),
            (403, _) | (_, "AccessDenied") => Failure::Settled(Fault::Denied(self.denied(said))),
            (401, _) => fatal(
                ErrorKind::Auth,
                format!("{server} wants credentials (401, {said}): check them"),
            ),
            (429 | 500..=599, _) | (_, "SlowDown" | "RequestTimeout") => {
                Failure::Passing(format!("{server} answers {} ({said})", status.as_u16()))
            }
            (404, _) => Failure::Settled(Fault::NotFound),
            (other, _) => Failure::Settled(Fault::Unavailable(format!(
                "{server} answers {other} ({said}), which is no answer to this request: is it \
                 a server of S3, and is `addressing` right?"
            ))),
        }
    }

    fn denied(&self, said: &str) -> String {
        let Self { bucket, server, .. } = self;
        if self.anonymous {
            return format!(
                "{server} does not let anybody do this in `{bucket}` (403, {said}): leave \
                 `anonymous` out and give credentials"
            );
        }
        format!(
            "{server} denies this in `{bucket}` (403, {said}): the credentials need s3:GetObject \
             and s3:PutObject on its objects, and s3:ListBucket on it, without which objects \
             that do not exist are denied too"
        )
    }

    /// Judges a failure of the connection.
    pub(super) fn broken(&self, error: &ureq::Error) -> Failure {
        let server = self.server;
        match error {
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::TlsRequired => {
                self.untrusted(error)
            }
            // What rustls says while it reads comes as an error of input.
            ureq::Error::Io(inner) if inner.kind() == std::io::ErrorKind::InvalidData => {
                self.untrusted(error)
            }
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Failure::Passing(format!("{server} cannot be reached in time"))
            }
            ureq::Error::Timeout(_) => {
                Failure::Passing(format!("{server} does not answer in time"))
            }
            ureq::Error::HostNotFound => Failure::Passing(format!(
                "there is no host {server}: check `endpoint`, `region` and the network"
            )),
            ureq::Error::Io(inner) => Failure::Passing(format!("{server}: {inner}")),
            ureq::Error::ConnectionFailed | ureq::Error::BodyStalled => {
                Failure::Passing(format!("the connection to {server} fails"))
            }
            ureq::Error::Protocol(_) => Failure::Passing(format!(
                "{server} does not speak HTTP: does the endpoint begin with https:// as it should?"
            )),
            ureq::Error::InvalidProxyUrl | ureq::Error::ConnectProxyFailed(_) => {
                Failure::Passing(format!("the proxy does not lead to {server}"))
            }
            _ => Failure::Passing(format!("asking {server} fails")),
        }
    }

    /// rustls says why in words only.
    fn untrusted(&self, error: &ureq::Error) -> Failure {
        let said = error.to_string();
        let advice = if said.contains("not valid for name") {
            "its certificate is for another name: correct `endpoint`, or the certificate"
        } else if said.contains("expired") || said.contains("not valid yet") {
            "its certificate is not valid today: renew it, or set this machine's clock"
        } else if !["UnknownIssuer", "BadSignature"].iter().any(|word| said.contains(word)) {
            &format!("{said}; with no TLS at all begin the endpoint with http://")
        } else if self.system_certificates {
            "its certificate is signed by an authority that this system does not trust: add it \
             to the system's, or name its file in SSL_CERT_FILE"
        } else {
            "its certificate is signed by an authority that is not built in: to trust those of \
             this system say `system-certificates`"
        };
        let server = self.server;
        fatal(ErrorKind::Config, format!("no secure connection to {server}: {advice}"))
    }
}

fn expired(message: &str) -> Failure {
    Failure::Expired(Fault::Final(ErrorKind::Auth, message.to_owned()))
}

fn fatal(kind: ErrorKind, message: String) -> Failure {
    Failure::Settled(Fault::Final(kind, message))
}

/// The text of the first element `name` in an XML document, when it is a plain word.
pub(super) fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (word, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (word.len() <= MAX_CODE_BYTES && !word.is_empty() && word.chars().all(plain)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: Scene<'_> = Scene {
        bucket: "b",
        server: "s:1",
        region: "us-east-1",
        anonymous: false,
        system_certificates: false,
    };

    fn judged(status: u16, code: &str) -> Failure {
        SCENE.judge(StatusCode::from_u16(status).unwrap(), Some(code))
    }

    #[test]
    fn each_fault_says_what_to_change() {
        let cases = [
            (404, "NoSuchBucket", "create it"),
            (403, "SignatureDoesNotMatch", "secret access key is wrong"),
            (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
            (403, "RequestTimeTooSkewed", "set the clock"),
            (400, "ExpiredToken", "sign in again"),
            (400, "AuthorizationHeaderMalformed", "with `region`"),
            (301, "PermanentRedirect", "with `region`"),
        ];
        for (status, code, words) in cases {
            match judged(status, code) {
                Failure::Settled(Fault::Final(_, message))
                | Failure::Expired(Fault::Final(_, message)) => {
                    assert!(message.contains(words), "{code}: {message}");
                }
                other => panic!("{code}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for (status, code) in
            [(500, "InternalError"), (503, "SlowDown"), (429, "x"), (400, "RequestTimeout")]
        {
            assert!(matches!(judged(status, code), Failure::Passing(_)), "{status} {code}");
        }
        assert!(matches!(judged(403, "AccessDenied"), Failure::Settled(Fault::Denied(_))));
        assert!(matches!(judged(404, "NoSuchKey"), Failure::Settled(Fault::NotFound)));
        assert!(matches!(judged(418, "x"), Failure::Settled(Fault::Unavailable(_))));
    }

    #[test]
    fn only_plain_words_of_a_document_are_repeated() {
        let document = "<Error><Code>NoSuchKey</Code><Message>a b</Message><Region></Region>";
        assert_eq!(element(document, "Code"), Some("NoSuchKey"));
        for name in ["Message", "Region", "Absent"] {
            assert_eq!(element(document, name), None, "{name}");
        }
    }
}
