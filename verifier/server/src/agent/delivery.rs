//! What leaves the verifier after a verdict: the share V, and the news of a failure.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use ledger_protocol::body::{Revocation, RevocationPhase};
use messages::{Digest, keylime::VKey, ledger::Item};
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Public},
    rsa::Padding,
};
use verifier_protocol::{
    appraisal::SEVERITY_LABELS,
    session::{Input, KeyState, Trust},
};
use zeroize::Zeroizing;

use super::{Agent, round::lost};
use crate::{
    entries,
    error_chain::chain,
    outbox::{self, News},
    vault::{Purpose, SealError},
};

/// Why V was not put into a form that can be sent. Says nothing about V.
#[derive(Debug, thiserror::Error)]
enum WrapError {
    #[error("the payload key cannot be encrypted to")]
    Encrypt(#[source] ErrorStack),
    #[error("the payload key shown is no RSA public key of 2048 bits or more")]
    Key,
    #[error("there is no share to deliver")]
    None,
    #[error("the share is not available")]
    Sealed(#[source] SealError),
}

impl Agent {
    pub(super) fn key_id(&self) -> Digest {
        self.terms.terms.bound.key_id.unwrap_or_default()
    }

    /// Sends V under the payload key of the evidence that passed. The authorisation is durable:
    /// the session asks for this only after it was recorded.
    pub(super) async fn deliver_v(&mut self) -> Input {
        let wrapped = match self.wrapped_v() {
            Ok(wrapped) => wrapped,
            Err(error) => return Input::DeliveryFailed(chain(&error)),
        };
        let body = serde_json::to_vec(&VKey { encrypted_key: wrapped }).unwrap_or_default();
        let url = format!("{}/keys/vkey", self.terms.terms.base_url(&self.api_version));
        let outgoing = self.outgoing(Method::POST, url).with_body("application/json", body);
        match self.client.request(outgoing).await {
            Ok(answer) if answer.status.is_success() => Input::Delivered,
            Ok(answer) => Input::DeliveryFailed(format!("the agent answered {} to V", answer.status)),
            Err(error) => Input::DeliveryFailed(format!("V was not delivered: {}", lost(error).1)),
        }
    }

    fn wrapped_v(&self) -> Result<String, WrapError> {
        let sealed = self.terms.share_v.as_ref().ok_or(WrapError::None)?;
        let pem = self.round.as_ref().and_then(|round| round.payload_key()).ok_or(WrapError::Key)?;
        let share = self.services.vault.open(&self.id, Purpose::ShareV, sealed).map_err(WrapError::Sealed)?;
        wrap(pem, &share)
    }

    /// Records that the agent took V, under the verdict that permitted it.
    pub(super) async fn record_delivery(&mut self, recipient: Digest) -> Input {
        // Catching up may show that it is recorded already, by an append whose answer was lost.
        let head = match self.head().await {
            Ok(_) if self.session.record().key == (KeyState::Released { recipient }) => return Input::Recorded(None),
            Ok(head) => head,
            Err(input) => return input,
        };
        let item = entries::delivered(self.verdict, self.key_id(), recipient);
        self.append(head, vec![item]).await.map_or_else(|input| input, |_| Input::Recorded(None))
    }

    /// Records the revocation, then hands it to the outbox; it leaves from there.
    pub(super) async fn raise_revocation(&mut self, verdict: Digest, event: String) -> Input {
        let head = match self.head().await {
            Ok(_) if matches!(self.session.record().trust, Trust::Failed { raised: true, .. }) => {
                return Input::Recorded(None);
            }
            Ok(head) => head,
            Err(input) => return input,
        };
        if let Err(input) = self.append(head, vec![self.revocation(verdict, event)]).await {
            return input;
        }
        self.tell_of_failure().await;
        Input::Recorded(None)
    }

    /// The revocation of a failure that is on record, and has not been raised.
    pub(super) fn owed_revocation(&self) -> Option<Item> {
        match &self.session.record().trust {
            Trust::Failed { event, raised: false, verdict, .. } => Some(self.revocation(*verdict, event.clone())),
            Trust::Failed { .. } | Trust::Passed { .. } | Trust::Stopped | Trust::Unproven { .. } => None,
        }
    }

    fn revocation(&self, verdict: Digest, event: String) -> Item {
        let text = format!("agent {} failed: {event}", self.id);
        let raised = Revocation { phase: RevocationPhase::Raised, verdict, channel: String::new(), event, text };
        entries::revocation(&raised)
    }

    /// Puts the news of the last failure into the outbox; again has no effect.
    pub(super) async fn tell_of_failure(&self) {
        let Trust::Failed { event, verdict, .. } = &self.session.record().trust else {
            return;
        };
        let severity = SEVERITY_LABELS.last().copied().unwrap_or_default();
        self.tell(News {
            agent: &self.id,
            event,
            kind: "revocation",
            severity: Some(severity),
            terms: &self.terms.terms,
            text: format!("agent {} failed its appraisal", self.id),
            verdict: Some(*verdict),
        })
        .await;
    }

    /// Tells of a good agent that is no longer reached. It rests on the miss on record; there is
    /// no verdict that a revocation entry could name.
    pub(super) async fn notify_unreachable(&self) {
        self.tell(News {
            agent: &self.id,
            event: "internal.verifier.not_reachable",
            kind: "comm_error",
            severity: None,
            terms: &self.terms.terms,
            text: self.session.trouble().unwrap_or_default().to_owned(),
            verdict: None,
        })
        .await;
    }

    async fn tell(&self, news: News<'_>) {
        let key = self.terms.revocation_key.as_ref();
        let key = key.map(|sealed| self.services.vault.open(&self.id, Purpose::RevocationKey, sealed)).transpose();
        let key: Option<Zeroizing<Vec<u8>>> = key.unwrap_or_else(|error| {
            tracing::error!(agent = %self.id, error = chain(&error), "the revocation key cannot be used");
            None
        });
        if let Err(error) = outbox::post(&self.services, &news, key.as_deref().map(Vec::as_slice)).await {
            tracing::error!(agent = %self.id, error = chain(&error), "a failure could not be put into the outbox");
        }
    }
}

/// RSAES-OAEP with SHA-1 for hash and mask and an empty label, base64: Keylime's wire.
fn wrap(pem: &str, share: &[u8]) -> Result<String, WrapError> {
    let key: PKey<Public> = PKey::public_key_from_pem(pem.as_bytes()).map_err(|_| WrapError::Key)?;
    let rsa = key.rsa().ok().filter(|rsa| rsa.size() >= PAYLOAD_KEY_BYTES_MIN).ok_or(WrapError::Key)?;
    let mut wrapped = vec![0; rsa.size() as usize];
    let length = rsa.public_encrypt(share, &mut wrapped, Padding::PKCS1_OAEP).map_err(WrapError::Encrypt)?;
    wrapped.truncate(length);
    Ok(STANDARD.encode(wrapped))
}

/// RSA-2048, the size of every Keylime agent's payload key.
const PAYLOAD_KEY_BYTES_MIN: u32 = 256;
