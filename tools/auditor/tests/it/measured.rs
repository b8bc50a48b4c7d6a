//! Verdicts on what booted and what ran, judged again from the lists beside the log.

use evidence::runtime_policy::Signers;
use fixtures_softtpm::{
    Hash, KeyKind,
    measured::{self, BootEvent},
};
use ledger_protocol::body::{Finding, ImaDelta, ImaState, NamedDigest, PolicyBody, Verdict, VerdictResult};
use messages::Digest;
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    sign::Signer,
};
use serde_bytes::ByteBuf;
use tools_auditor::report::{CheckName, Conclusion, Outcome, Report};
use verifier_protocol::policy::{RuntimeStack, StackLayer};

use crate::{
    log::Log,
    machine::{INTERVAL_MS, Story, quote_body},
};

/// PCR 0 for the boot log, 4, 8 and 12 for its policy, 10 for the list, 16 for the payload key.
const MASK: u32 = 0x1_1511;
/// With a list's first entry also PCR 0 to 9.
const MASK_WIDE: u32 = MASK | 0x3ff;

/// A story about a machine with a boot log and a measurement list.
struct Measured {
    story: Story,
    policies: Vec<Digest>,
    /// The list's lines, and the register after each.
    lines: Vec<String>,
    events: Vec<BootEvent>,
    /// How far earlier rounds settled the list.
    settled: usize,
    /// The list's register there.
    register: Vec<u8>,
    /// What the next verdict says of both instead.
    stated: Option<(usize, Vec<u8>)>,
}

impl Measured {
    fn begun() -> Self {
        Self::begun_by(|log| vec![("runtime", log.put_blob(runtime_policy().as_bytes()))])
    }

    /// By a runtime policy of these parts.
    fn begun_by(parts: impl FnOnce(&mut Log) -> Vec<(&'static str, Digest)>) -> Self {
        let mut story = Story::begun(KeyKind::P256);
        let events = measured::boot(b"linux", "quiet");
        for event in &events {
            story.machine.tpm.extend(Hash::Sha256, event.register, &event.digest);
        }
        let parts = parts(&mut story.log);
        Self::judged_by(story, events, &parts)
    }

    fn judged_by(mut story: Story, events: Vec<BootEvent>, runtime: &[(&str, Digest)]) -> Self {
        let boot = measured::boot_policy(&[b"linux"], "quiet");
        let (tpm, boot) = (story.log.put_blob(b"{}"), story.log.put_blob(boot.as_bytes()));
        let mut body = story.machine.policy_body(Digest::ZERO);
        let named = |(role, digest): (&str, Digest)| NamedDigest { role: role.into(), digest };
        let all = [("tpm", tpm), ("measured-boot", boot)].into_iter().chain(runtime.iter().copied());
        body.policies = all.map(named).collect();
        let policies: Vec<Digest> = body.policies.iter().map(|part| part.digest).collect();
        story.log.append(Some(&story.machine.agent), &PolicyBody::Agent(body));
        let first = measured::boot_aggregate(&measured::firmware_registers(&events));
        let mut measured =
            Self { story, policies, lines: Vec::new(), events, settled: 0, register: Vec::new(), stated: None };
        measured.list(first);
        measured
    }

    fn list(&mut self, entry: measured::ImaEntry) {
        self.story.machine.tpm.extend(Hash::Sha256, 10, &entry.digest);
        self.lines.push(entry.line);
    }

    fn run(&mut self, path: &str, content: &[u8]) {
        self.list(measured::file(path, content));
    }

    /// A round whose verdict is what the operator says.
    fn round(&mut self, result: VerdictResult, event: Option<(&str, &str)>) {
        let Story { log, machine, .. } = &mut self.story;
        let beacon = log.sign();
        let salt = Digest(openssl::sha::sha256(&beacon.tree_size.to_be_bytes()));
        let nonce = machine.nonce(log, beacon, salt);
        machine.tpm.advance(INTERVAL_MS);
        let mask = if self.settled == 0 { MASK_WIDE } else { MASK };
        let quote = machine.tpm.quote(nonce.as_bytes(), Hash::Sha256, mask);
        let text: String = self.lines.iter().skip(self.settled).map(|line| format!("{line}\n")).collect();
        let count = (self.lines.len() - self.settled) as u64;
        let delta = (count > 0).then(|| log.put_blob(text.as_bytes()));
        let mut body = quote_body(beacon, salt, &quote);
        body.ima = ImaDelta { from: self.settled as u64, count, delta };
        body.boot_log = Some(log.put_blob(&measured::boot_log(&self.events)));
        let quote = log.append(Some(&machine.agent), &body);
        if result == VerdictResult::Pass {
            self.settled = self.lines.len();
            self.register = machine.tpm.read(Hash::Sha256, 10).to_vec();
        }
        let finding = |(component, event): (&str, &str)| Finding {
            component: component.into(),
            event: event.into(),
            severity: 6,
            text: "as the operator says".into(),
        };
        let (settled, register) = self.stated.take().unwrap_or_else(|| (self.settled, self.register.clone()));
        let verdict = Verdict {
            quote,
            result,
            findings: event.map(finding).into_iter().collect(),
            policies: self.policies.clone(),
            binding: machine.binding.digest(),
            appraiser: "attestry-verifier/test".into(),
            ima_state: ImaState { count: settled as u64, running: ByteBuf::from(register) },
        };
        log.append(Some(&machine.agent), &verdict);
        log.now += INTERVAL_MS;
    }

    fn pass(&mut self) {
        self.round(VerdictResult::Pass, None);
    }
}

fn runtime_policy() -> String {
    measured::runtime_policy(&[("/app", b"app"), ("/tool", b"tool")], &[])
}

#[track_caller]
fn outcome(report: &Report, expected: Outcome) {
    let check = report.check(CheckName::Appraisal).unwrap();
    assert_eq!(check.outcome, expected, "{:#?}", report.checks);
}

#[test]
fn true_verdicts_come_out_again() {
    let mut measured = Measured::begun();
    measured.pass();
    measured.run("/app", b"app");
    measured.pass();
    measured.pass();
    measured.run("/app", b"trojan");
    measured.round(VerdictResult::Fail, Some(("ima", "validation.ima-ng.runtime_policy_hash")));
    let report = measured.story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
}

#[test]
fn a_pass_over_a_bad_file_is_refuted() {
    let mut measured = Measured::begun();
    measured.pass();
    measured.run("/app", b"trojan");
    measured.pass();
    outcome(&measured.story.audit(), Outcome::False);
}

#[test]
fn a_pass_over_a_bad_boot_is_refuted() {
    let mut measured = Measured::begun();
    measured.events[9].digest = [7; 32];
    measured.pass();
    outcome(&measured.story.audit(), Outcome::False);
}

#[test]
fn a_failure_of_a_good_list_is_refuted() {
    let mut measured = Measured::begun();
    measured.pass();
    measured.run("/tool", b"tool");
    measured.round(VerdictResult::Fail, Some(("ima", "validation.ima-ng.not_in_allowlist")));
    outcome(&measured.story.audit(), Outcome::False);
}

#[test]
fn a_list_that_did_not_come_is_the_verifiers_word() {
    let mut measured = Measured::begun();
    measured.pass();
    measured.round(VerdictResult::Fail, Some(("ima", "list_missing")));
    outcome(&measured.story.audit(), Outcome::Unchecked);
}

#[test]
fn a_verdict_whose_list_is_gone_is_unchecked() {
    let mut measured = Measured::begun();
    measured.pass();
    measured.run("/app", b"app");
    let text = measured.lines.iter().skip(1).map(|line| format!("{line}\n")).collect::<String>();
    measured.pass();
    measured.story.log.blobs.remove(&Digest(openssl::sha::sha256(text.as_bytes())));
    outcome(&measured.story.audit(), Outcome::Unchecked);
}

#[test]
fn a_later_run_is_judged_from_where_the_list_stood() {
    let mut measured = Measured::begun();
    measured.pass();
    measured.run("/app", b"app");
    measured.pass();
    measured.pass();
    measured.run("/tool", b"tool");
    measured.pass();
    let all = measured.story.log.indices(&measured.story.machine.agent);
    // Enrolment, both policies, and the rounds from the third on.
    let quiet: Vec<u64> = all[..3].iter().chain(&all[7..]).copied().collect();
    measured.story.export_chosen(&quiet);
    outcome(&measured.story.verify(), Outcome::True);
    std::fs::remove_dir_all(measured.story.path()).unwrap();
    // Beginning with a round that brought entries, that round rests on what is not here.
    let busy: Vec<u64> = all[..3].iter().chain(&all[5..]).copied().collect();
    measured.story.export_chosen(&busy);
    outcome(&measured.story.verify(), Outcome::Unchecked);
}

#[test]
fn a_later_run_with_a_bad_file_is_refuted_all_the_same() {
    let mut measured = Measured::begun();
    measured.pass();
    measured.pass();
    measured.events[9].digest = [7; 32];
    measured.pass();
    let all = measured.story.log.indices(&measured.story.machine.agent);
    let chosen: Vec<u64> = all[..3].iter().chain(&all[5..]).copied().collect();
    measured.story.export_chosen(&chosen);
    outcome(&measured.story.verify(), Outcome::False);
}

#[test]
fn a_verdict_that_misstates_how_far_the_list_stands_is_refuted() {
    // Entries from another place on, or another register, would leave the bad file out of the next round.
    for (more, flipped) in [(1, 0), (0, 1)] {
        let mut measured = Measured::begun();
        measured.pass();
        measured.run("/app", b"trojan");
        let mut register = measured.register.clone();
        *register.first_mut().unwrap() ^= flipped;
        measured.stated = Some((measured.settled + more, register));
        measured.round(VerdictResult::Fail, Some(("ima", "validation.ima-ng.runtime_policy_hash")));
        let report = measured.story.audit();
        outcome(&report, Outcome::False);
        assert!(format!("{:?}", report.check(CheckName::Appraisal)).contains("settled after"));
    }
}

fn layered(log: &mut Log) -> Vec<(&'static str, Digest)> {
    let layers =
        [measured::runtime_policy(&[("/app", b"app")], &[]), measured::runtime_policy(&[("/tool", b"tool")], &[])];
    let [base, site] = layers.map(|policy| log.put_blob(policy.as_bytes()));
    let layer = |(layer, policy): (&str, Digest)| StackLayer { layer: layer.into(), policy };
    let stack = RuntimeStack::new([("base", base), ("site", site)].map(layer).into(), None).encode();
    vec![("runtime", log.put_blob(&stack)), ("runtime-layer/base", base), ("runtime-layer/site", site)]
}

#[test]
fn verdicts_by_layered_policies_come_out_again() {
    let mut measured = Measured::begun_by(layered);
    measured.pass();
    measured.run("/app", b"app");
    measured.run("/tool", b"tool");
    measured.pass();
    assert_eq!(measured.story.audit().conclusion, Conclusion::Verified);
    measured.run("/other", b"other");
    measured.pass();
    std::fs::remove_dir_all(measured.story.path()).unwrap();
    outcome(&measured.story.audit(), Outcome::False);
}

fn key(number: usize) -> PKey<Private> {
    fixtures_softtpm::shared(KeyKind::P256, number)
}

/// A policy in force and the envelope it is said to come from.
fn signed(
    by: &PKey<Private>,
    kept: &PKey<Private>,
    payload: &str,
) -> impl FnOnce(&mut Log) -> Vec<(&'static str, Digest)> {
    let kind = "application/vnd.keylime+json";
    let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = Signer::new(MessageDigest::sha256(), by).unwrap().sign_oneshot_to_vec(message.as_bytes()).unwrap();
    let base64 = |bytes: &[u8]| openssl::base64::encode_block(bytes);
    let signature = serde_json::json!({"keyid": "", "sig": base64(&signature)});
    let envelope = serde_json::json!({
        "payload": base64(payload.as_bytes()), "payloadType": kind, "signatures": [signature],
    });
    let pem = kept.public_key_to_pem().unwrap();
    move |log| {
        let envelope = log.put_blob(envelope.to_string().as_bytes());
        let runtime = log.put_blob(runtime_policy().as_bytes());
        vec![("runtime", runtime), ("runtime-envelope", envelope), ("runtime-key", log.put_blob(&pem))]
    }
}

fn signers(key: &PKey<Private>) -> Signers {
    let mut signers = Signers::new();
    signers.trust("the policy team", &key.public_key_to_pem().unwrap()).unwrap();
    signers
}

#[test]
fn a_policy_counts_as_signed_by_keys_of_the_auditors_own() {
    let (team, other) = (key(70), key(71));
    let policy = runtime_policy();
    let loose = policy.replace("\"excludes\": []", "\"excludes\": [\"/opt\"]");
    assert_ne!(policy, loose);
    let cases = [
        ("signed by the team", Measured::begun_by(signed(&team, &team, &policy)), Outcome::True, Outcome::True),
        ("signed by another", Measured::begun_by(signed(&other, &other, &policy)), Outcome::True, Outcome::False),
        ("another policy was signed", Measured::begun_by(signed(&team, &team, &loose)), Outcome::False, Outcome::False),
        ("another key on record", Measured::begun_by(signed(&team, &other, &policy)), Outcome::False, Outcome::True),
        ("not signed", Measured::begun(), Outcome::True, Outcome::False),
    ];
    for (name, mut measured, alone, with_key) in cases {
        measured.pass();
        let report = measured.story.audit();
        assert_eq!(report.check(CheckName::Appraisal).unwrap().outcome, alone, "{name}: {:#?}", report.checks);
        let signers = signers(&team);
        let report = measured.story.verify_with(Some(&signers));
        assert_eq!(report.check(CheckName::Appraisal).unwrap().outcome, with_key, "{name}: {:#?}", report.checks);
    }
}
