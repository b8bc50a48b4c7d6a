//! Verdicts on what booted and what ran, judged again from the lists beside the log.

use fixtures_softtpm::{
    Hash, KeyKind,
    measured::{self, BootEvent},
};
use ledger_protocol::body::{Finding, ImaDelta, ImaState, NamedDigest, PolicyBody, Verdict, VerdictResult};
use messages::Digest;
use serde_bytes::ByteBuf;
use tools_auditor::report::{CheckName, Conclusion, Outcome, Report};

use crate::machine::{INTERVAL_MS, Story, quote_body};

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
}

impl Measured {
    fn begun() -> Self {
        let mut story = Story::begun(KeyKind::P256);
        let events = measured::boot(b"linux", "quiet");
        for event in &events {
            story.machine.tpm.extend(Hash::Sha256, event.register, &event.digest);
        }
        let runtime = measured::runtime_policy(&[("/app", b"app"), ("/tool", b"tool")], &[]);
        let boot = measured::boot_policy(&[b"linux"], "quiet");
        let policies = [b"{}".as_slice(), runtime.as_bytes(), boot.as_bytes()];
        let policies: Vec<Digest> = policies.into_iter().map(|policy| story.log.put_blob(policy)).collect();
        let mut body = story.machine.policy_body(Digest::ZERO);
        let named = |(role, digest): (&str, &Digest)| NamedDigest { role: role.into(), digest: *digest };
        body.policies = ["tpm", "runtime", "measured-boot"].into_iter().zip(&policies).map(named).collect();
        story.log.append(Some(&story.machine.agent), &PolicyBody::Agent(body));
        let first = measured::boot_aggregate(&measured::firmware_registers(&events));
        let mut measured = Self { story, policies, lines: Vec::new(), events, settled: 0 };
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
        }
        let finding = |(component, event): (&str, &str)| Finding {
            component: component.into(),
            event: event.into(),
            severity: 6,
            text: "as the operator says".into(),
        };
        let register = machine.tpm.read(Hash::Sha256, 10).to_vec();
        let verdict = Verdict {
            quote,
            result,
            findings: event.map(finding).into_iter().collect(),
            policies: self.policies.clone(),
            binding: machine.binding.digest(),
            appraiser: "attestry-verifier/test".into(),
            ima_state: ImaState { count: self.settled as u64, running: ByteBuf::from(register) },
        };
        log.append(Some(&machine.agent), &verdict);
        log.now += INTERVAL_MS;
    }

    fn pass(&mut self) {
        self.round(VerdictResult::Pass, None);
    }
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
