//! Runtime policies that came signed: whether they are what was signed, and by whom.

use std::collections::{BTreeMap, BTreeSet};

use evidence::runtime_policy::{Envelope, Signers};
use ledger_protocol::body::AgentPolicy;
use messages::Digest;

use super::Blobs;
use crate::{
    cause,
    history::{History, ProvenEntry, place},
    report::Check,
};

/// Opens each envelope again that a policy in force names, at the time its entry was recorded.
///
/// With signers of the auditor's own, a policy without an envelope and one that none of them signed are refuted.
pub(super) fn check(history: &History, blobs: &Blobs<'_>, signers: Option<&Signers>, check: &mut Check) {
    for (entry, policy) in history.agent_policies() {
        for part in Part::of(policy) {
            check.examine();
            match part.open(entry, blobs, signers) {
                Ok(()) => {}
                Err(Problem::Missing(digest)) => {
                    check.doubt(
                        place(entry),
                        format!("blob {digest} of a signed policy is not in the bundle"),
                        super::PRUNED,
                    );
                }
                Err(Problem::False(problem)) => check.refute(place(entry), format!("{}: {problem}", part.name), FALSE),
            }
        }
    }
}

/// A runtime policy of an entry, with what it was signed by.
struct Part {
    name: String,
    content: Digest,
    signed: Option<(Digest, Option<Digest>)>,
}

enum Problem {
    False(String),
    Missing(Digest),
}

impl Part {
    fn of(policy: &AgentPolicy) -> Vec<Self> {
        let roles: BTreeMap<&str, Digest> =
            policy.policies.iter().map(|part| (part.role.as_str(), part.digest)).collect();
        let layers =
            || roles.iter().filter_map(|(role, content)| Some((role.strip_prefix("runtime-layer")?, *content)));
        // A stack's document is the verifier's own; what is signed are the layers.
        let alone = roles.get("runtime").filter(|_| layers().next().is_none()).map(|content| ("", *content));
        let parts: BTreeSet<(&str, Digest)> = alone.into_iter().chain(layers()).collect();
        let part = |(layer, content): (&str, Digest)| {
            let of = |role: &str| roles.get(format!("{role}{layer}").as_str()).copied();
            let signed = of("runtime-envelope").map(|envelope| (envelope, of("runtime-key")));
            Self { name: format!("the runtime policy{layer}"), content, signed }
        };
        parts.into_iter().map(part).collect()
    }

    fn open(&self, entry: &ProvenEntry, blobs: &Blobs<'_>, signers: Option<&Signers>) -> Result<(), Problem> {
        let Some((envelope, key)) = self.signed else {
            return match signers {
                None => Ok(()),
                Some(_) => Err(Problem::False("it is not signed".to_owned())),
            };
        };
        let read = |digest: Digest| blobs.load(&digest).ok_or(Problem::Missing(digest));
        let wrong = |error: &dyn std::error::Error| Problem::False(cause::chain(error));
        let recorded;
        let signers = match signers {
            Some(signers) => signers,
            None => {
                let key = key.ok_or_else(|| Problem::False("its key is not on record".to_owned()))?;
                let mut of_log = Signers::new();
                of_log.trust("the key on record", &read(key)?).map_err(|error| wrong(&error))?;
                recorded = of_log;
                &recorded
            }
        };
        let envelope = Envelope::parse(&read(envelope)?).map_err(|error| wrong(&error))?;
        let at = i64::try_from(entry.recorded.0 / 1_000).unwrap_or(i64::MAX);
        let payload = envelope.verify(signers, at).map_err(|error| wrong(&error))?;
        let found = Digest(openssl::sha::sha256(payload.payload()));
        if found == self.content {
            return Ok(());
        }
        Err(Problem::False(format!("what is signed is {found}, in force is {}", self.content)))
    }
}

const FALSE: &str = "ask whoever answers for the policies who put this one in force";
