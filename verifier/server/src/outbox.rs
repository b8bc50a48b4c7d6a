//! News of failures on their way: kept until a channel takes them or the time for it is over.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use ledger_protocol::body::{Revocation, RevocationPhase};
use messages::{
    AgentId, Digest, UnixMillis,
    keylime::{RevocationMessage, RevocationNotice},
};
use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    pkey::PKey,
    rsa::Padding,
    sign::{RsaPssSaltlen, Signer},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task::JoinSet};
use transport::{
    client::{Client, Outgoing},
    server::Shutdown,
};

use crate::{
    clock, entries,
    error_chain::chain,
    fleet::Fleet,
    services::Services,
    store::StoreError,
    terms::{Terms, millis},
};

/// Wakes the task that sends.
pub(crate) struct Outbox {
    webhook: Option<Client>,
    wake: Notify,
}

/// Something that operators have to hear of.
pub(crate) struct News<'a> {
    pub(crate) agent: &'a AgentId,
    /// `component.event`.
    pub(crate) event: &'a str,
    /// `revocation` or `comm_error`.
    pub(crate) kind: &'static str,
    pub(crate) severity: Option<&'static str>,
    pub(crate) terms: &'a Terms,
    pub(crate) text: String,
    /// The failing verdict; none for news that rest on no verdict.
    pub(crate) verdict: Option<Digest>,
}

/// One notice for one channel.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Message {
    agent: AgentId,
    attempts: u32,
    channel: Channel,
    created: UnixMillis,
    event: String,
    last_error: String,
    next: UnixMillis,
    notice: RevocationNotice,
    progress: Progress,
    verdict: Option<Digest>,
}

/// Where a notice goes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Channel {
    Agent(AgentId),
    Webhook,
}

/// How far a notice is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Progress {
    /// Not taken by the channel yet.
    Telling,
    /// Taken; that has to be recorded.
    Told,
    /// Given up; that has to be recorded.
    GivenUp,
}

/// Why news could not be put into the outbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("the notice could not be signed with the revocation key")]
    Sign(#[source] ErrorStack),
    #[error("the notice could not be kept")]
    Store(#[source] StoreError),
}

impl Outbox {
    pub(crate) fn new(webhook: Option<Client>) -> Self {
        Self { webhook, wake: Notify::new() }
    }
}

impl Channel {
    /// The channel's name in entries and keys.
    fn name(&self) -> String {
        match self {
            Self::Agent(id) => format!("agent:{id}"),
            Self::Webhook => "webhook".to_owned(),
        }
    }
}

/// Puts one notice for each channel into the outbox, durably and all at once: whoever stops waiting for it has told
/// every channel or none. News of the same verdict are put there once for as long as they are there.
pub(crate) async fn post(services: &Services, news: &News<'_>, key: Option<&[u8]>) -> Result<(), PostError> {
    let now = services.clock.now();
    let notice = notice(news, key)?;
    let mut channels = Vec::new();
    if services.notify.webhook.is_some() {
        channels.push(Channel::Webhook);
    }
    // Agents take notice only of what is signed with the key they were given the certificate of.
    if services.notify.agents && key.is_some() {
        channels.extend(services.store.ids().map_err(PostError::Store)?.into_iter().map(Channel::Agent));
    }
    let message = |channel: Channel| {
        let about = news.verdict.map_or_else(|| format!("{}@{}", news.agent, now.0), |verdict| verdict.to_string());
        let key = format!("{about}/{}", channel.name());
        let message = Message {
            agent: news.agent.clone(),
            attempts: 0,
            channel,
            created: now,
            event: news.event.to_owned(),
            last_error: String::new(),
            next: now,
            notice: notice.clone(),
            progress: Progress::Telling,
            verdict: news.verdict,
        };
        (key, message)
    };
    services.store.put_messages(channels.into_iter().map(message)).await.map_err(PostError::Store)?;
    services.outbox.wake.notify_one();
    Ok(())
}

fn notice(news: &News<'_>, key: Option<&[u8]>) -> Result<RevocationNotice, PostError> {
    let context = serde_json::json!({ "message": news.text });
    let message = RevocationMessage {
        kind: news.kind.to_owned(),
        ip: Some(news.terms.host.clone()),
        agent_id: news.agent.to_string(),
        port: Some(news.terms.port),
        tpm_policy: news.terms.tpm_policy.clone(),
        meta_data: news.terms.metadata.clone(),
        event_time: clock::asctime(),
        event_id: Some(news.event.to_owned()),
        severity_label: news.severity.map(str::to_owned),
        context: Some(context.to_string()),
    };
    let msg = serde_json::to_string(&message).expect("invariant: a message has text keys and no failing parts");
    let signature = key.map(|key| sign(key, msg.as_bytes())).transpose().map_err(PostError::Sign)?;
    Ok(RevocationNotice { signature: signature.unwrap_or_default(), msg })
}

/// RSASSA-PSS, SHA-256 for hash and mask, the longest salt the key has room for; base64.
fn sign(pem: &[u8], message: &[u8]) -> Result<String, ErrorStack> {
    let key = PKey::private_key_from_pem_callback(pem, |_| Ok(0))?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.set_rsa_padding(Padding::PKCS1_PSS)?;
    signer.set_rsa_mgf1_md(MessageDigest::sha256())?;
    signer.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH)?;
    Ok(STANDARD.encode(signer.sign_oneshot_to_vec(message)?))
}

/// Sends what is in the outbox until the verifier stops. What is left stays for the next start.
pub(crate) async fn run(fleet: Arc<Fleet>, mut shutdown: Shutdown) {
    let services = Arc::clone(fleet.services());
    let mut sending: JoinSet<String> = JoinSet::new();
    let mut busy: HashSet<String> = HashSet::new();
    // What was due when the outbox was last looked through, and when to look again: not after each notice, since a
    // failure is told to every agent of a fleet.
    let mut due: VecDeque<(String, Message)> = VecDeque::new();
    let mut look = services.clock.now();
    loop {
        let now = services.clock.now();
        if due.is_empty() && look <= now {
            (due, look) = due_at(&services, &busy, now);
        }
        while busy.len() < SENDING_MAX
            && let Some((key, message)) = due.pop_front()
        {
            busy.insert(key.clone());
            let fleet = Arc::clone(&fleet);
            sending.spawn(async move {
                forward(&fleet, &key, message).await;
                key
            });
        }
        let wait = Duration::from_millis(look.ms_since(now));
        tokio::select! {
            () = shutdown.started() => return,
            () = services.outbox.wake.notified() => {
                due.clear();
                look = now;
            }
            Some(sent) = sending.join_next() => {
                match sent {
                    Ok(key) => {
                        busy.remove(&key);
                    }
                    Err(failure) => {
                        tracing::error!(%failure, "a notice's task did not finish");
                        // Which one is not known: those that still run may be sent twice.
                        busy.clear();
                    }
                }
                // It may have been put off for less than the others.
                look = look.min(now.plus_ms(millis(LOOK_PAUSE)));
            }
            () = tokio::time::sleep(wait), if due.is_empty() => {}
        }
    }
}

/// What is due and not on its way, and when to look again.
fn due_at(services: &Services, busy: &HashSet<String>, now: UnixMillis) -> (VecDeque<(String, Message)>, UnixMillis) {
    let messages = services.store.messages::<Message>().unwrap_or_else(|error| {
        tracing::error!(error = chain(&error), "the outbox cannot be read");
        Vec::new()
    });
    let mut look = now.plus_ms(millis(LOOK_AGAIN));
    let mut due = VecDeque::new();
    for (key, message) in messages {
        if busy.contains(&key) {
            continue;
        }
        if message.next > now {
            look = look.min(message.next);
        } else {
            due.push_back((key, message));
        }
    }
    (due, look.max(now.plus_ms(millis(LOOK_PAUSE))))
}

/// One step of one message. Sending is at least once: the step is written down after it was taken.
async fn forward(fleet: &Fleet, key: &str, mut message: Message) {
    let services = fleet.services();
    if message.progress == Progress::Telling {
        match send(fleet, &message).await {
            Ok(()) => message.progress = Progress::Told,
            Err(error) => {
                message.attempts = message.attempts.saturating_add(1);
                let now = services.clock.now();
                if now.ms_since(message.created) > millis(services.notify.give_up_after) {
                    message.progress = Progress::GivenUp;
                }
                let doublings = message.attempts.saturating_sub(1).min(16);
                let wait = millis(services.notify.retry_base).saturating_mul(1 << doublings);
                message.next = now.plus_ms(wait.min(millis(WAIT_MAX)));
                let (channel, attempts) = (message.channel.name(), message.attempts);
                tracing::warn!(agent = %message.agent, channel, attempts, error, "a notice was not taken");
                message.last_error = entries::shortened(&error);
            }
        }
        keep(services, key, &message).await;
    }
    let phase = match message.progress {
        Progress::Telling => return,
        Progress::Told => RevocationPhase::Delivered,
        Progress::GivenUp => RevocationPhase::GivenUp,
    };
    if let Some(verdict) = message.verdict {
        let (channel, event, text) = (message.channel.name(), message.event.clone(), message.last_error.clone());
        let revocation = Revocation { phase, verdict, channel, event, text };
        if let Err(error) = fleet.note(&message.agent, entries::revocation(&revocation)).await {
            tracing::warn!(agent = %message.agent, error = chain(&error), "a notice's outcome is not recorded yet");
            message.next = services.clock.now().plus_ms(millis(services.polling.ledger_retry));
            return keep(services, key, &message).await;
        }
    }
    if let Err(error) = services.store.remove_message(key).await {
        tracing::error!(error = chain(&error), "the outbox cannot be written");
    }
}

async fn keep(services: &Services, key: &str, message: &Message) {
    if let Err(error) = services.store.put_messages([(key.to_owned(), message)]).await {
        tracing::error!(error = chain(&error), "the outbox cannot be written");
    }
}

async fn send(fleet: &Fleet, message: &Message) -> Result<(), String> {
    let services = fleet.services();
    let (client, url) = match &message.channel {
        Channel::Webhook => {
            let webhook = services.outbox.webhook.clone().zip(services.notify.webhook.as_ref());
            webhook.map(|(client, webhook)| (client, webhook.url.clone())).ok_or("no webhook is configured any more")?
        }
        Channel::Agent(id) => {
            let terms = fleet.view(id).ok_or("the agent has been deleted")?.terms;
            let reference = terms.reference().map_err(|error| chain(&error))?;
            let client = reference.pin.map_or_else(|| services.to_agents.clone(), |pin| services.to_agents.pinned(pin));
            (client, format!("{}/notifications/revocation", terms.base_url(&terms.api_version)))
        }
    };
    let body = serde_json::to_vec(&message.notice).map_err(|error| error.to_string())?;
    let outgoing = Outgoing { timeout: services.polling.request_timeout, ..Outgoing::new(Method::POST, url) };
    let answer = client.request(outgoing.with_body("application/json", body)).await.map_err(|error| chain(&error))?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("answered {}", answer.status)) }
}

/// The outbox is looked through at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The outbox is looked through at most this often unless there is news: ten thousand notices take about 50 ms.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Notices on their way at one time: a mute channel holds up this many, not all.
const SENDING_MAX: usize = 64;
/// The longest wait between two attempts: an operator who mends the channel hears within a minute.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
