//! Remembers what was answered to which batch, so that a repeated batch is answered and not repeated.

use std::collections::{HashMap, VecDeque};

use messages::ledger::IdempotencyKey;

use crate::Outcome;

/// Requests remembered at most: a minute of 1,000 batches a second.
pub const REMEMBERED_REQUESTS_MAX: usize = 65_536;

/// Groups of remembered requests at most: about 100 MiB of outcomes.
pub const REMEMBERED_GROUPS_MAX: usize = 1 << 20;

/// The answers to the latest requests that appended something: those that still count within both
/// [`REMEMBERED_REQUESTS_MAX`] and [`REMEMBERED_GROUPS_MAX`], and always the very latest.
///
/// A function of the order in which requests were answered, so that a restart remembers the same.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answers {
    by_key: HashMap<IdempotencyKey, Vec<Outcome>>,
    groups: usize,
    /// Oldest first.
    order: VecDeque<IdempotencyKey>,
}

impl Answers {
    /// What was answered to the request with `key`.
    #[must_use]
    pub fn get(&self, key: &IdempotencyKey) -> Option<&[Outcome]> {
        self.by_key.get(key).map(Vec::as_slice)
    }

    /// All that is remembered, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&IdempotencyKey, &[Outcome])> {
        self.order.iter().filter_map(|key| self.get(key).map(|outcomes| (key, outcomes)))
    }

    /// Remembers an answer and forgets what is beyond the limits: returns the forgotten keys.
    ///
    /// A key that is remembered already keeps its first answer.
    pub fn remember(&mut self, key: IdempotencyKey, outcomes: Vec<Outcome>) -> Vec<IdempotencyKey> {
        if self.by_key.contains_key(&key) {
            return Vec::new();
        }
        self.groups += outcomes.len();
        self.by_key.insert(key, outcomes);
        self.order.push_back(key);
        let mut forgotten = Vec::new();
        while self.order.len() > REMEMBERED_REQUESTS_MAX
            || (self.groups > REMEMBERED_GROUPS_MAX && self.order.len() > 1)
        {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.groups -= self.by_key.remove(&oldest).map_or(0, |outcomes| outcomes.len());
            forgotten.push(oldest);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests;
