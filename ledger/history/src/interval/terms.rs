//! What governed the agent, from the hash chain of its terms.

use std::collections::VecDeque;

use ledger_protocol::body::{Body, Enrol, Maintenance, PolicyBody, Retire};
use ledger_protocol::{Entry, Kind};
use messages::{AgentId, Digest};

use super::format::TermsPart;
use super::refused::IntervalRefused;
use super::statement::{Term, TermKind};
use crate::due::{Demand, Window};
use crate::node::{Leaf, terms_after};

/// Terms that have been folded.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Each with the chain after it.
    terms: Vec<(Term, Digest)>,
    before: Digest,
}

impl Terms {
    /// Reads the entries and folds them to `end`.
    pub(crate) fn read(part: &TermsPart, agent: &AgentId, end: &Digest) -> Result<Self, IntervalRefused> {
        let mut terms: Vec<(Term, Digest)> = Vec::with_capacity(part.entries.len());
        for (position, bytes) in part.entries.iter().enumerate() {
            let refused = IntervalRefused::TermsEntry { position };
            let Some(term) = read_term(bytes, agent) else { return Err(refused) };
            let (seq, chain) = terms.last().map_or((None, part.before), |(last, chain)| (Some(last.seq), *chain));
            // The agent's chain begins with its enrolment.
            let begins = part.before != Digest::ZERO || (term.seq == 0 && matches!(term.kind, TermKind::Enrol { .. }));
            if seq.is_some_and(|seq| seq >= term.seq) || (seq.is_none() && !begins) {
                return Err(refused);
            }
            terms.push((term, terms_after(&chain, &Entry::leaf_hash(bytes))));
        }
        let computed = terms.last().map_or(part.before, |(_, chain)| *chain);
        if computed == *end {
            Ok(Self { terms, before: part.before })
        } else {
            Err(IntervalRefused::TermsEnd { expected: *end, computed })
        }
    }

    /// How many of the entries are in force at a leaf.
    fn position(&self, leaf: &Leaf) -> Option<usize> {
        if leaf.terms == self.before {
            return Some(0);
        }
        self.terms.iter().position(|(_, chain)| *chain == leaf.terms).map(|at| at + 1)
    }

    /// Checks that the leaves, in their order, are under these terms in theirs, and that the policy in force at
    /// the first of them is shown.
    pub(crate) fn check<'a>(&self, leaves: impl Iterator<Item = (u64, &'a Leaf)>) -> Result<(), IntervalRefused> {
        let mut last = None;
        for (number, leaf) in leaves {
            let at = self.position(leaf).filter(|at| last.is_none_or(|last| last <= *at));
            let at = at.ok_or(IntervalRefused::TermsOfLeaf { number })?;
            if last.is_none() {
                self.expect_policy(at)?;
            }
            last = Some(at);
        }
        if last.is_none() && self.before != Digest::ZERO {
            return Err(IntervalRefused::TermsShort);
        }
        Ok(())
    }

    fn expect_policy(&self, at: usize) -> Result<(), IntervalRefused> {
        let shown = self.terms.iter().take(at).any(|(term, _)| matches!(term.kind, TermKind::Policy(_)));
        if shown || self.before == Digest::ZERO { Ok(()) } else { Err(IntervalRefused::TermsShort) }
    }

    /// The windows that were announced.
    pub(crate) fn windows(&self) -> VecDeque<Window> {
        let windows = self.terms.iter().filter_map(|(term, _)| match &term.kind {
            TermKind::Maintenance(Maintenance { from, to, .. }) => {
                Some(Window { from_ms: from.0, to_ms: to.0, seq: term.seq })
            }
            _ => None,
        });
        windows.collect()
    }

    /// What is asked of the agent right before number `seq` of its chain, if it is in the fleet and has not been
    /// enrolled anew since `since`.
    pub(crate) fn demand(&self, since: u64, seq: u64) -> Option<Demand> {
        let mut demand = None;
        for (term, _) in self.terms.iter().filter(|(term, _)| term.seq < seq) {
            match &term.kind {
                TermKind::Policy(policy) => {
                    let (interval_ms, tolerance_ms) = (policy.interval_ms, policy.tolerance_ms);
                    demand = Some(Demand { interval_ms, tolerance_ms });
                }
                TermKind::Retire(_) => demand = None,
                TermKind::Enrol(_) if term.seq > since => return None,
                TermKind::Enrol(_) | TermKind::Maintenance(_) => {}
            }
        }
        demand
    }

    /// All of them.
    pub(crate) fn into_terms(self) -> Vec<Term> {
        self.terms.into_iter().map(|(term, _)| term).collect()
    }
}

/// An entry of the agent's that governs it.
pub(crate) fn read_term(bytes: &[u8], agent: &AgentId) -> Option<Term> {
    let entry = Entry::decode(bytes).ok()?;
    let kind = match entry.kind {
        Kind::Enrol => TermKind::Enrol(Enrol::decode(&entry.body).ok()?),
        Kind::Maintenance => TermKind::Maintenance(Maintenance::decode(&entry.body).ok()?),
        Kind::Policy => match PolicyBody::decode(&entry.body).ok()? {
            PolicyBody::Agent(policy) => TermKind::Policy(policy),
            PolicyBody::Named(_) => return None,
        },
        Kind::Retire => TermKind::Retire(Retire::decode(&entry.body).ok()?),
        _ => return None,
    };
    (entry.agent.as_ref() == Some(agent)).then_some(Term { seq: entry.seq, recorded: entry.recorded, kind })
}
