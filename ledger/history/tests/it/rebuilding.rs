//! The incremental histories against recomputation by the specification's words.

use fixtures_histories::SyntheticLog;
use ledger_history::aggregate::Aggregate;
use ledger_history::history::History;
use ledger_history::node::{Leaf, agent_hash, node_hash};
use ledger_protocol::Entry;
use ledger_protocol::body::VerdictResult;
use messages::{AgentId, Digest};
use proptest::prelude::*;

/// What may happen in a log.
#[derive(Clone, Debug)]
enum Op {
    Quote { agent: usize, pass: bool },
    Unjudged { agent: usize },
    Checkpoint,
    Census,
    Wait { seconds: u64 },
    Policy { agent: usize, interval: u64 },
    Maintenance { agent: usize, length: u64 },
    Reboot { agent: usize },
    Replace { agent: usize },
    Unwitnessed { yes: bool },
}

const AGENTS: usize = 5;

fn op() -> impl Strategy<Value = Op> {
    let agent = 0..AGENTS;
    prop_oneof![
        12 => (agent.clone(), any::<bool>()).prop_map(|(agent, pass)| Op::Quote { agent, pass }),
        1 => agent.clone().prop_map(|agent| Op::Unjudged { agent }),
        5 => Just(Op::Checkpoint),
        1 => Just(Op::Census),
        6 => (1..40u64).prop_map(|seconds| Op::Wait { seconds }),
        1 => (agent.clone(), 0..30u64).prop_map(|(agent, interval)| Op::Policy { agent, interval }),
        1 => (agent.clone(), 1..99u64).prop_map(|(agent, length)| Op::Maintenance { agent, length }),
        1 => agent.clone().prop_map(|agent| Op::Reboot { agent }),
        1 => agent.prop_map(|agent| Op::Replace { agent }),
        1 => any::<bool>().prop_map(|yes| Op::Unwitnessed { yes }),
    ]
}

fn play(ops: &[Op], witnesses: u8) -> (SyntheticLog, Vec<AgentId>) {
    let mut log = SyntheticLog::new(witnesses, witnesses.min(2));
    let agents: Vec<_> = (0..AGENTS).map(|number| log.enrol(&format!("machine-{number}"))).collect();
    for op in ops {
        match op {
            Op::Quote { agent, pass: true } => log.quote(&agents[*agent], VerdictResult::Pass),
            Op::Quote { agent, pass: false } => log.quote(&agents[*agent], VerdictResult::Error),
            Op::Unjudged { agent } => drop(log.quote_only(&agents[*agent])),
            Op::Checkpoint => log.checkpoint(),
            Op::Census => {
                log.checkpoint();
                log.census();
            }
            Op::Wait { seconds } => log.advance_ms(seconds * 1_000),
            Op::Policy { agent, interval } => log.policy(&agents[*agent], interval * 1_000, 5_000),
            Op::Maintenance { agent, length } => {
                let now = log.now();
                log.maintenance(&agents[*agent], now, now + length);
            }
            Op::Reboot { agent } => log.machine(&agents[*agent]).reboot(),
            Op::Replace { agent } => {
                log.retire(&agents[*agent]);
                log.machine(&agents[*agent]).replace_tpm();
                log.enrol(&format!("machine-{agent}"));
            }
            Op::Unwitnessed { yes } => log.unwitnessed = *yes,
        }
    }
    log.checkpoint();
    log.census();
    (log, agents)
}

/// Root and sums of leaves, by the definition.
fn naive(leaves: &[Leaf], agent: &Digest) -> (Aggregate, Digest) {
    match leaves {
        [] => (Aggregate::NONE, Digest(openssl::sha::sha256(&[]))),
        [only] => (only.aggregate, only.node(agent).hash),
        many => {
            let half = 1 << (many.len() - 1).ilog2();
            let (left, right) = (naive(&many[..half], agent), naive(&many[half..], agent));
            let aggregate = left.0.combine(&right.0).unwrap();
            (aggregate, node_hash(&aggregate, &left.1, &right.1))
        }
    }
}

fn replay(log: &SyntheticLog, from: History) -> History {
    let mut history = from;
    for index in history.size()..log.entries().len() as u64 {
        let bytes = &log.entries()[usize::try_from(index).unwrap()];
        let entry = Entry::decode(bytes).unwrap();
        let step = history.push(index, &entry, Entry::leaf_hash(bytes), |digest| log.get_blob(digest)).unwrap();
        assert!(step.census.is_none_or(|census| census.is_true()), "the census at {index}");
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn heads_are_those_of_the_leaves_and_a_rebuilt_history_is_the_same_bytes(
        ops in prop::collection::vec(op(), 1..120), witnesses in prop_oneof![Just(0u8), Just(3u8)], cut: prop::sample::Index,
    ) {
        let (mut log, agents) = play(&ops, witnesses);
        for agent in &agents {
            let slot = log.slot(agent);
            let row = log.history().row(slot).unwrap();
            let expected = naive(log.leaves(agent), &agent_hash(agent));
            prop_assert_eq!((row.aggregate, row.root), expected);
        }
        let whole = replay(&log, History::new()).snapshot();
        prop_assert_eq!(&whole, &log.history().snapshot());
        // Stopped in the middle, saved, restored, and on.
        let middle = cut.index(log.entries().len());
        let mut half = History::new();
        for (index, bytes) in log.entries().iter().enumerate().take(middle) {
            let entry = Entry::decode(bytes).unwrap();
            half.push(index as u64, &entry, Entry::leaf_hash(bytes), |digest| log.get_blob(digest)).unwrap();
        }
        let restored = History::restore(&half.snapshot()).unwrap();
        prop_assert_eq!(restored.snapshot(), half.snapshot());
        prop_assert_eq!(replay(&log, restored).snapshot(), whole);
    }
}

/// The shape is RFC 6962's, by another library: its roots over hashes that stand for the leaves' own.
#[test]
fn the_shape_is_that_of_another_library() {
    for count in 1..=130usize {
        let leaves: Vec<[u8; 32]> = (0..count).map(|number| openssl::sha::sha256(&number.to_be_bytes())).collect();
        let theirs = rs_merkle::MerkleTree::<Sorted>::from_leaves(&leaves).root().unwrap();
        assert_eq!(shape(&leaves), theirs, "{count} leaves");
    }
}

/// The recursion that the definition uses, with a plain hash.
fn shape(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [only] => *only,
        many => {
            let half = 1 << (many.len() - 1).ilog2();
            openssl::sha::sha256(&[shape(&many[..half]), shape(&many[half..])].concat())
        }
    }
}

#[derive(Clone)]
struct Sorted;

impl rs_merkle::Hasher for Sorted {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        openssl::sha::sha256(data)
    }
}
