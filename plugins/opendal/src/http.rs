//! The transport below the services that speak HTTP: it tells failures apart before their
//! words reach anybody, and bounds what is read.

use std::time::Duration;

use futures::{StreamExt as _, future};
use http::{Request, Response, StatusCode};
use opendal::{
    Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter, OperationContext, Result,
};
use opendal_http_transport_reqwest::ReqwestTransport;

use crate::fault::{FULL, UNAUTHORIZED};

/// Longest answer that is read, in bytes: a record or a chunk, and room for a proxy's words.
const MAX_ANSWER_BYTES: u64 = buildhook_sdk::remote::MAX_RECORD_BYTES + 64 * 1024;

/// What services run in: `reqwest` with rustls and the system's certificates.
pub(crate) fn context(connect_timeout: Duration) -> Result<OperationContext> {
    // Another one was installed before: any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("buildhook-opendal/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| Error::new(ErrorKind::ConfigInvalid, "the certificates cannot be read"))?;
    let transport = HttpTransporter::new(Judging(ReqwestTransport::new(client)));
    Ok(OperationContext::new().with_http_transport(transport))
}

/// Turns answers that mean the same to every service into errors.
struct Judging(ReqwestTransport);

impl HttpTransport for Judging {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let response = self.0.fetch(request).await?;
        if let Some(error) = judge(response.status()) {
            return Err(error);
        }
        Ok(response.map(|body| body.map_inner(|stream| Box::new(bounded(stream)))))
    }
}

fn judge(status: StatusCode) -> Option<Error> {
    let denied = |why| Error::new(ErrorKind::PermissionDenied, why);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Some(denied(UNAUTHORIZED))
        }
        // Services differ in whether it may pass: it does not within one build.
        StatusCode::FORBIDDEN => Some(denied("403")),
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::PAYLOAD_TOO_LARGE => {
            Some(Error::new(ErrorKind::Unexpected, FULL))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Some(Error::new(ErrorKind::RateLimited, "429").set_temporary())
        }
        _ => None,
    }
}

type Stream = Box<dyn futures::Stream<Item = Result<Buffer>> + Send + Sync + Unpin + 'static>;

fn bounded(stream: Stream) -> impl futures::Stream<Item = Result<Buffer>> + Send + Sync + Unpin {
    let mut read = 0;
    stream
        .map(move |piece| {
            let piece = piece?;
            read += piece.len() as u64;
            if read > MAX_ANSWER_BYTES {
                return Err(Error::new(ErrorKind::Unexpected, "the answer is too long"));
            }
            Ok(piece)
        })
        .take_while({
            let mut failed = false;
            move |piece| future::ready(!std::mem::replace(&mut failed, piece.is_err()))
        })
}
