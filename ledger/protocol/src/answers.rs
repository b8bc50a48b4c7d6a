//! Remembers what was answered to which batch, so that a repeated batch is answered and not repeated.

use std::collections::{HashMap, VecDeque};

use messages::ledger::{Group, IdempotencyKey};
use messages::{Digest, cbor};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::Outcome;

/// Requests remembered at most: a minute of 1,000 batches a second.
pub const REMEMBERED_REQUESTS_MAX: usize = 65_536;

/// Groups of remembered requests at most: about 100 MiB of outcomes.
pub const REMEMBERED_GROUPS_MAX: usize = 1 << 20;

/// What became of one request, and what tells that request from others under the same key.
///
/// What was appended is in the log and can be compared with what a request asks for; the digest
/// covers the rest.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Answered {
    /// SHA-256 of the CBOR of `[submitter / null, [* [position, group]]]`, the groups being those that
    /// were not appended.
    request: Digest,
    /// One per group of the request.
    outcomes: Vec<Outcome>,
}

impl Answered {
    /// Remembers that `submitter` got these `outcomes` for these `groups`.
    #[must_use]
    pub fn new(submitter: Option<&str>, groups: &[Group], outcomes: Vec<Outcome>) -> Self {
        Self { request: digest(submitter, groups, &outcomes), outcomes }
    }

    /// What became of the groups if this may be the same request: by the same submitter, with as many
    /// groups, those that were not appended being the same. Whoever answers must still compare the
    /// groups that were appended with the entries.
    #[must_use]
    pub fn outcomes_for(&self, submitter: Option<&str>, groups: &[Group]) -> Option<&[Outcome]> {
        let is_same = groups.len() == self.outcomes.len() && digest(submitter, groups, &self.outcomes) == self.request;
        is_same.then_some(self.outcomes.as_slice())
    }
}

fn digest(submitter: Option<&str>, groups: &[Group], outcomes: &[Outcome]) -> Digest {
    let with_positions = groups.iter().zip(outcomes).enumerate();
    let others = with_positions.filter(|(_, (_, outcome))| !matches!(outcome, Outcome::Appended { .. }));
    let others: Vec<(usize, &Group)> = others.map(|(position, (group, _))| (position, group)).collect();
    Digest(openssl::sha::sha256(&cbor::encode(&(submitter, others))))
}

/// The answers to the latest requests that appended something: those that still count within both
/// [`REMEMBERED_REQUESTS_MAX`] and [`REMEMBERED_GROUPS_MAX`], and always the very latest.
///
/// A function of the order in which requests were answered, so that a restart remembers the same.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answers {
    by_key: HashMap<IdempotencyKey, Answered>,
    groups: usize,
    /// Oldest first.
    order: VecDeque<IdempotencyKey>,
}

impl Answers {
    /// What was answered to the request with `key`.
    #[must_use]
    pub fn get(&self, key: &IdempotencyKey) -> Option<&Answered> {
        self.by_key.get(key)
    }

    /// All that is remembered, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&IdempotencyKey, &Answered)> {
        self.order.iter().filter_map(|key| self.get(key).map(|answered| (key, answered)))
    }

    /// Remembers an answer and forgets what is beyond the limits: returns the forgotten keys.
    ///
    /// A key that is remembered already keeps its first answer.
    pub fn remember(&mut self, key: IdempotencyKey, answered: Answered) -> Vec<IdempotencyKey> {
        if self.by_key.contains_key(&key) {
            return Vec::new();
        }
        self.groups += answered.outcomes.len();
        self.by_key.insert(key, answered);
        self.order.push_back(key);
        let mut forgotten = Vec::new();
        while self.order.len() > REMEMBERED_REQUESTS_MAX
            || (self.groups > REMEMBERED_GROUPS_MAX && self.order.len() > 1)
        {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.groups -= self.by_key.remove(&oldest).map_or(0, |answered| answered.outcomes.len());
            forgotten.push(oldest);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests;
