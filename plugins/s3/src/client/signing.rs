//! Signatures, and where credentials come from: environment, profile, SSO, web identity,
//! `credential_process`, ECS, IMDSv2, in this order, by `reqsign`.
//!
//! `reqsign` is asynchronous; what it waits for here is done by the calling thread, so its
//! futures are ready at once. Credentials are looked for when the first request is signed,
//! kept until shortly before they expire, and looked for once more when the server says that
//! they have expired: a person may have signed in again, and another user's clock may be right.
//!
//! Errors of sources are not repeated: they may hold what a source answered.

use std::sync::{PoisonError, RwLock};

use buildhook_protocol::ErrorKind;
use buildhook_sdk::remote::Fault;
use http::request::Parts;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner};
use reqsign_core::{Context, Signer, StaticEnv};
use ureq::Agent;

use super::sources::{Commands, Files, Http};
use crate::settings::Settings;

const SERVICE: &str = "s3";

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
    pub(super) fn sign(&self, request: &mut Parts) -> Result<(), Fault> {
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
