//! Statements as JSON: `docs/spec/interval-proof.md` section 10.

use ledger_protocol::body::Label;
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::census::{Status, Sums};
use crate::interval::{ProvenTime, Term, TermKind};
use crate::reading::Reading;

/// A status by its name.
pub(crate) fn status<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.name())
}

/// The census at the start of an interval.
#[derive(serde::Serialize)]
struct Start {
    clock: ProvenTime,
    enrolled: bool,
}

/// Clock of the census at the start, and whether the agent had a slot then.
pub(crate) fn start<S: Serializer>(start: &Option<(ProvenTime, bool)>, serializer: S) -> Result<S::Ok, S::Error> {
    start.map(|(clock, enrolled)| Start { clock, enrolled }).serialize(serializer)
}

#[derive(serde::Serialize)]
struct Named<'a> {
    name: &'a str,
    value: &'a str,
}

fn named(labels: &[Label]) -> Vec<Named<'_>> {
    labels.iter().map(|label| Named { name: &label.name, value: &label.value }).collect()
}

/// Labels as objects, where they are shown.
pub(crate) fn labels<S: Serializer>(labels: &Option<Vec<Label>>, serializer: S) -> Result<S::Ok, S::Error> {
    labels.as_deref().map(named).serialize(serializer)
}

/// Labels of one policy after the other.
pub(crate) fn label_lists<S: Serializer>(lists: &Option<Vec<Vec<Label>>>, serializer: S) -> Result<S::Ok, S::Error> {
    let lists = lists.as_ref().map(|lists| lists.iter().map(|labels| named(labels)).collect::<Vec<_>>());
    lists.serialize(serializer)
}

/// F field by field; `oldest` is null if no machine in the fleet has a quote.
pub(crate) fn sums<S: Serializer>(sums: &Sums, serializer: S) -> Result<S::Ok, S::Error> {
    let Sums { agents, due, missed, oldest, worst_gap, quotes, fails, misses, resets, late } = *sums;
    let mut out = serializer.serialize_struct("Sums", 10)?;
    for (name, count) in [("agents", agents), ("due", due), ("missed", missed)] {
        out.serialize_field(name, &count)?;
    }
    out.serialize_field("oldest", &(oldest != u64::MAX).then_some(oldest))?;
    let counts = [("worst_gap", worst_gap), ("quotes", quotes), ("fails", fails), ("misses", misses)];
    for (name, count) in counts.into_iter().chain([("resets", resets), ("late", late)]) {
        out.serialize_field(name, &count)?;
    }
    out.end()
}

#[derive(serde::Serialize)]
struct RoleDigest<'a> {
    role: &'a str,
    digest: String,
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Term", 12)?;
        out.serialize_field("seq", &self.seq)?;
        out.serialize_field("recorded_ms", &self.recorded.0)?;
        match &self.kind {
            TermKind::Enrol(enrol) => {
                out.serialize_field("kind", "enrol")?;
                out.serialize_field("slot", &enrol.slot)?;
                out.serialize_field("binding", &enrol.binding.to_string())?;
                out.serialize_field("ek_certificate", &enrol.ek_certificate)?;
                out.serialize_field("registrar", &enrol.registrar)?;
            }
            TermKind::Maintenance(maintenance) => {
                out.serialize_field("kind", "maintenance")?;
                out.serialize_field("from_ms", &maintenance.from.0)?;
                out.serialize_field("to_ms", &maintenance.to.0)?;
                out.serialize_field("reason", &maintenance.reason)?;
                out.serialize_field("actor", &maintenance.actor)?;
            }
            TermKind::Policy(policy) => {
                let digests = policy.policies.iter();
                let digests = digests.map(|of| RoleDigest { role: &of.role, digest: of.digest.to_string() });
                out.serialize_field("kind", "policy")?;
                out.serialize_field("interval_ms", &policy.interval_ms)?;
                out.serialize_field("tolerance_ms", &policy.tolerance_ms)?;
                out.serialize_field("hash_algs", &policy.hash_algs)?;
                out.serialize_field("enc_algs", &policy.enc_algs)?;
                out.serialize_field("sign_algs", &policy.sign_algs)?;
                out.serialize_field("labels", &named(&policy.labels))?;
                out.serialize_field("policies", &digests.collect::<Vec<_>>())?;
                out.serialize_field("binding", &policy.binding.to_string())?;
            }
            TermKind::Retire(retire) => {
                out.serialize_field("kind", "retire")?;
                out.serialize_field("actor", &retire.actor)?;
                out.serialize_field("reason", &retire.reason)?;
            }
        }
        out.end()
    }
}

impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Reading", 5)?;
        out.serialize_field("from", &self.times.0)?;
        out.serialize_field("to", &self.times.1)?;
        out.serialize_field("broken", &self.broken)?;
        out.serialize_field("measured", &self.measured)?;
        out.serialize_field("drift", &self.drift)?;
        out.end()
    }
}
