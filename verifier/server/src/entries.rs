//! The entries a verifier appends, as items of a group.

use ledger_protocol::{
    Beacon,
    body::{
        AgentPolicy, BankValues, Body, Finding, ImaDelta, ImaState, KeyRelease, Maintenance, Miss, MissReason,
        NamedPolicy, OperatorAction, PolicyBody, QuoteBody, ReleasePhase, Revocation, ServiceStart, Verdict,
        VerdictResult,
    },
};
use messages::{AgentId, Digest, UnixMillis, ledger::Item};
use serde_bytes::ByteBuf;
use verifier_protocol::{
    appraisal::{Appraisal, Evidence, Outcome},
    session::{KeyStep, Loss},
};

/// Name and version of the engine, as verdicts name it.
pub(crate) const APPRAISER: &str = concat!("attestry-verifier/", env!("CARGO_PKG_VERSION"));

/// What a challenge was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge {
    pub(crate) beacon: Beacon,
    pub(crate) salt: Digest,
}

/// Logs that came with a quote, as blobs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Logs {
    pub(crate) boot_log: Option<Digest>,
    pub(crate) ima: ImaDelta,
}

pub(crate) fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}

/// An item whose digest at `at`, written as zero, is the leaf hash of the group's previous item.
fn linked<B: Body>(body: &B, at: usize) -> Item {
    let mut bytes = body.encode();
    let after = bytes.split_off(at + LINK_BYTES);
    bytes.truncate(at);
    Item { kind: B::KIND.number(), body: ByteBuf::from(bytes), after: Some(ByteBuf::from(after)) }
}

/// Evidence as it came; values that were not readable are left out.
pub(crate) fn quote(challenge: &Challenge, evidence: &Evidence, logs: &Logs) -> Item {
    let values = |values: &evidence::pcr::PcrValues| BankValues {
        alg: values.bank().algorithm().tpm_id().into(),
        values: values.iter().map(|(index, value)| (index.get().into(), ByteBuf::from(value.as_bytes()))).collect(),
    };
    item(&QuoteBody {
        beacon: challenge.beacon,
        salt: challenge.salt,
        attest: ByteBuf::from(evidence.attest()),
        signature: ByteBuf::from(evidence.signature()),
        pcrs: evidence.values().map(values).into_iter().collect(),
        ima: logs.ima,
        boot_log: logs.boot_log,
    })
}

/// The verdict on the group's previous item, a quote.
pub(crate) fn verdict(appraisal: &Appraisal, policies: Vec<Digest>, binding: Digest) -> Item {
    let finding = |finding: verifier_protocol::appraisal::Finding| Finding {
        component: finding.component.to_owned(),
        event: finding.event,
        severity: finding.severity,
        text: finding.text.to_string(),
    };
    let verdict = Verdict {
        quote: Digest::ZERO,
        result: match appraisal.outcome() {
            Outcome::Pass => VerdictResult::Pass,
            Outcome::Fail => VerdictResult::Fail,
            Outcome::Error => VerdictResult::Error,
        },
        findings: appraisal.findings().into_iter().map(finding).collect(),
        policies,
        binding,
        appraiser: APPRAISER.to_owned(),
        ima_state: appraisal.ima_state().map(ima_state).unwrap_or_default(),
    };
    linked(&verdict, 1 /* array head */)
}

/// How far the list is settled: where the next round's part of it begins.
fn ima_state(state: &evidence::ima::MeasurementState) -> ImaState {
    ImaState { count: state.next_entry(), running: ByteBuf::from(state.register().as_bytes()) }
}

/// What the group's previous item, a verdict, does to the key.
pub(crate) fn key_step(step: KeyStep, key_id: Digest, event: &str) -> Item {
    let (phase, recipient, reason) = match step {
        KeyStep::Authorise { recipient } => (ReleasePhase::Authorised, recipient, "passed".to_owned()),
        KeyStep::Revoke { recipient } => (ReleasePhase::Revoked, recipient, event.to_owned()),
        KeyStep::Withhold => (ReleasePhase::Withheld, Digest::ZERO, event.to_owned()),
    };
    linked(&KeyRelease { phase, verdict: Digest::ZERO, key_id, recipient, reason }, 2 /* array head, phase */)
}

/// That the agent took the share.
pub(crate) fn delivered(verdict: Digest, key_id: Digest, recipient: Digest) -> Item {
    let reason = "the agent took it".to_owned();
    item(&KeyRelease { phase: ReleasePhase::Delivered, verdict, key_id, recipient, reason })
}

pub(crate) fn miss(due: UnixMillis, attempts: u32, loss: Loss, text: &str) -> Item {
    let reason = match loss {
        Loss::NoQuote => MissReason::NoQuote,
        Loss::Refused => MissReason::Refused,
        Loss::Unreachable => MissReason::Unreachable,
    };
    item(&Miss { due, reason, attempts: attempts.into(), text: shortened(text) })
}

pub(crate) fn maintenance(maintenance: &Maintenance) -> Item {
    item(maintenance)
}

pub(crate) fn policy(policy: AgentPolicy) -> Item {
    item(&PolicyBody::Agent(policy))
}

pub(crate) fn named_policy(policy: NamedPolicy) -> Item {
    item(&PolicyBody::Named(policy))
}

pub(crate) fn operator_action(action: &str, actor: &str, target: &AgentId, detail: &str) -> Item {
    item(&OperatorAction {
        action: action.to_owned(),
        actor: actor.to_owned(),
        target: Some(target.to_string()),
        detail: detail.to_owned(),
    })
}

pub(crate) fn revocation(revocation: &Revocation) -> Item {
    item(revocation)
}

pub(crate) fn service_start(instance: &str) -> Item {
    let (service, build) = ("verifier".to_owned(), APPRAISER.to_owned());
    item(&ServiceStart { service, build, instance: instance.to_owned() })
}

/// Text for an entry: errors of peers may be long.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// `58 20` and 32 bytes.
const LINK_BYTES: usize = 34;
/// An address, an operation and a cause take about 200.
const TEXT_CHARS_MAX: usize = 512;

#[cfg(test)]
mod tests;
