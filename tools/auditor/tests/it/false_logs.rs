//! Logs whose operator lied: every signature of the log is genuine, what it signed for is not.

use fixtures_softtpm::{Hash, KeyKind, SoftTpm};
use ledger_protocol::{
    Beacon, Entry,
    body::{Body, Finding, NamedPolicy, PolicyBody, QuoteBody, ReleasePhase, Retire, Verdict, VerdictResult},
};
use ledger_tlog::{hash::Hash as TreeHash, tree::TreeHead};
use messages::{Digest, UnixMillis};
use tools_auditor::report::{CheckName, Conclusion, Outcome, Report};

use crate::machine::{MASK, Machine, Round, Story, quote_body, wrong_register};

/// Asserts that the audit is false, and false in this check.
fn refuted(report: &Report, name: CheckName) {
    assert_eq!(report.conclusion, Conclusion::False, "{:#?}", report.checks);
    let check = report.check(name).unwrap();
    assert_eq!(check.outcome, Outcome::False, "{name:?}: {:#?}", report.checks);
    assert!(!check.problems[0].remedy.is_empty());
}

fn story() -> Story {
    let mut story = Story::begun(KeyKind::P256);
    story.machine.pass(&mut story.log);
    story
}

#[test]
fn a_quote_of_another_tpm_is_refused() {
    let mut story = story();
    let mut other = SoftTpm::new(KeyKind::P256, 3);
    let genuine = std::mem::replace(&mut story.machine.tpm, other.clone());
    let round = story.machine.challenge(&mut story.log);
    story.machine.tpm = genuine;
    other.advance(1);
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Quotes);
}

#[test]
fn a_replayed_quote_is_refused() {
    let mut story = story();
    let old = story.machine.challenge(&mut story.log);
    story.machine.record(&mut story.log, &old);
    story.log.now += 2_000;
    let beacon = story.log.sign();
    let round = Round { quote: QuoteBody { beacon, ..old.quote.clone() }, ..old };
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Nonces);
}

#[test]
fn a_quote_taken_for_another_agents_chain_is_refused() {
    let mut story = story();
    let mut other = Machine::new("node-2", KeyKind::P256, 0, &story.ca);
    other.tpm = story.machine.tpm.clone();
    let round = other.challenge(&mut story.log);
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Nonces);
}

#[test]
fn a_pass_over_failing_evidence_is_refused() {
    let mut story = story();
    story.machine.tpm.measure(15, b"something unexpected");
    let round = story.machine.challenge(&mut story.log);
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Appraisal);
}

#[test]
fn a_failure_over_passing_evidence_is_refused() {
    let mut story = story();
    let round = story.machine.challenge(&mut story.log);
    let round = Round { result: VerdictResult::Fail, findings: vec![wrong_register()], ..round };
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Appraisal);
}

#[test]
fn a_failure_for_what_the_log_does_not_hold_is_the_verifiers_word() {
    // The payload key's PEM; and, as the policy accepts two hashes, which of them the agent named.
    for event in ["invalid_pcr_16", "quote_validation"] {
        let mut story = story();
        let finding = Finding { event: event.to_owned(), ..wrong_register() };
        let round = story.machine.challenge(&mut story.log);
        story.machine.record(&mut story.log, &Round { result: VerdictResult::Fail, findings: vec![finding], ..round });
        assert_eq!(story.audit().conclusion, Conclusion::NotFullyChecked);
    }
}

#[test]
fn other_values_beside_a_quote_are_refused() {
    let mut story = story();
    let mut round = story.machine.challenge(&mut story.log);
    round.quote.pcrs[0].values[0].1[0] ^= 1;
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Quotes);
}

#[test]
fn a_quote_over_fewer_registers_than_policy_asks_for_is_refused() {
    let mut story = story();
    let beacon = story.log.sign();
    let salt = Digest([1; 32]);
    let nonce = story.machine.nonce(&story.log, beacon, salt);
    story.machine.tpm.advance(10);
    let quote = story.machine.tpm.quote(nonce.as_bytes(), Hash::Sha256, MASK & !(1 << 15));
    let quote = quote_body(beacon, salt, &quote);
    let round = Round { quote, result: VerdictResult::Pass, findings: Vec::new() };
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Appraisal);
}

#[test]
fn a_clock_that_stands_still_is_refused() {
    let mut story = story();
    let clock = story.machine.tpm.clock;
    story.machine.pass(&mut story.log);
    story.machine.tpm.clock = clock;
    story.machine.tpm.clock.clock_ms = 1;
    let beacon = story.log.sign();
    let salt = Digest([1; 32]);
    let nonce = story.machine.nonce(&story.log, beacon, salt);
    let quote = quote_body(beacon, salt, &story.machine.tpm.quote(nonce.as_bytes(), Hash::Sha256, MASK));
    story.machine.record(&mut story.log, &Round { quote, result: VerdictResult::Pass, findings: Vec::new() });
    refuted(&story.audit(), CheckName::Appraisal);
}

#[test]
fn a_verdict_on_an_older_quote_is_refused() {
    let mut story = story();
    let old = story.machine.challenge(&mut story.log);
    let old_leaf = story.log.append(Some(&story.machine.agent), &old.quote);
    let new = story.machine.challenge(&mut story.log);
    story.log.append(Some(&story.machine.agent), &new.quote);
    let verdict = story.machine.verdict(old_leaf, &new);
    story.log.append(Some(&story.machine.agent), &verdict);
    refuted(&story.audit(), CheckName::Verdicts);
}

#[test]
fn a_verdict_under_other_policies_or_another_binding_is_refused() {
    let changes: [fn(&mut Verdict); 3] = [
        |verdict| verdict.policies = vec![Digest([1; 32])],
        |verdict| verdict.policies.clear(),
        |verdict| verdict.binding = Digest([1; 32]),
    ];
    for change in changes {
        let mut story = story();
        let round = story.machine.challenge(&mut story.log);
        let quote = story.log.append(Some(&story.machine.agent), &round.quote);
        let mut verdict = story.machine.verdict(quote, &round);
        change(&mut verdict);
        story.log.append(Some(&story.machine.agent), &verdict);
        refuted(&story.audit(), CheckName::Verdicts);
    }
}

#[test]
fn a_policy_under_another_binding_than_the_enrolments_is_refused() {
    let mut story = story();
    let other = Machine::new("node-1", KeyKind::P256, 4, &story.ca);
    let binding = story.log.put_blob(&other.binding.encode());
    let mut policy = story.machine.policy_body(story.machine.policy);
    policy.binding = binding;
    story.log.append(Some(&story.machine.agent), &PolicyBody::Agent(policy));
    let round = story.machine.challenge(&mut story.log);
    story.machine.record(&mut story.log, &round);
    refuted(&story.audit(), CheckName::Verdicts);
}

#[test]
fn a_verdict_without_a_policy_in_force_is_refused() {
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, .. } = &mut story;
    log.append(Some(&machine.agent), &Retire { actor: "admin".into(), reason: "x".into() });
    machine.enrol(log);
    machine.pass(log);
    refuted(&story.audit(), CheckName::Verdicts);
}

#[test]
fn a_key_released_without_a_pass_is_refused() {
    let mut story = story();
    story.machine.tpm.measure(15, b"something unexpected");
    let verdict = story.machine.fail(&mut story.log);
    story.machine.release(&mut story.log, ReleasePhase::Authorised, verdict);
    refuted(&story.audit(), CheckName::Releases);
}

#[test]
fn a_key_released_on_an_older_pass_is_refused() {
    let mut story = story();
    let pass = story.machine.pass(&mut story.log);
    story.machine.tpm.measure(15, b"something unexpected");
    story.machine.fail(&mut story.log);
    story.machine.release(&mut story.log, ReleasePhase::Authorised, pass);
    refuted(&story.audit(), CheckName::Releases);
}

#[test]
fn a_delivery_without_authorisation_is_refused() {
    let mut story = story();
    let pass = story.machine.pass(&mut story.log);
    story.machine.release(&mut story.log, ReleasePhase::Delivered, pass);
    refuted(&story.audit(), CheckName::Releases);
}

#[test]
fn a_delivery_after_the_key_was_withheld_is_refused() {
    let mut story = story();
    let pass = story.machine.pass(&mut story.log);
    for phase in [ReleasePhase::Authorised, ReleasePhase::Withheld, ReleasePhase::Delivered] {
        story.machine.release(&mut story.log, phase, pass);
    }
    refuted(&story.audit(), CheckName::Releases);
}

#[test]
fn a_key_for_a_recipient_that_the_tpm_did_not_attest_is_refused() {
    for recipient in [Digest([1; 32]), Digest::ZERO] {
        let mut story = story();
        let pass = story.machine.pass(&mut story.log);
        story.machine.recipient = recipient;
        story.machine.release(&mut story.log, ReleasePhase::Authorised, pass);
        refuted(&story.audit(), CheckName::Releases);
    }
}

#[test]
fn a_beacon_of_another_log_is_refused() {
    let mut story = story();
    let size = story.log.sign().tree_size;
    // Signed by the log's own key, over a tree that is not this one's: a second history.
    let head = TreeHead { tree_size: size, root: TreeHash::digest(b"another history") };
    let note = story.log.sign_head(head);
    let beacon = Beacon { tree_size: size, note_digest: Digest(openssl::sha::sha256(&note)) };
    let salt = Digest([1; 32]);
    let nonce = story.machine.nonce(&story.log, beacon, salt);
    story.machine.tpm.advance(10);
    let quote = quote_body(beacon, salt, &story.machine.tpm.quote(nonce.as_bytes(), Hash::Sha256, MASK));
    story.machine.record(&mut story.log, &Round { quote, result: VerdictResult::Pass, findings: Vec::new() });
    // The honest note has another digest; the other one is not consistent with the bundle's tree.
    refuted(&story.audit(), CheckName::Beacons);
    std::fs::remove_dir_all(story.path()).unwrap();
    story.log.notes.insert(size, note);
    refuted(&story.audit(), CheckName::Beacons);
}

#[test]
fn a_beacon_that_goes_back_is_refused() {
    let mut story = story();
    let old = story.log.sign();
    story.log.noise();
    story.machine.pass(&mut story.log);
    let salt = Digest([1; 32]);
    let nonce = story.machine.nonce(&story.log, old, salt);
    story.machine.tpm.advance(10);
    let quote = quote_body(old, salt, &story.machine.tpm.quote(nonce.as_bytes(), Hash::Sha256, MASK));
    story.machine.record(&mut story.log, &Round { quote, result: VerdictResult::Pass, findings: Vec::new() });
    refuted(&story.audit(), CheckName::Beacons);
}

#[test]
fn a_second_history_of_the_agent_is_refused() {
    let story = story();
    let agent = story.machine.agent.clone();
    let head = story.log.head(&agent);
    let entry = |seq, prev, now| Entry {
        kind: Retire::KIND,
        agent: Some(agent.clone()),
        seq,
        prev,
        recorded: UnixMillis(now),
        body: Retire { actor: "a".into(), reason: "b".into() }.encode(),
    };
    let now = story.log.now;
    let cases = [
        // The same number twice, another predecessor, a number left out, a clock that goes back.
        entry(head.seq - 1, head.prev, now),
        entry(head.seq, Digest([1; 32]), now),
        entry(head.seq + 1, head.prev, now),
        entry(head.seq, head.prev, now - 60_000),
    ];
    for case in cases {
        let mut story = self::story();
        story.log.append_entry(&case);
        refuted(&story.audit(), CheckName::Chain);
    }
}

#[test]
fn entries_outside_an_enrolment_are_refused() {
    let mut story = story();
    story.log.append(Some(&story.machine.agent), &Retire { actor: "a".into(), reason: "b".into() });
    story.machine.pass(&mut story.log);
    refuted(&story.audit(), CheckName::Chain);
    let mut story = self::story();
    story.machine.enrol(&mut story.log);
    refuted(&story.audit(), CheckName::Chain);
}

#[test]
fn a_named_policy_or_a_malformed_body_on_an_agents_chain_is_refused() {
    let mut story = story();
    let policy = NamedPolicy { role: "tpm".into(), name: "x".into(), content: None, actor: "a".into() };
    story.log.append(Some(&story.machine.agent), &PolicyBody::Named(policy));
    refuted(&story.audit(), CheckName::Entries);
    let mut story = self::story();
    story.log.append_raw(Some(&story.machine.agent), Verdict::KIND, vec![0x80]);
    refuted(&story.audit(), CheckName::Entries);
}

#[test]
fn a_binding_of_another_agent_or_with_a_weak_key_is_refused() {
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, .. } = &mut story;
    log.append(Some(&machine.agent), &Retire { actor: "a".into(), reason: "b".into() });
    machine.binding.agent = "node-2".parse().unwrap();
    machine.enrol(log);
    machine.set_policy(log);
    machine.pass(log);
    refuted(&story.audit(), CheckName::Identity);
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, .. } = &mut story;
    log.append(Some(&machine.agent), &Retire { actor: "a".into(), reason: "b".into() });
    // A signing key that is not restricted signs whatever it is given.
    let restricted = fixtures_softtpm::attribute::RESTRICTED;
    let ak = machine.tpm.ak.clone();
    machine.tpm.ak = ak.clone().with_attributes(ak.attributes & !restricted);
    machine.binding.ak = serde_bytes::ByteBuf::from(machine.tpm.ak.tpm2b_public());
    machine.enrol(log);
    machine.set_policy(log);
    machine.pass(log);
    refuted(&story.audit(), CheckName::Identity);
}

#[test]
fn an_ek_certificate_for_another_key_is_refused() {
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, ca, .. } = &mut story;
    log.append(Some(&machine.agent), &Retire { actor: "a".into(), reason: "b".into() });
    let other = Machine::new("node-1", KeyKind::P256, 5, ca);
    machine.binding.ek_certificate = other.binding.ek_certificate;
    machine.enrol(log);
    machine.set_policy(log);
    machine.pass(log);
    refuted(&story.audit(), CheckName::Identity);
}
