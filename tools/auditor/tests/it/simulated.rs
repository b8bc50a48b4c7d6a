//! What the simulation's operators, witnesses and authorities show, judged by the auditor's own code; the table of lies is
//! `THREAT_MODEL.md`'s. The simulation has an auditor of its own: both must come to the same.

use std::{fs, path::Path};

use evidence::ek_certificate::TrustStore;
use fixtures_simulation::{
    auditor::{self, View, keys, proof_of, read},
    forgery::{Draft, forge},
    machine::vendor,
    operator::{FalseStamp, Operator},
    tsa,
    untruth::{FalseCensus, FalsePlace},
    world::{Faults, World},
};
use ledger_history::interval::Witnesses;
use ledger_protocol::{
    Kind,
    body::{Body, KeyRelease, PolicyBody, ReleasePhase, Verdict, VerdictResult},
};
use ledger_timestamp::Authorities;
use ledger_tlog::{
    bundle::append_entry,
    tile::{TILE_WIDTH, TilePath, TileSpan},
};
use messages::{AgentId, Digest};
use tools_auditor::{
    interval::{IntervalQuestion, IntervalReport, Stated, render, verify},
    log::Log,
    replay::{ReplayReport, replay},
    report::Conclusion,
    verify::Question,
};

/// As the simulation's own tests have it: two machines for 100 s, the first tampered with after 40 s if `bad`.
fn lived(operator: Operator, bad: bool) -> World {
    let mut world = World::new(7, 2, Faults::NONE, operator);
    world.run(40);
    if bad {
        world.tamper(0);
    }
    world.run(60);
    world.settle();
    world
}

/// Writes a view as a mirror has it.
fn write(view: &View, folder: &Path) {
    let (size, _) = view.notes.last_key_value().unwrap();
    for name in ["tile/entries", "checkpoints", "blobs"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for (number, chunk) in (0..).zip(view.entries.chunks(usize::from(TILE_WIDTH))) {
        let span = TileSpan::new(number, u16::try_from(chunk.len()).unwrap()).unwrap();
        let path = folder.join(TilePath::Entries(span).to_string());
        let mut bytes = Vec::new();
        chunk.iter().for_each(|entry| append_entry(&mut bytes, entry).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    for size in view.notes.keys() {
        fs::write(folder.join("checkpoints").join(size.to_string()), view.note(*size)).unwrap();
    }
    for (digest, blob) in &view.blobs {
        fs::write(folder.join("blobs").join(digest.to_string()), blob).unwrap();
    }
    fs::write(folder.join("checkpoint"), view.note(*size)).unwrap();
}

/// The shipped replay, with the vendor's root.
fn replayed(view: &View) -> ReplayReport {
    let folder = tempfile::tempdir().unwrap();
    write(view, folder.path());
    let mut roots = TrustStore::new();
    roots.add("vendor.pem", &vendor().pem()).unwrap();
    let (keys, log) = (keys(), Log::folder(folder.path()).unwrap());
    let question = Question {
        log_key: keys.log_key(),
        roots: Some(&roots),
        agent: None,
        from: None,
        to: None,
        policy_signers: None,
        witnesses: None,
        stamps: None,
    };
    replay(&log, keys.log_key(), Some(&question), |_, _| {}).unwrap()
}

/// Names of the checks that came out false.
fn refuted(view: &View) -> Vec<&'static str> {
    let report = replayed(view);
    let mut found: Vec<_> =
        report.findings.list.iter().filter(|found| found.is_false).map(|found| found.check).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The shipped judgement of a proof about a machine, with all that an auditor brings.
fn judged(view: &View, agent: &AgentId, to: u64) -> IntervalReport {
    let (keys, mut roots) = (keys(), Authorities::new());
    roots.trust_pem(&tsa::root_pem()).unwrap();
    let witnesses = Witnesses::parse(&keys.policy_file()).unwrap();
    let (witnesses, authorities) = (Some(&witnesses), Some(&roots));
    let question = IntervalQuestion { log_key: keys.log_key(), agent: Some(agent), witnesses, authorities };
    let begin = fixtures_histories::BEGIN + 60;
    let proof = proof_of(view, &read(view), agent, begin, to).unwrap();
    verify(&proof.encode(), &question, None)
}

fn of_first(world: &World) -> IntervalReport {
    judged(&View::of(&world.ledger), &world.machines[0].id, world.now.0 / 1_000)
}

#[test]
fn an_honest_operator_is_not_accused() {
    let world = lived(Operator::default(), true);
    let view = View::of(&world.ledger);
    let report = replayed(&view);
    assert_eq!(report.findings.false_count, 0, "{:#?}", report.findings);
    assert!(report.counts.judged > 10 && report.counts.censuses > 2, "{:?}", report.counts);
    assert!(auditor::replay(&view).is_empty());
    let report = of_first(&lived(Operator::default(), false));
    assert_eq!((report.conclusion, &report.unchecked), (Conclusion::Verified, &vec![]), "{report:#?}");
    let Some(Stated::Interval(statement)) = &report.statement else { panic!("{report:#?}") };
    assert!(!statement.not_before.is_empty());
    let words = render(&report);
    assert!(words.contains("  times of the quotes   cosignatures of your witnesses"), "{words}");
    assert!(words.contains("  not made before       2026-01-01"), "{words}");
    assert!(words.contains("(bounded by RFC 3161 time-stamps): the quote of 2026-01-01"), "{words}");
}

#[test]
fn each_lie_of_a_running_operator_is_told_by_its_check() {
    let row = |place| Operator { false_census: Some(FalseCensus { slot: 0, place }), ..Operator::default() };
    let stamps = |lie| Operator { false_stamps: Some(lie), ..Operator::default() };
    let cases: [(Operator, &[&str]); 7] = [
        (Operator { passes_anything: true, ..Operator::default() }, &["appraisal"]),
        (Operator { software_tpm: true, ..Operator::default() }, &["identity"]),
        (row(FalsePlace::Row), &["census"]),
        (row(FalsePlace::Tree), &["census"]),
        (stamps(FalseStamp::AnotherLog), &["timestamps"]),
        (stamps(FalseStamp::AnotherTime), &["timestamps"]),
        (stamps(FalseStamp::AnotherAuthority), &[]),
    ];
    for (operator, expected) in cases {
        let told = format!("{operator:?}");
        let mut world = World::new(7, 2, Faults::NONE, operator);
        world.run(130);
        (0..2).for_each(|at| world.tamper(at));
        world.run(60);
        world.settle();
        assert_eq!(refuted(&View::of(&world.ledger)), expected, "{told}");
    }
}

fn failure(drafts: &[Draft]) -> usize {
    let is_failure = |draft: &Draft| {
        draft.entry.kind == Kind::Verdict && Verdict::decode(&draft.entry.body).unwrap().result == VerdictResult::Fail
    };
    drafts.iter().position(is_failure).unwrap()
}

#[test]
fn a_history_that_was_rewritten_is_told_by_nonces_and_by_the_missing_witnesses() {
    let mut world = lived(Operator::default(), true);
    let agent = world.machines[0].id.clone();
    let view = forge(&world.ledger, &mut world.witnesses, world.now, |drafts| {
        let (mut quotes, agent) = (0, drafts[failure(drafts)].entry.agent.clone());
        drafts.retain(|draft| {
            quotes += u64::from(draft.entry.kind == Kind::Quote && draft.entry.agent == agent);
            // The second quote of the machine with its verdict, and whatever hangs on it.
            draft.entry.agent != agent || quotes != 2
        });
    });
    let found = refuted(&view);
    assert!(found.contains(&"nonces"), "{found:?}");
    let report = judged(&view, &agent, world.now.0 / 1_000);
    let told = report.refused.as_ref().map(|refused| refused.check);
    let unchecked = report.unchecked.iter().any(|text| text.contains("no quorum of your witnesses"));
    assert!(told == Some("nonce") || unchecked, "{report:#?}");
}

#[test]
fn a_key_without_a_pass_breaks_a_rule() {
    let mut world = lived(Operator { never_heals: true, ..Operator::default() }, true);
    let view = forge(&world.ledger, &mut world.witnesses, world.now, |drafts| {
        let at = failure(drafts);
        let (phase, key_id, recipient) = (ReleasePhase::Authorised, Digest([1; 32]), Digest::ZERO);
        let verdict = drafts[at].was.unwrap();
        let mut draft = Draft { was: None, ..drafts[at].clone() };
        let release = KeyRelease { phase, verdict, key_id, recipient, reason: String::new() };
        (draft.entry.kind, draft.entry.body) = (Kind::KeyRelease, release.encode());
        drafts.insert(at + 1, draft);
    });
    assert!(refuted(&view).contains(&"rules"));
}

#[test]
fn an_altered_entry_and_a_withheld_blob_are_told() {
    let world = lived(Operator::default(), true);
    let whole = View::of(&world.ledger);
    for index in (1..whole.entries.len()).step_by(23) {
        let mut altered = whole.clone();
        let middle = altered.entries[index].len() / 2;
        altered.entries[index][middle] ^= 1;
        assert!(refuted(&altered).contains(&"root"), "entry {index}");
    }
    let mut view = whole;
    let policies = world.ledger.replica().entries().iter().filter(|(entry, _)| entry.kind == Kind::Policy);
    let mut policy = policies.filter_map(|(entry, _)| match PolicyBody::decode(&entry.body).unwrap() {
        PolicyBody::Agent(policy) => Some(policy.policies[0].digest),
        PolicyBody::Named(_) => None,
    });
    let policy = policy.next_back().unwrap();
    view.blobs.remove(&policy);
    assert_eq!(replayed(&view).conclusion, Conclusion::NotFullyChecked);
}

#[test]
fn an_authority_that_lies_about_its_time_is_held_against_the_witnesses() {
    for (lie, told) in [(86_400, Some("later")), (-86_400, Some("earlier")), (0, None)] {
        let report = of_first(&lived(Operator { tsa_lies_by_s: lie, ..Operator::default() }, false));
        let found = report.unchecked.iter().find(|text| text.contains("one of them is wrong"));
        assert_eq!(found.is_some(), told.is_some(), "{lie}: {report:#?}");
        assert!(found.is_none_or(|text| text.contains(told.unwrap())), "{found:?}");
        let expected = if told.is_some() { Conclusion::NotFullyChecked } else { Conclusion::Verified };
        assert_eq!(report.conclusion, expected);
    }
}
