//! Talking to the registrar until it knows this agent.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::registration::{Answer, Backoff, Effect, Input, Registration};
use agent_protocol::tag::Tag;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::credential::Credential;
use http::{Method, StatusCode};
use messages::envelope::Envelope;
use messages::keylime::{Activate, Challenge, Register, VERSION_CURRENT, VERSIONS_SUPPORTED, Versions};
use serde_json::Value;
use transport::client::{Client, Outgoing};

use crate::entropy;
use crate::node::Node;

/// The registrar as this agent sees it.
pub(crate) struct Registrar {
    pub(crate) client: Client,
    pub(crate) node: Arc<Node>,
    pub(crate) register: Register,
    /// Without a slash at its end.
    pub(crate) url: String,
}

impl Registrar {
    /// Registers and activates, however long it takes. Safe to cancel.
    pub(crate) async fn register(&self, backoff: Backoff) {
        let mut registration = Registration::new(self.node.id.clone(), backoff);
        let mut inputs = VecDeque::from([Input::Due]);
        while let Some(input) = inputs.pop_front() {
            for effect in registration.handle(input, entropy::spread()) {
                match effect {
                    Effect::Register => inputs.push_back(Input::RegistrationAnswered(self.send_registration().await)),
                    Effect::Recover(credential) => inputs.push_back(self.recover(credential).await),
                    Effect::SendTag(tag) => inputs.push_back(Input::ActivationAnswered(self.send_tag(&tag).await)),
                    Effect::Tell(setback) => tracing::warn!(%setback, registrar = %self.url, "not registered"),
                    Effect::WaitMs(ms) => {
                        tokio::time::sleep(Duration::from_millis(ms)).await;
                        inputs.push_back(Input::Due);
                    }
                    Effect::Registered => {
                        tracing::info!(id = %self.node.id, registrar = %self.url, "registered and active");
                        return;
                    }
                }
            }
        }
    }

    async fn recover(&self, credential: Credential) -> Input {
        match self.node.attester.activate(credential).await {
            Ok(secret) => Input::CredentialRecovered(secret),
            Err(error) if error.is_answer_of_tpm() => Input::CredentialRefused,
            Err(error) => Input::CredentialUnavailable { reason: with_causes(&error) },
        }
    }

    async fn send_registration(&self) -> Answer {
        let version = match self.version().await {
            Ok(version) => version,
            Err(answer) => return answer,
        };
        match self.send(Method::POST, &version, &self.register).await {
            Ok(body) => challenge(&body).unwrap_or_else(|| Answer::Unreachable {
                reason: "its answer to the registration is not understood".to_owned(),
            }),
            Err(answer) => answer,
        }
    }

    async fn send_tag(&self, tag: &Tag) -> Answer {
        let version = match self.version().await {
            Ok(version) => version,
            Err(answer) => return answer,
        };
        match self.send(Method::PUT, &version, &Activate { auth_tag: tag.to_hex() }).await {
            Ok(_) => Answer::Success(Vec::new()),
            Err(answer) => answer,
        }
    }

    /// The newest version both sides speak; the current one if the registrar does not say.
    async fn version(&self) -> Result<String, Answer> {
        let asked = Outgoing::new(Method::GET, format!("{}/version", self.url));
        let answer = self.client.request(asked).await.map_err(|error| unreachable(&error))?;
        let theirs =
            serde_json::from_slice::<Envelope<Versions>>(&answer.body).map(|told| told.results.supported_versions);
        let common = |versions: Vec<String>| {
            VERSIONS_SUPPORTED.iter().rev().find(|ours| versions.iter().any(|theirs| theirs == *ours)).copied()
        };
        let version = theirs.ok().and_then(common).unwrap_or(VERSION_CURRENT);
        Ok(version.to_owned())
    }

    /// The body of a success, or what else it came to.
    async fn send(&self, method: Method, version: &str, message: &impl serde::Serialize) -> Result<Vec<u8>, Answer> {
        let url = format!("{}/v{version}/agents/{}", self.url, self.node.id);
        let body = serde_json::to_vec(message).map_err(|error| Answer::Unreachable { reason: error.to_string() })?;
        let outgoing = Outgoing::new(method, url).with_body("application/json", body);
        let answer = self.client.request(outgoing).await.map_err(|error| unreachable(&error))?;
        if answer.status == StatusCode::OK {
            return Ok(answer.body.to_vec());
        }
        let told = serde_json::from_slice::<Envelope<Value>>(&answer.body).map(|envelope| envelope.status);
        let reason = told.unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        Err(Answer::Refused { status: answer.status.as_u16(), reason })
    }
}

fn challenge(body: &[u8]) -> Option<Answer> {
    let envelope: Envelope<Challenge> = serde_json::from_slice(body).ok()?;
    STANDARD.decode(envelope.results.blob).ok().map(Answer::Success)
}

fn unreachable(error: &(dyn Error + 'static)) -> Answer {
    Answer::Unreachable { reason: with_causes(error) }
}

/// An error and its causes in one line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// What a registrar says about a refusal is a sentence.
const REASON_CHARS_MAX: usize = 200;
