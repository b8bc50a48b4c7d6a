//! Proofs of what all machines did.

use fixtures_histories::{BEGIN, ORIGIN, SyntheticLog};
use ledger_history::census::Status;
use ledger_history::fleet::{FleetProof, FleetRequest, FleetStatement, Selection, prove, verify};
use ledger_history::interval::{IntervalRefused, Strength, Trust, Witnesses};
use ledger_protocol::body::VerdictResult;
use messages::AgentId;

use crate::support::{run, run_with, witnessed};

/// What is altered, the check that refuses it, and how.
type Alteration = (&'static str, &'static str, fn(&mut FleetProof));

/// Every structural part of a proof.
pub(crate) const ALTERATIONS: &[Alteration] = &[
    ("another version", "version", |p| p.version = 0),
    ("the end before the begin", "interval", |p| p.to = 1),
    ("last checkpoint exchanged", "consistency", |p| p.note = p.start.as_ref().unwrap().note.clone()),
    ("end census's path", "census-inclusion", |p| p.end.inclusion[0].0[0] ^= 1),
    ("end census of another kind", "census-entry", |p| {
        p.end.entry = p.machines[0].terms.as_ref().unwrap().entries[0].clone();
    }),
    ("slots", "census-root", |p| p.end.slots += 1),
    ("clock", "census-root", |p| p.end.clock.seconds += 1),
    ("top", "census-root", |p| p.start.as_mut().unwrap().top.0[0] ^= 1),
    ("the start left out", "census-row", |p| {
        p.start = None;
        p.start_to_end.clear();
    }),
    ("machines exchanged", "machine-order", |p| p.machines.swap(0, 1)),
    ("a machine twice", "machine-order", |p| p.machines[1] = p.machines[0].clone()),
    ("another id", "census-row", |p| p.machines[0].agent = "machine-1".parse().unwrap()),
    ("a machine's count", "census-opening", |p| {
        p.machines[3].end.row.as_mut().unwrap().aggregate.fails = 0;
    }),
    ("a machine's row at the start left out", "census-row", |p| p.machines[0].start = None),
    ("terms of another", "terms-entry", |p| p.machines[0].terms = p.machines[1].terms.clone()),
    ("a term left out", "terms-end", |p| p.machines[0].terms.as_mut().unwrap().entries.clear()),
];

/// Nine machines, of which one fails and one falls silent.
pub(crate) fn fleet() -> (SyntheticLog, Witnesses) {
    let (mut log, witnesses) = witnessed();
    let agents: Vec<AgentId> = (0..9).map(|number| log.enrol(&format!("machine-{number}"))).collect();
    for agent in &agents {
        log.policy(agent, 10_000, 15_000);
    }
    log.close();
    let all: Vec<&AgentId> = agents.iter().collect();
    run(&mut log, &all, 120);
    run_with(&mut log, &[&agents[3]], 10, VerdictResult::Fail);
    run(&mut log, &all[..8], 110);
    (log, witnesses)
}

fn check(log: &SyntheticLog, witnesses: &Witnesses, proof: &[u8]) -> Result<FleetStatement, IntervalRefused> {
    let witnesses = Some(witnesses);
    verify(proof, &Trust { origin: ORIGIN, log: log.log_key(), witnesses, authorities: None })
}

pub(crate) fn made(log: &SyntheticLog, selection: Selection) -> FleetProof {
    prove(log, &FleetRequest { from: BEGIN + 100, to: BEGIN + 220, selection }).unwrap()
}

#[test]
fn exceptions_are_opened_and_the_rest_is_proven_to_be_without() {
    let (log, witnesses) = fleet();
    let proof = made(&log, Selection::Exceptions);
    let stated = check(&log, &witnesses, &proof.encode()).unwrap();
    assert_eq!((stated.slots, stated.sums.agents, stated.sums.missed), (9, 9, 1));
    assert_eq!((stated.total.failed, stated.rest.failed, stated.rest.missed, stated.others_missed), (1, 0, 0, 0));
    let opened: Vec<_> = stated.machines.iter().map(|machine| (machine.agent.as_str(), machine.at_end)).collect();
    assert_eq!(opened, [("machine-3", Status::Met), ("machine-8", Status::Missed)]);
    assert_eq!(stated.others, 7);
    assert_eq!(stated.machines[0].total.failed, 1);
    assert_eq!((stated.start.unwrap().strength, stated.end.strength), (Strength::Witnessed, Strength::Witnessed));
}

#[test]
fn machines_of_a_label_are_opened_with_the_policy_that_says_so() {
    let (log, witnesses) = fleet();
    let proof = made(&log, Selection::Label("role".into(), "hypervisor".into()));
    let stated = check(&log, &witnesses, &proof.encode()).unwrap();
    assert_eq!((stated.machines.len(), stated.others), (9, 0));
    let labelled = stated.machines.iter().all(|machine| {
        machine.labels.as_ref().is_some_and(|labels| labels.iter().any(|label| label.value == "hypervisor"))
    });
    assert!(labelled);
    assert!(made(&log, Selection::Label("role".into(), "desktop".into())).machines.is_empty());
}

#[test]
fn each_altered_part_of_a_fleet_proof_is_refused_by_its_own_check() {
    let (log, witnesses) = fleet();
    let good = made(&log, Selection::Label("role".into(), "hypervisor".into()));
    let mut wrong = Vec::new();
    for (what, name, alter) in ALTERATIONS {
        let mut proof = good.clone();
        alter(&mut proof);
        let refused = check(&log, &witnesses, &proof.encode()).expect_err(what);
        if refused.name() != *name {
            wrong.push(format!("{what}: {refused:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
