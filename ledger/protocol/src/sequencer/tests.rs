#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use messages::ledger::IdempotencyKey;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::Beacon;
use crate::body::{
    Body, CheckpointBody, Enrol, Genesis, ImaDelta, ImaState, OperatorAction, QuoteBody, Retire, ServiceStart, Verdict,
    VerdictResult,
};

const NOTE: Digest = Digest([9; 32]);

fn signed(size: u64) -> Option<Digest> {
    (size == 1).then_some(NOTE)
}

fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}

fn start_item() -> Item {
    item(&ServiceStart { service: "l".into(), build: "b".into(), instance: "i".into() })
}

fn enrol(slot: u64) -> Item {
    item(&Enrol { slot, binding: Digest([1; 32]), ek_certificate: 0, registrar: "r".into() })
}

fn retire() -> Item {
    item(&Retire { actor: "a".into(), reason: "r".into() })
}

fn quote() -> Item {
    item(&QuoteBody {
        beacon: Beacon { tree_size: 1, note_digest: NOTE },
        salt: Digest([2; 32]),
        attest: ByteBuf::from([3]),
        signature: ByteBuf::from([4]),
        pcrs: vec![],
        ima: ImaDelta::default(),
        boot_log: None,
    })
}

/// A verdict that names the group's previous item.
fn linked_verdict() -> Item {
    let marker = Digest([0xab; 32]);
    let body = Verdict {
        quote: marker,
        result: VerdictResult::Pass,
        findings: vec![],
        policies: vec![],
        binding: Digest([1; 32]),
        appraiser: "t".into(),
        ima_state: ImaState::default(),
    }
    .encode();
    // One byte of array head, then the link's head and hash.
    let (before, rest) = (&body[..1], &body[1 + 2 + 32..]);
    Item { kind: Kind::Verdict.number(), body: ByteBuf::from(before), after: Some(ByteBuf::from(rest)) }
}

fn sequencer() -> Sequencer {
    let mut sequencer = Sequencer::new(LogState::default());
    let genesis = Genesis { format: 1, origin: "o".into(), vkey: "v".into(), created: UnixMillis(0) };
    let outcomes = run(&mut sequencer, 5, vec![group(None, None, vec![item(&genesis)])]).outcomes;
    assert_eq!(outcomes, [Outcome::Appended { first: 0, count: 1 }]);
    sequencer
}

fn agent(name: &str) -> Option<AgentId> {
    Some(name.parse().unwrap())
}

fn group(agent: Option<AgentId>, expected: Option<Head>, items: Vec<Item>) -> Group {
    Group { agent, expected, items }
}

fn request(groups: Vec<Group>) -> AppendRequest {
    AppendRequest { version: 1, idempotency_key: IdempotencyKey([0; 16]), groups }
}

fn run(sequencer: &mut Sequencer, now: u64, groups: Vec<Group>) -> Sequenced {
    run_into(sequencer, now, groups, &mut Vec::new())
}

fn run_into(sequencer: &mut Sequencer, now: u64, groups: Vec<Group>, frames: &mut Vec<u8>) -> Sequenced {
    sequencer.sequence(&request(groups), UnixMillis(now), signed, frames).unwrap()
}

fn entries<'a>(frames: &'a [u8], group: &'a SequencedGroup) -> Vec<(&'a [u8], &'a Receipt)> {
    let width = u16::try_from(group.receipts.len()).unwrap();
    ledger_tlog::bundle::parse_entries(&frames[group.frames.clone()], width)
        .unwrap()
        .into_iter()
        .zip(&group.receipts)
        .collect()
}

#[test]
fn a_group_sees_what_the_one_before_it_did() {
    let mut sequencer = sequencer();
    let first = group(agent("a"), Some(Head::default()), vec![enrol(0), quote()]);
    let preview = run(&mut sequencer.clone(), 6, vec![first.clone()]);
    let prev = preview.groups[0].receipts[1].leaf_hash;
    let second = group(agent("a"), Some(Head { seq: 2, prev }), vec![retire()]);
    let other = group(agent("b"), Some(Head::default()), vec![enrol(1)]);
    let sequenced = run(&mut sequencer, 6, vec![first, second, other]);
    let expected = [(1, 2), (3, 1), (4, 1)].map(|(first, count)| Outcome::Appended { first, count });
    assert_eq!(sequenced.outcomes, expected);
    assert_eq!(sequenced.groups[1].previous_index, Some(2));
    assert_eq!(sequencer.state().totals().next_slot, 2);
}

#[test]
fn a_stale_head_conflicts_and_learns_the_true_one() {
    let mut sequencer = sequencer();
    let claim = || group(agent("a"), Some(Head::default()), vec![enrol(0)]);
    let sequenced = run(&mut sequencer, 6, vec![claim(), claim()]);
    let prev = sequenced.groups[0].receipts[0].leaf_hash;
    assert_eq!(sequenced.outcomes[1], Outcome::Conflict(Head { seq: 1, prev }));
    assert_eq!(sequenced.groups.len(), 1);
}

#[test]
fn a_group_with_one_bad_entry_leaves_no_trace() {
    let mut sequencer = sequencer();
    let before = sequencer.state().clone();
    let mut frames = vec![0xff; 3];
    let groups = vec![group(agent("a"), Some(Head::default()), vec![enrol(0), enrol(0)])];
    let sequenced = run_into(&mut sequencer, 6, groups, &mut frames);
    assert_eq!(frames, [0xff; 3], "the caller's buffer is as it was");
    let Outcome::Refused(text) = &sequenced.outcomes[0] else {
        panic!("{:?}", sequenced.outcomes);
    };
    assert!(text.contains("entry 1") && text.contains("retire"), "{text}");
    assert!(sequenced.groups.is_empty());
    assert_eq!(sequencer.state(), &before);
}

#[test]
fn a_verdict_names_the_quote_of_its_own_group() {
    let mut sequencer = sequencer();
    let items = vec![enrol(0), quote(), linked_verdict()];
    let mut frames = vec![0xff; 3];
    let groups = vec![group(agent("a"), Some(Head::default()), items)];
    let sequenced = run_into(&mut sequencer, 6, groups, &mut frames);
    let [(_, _), (_, quote), (verdict, _)] = entries(&frames, &sequenced.groups[0])[..] else {
        panic!("{:?}", sequenced.outcomes);
    };
    let body = Entry::decode(verdict).unwrap().body;
    assert_eq!(Verdict::decode(&body).unwrap().quote, quote.leaf_hash);
}

#[test]
fn an_entry_is_made_of_its_item_and_of_no_other() {
    let mut sequencer = sequencer();
    let items = vec![enrol(0), quote(), linked_verdict()];
    let mut frames = Vec::new();
    let groups = vec![group(agent("a"), Some(Head::default()), items.clone())];
    let sequenced = run_into(&mut sequencer, 6, groups, &mut frames);
    let entries = entries(&frames, &sequenced.groups[0]);
    for (place, (entry, _)) in entries.iter().enumerate() {
        let entry = Entry::decode(entry).unwrap();
        for (other, item) in items.iter().enumerate() {
            assert_eq!(entry.is_made_of(item), place == other, "{place} of {other}");
        }
        let mut altered = items[place].clone();
        altered.kind += 1;
        assert!(!entry.is_made_of(&altered));
        altered.kind -= 1;
        altered.body.push(0);
        assert!(!entry.is_made_of(&altered));
    }
    let mut verdict = Entry::decode(entries[2].0).unwrap();
    verdict.prev = Digest([9; 32]);
    assert!(!verdict.is_made_of(&items[2]), "the link is to the entry before it");
}

#[test]
fn the_entries_that_begin_a_bundle_are_marked_where_they_are() {
    let mut sequencer = sequencer();
    let action = OperatorAction { action: "a".into(), actor: "b".into(), target: None, detail: String::new() };
    let groups = vec![group(None, None, vec![item(&action); 300]), group(None, None, vec![item(&action); 300])];
    let mut frames = Vec::new();
    let sequenced = run_into(&mut sequencer, 6, groups, &mut frames);
    let marks: Vec<(u64, usize)> = sequenced.groups.iter().flat_map(|group| group.bundles.clone()).collect();
    assert_eq!(marks.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [256, 512]);
    for (index, offset) in marks {
        let (entry, _) = ledger_tlog::bundle::split_entry(&frames[offset..]).unwrap();
        let receipts = sequenced.groups.iter().flat_map(|group| &group.receipts);
        let receipt = receipts.into_iter().find(|receipt| receipt.index == index).unwrap();
        assert_eq!(Entry::leaf_hash(entry), receipt.leaf_hash);
    }
}

#[test]
fn a_body_that_is_not_deterministic_is_refused_for_every_kind() {
    for number in 0..20 {
        let mut sequencer = sequencer();
        let mut items = vec![enrol(0)];
        // An array of one number that has too long a head; and a good item with a byte behind it.
        for body in [vec![0x81, 0x18, 0x01], [quote().body.as_slice(), &[0]].concat()] {
            items.push(Item { kind: number, body: ByteBuf::from(body), after: None });
            for (agent, expected) in [(agent("a"), Some(Head::default())), (None, None)] {
                let groups = vec![group(agent, expected, items.clone())];
                let sequenced = run(&mut sequencer, 6, groups);
                assert!(matches!(sequenced.outcomes[..], [Outcome::Refused(_)]), "kind {number}");
            }
            items.pop();
        }
    }
}

#[test]
fn a_link_without_an_entry_before_it_is_refused() {
    let mut sequencer = sequencer();
    run(&mut sequencer, 6, vec![group(agent("a"), Some(Head::default()), vec![enrol(0)])]);
    let head = sequencer.state().head(agent("a").as_ref());
    let sequenced = run(&mut sequencer, 6, vec![group(agent("a"), Some(head), vec![linked_verdict()])]);
    assert!(matches!(&sequenced.outcomes[0], Outcome::Refused(text) if text.contains("first")));
}

#[test]
fn only_the_fleet_may_be_appended_to_blindly() {
    let mut sequencer = sequencer();
    let groups = vec![group(None, None, vec![start_item()]), group(agent("a"), None, vec![enrol(0)])];
    let sequenced = run(&mut sequencer, 6, groups);
    assert_eq!(sequenced.outcomes[0], Outcome::Appended { first: 1, count: 1 });
    assert!(matches!(&sequenced.outcomes[1], Outcome::Refused(text) if text.contains("fleet")));
}

#[test]
fn an_empty_group_and_a_body_that_is_no_cbor_are_refused() {
    let mut sequencer = sequencer();
    let broken = Item { kind: 99, body: ByteBuf::from([0xff]), after: None };
    let sequenced = run(&mut sequencer, 6, vec![group(None, None, vec![]), group(None, None, vec![broken])]);
    assert!(sequenced.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))));
}

#[test]
fn an_entry_longer_than_its_frame_is_refused() {
    let mut body = vec![0x59, 0xff, 0xff];
    body.resize(3 + 0xffff, 0);
    let long = Item { kind: 99, body: ByteBuf::from(body), after: None };
    let sequenced = run(&mut sequencer(), 6, vec![group(None, None, vec![long])]);
    assert!(matches!(&sequenced.outcomes[0], Outcome::Refused(text) if text.contains("65535")));
}

#[test]
fn a_clock_that_goes_back_is_not_believed() {
    let mut sequencer = sequencer();
    let recorded = |sequencer: &mut Sequencer, now| {
        run(sequencer, now, vec![group(None, None, vec![start_item()])]).groups[0].receipts[0].recorded
    };
    assert_eq!(recorded(&mut sequencer, 100), UnixMillis(100));
    assert_eq!(recorded(&mut sequencer, 50), UnixMillis(100));
    assert_eq!(recorded(&mut sequencer, 101), UnixMillis(101));
}

#[test]
fn too_many_entries_and_another_version_are_refused_whole() {
    let mut sequencer = sequencer();
    let groups = vec![group(None, None, vec![start_item(); APPEND_ENTRIES_MAX + 1])];
    let refused = sequencer.sequence(&request(groups), UnixMillis(6), signed, &mut Vec::new()).unwrap_err();
    assert_eq!(refused, RequestRefused::Entries { found: APPEND_ENTRIES_MAX + 1 });
    let other = AppendRequest { version: 2, ..request(vec![]) };
    let refused = sequencer.sequence(&other, UnixMillis(6), signed, &mut Vec::new()).unwrap_err();
    assert_eq!(refused, RequestRefused::Version { found: 2 });
}

#[test]
fn outcomes_come_back_from_cbor() {
    let head = Head { seq: 4, prev: Digest([3; 32]) };
    let outcomes =
        vec![Outcome::Appended { first: 7, count: 2 }, Outcome::Conflict(head), Outcome::Refused("no".into())];
    let bytes = cbor::encode(&outcomes);
    assert_eq!(cbor::decode::<Vec<Outcome>>(&bytes).unwrap(), outcomes);
}

/// What a submitter tries.
#[derive(Clone, Debug)]
struct Try {
    agent: usize,
    stale: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enrol { right_slot: bool },
    Quote,
    LinkedVerdict,
    Retire,
}

/// The rules again, as plainly as possible: the whole history of each agent, looked through anew
/// for every step.
#[derive(Clone, Default)]
struct Model {
    histories: [Vec<Step>; 3],
    slots: Vec<usize>,
}

impl Model {
    fn allows(history: &[Step], first_of_group: bool, step: Step) -> bool {
        let enrolled = history.iter().rev().find_map(|step| match step {
            Step::Enrol { .. } => Some(true),
            Step::Retire => Some(false),
            _ => None,
        });
        match step {
            Step::Enrol { right_slot } => enrolled != Some(true) && right_slot,
            Step::Quote | Step::Retire => enrolled == Some(true),
            Step::LinkedVerdict => {
                enrolled == Some(true) && !first_of_group && matches!(history.last(), Some(Step::Quote))
            }
        }
    }

    fn slot(&self, agent: usize) -> u64 {
        self.slots.iter().position(|known| *known == agent).unwrap_or(self.slots.len()) as u64
    }
}

fn tries() -> impl Strategy<Value = Vec<(u64, Vec<Try>)>> {
    let step = prop_oneof![
        2 => any::<bool>().prop_map(|wrong| Step::Enrol { right_slot: !wrong }),
        4 => Just(Step::Quote),
        4 => Just(Step::LinkedVerdict),
        1 => Just(Step::Retire),
    ];
    let one = (0..3usize, prop::bool::weighted(0.2), prop::collection::vec(step, 1..4))
        .prop_map(|(agent, stale, steps)| Try { agent, stale, steps });
    prop::collection::vec((0..50u64, prop::collection::vec(one, 1..6)), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_sequencer_agrees_with_a_naive_model(requests in tries()) {
        let mut sequencer = sequencer();
        let mut model = Model::default();
        let mut replayed = sequencer.state().clone();
        let mut size = 1;
        let mut clock = 5;
        for (now, tries) in requests {
            // Heads are filled in against a copy, group by group, as submitters that know the truth.
            let mut shadow = sequencer.clone();
            let mut groups = Vec::new();
            let mut expected = Vec::new();
            for Try { agent: number, stale, steps } in tries {
                let id = agent(["x", "y", "z"][number]);
                let truth = shadow.state().head(id.as_ref());
                let head = if stale { Head { seq: truth.seq + 1, prev: truth.prev } } else { truth };
                let slot = model.slot(number);
                let items = steps.iter().map(|step| match step {
                    Step::Enrol { right_slot } => enrol(if *right_slot { slot } else { slot + 1 }),
                    Step::Quote => quote(),
                    Step::LinkedVerdict => linked_verdict(),
                    Step::Retire => retire(),
                }).collect();
                let mut history: Vec<Step> = model.histories[number].clone();
                let mut allowed = true;
                for (position, step) in steps.iter().enumerate() {
                    allowed &= Model::allows(&history, position == 0, *step);
                    history.push(*step);
                }
                let group = group(id, Some(head), items);
                let outcome = if stale {
                    Some(Outcome::Conflict(truth))
                } else if allowed {
                    for step in &steps {
                        model.histories[number].push(*step);
                        if matches!(step, Step::Enrol { .. }) && !model.slots.contains(&number) {
                            model.slots.push(number);
                        }
                    }
                    let first = size;
                    size += steps.len() as u64;
                    Some(Outcome::Appended { first, count: steps.len() as u64 })
                } else {
                    None
                };
                run(&mut shadow, now, vec![group.clone()]);
                groups.push(group);
                expected.push(outcome);
            }
            let mut frames = Vec::new();
            let sequenced = run_into(&mut sequencer, now, groups, &mut frames);
            for (found, expected) in sequenced.outcomes.iter().zip(expected) {
                match expected {
                    Some(expected) => prop_assert_eq!(found, &expected),
                    None => prop_assert!(matches!(found, Outcome::Refused(_)), "{:?}", found),
                }
            }
            // A time at which nothing was appended leaves no trace.
            if !sequenced.groups.is_empty() {
                clock = clock.max(now);
            }
            for (encoded, receipt) in sequenced.groups.iter().flat_map(|group| entries(&frames, group)) {
                let decoded = Entry::decode(encoded).unwrap();
                prop_assert_eq!(decoded.recorded, UnixMillis(clock));
                prop_assert_eq!(receipt.index, replayed.totals().size);
                replayed.apply(&decoded, Entry::leaf_hash(encoded), signed).unwrap();
            }
            prop_assert_eq!(&replayed, sequencer.state());
        }
    }
}

#[test]
fn no_census_is_taken_but_the_one_that_was_announced() {
    let mut sequencer = sequencer();
    run(&mut sequencer, 1, vec![group(None, None, vec![start_item()])]);
    let checkpoint = item(&CheckpointBody { tree_size: 1, note: NOTE });
    let appended = run(&mut sequencer, 2, vec![group(None, None, vec![checkpoint])]);
    assert_eq!(appended.groups.len(), 1, "{appended:?}");
    let sums = ByteBuf::from(vec![1; 68]);
    let census = CensusBody { prefix_size: 1, sums, root: Digest([5; 32]), epoch: 0 };
    let forged = CensusBody { root: Digest([6; 32]), ..census.clone() };
    let mut try_one = |expected: Option<&CensusBody>, census: &CensusBody| {
        sequencer.expect_census(expected.cloned());
        match &run(&mut sequencer, 3, vec![group(None, None, vec![item(census)])]).outcomes[..] {
            [Outcome::Appended { .. }] => true,
            [Outcome::Refused(reason)] => {
                assert!(reason.contains("come to"), "{reason}");
                false
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(!try_one(None, &census));
    assert!(!try_one(Some(&census), &forged));
    assert!(try_one(Some(&census), &census));
}
