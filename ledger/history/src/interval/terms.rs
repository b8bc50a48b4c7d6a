//! What governed the agent, from the hash chain of its terms.

use std::collections::VecDeque;

use ledger_protocol::body::{AgentPolicy, Body, Enrol, Maintenance, PolicyBody, Retire};
use ledger_protocol::{Entry, Kind};
use messages::{AgentId, Digest};

use super::format::TermsPart;
use super::refused::IntervalRefused;
use super::statement::{Term, TermKind};
use crate::agent::WINDOWS_MAX;
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

    /// How many of the entries are in force at a leaf, from the position `least` on.
    fn position(&self, leaf: &Leaf, least: usize) -> Option<usize> {
        let chain = |at: usize| match at.checked_sub(1) {
            None => Some(self.before),
            Some(at) => self.terms.get(at).map(|(_, chain)| *chain),
        };
        (least..=self.terms.len()).find(|at| chain(*at) == Some(leaf.terms))
    }

    /// Checks that the leaves, in their order, are under these terms in theirs, and that the policy in force at
    /// the first of them is shown.
    pub(crate) fn check<'a>(&self, leaves: impl Iterator<Item = (u64, &'a Leaf)>) -> Result<(), IntervalRefused> {
        let mut last = None;
        for (number, leaf) in leaves {
            let at = self.position(leaf, last.unwrap_or(0));
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

    /// The windows that count for what begins with number `seq` of the agent's chain: announced before it, since
    /// the enrolment.
    pub(crate) fn windows(&self, seq: u64) -> VecDeque<Window> {
        let mut windows = VecDeque::new();
        for (term, _) in self.terms.iter().filter(|(term, _)| term.seq < seq) {
            match &term.kind {
                TermKind::Enrol(_) => windows.clear(),
                TermKind::Maintenance(Maintenance { from, to, .. }) => {
                    windows.push_back(Window { from_ms: from.0, to_ms: to.0, seq: term.seq });
                }
                TermKind::Policy(_) | TermKind::Retire(_) => {}
            }
        }
        windows.into_iter().rev().take(WINDOWS_MAX).rev().collect()
    }

    /// What is asked of the agent where `leaf` was judged: by the terms that the leaf itself commits to. A policy that
    /// was put on record between a quote and its verdict judged whether the quote was late.
    pub(crate) fn demand_at(&self, leaf: &Leaf) -> Option<Demand> {
        self.demand(self.position(leaf, 0)?)
    }

    /// What is asked of the agent by the last of all terms that are shown.
    pub(crate) fn demand_at_end(&self) -> Option<Demand> {
        self.demand(self.terms.len())
    }

    /// What is asked of the agent by the first `count` of the terms.
    fn demand(&self, count: usize) -> Option<Demand> {
        let mut demand = None;
        for (term, _) in self.terms.iter().take(count) {
            match &term.kind {
                TermKind::Policy(policy) => {
                    let (interval_ms, tolerance_ms) = (policy.interval_ms, policy.tolerance_ms);
                    demand = Some(Demand { interval_ms, tolerance_ms });
                }
                TermKind::Enrol(_) | TermKind::Retire(_) => demand = None,
                TermKind::Maintenance(_) => {}
            }
        }
        demand
    }

    /// The entries between two numbers of the agent's chain, the former `None` for its begin.
    pub(crate) fn between(&self, after: Option<u64>, before: u64) -> impl Iterator<Item = &TermKind> {
        let inside = move |term: &&Term| after.is_none_or(|after| after < term.seq) && term.seq < before;
        self.terms.iter().map(|(term, _)| term).filter(inside).map(|term| &term.kind)
    }

    /// Whether the terms up to `row`, of an earlier census, are among those shown, with a policy in them or from the
    /// agent's first on; how many entries they are.
    pub(crate) fn reach(&self, row: &Digest) -> Option<usize> {
        let ends = std::iter::once(&self.before).chain(self.terms.iter().map(|(_, chain)| chain));
        let count = ends.into_iter().position(|chain| chain == row)?;
        let policy = self.terms.iter().take(count).any(|(term, _)| matches!(term.kind, TermKind::Policy(_)));
        (policy || self.before == Digest::ZERO).then_some(count)
    }

    /// The policies among them, each with its place.
    pub(crate) fn policies(&self) -> impl DoubleEndedIterator<Item = (usize, &AgentPolicy)> {
        self.terms.iter().enumerate().filter_map(|(at, (term, _))| match &term.kind {
            TermKind::Policy(policy) => Some((at, policy)),
            _ => None,
        })
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
