//! Signatures, and where credentials come from: environment, profile, SSO, web identity,
//! `credential_process`, ECS, IMDSv2, in this order, by `reqsign`.
//!
//! `reqsign` is asynchronous; what it waits for here is done by the calling thread, so its
//! futures are ready at once. Credentials are looked for when the first request is signed,
//! kept until shortly before they expire, and looked for once more when the server says that
//! they have expired: a person may have signed in again, and another user's clock may be right.
//!
//! An error of a source of credentials may hold what it answered: none is repeated.

use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use buildhook_protocol::ErrorKind;
use buildhook_sdk::remote::Fault;
use bytes::Bytes;
use http::request::Parts;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner};
use reqsign_core::{
    CommandExecute, CommandOutput, Context, Error, FileRead, HttpSend, Result, Signer, StaticEnv,
};
use ureq::Agent;

use crate::settings::Settings;

const SERVICE: &str = "s3";
/// Metadata services are one hop away: what does not answer by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// STS and SSO are asked over the network.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer of a source of credentials, in bytes.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;
/// Where metadata services of AWS are, never behind a proxy.
const LINK_LOCAL: &str = "169.254.";

/// Signs requests for one region, which may turn out to be another.
#[derive(Debug)]
pub(super) struct Signing {
    context: Context,
    profile: Option<String>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    signer: Signer<Credential>,
    region: String,
    /// How often credentials were renewed.
    generation: u32,
}

impl Signing {
    pub(super) fn new(settings: &Settings, region: &str, agent: &Agent) -> Self {
        let around = &settings.surroundings;
        let context = Context::new()
            .with_env(StaticEnv { home_dir: around.home.clone(), envs: around.variables.clone() })
            .with_file_read(Files)
            .with_http_send(Http(agent.clone()))
            .with_command_execute(Commands);
        let profile = settings.profile.clone();
        let signer = signer(context.clone(), profile.as_deref(), region);
        let current = Current { signer, region: region.to_owned(), generation: 0 };
        Self { context, profile, current: RwLock::new(current) }
    }

    /// Tells credentials from those that [`renew`](Self::renew) has put in their place.
    pub(super) fn generation(&self) -> u32 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Forgets the credentials of generation `used`, unless another thread has done so.
    pub(super) fn renew(&self, used: u32) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.generation == used {
            current.signer = signer(self.context.clone(), self.profile.as_deref(), &current.region);
            current.generation += 1;
        }
    }

    /// Signs for `region` from now on, with the credentials at hand.
    pub(super) fn move_to(&self, region: &str) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let request_signer = RequestSigner::new(SERVICE, region);
        current.signer = current.signer.clone().with_request_signer(request_signer);
        region.clone_into(&mut current.region);
    }

    /// Adds a signature to `request`, which must be complete but for its body.
    pub(super) fn sign(&self, request: &mut Parts) -> std::result::Result<(), Fault> {
        let signer = self.current.read().unwrap_or_else(PoisonError::into_inner).signer.clone();
        pollster::block_on(signer.sign(request, None)).map_err(|_| {
            let message = "no valid credentials were found in the environment, the profile, SSO, \
                web identity, credential_process, ECS or EC2: set AWS_ACCESS_KEY_ID and \
                AWS_SECRET_ACCESS_KEY, name a `profile`, sign in again, or say `anonymous` for \
                a public bucket";
            Fault::Final(ErrorKind::Auth, message.to_owned())
        })
    }
}

fn signer(context: Context, profile: Option<&str>, region: &str) -> Signer<Credential> {
    let sources = DefaultCredentialProvider::builder();
    let sources = match profile {
        // A profile that is named is meant, whatever the variables hold.
        Some(profile) => sources.with_profile(profile).no_env(),
        None => sources,
    };
    Signer::new(context, sources.build(), RequestSigner::new(SERVICE, region))
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        fs_err::read(path).map_err(|error| Error::config_invalid(error.to_string()))
    }
}

#[derive(Debug)]
struct Commands;

impl CommandExecute for Commands {
    async fn command_execute<'a>(
        &'a self,
        program: &'a str,
        args: &'a [&'a str],
    ) -> Result<CommandOutput> {
        let output = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Error::config_invalid(error.to_string()))?;
        Ok(CommandOutput {
            status: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}

#[derive(Debug)]
struct Http(Agent);

impl HttpSend for Http {
    async fn http_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>> {
        let direct = request.uri().host().is_some_and(|host| host.starts_with(LINK_LOCAL));
        let (parts, body) = request.into_parts();
        let request = http::Request::from_parts(parts, body.to_vec());
        let configured = self
            .0
            .configure_request(request)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT));
        let configured = if direct { configured.proxy(None) } else { configured };
        let failed = |_| Error::unexpected("a source of credentials does not answer");
        let (parts, mut body) = self.0.run(configured.build()).map_err(failed)?.into_parts();
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(failed)?;
        Ok(http::Response::from_parts(parts, Bytes::from(body)))
    }
}
