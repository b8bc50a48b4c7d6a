//! What a proof of the fleet says of labels and of machines that it does not show, by both verifiers.

use fixtures_histories::alterations::fleet;
use fixtures_histories::{BEGIN, ORIGIN, SyntheticLog};
use ledger_history::fleet::{
    FleetRequest, FleetStatement, MachineStatement, Selection, prove as prove_fleet, verify as verify_fleet,
};
use ledger_history::interval::{Trust, Witnesses, prove};
use ledger_protocol::body::VerdictResult::{self, Pass};
use messages::AgentId;

use crate::second_opinion::{Auditor, Opinions};
use crate::support::{check, witnessed};

fn fleet_stated(
    log: &SyntheticLog,
    witnesses: &Witnesses,
    (from, to): (u64, u64),
    selection: Selection,
    opinions: &mut Opinions,
) -> FleetStatement {
    let proof = prove_fleet(log, &FleetRequest { from: BEGIN + from, to: BEGIN + to, selection }).unwrap();
    opinions.fleet(format!("{from} to {to}"), &Auditor::of(log), &proof.encode());
    let trust = Trust { origin: ORIGIN, log: log.log_key(), witnesses: Some(witnesses), authorities: None };
    verify_fleet(&proof.encode(), &trust).unwrap()
}

#[test]
fn labels_are_complete_only_where_every_slot_is_shown_with_its_terms() {
    let (log, witnesses) = fleet();
    let mut opinions = Opinions::new();
    let hypervisors = || Selection::Label("role".into(), "hypervisor".into());
    let stated = fleet_stated(&log, &witnesses, (100, 220), Selection::All, &mut opinions);
    assert!(stated.labels_complete && stated.others == 0, "{stated:?}");
    let stated = fleet_stated(&log, &witnesses, (100, 220), Selection::Exceptions, &mut opinions);
    assert!(!stated.labels_complete);
    // All have the label, so all are shown: nobody else can have it.
    let stated = fleet_stated(&log, &witnesses, (100, 220), hypervisors(), &mut opinions);
    assert!(stated.labels_complete);

    let mut log = SyntheticLog::new(3, 2);
    let one = log.enrol("one");
    log.policy(&one, 10_000, 10_000);
    log.labels = vec![("role", "desktop")];
    let two = log.enrol("two");
    log.policy(&two, 10_000, 10_000);
    log.close();
    log.run(&[&one, &two], 300, Pass);
    let witnesses = Witnesses::parse(&log.keys().policy_file()).unwrap();
    let stated = fleet_stated(&log, &witnesses, (100, 220), hypervisors(), &mut opinions);
    assert_eq!((stated.machines.len(), stated.others, stated.labels_complete), (1, 1, false));
    let stated = fleet_stated(&log, &witnesses, (100, 220), Selection::All, &mut opinions);
    let labelled = |value: &str| {
        let has = |machine: &&MachineStatement| machine.labels.iter().flatten().any(|label| label.value == value);
        stated.machines.iter().filter(has).count()
    };
    assert_eq!((labelled("hypervisor"), labelled("desktop"), stated.labels_complete), (1, 1, true));
    opinions.compare();
}

/// A machine that fails as a hypervisor and is called a desktop afterwards.
#[test]
fn a_label_that_was_taken_off_within_the_interval_is_still_told() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("one");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    log.run(&[&agent], 300, VerdictResult::Fail);
    log.labels = vec![("role", "desktop")];
    log.policy(&agent, 10_000, 10_000);
    log.run(&[&agent], 120, Pass);
    let mut opinions = Opinions::new();
    let hypervisors = || Selection::Label("role".into(), "hypervisor".into());
    let stated = fleet_stated(&log, &witnesses, (100, 400), hypervisors(), &mut opinions);
    let [machine] = stated.machines.as_slice() else { panic!("{stated:?}") };
    let before = machine.labels_before.as_deref().unwrap();
    assert_eq!((machine.labels.as_ref().unwrap()[0].value.as_str(), before.len()), ("desktop", 1));
    assert!(before[0][0].value == "hypervisor" && machine.total.failed > 0 && stated.labels_complete);
    // After the change it never was one.
    let stated = fleet_stated(&log, &witnesses, (390, 400), hypervisors(), &mut opinions);
    assert_eq!((stated.machines.len(), stated.labels_complete), (0, false));

    // Terms that begin behind the one in force at the begin do not make its labels known.
    let request = FleetRequest { from: BEGIN + 100, to: BEGIN + 400, selection: Selection::All };
    let mut proof = prove_fleet(&log, &request).unwrap();
    let terms = proof.machines[0].terms.as_mut().unwrap();
    for entry in terms.entries.drain(..terms.entries.len() - 1) {
        let hash = ledger_protocol::Entry::leaf_hash(&entry);
        terms.before = ledger_history::node::terms_after(&terms.before, &hash);
    }
    let trust = Trust { origin: ORIGIN, log: log.log_key(), witnesses: Some(&witnesses), authorities: None };
    let stated = verify_fleet(&proof.encode(), &trust).unwrap();
    assert!(!stated.labels_complete && stated.machines[0].labels_before.is_none(), "{stated:?}");
    opinions.fleet("terms cut", &Auditor::of(&log), &proof.encode());
    opinions.compare();
}

/// A log that signs a census in which a machine has failed more often than afterwards.
#[test]
fn counts_that_fall_are_refused_and_a_false_row_is_not_that_of_its_tree() {
    let mut log = SyntheticLog::new(3, 2);
    let agents: Vec<AgentId> = ["one", "two"].into_iter().map(|name| log.enrol(name)).collect();
    agents.iter().for_each(|agent| log.policy(agent, 10_000, 10_000));
    log.close();
    let both: Vec<&AgentId> = agents.iter().collect();
    log.run(&both, 110, Pass);
    log.checkpoint();
    log.false_census(|rows| rows[0].aggregate.fails += 1);
    log.advance_ms(1_000);
    log.checkpoint();
    log.run(&[&agents[1]], 10, VerdictResult::Fail);
    log.run(&both, 230, Pass);
    let auditor = Auditor::of(&log);
    let witnesses = Witnesses::parse(&log.keys().policy_file()).unwrap();
    let trust = Trust { origin: ORIGIN, log: log.log_key(), witnesses: Some(&witnesses), authorities: None };
    let mut opinions = Opinions::new();
    // The sums do not fall: what one machine lost the other has won. Whoever is shown the machine sees it.
    let request = |selection| FleetRequest { from: BEGIN + 115, to: BEGIN + 200, selection };
    let proof = prove_fleet(&log, &request(Selection::Exceptions)).unwrap();
    let refused = verify_fleet(&proof.encode(), &trust).unwrap_err();
    assert_eq!((refused.name(), proof.machines.len()), ("sums-fell", 2), "{refused:?}");
    opinions.fleet("shown", &auditor, &proof.encode());
    // Who is not shown it does not: what is 0 together is 0 on each in a census that is true.
    let mut hidden = proof.clone();
    hidden.machines.clear();
    let stated = verify_fleet(&hidden.encode(), &trust).unwrap();
    assert_eq!((stated.rest.failed, stated.others), (0, 2));
    opinions.fleet("hidden", &auditor, &hidden.encode());
    hidden.machines = proof.machines[1..].to_vec();
    assert_eq!(verify_fleet(&hidden.encode(), &trust).unwrap_err().name(), "sums-fell", "less than none is left");
    opinions.fleet("half hidden", &auditor, &hidden.encode());
    // The machine's own proof rests on its tree.
    let request = log.request(&agents[0], BEGIN + 115, BEGIN + 200);
    let proof = prove(&log, &request).unwrap().encode();
    assert_eq!(check(&log, Some(&witnesses), &agents[0], &proof).unwrap_err().name(), "tree-root");
    opinions.interval("false row", &agents[0], &auditor, &proof);
    opinions.compare();
}
