//! Random histories against a naive log: a list of entries and a table of chains.

use std::collections::{BTreeMap, BTreeSet};

use ledger_protocol::Entry;
use ledger_protocol::body::{Enrol, Retire};
use ledger_tlog::checkpoint::Checkpoint;
use messages::AgentId;
use messages::ledger::Head;

use super::*;
use crate::disk::faults::{Fault, Watched};
use crate::disk::power_cut::Chance;
use crate::fsck;
use crate::identity::load_verifier;

/// What the log must be, by the simplest means.
#[derive(Clone, Default)]
struct Naive {
    /// Requests that appended something, and their answers.
    answered: Vec<(AppendRequest, Vec<GroupResult>)>,
    /// Slot, and whether enrolled now.
    enrolled: BTreeMap<AgentId, (u64, bool)>,
    /// Ends of chains; `None` is the fleet's.
    heads: BTreeMap<Option<AgentId>, Head>,
    leaves: Vec<Hash>,
    recorded: u64,
}

/// What a group must come to.
enum Expected {
    Appended,
    Conflict(Head),
    Refused,
}

impl Naive {
    fn head(&self, agent: &Option<AgentId>) -> Head {
        self.heads.get(agent).copied().unwrap_or_default()
    }

    /// What becomes of a group, and the enrolments after it.
    fn expect(&self, group: &Group) -> (Expected, BTreeMap<AgentId, (u64, bool)>) {
        let mut enrolled = self.enrolled.clone();
        let head = self.head(&group.agent);
        let expected = match (group.expected, &group.agent) {
            (Some(expected), _) if expected != head => Expected::Conflict(head),
            (None, Some(_)) => Expected::Refused,
            _ if group.items.is_empty() => Expected::Refused,
            _ if group.items.iter().all(|item| allow(&mut enrolled, group.agent.as_ref(), item)) => Expected::Appended,
            _ => Expected::Refused,
        };
        (expected, enrolled)
    }

    /// Takes in the next entry of the log, which must be this item of this chain.
    fn take(&mut self, ledger: &Ledger, agent: &Option<AgentId>, item: Option<&Item>) -> Digest {
        let bytes = ledger.shared.segments.entry(self.leaves.len() as u64).unwrap();
        let entry = Entry::decode(&bytes).unwrap();
        let head = self.head(agent);
        assert_eq!((&entry.agent, entry.seq, entry.prev), (agent, head.seq, head.prev));
        assert!(entry.recorded.0 >= self.recorded, "time does not go back");
        if let Some(item) = item {
            assert_eq!((entry.kind.number(), &*entry.body), (item.kind, &**item.body));
        }
        let leaf = leaf_hash(&bytes);
        let prev = Digest(*leaf.as_bytes());
        self.heads.insert(agent.clone(), Head { seq: head.seq + 1, prev });
        self.recorded = entry.recorded.0;
        self.leaves.push(leaf);
        prev
    }

    /// Takes in what a request must have appended and compares the answer, where there was one.
    fn follow(&mut self, ledger: &Ledger, request: &AppendRequest, answer: Option<&[GroupResult]>) {
        let mut results = Vec::new();
        for (number, group) in request.groups.iter().enumerate() {
            let (expected, enrolled) = self.expect(group);
            let given = answer.map(|answer| &answer[number]);
            match (expected, given) {
                (Expected::Appended, given) => {
                    self.enrolled = enrolled;
                    let first = self.leaves.len() as u64;
                    let seq = self.head(&group.agent).seq;
                    let mut receipts = Vec::new();
                    for (index, item) in (first..).zip(&group.items) {
                        let leaf_hash = self.take(ledger, &group.agent, Some(item));
                        let recorded = messages::UnixMillis(self.recorded);
                        receipts.push(Receipt { index, seq: seq + index - first, recorded, leaf_hash });
                    }
                    let expected = GroupResult::Appended(receipts);
                    assert!(given.is_none_or(|given| *given == expected), "{given:?} is not {expected:?}");
                    results.push(expected);
                }
                (Expected::Conflict(head), given) => {
                    let expected = GroupResult::Conflict(head);
                    assert!(given.is_none_or(|given| *given == expected), "{given:?} is not {expected:?}");
                    results.push(expected);
                }
                (Expected::Refused, Some(refused @ GroupResult::Refused(_))) => results.push(refused.clone()),
                (Expected::Refused, None) => results.push(GroupResult::Refused(String::new())),
                (Expected::Refused, given) => panic!("{given:?} is no refusal"),
            }
        }
        if results.iter().any(|result| matches!(result, GroupResult::Appended(_))) {
            self.answered.push((request.clone(), results));
        }
    }

    /// Takes in the entries that a start writes.
    fn started(&mut self, ledger: &Ledger) {
        while (self.leaves.len() as u64) < ledger.shared.durable_size() {
            self.take(ledger, &None, None);
        }
    }
}

/// Whether the rules allow an enrolment, a retirement or an action in this chain.
fn allow(enrolled: &mut BTreeMap<AgentId, (u64, bool)>, agent: Option<&AgentId>, item: &Item) -> bool {
    let next = enrolled.len() as u64;
    let Some(agent) = agent else {
        return item.kind == OperatorAction::KIND.number();
    };
    let known = enrolled.get(agent).copied();
    match (Enrol::decode(&item.body), known) {
        (Ok(enrol), None) if item.kind == Enrol::KIND.number() => {
            enrolled.insert(agent.clone(), (next, true));
            enrol.slot == next
        }
        (Ok(enrol), Some((slot, false))) if item.kind == Enrol::KIND.number() => {
            enrolled.insert(agent.clone(), (slot, true));
            enrol.slot == slot
        }
        (_, Some((slot, true))) if item.kind == Retire::KIND.number() => {
            enrolled.insert(agent.clone(), (slot, false));
            true
        }
        _ => false,
    }
}

fn enrol(slot: u64) -> Item {
    item(&Enrol { slot, binding: Digest(openssl::sha::sha256(BINDING)), ek_certificate: 0, registrar: "r".into() })
}

fn retire() -> Item {
    item(&Retire { actor: "a".into(), reason: "r".into() })
}

fn action(chance: &mut Chance) -> Item {
    let detail = "x".repeat(chance.below(120));
    item(&OperatorAction { action: "test".into(), actor: "a".into(), target: None, detail })
}

/// A group that is mostly allowed.
fn group(naive: &Naive, chance: &mut Chance) -> Group {
    let agent: AgentId = format!("node-{}", chance.below(4)).parse().unwrap();
    let known = naive.enrolled.get(&agent).copied();
    let slot = known.map_or(naive.enrolled.len() as u64, |(slot, _)| slot);
    let (agent, items) = match (chance.below(10), known) {
        (0..4, _) => (None, (0..1 + chance.below(3)).map(|_| action(chance)).collect()),
        (4, _) => (Some(agent), vec![enrol(slot + 1)]),
        (5, _) => (Some(agent), vec![enrol(slot), retire(), enrol(slot)]),
        (6, _) => (Some(agent), vec![]),
        (_, Some((_, true))) => (Some(agent), vec![retire()]),
        _ => (Some(agent), vec![enrol(slot)]),
    };
    let mut expected = Some(naive.head(&agent));
    match chance.below(8) {
        0 => expected = None,
        1 => expected = Some(Head { seq: 1 + chance.below(5) as u64, prev: Digest([9; 32]) }),
        _ => {}
    }
    Group { agent, expected, items }
}

/// Whether two answers are one; why a group was refused the first time may not be known.
fn is_same((again, first): (&GroupResult, &GroupResult)) -> bool {
    again == first || matches!((again, first), (GroupResult::Refused(_), GroupResult::Refused(why)) if why.is_empty())
}

fn play(seed: u64) {
    let folder = scratch();
    let path = folder.path().join("log");
    let watched = Watched::new(&path);
    let mut chance = Chance::new(seed);
    let mut naive = Naive::default();
    let mut ledger = Ledger::open(&config(&path)).unwrap();
    naive.started(&ledger);
    ledger.shared.blobs.put(&Digest(openssl::sha::sha256(BINDING)), BINDING).unwrap();
    for key in 0..24 {
        if chance.below(6) == 0 {
            drop(ledger);
            ledger = Ledger::open(&config(&path)).unwrap();
            naive.started(&ledger);
        }
        if !naive.answered.is_empty() && chance.below(4) == 0 {
            let (request, first) = &naive.answered[chance.below(naive.answered.len())];
            let again = ledger.append_blocking(request.clone()).unwrap().results;
            assert!(again.len() == first.len() && again.iter().zip(first).all(is_same), "{again:?} is not {first:?}");
            continue;
        }
        let groups = (0..1 + chance.below(3)).map(|_| group(&naive, &mut chance)).collect();
        let request = AppendRequest { version: 1, idempotency_key: IdempotencyKey(u128::to_be_bytes(key)), groups };
        if chance.below(5) == 0 {
            watched.arm(chance.below(12), Fault::Stop);
        }
        let answer = ledger.append_blocking(request.clone());
        if let Ok(answer) = &answer {
            naive.follow(&ledger, &request, Some(&answer.results));
        }
        // Whatever is to fail has failed then.
        ledger.shared.wait_for_checkpoint(ledger.shared.durable_size());
        if watched.struck().is_some() || answer.is_err() {
            drop(ledger);
            watched.disarm();
            let before = naive.leaves.len() as u64;
            ledger = Ledger::open(&config(&path)).unwrap();
            // A start writes one entry. What is more, the unanswered request has appended: all of it.
            if answer.is_err() && ledger.shared.durable_size() > before + 1 {
                naive.follow(&ledger, &request, None);
            }
            naive.started(&ledger);
        }
        watched.disarm();
    }
    ledger.close();
    let info = ledger.info().unwrap();
    assert_eq!((info.durable_size, info.checkpoint_size), (naive.leaves.len() as u64, naive.leaves.len() as u64));
    assert_eq!(info.next_slot, naive.enrolled.len() as u64);
    for (agent, head) in &naive.heads {
        assert_eq!(ledger.shared.index.head(agent.as_ref()).unwrap(), *head);
    }
    drop(ledger);
    let key = load_verifier(&path).unwrap();
    let sizes: BTreeSet<usize> = fs::read_dir(path.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap())
        .collect();
    for size in sizes {
        let note = fs::read(path.join("checkpoints").join(size.to_string())).unwrap();
        let signed = *Checkpoint::open(&note, "ledger.test/log", &key, &[]).unwrap().tree_head();
        assert_eq!(signed, TreeHead { tree_size: size as u64, root: root_of(&naive.leaves[..size]) });
    }
    let report = fsck(&path).unwrap();
    assert!(report.is_sound(), "seed {seed}: {:?}", report.findings);
}

/// What every enrolment names.
const BINDING: &[u8] = b"binding";

#[test]
fn random_histories_give_the_receipts_and_roots_of_a_naive_log() {
    (0..40).for_each(play);
}

#[test]
#[ignore = "a few minutes; the same with 40 seeds is part of every test"]
fn a_thousand_random_histories_give_the_receipts_and_roots_of_a_naive_log() {
    (1_000..2_000).for_each(play);
}
