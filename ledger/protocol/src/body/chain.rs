//! Who is in the fleet and what is asked of it.

use std::fmt;

use messages::{Digest, UnixMillis};
use serde::de;
use serde_repr::{Deserialize_repr, Serialize_repr};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::Body;
use crate::Kind;

/// An attester's AK became active.
///
/// ```cddl
/// enrol-body = [ slot: uint, binding: digest, ek_certificate: 0 / 1, registrar: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Enrol {
    /// The agent's place in the census: the next free one for a new agent, its own ever after.
    pub slot: u64,
    /// Blob of the EK–AK–id record ([`super::Binding`]).
    pub binding: Digest,
    /// 0 if the EK certificate's chain was verified, 1 if the registrar was told to do without (danger). Nothing else is
    /// read: a body with another number is malformed.
    #[serde(deserialize_with = "zero_or_one")]
    pub ek_certificate: u8,
    /// Name and version of the registrar.
    pub registrar: String,
}

impl Body for Enrol {
    const KIND: Kind = Kind::Enrol;
}

fn zero_or_one<'de, D: de::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match de::Deserialize::deserialize(deserializer)? {
        found @ (0 | 1) => Ok(found),
        found => Err(de::Error::invalid_value(de::Unexpected::Unsigned(u64::from(found)), &"0 or 1")),
    }
}

/// A named policy changed (fleet's chain), or what applies to one agent (the agent's chain).
///
/// ```cddl
/// policy-body = [ 0, interval_ms: uint, tolerance_ms: uint, hash_algs: [* tstr], enc_algs: [* tstr], sign_algs: [* tstr],
///                 labels: [* [name: tstr, value: tstr]], policies: [* [role: tstr, digest]], binding: digest ]
///             / [ 1, role: tstr, name: tstr, content: digest / null, actor: tstr ]
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PolicyBody {
    /// What applies to one agent from here on.
    Agent(AgentPolicy),
    /// A named policy was set or removed.
    Named(NamedPolicy),
}

/// What is asked of one agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentPolicy {
    /// Time between quotes.
    pub interval_ms: u64,
    /// How much later than the interval a quote may be before it counts as missed.
    pub tolerance_ms: u64,
    /// Accepted hash algorithms, by Keylime's names.
    pub hash_algs: Vec<String>,
    /// Accepted EK algorithms.
    pub enc_algs: Vec<String>,
    /// Accepted AK schemes.
    pub sign_algs: Vec<String>,
    /// Labels, ascending by name.
    pub labels: Vec<Label>,
    /// The policies in force, by role (`tpm`, `runtime`, `measured-boot`).
    pub policies: Vec<NamedDigest>,
    /// The EK–AK–id record quotes are checked under.
    pub binding: Digest,
}

/// A label of an agent: `role` → `hypervisor`.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Label {
    /// The label's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A blob and what it is for.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct NamedDigest {
    /// What it is for.
    pub role: String,
    /// The blob.
    pub digest: Digest,
}

/// A named policy was set or removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedPolicy {
    /// `tpm`, `runtime`, `measured-boot`, …
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its content, `None` when removed.
    pub content: Option<Digest>,
    /// Who did it: the common name of a client certificate.
    pub actor: String,
}

impl serde::Serialize for PolicyBody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Agent(p) => (
                0u8,
                p.interval_ms,
                p.tolerance_ms,
                &p.hash_algs,
                &p.enc_algs,
                &p.sign_algs,
                &p.labels,
                &p.policies,
                p.binding,
            )
                .serialize(serializer),
            Self::Named(p) => (1u8, &p.role, &p.name, p.content, &p.actor).serialize(serializer),
        }
    }
}

impl<'de> serde::Deserialize<'de> for PolicyBody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PolicyVisitor)
    }
}

struct PolicyVisitor;

impl<'de> de::Visitor<'de> for PolicyVisitor {
    type Value = PolicyBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an agent's policy [0, …] or a named policy [1, …]")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<PolicyBody, A::Error> {
        match next::<u8, A>(&mut seq)? {
            0 => Ok(PolicyBody::Agent(AgentPolicy {
                interval_ms: next(&mut seq)?,
                tolerance_ms: next(&mut seq)?,
                hash_algs: next(&mut seq)?,
                enc_algs: next(&mut seq)?,
                sign_algs: next(&mut seq)?,
                labels: next(&mut seq)?,
                policies: next(&mut seq)?,
                binding: next(&mut seq)?,
            })),
            1 => Ok(PolicyBody::Named(NamedPolicy {
                role: next(&mut seq)?,
                name: next(&mut seq)?,
                content: next(&mut seq)?,
                actor: next(&mut seq)?,
            })),
            scope => Err(de::Error::invalid_value(de::Unexpected::Unsigned(scope.into()), &"0 or 1")),
        }
    }
}

fn next<'de, T: serde::Deserialize<'de>, A: de::SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &"every item of a policy body"))
}

impl Body for PolicyBody {
    const KIND: Kind = Kind::Policy;
}

/// Evidence was due and did not come.
///
/// ```cddl
/// miss-body = [ due: uint, reason: 0 unreachable / 1 no-quote / 2 refused, attempts: uint, text: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Miss {
    /// When it was due, by the verifier's clock.
    pub due: UnixMillis,
    /// What happened instead.
    pub reason: MissReason,
    /// How often the verifier asked.
    pub attempts: u64,
    /// The last error, for a person.
    pub text: String,
}

/// Why evidence did not come.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum MissReason {
    /// No connection, or no answer in time.
    Unreachable = 0,
    /// An answer that is no quote.
    NoQuote = 1,
    /// The agent refused.
    Refused = 2,
}

impl Body for Miss {
    const KIND: Kind = Kind::Miss;
}

/// An agent left the fleet.
///
/// ```cddl
/// retire-body = [ actor: tstr, reason: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Retire {
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Body for Retire {
    const KIND: Kind = Kind::Retire;
}

/// Announced absence, on the agent's chain. It counts for gaps that begin after the entry only.
///
/// ```cddl
/// maintenance-body = [ from: uint, to: uint, reason: tstr, actor: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Maintenance {
    /// When it is to begin, by the operator's clock.
    pub from: UnixMillis,
    /// When it is to be over; later than `from`.
    pub to: UnixMillis,
    /// Why, for a person.
    pub reason: String,
    /// Who announced it.
    pub actor: String,
}

impl Body for Maintenance {
    const KIND: Kind = Kind::Maintenance;
}
