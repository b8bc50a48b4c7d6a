//! Proofs of what all machines did.

use fixtures_histories::alterations::{FLEET_ALTERATIONS, fleet, fleet_proof as made};
use fixtures_histories::{ORIGIN, SyntheticLog};
use ledger_history::census::Status;
use ledger_history::fleet::{FleetStatement, Selection, verify};
use ledger_history::interval::{IntervalRefused, Strength, Trust, Witnesses};

fn check(log: &SyntheticLog, witnesses: &Witnesses, proof: &[u8]) -> Result<FleetStatement, IntervalRefused> {
    let witnesses = Some(witnesses);
    verify(proof, &Trust { origin: ORIGIN, log: log.log_key(), witnesses, authorities: None })
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
    for (what, name, alter) in FLEET_ALTERATIONS {
        let mut proof = good.clone();
        alter(&mut proof);
        let refused = check(&log, &witnesses, &proof.encode()).expect_err(what);
        if refused.name() != *name {
            wrong.push(format!("{what}: {refused:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
