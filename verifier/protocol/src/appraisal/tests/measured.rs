//! Boot logs and measurement lists: each requirement dropped in turn, each list changed, judged once per input.

use evidence::runtime_policy::PolicyStack;
use fixtures_softtpm::measured::{self, BootEvent, ImaEntry};

use super::*;
use crate::policy::{MeasuredBootPolicy, compile_runtime};

/// A machine with logs, and what is asked of it.
pub(super) struct Measured {
    pub(super) bench: Bench,
    boot: MeasuredBootPolicy,
    runtime: PolicyStack,
    events: Vec<BootEvent>,
    lines: Vec<String>,
    pub(super) state: MeasurementState,
}

impl Measured {
    pub(super) fn new() -> Self {
        Self::accepting(&[b"linux"])
    }

    /// A machine that booted the last of the kernels that its policy accepts, and ran one file.
    pub(super) fn accepting(kernels: &[&[u8]]) -> Self {
        let mut measured = Self::booted(kernels);
        let first = measured::boot_aggregate(&measured::firmware_registers(&measured.events));
        measured.list(&first);
        measured.run("/app", b"app");
        measured
    }

    /// The same before IMA's first entry; of several kernels the first has booted.
    pub(super) fn booted(kernels: &[&[u8]]) -> Self {
        let boot = MeasuredBootPolicy::parse(measured::boot_policy(kernels, "quiet").as_bytes()).unwrap();
        let runtime = compile_runtime(measured::runtime_policy(&[("/app", b"app")], &["/tmp/.*"]).as_bytes()).unwrap();
        let (bench, events) = (Bench::new(), Vec::new());
        let mut measured = Self { bench, boot, runtime, events, lines: vec![], state: unread_list() };
        measured.boot_kernel(kernels.first().unwrap());
        measured
    }

    fn boot_kernel(&mut self, kernel: &[u8]) {
        self.boot_with(kernel, "quiet");
    }

    fn boot_with(&mut self, kernel: &[u8], command_line: &str) {
        self.events = measured::boot(kernel, command_line);
        for event in &self.events {
            self.bench.tpm.extend(Hash::Sha256, event.register, &event.digest);
        }
    }

    /// Resets the machine into a kernel; its list begins anew.
    pub(super) fn reboot(&mut self, kernel: &[u8]) {
        self.reset(kernel, "quiet");
    }

    /// Resets the machine into the accepted kernel with this command line.
    pub(super) fn reboot_with(&mut self, command_line: &str) {
        self.reset(b"linux", command_line);
    }

    pub(super) const fn boot_policy(&self) -> &MeasuredBootPolicy {
        &self.boot
    }

    fn reset(&mut self, kernel: &[u8], command_line: &str) {
        self.bench.tpm.reboot();
        self.bench.tpm.measure(16, NK.as_bytes());
        self.boot_with(kernel, command_line);
        self.lines.clear();
        let first = measured::boot_aggregate(&measured::firmware_registers(&self.events));
        self.list(&first);
        self.run("/app", b"app");
    }

    pub(super) fn run(&mut self, path: &str, content: &[u8]) {
        self.list(&measured::file(path, content));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }

    /// Begins the list as another machine did, in the register too.
    pub(super) fn take_begin_of(&mut self, other: &Self) {
        let first = measured::boot_aggregate(&measured::firmware_registers(&other.events));
        self.list(&first);
        self.run("/app", b"app");
    }

    /// Takes over what an appraisal came to.
    pub(super) fn settle(&mut self, appraisal: &Appraisal) {
        self.state = appraisal.ima_state().unwrap().clone();
        self.bench.previous_clock = appraisal.clock();
    }

    /// Judges lists that were asked for from the first entry on, as after a reset.
    pub(super) fn judge_anew(&mut self, lists: &Lists, before: Option<&BootJudgement>) -> Appraisal {
        self.judge_asked(lists, before, 0, 0)
    }

    fn list(&mut self, entry: &ImaEntry) {
        self.bench.tpm.extend(Hash::Sha256, 10, &entry.digest);
        self.lines.push(entry.line.clone());
    }

    pub(super) fn lists(&self, from: usize) -> Lists {
        let text = self.lines.iter().skip(from).map(|line| format!("{line}\n")).collect();
        Lists {
            boot_log: ListPart::Present(measured::boot_log(&self.events)),
            ima: ListPart::Present(MeasurementText { first_entry: from as u64, text }),
        }
    }

    /// Judges these lists under the quote that is asked for, or under one over other registers.
    pub(super) fn judge(&mut self, lists: &Lists, before: Option<&BootJudgement>, without: u32) -> Appraisal {
        self.judge_asked(lists, before, without, self.state.next_entry())
    }

    fn judge_asked(
        &mut self,
        lists: &Lists,
        before: Option<&BootJudgement>,
        without: u32,
        asked_from: u64,
    ) -> Appraisal {
        let Self { bench, boot, runtime, state, .. } = self;
        let reference = Reference {
            ak: &bench.ak,
            accepted: &bench.accepted,
            previous_clock: bench.previous_clock,
            policy: &bench.policy,
            measured_boot: Some(BootReference { policy: boot, before }),
            runtime: Some(RuntimeReference { current: runtime, earlier: &[], state, asked_from }),
        };
        let mask = reference.mask() | 1 << PCR_PAYLOAD_KEY;
        let answer = answer(&bench.tpm.quote(NONCE, Hash::Sha256, mask & !without));
        appraise(&reference, NONCE, &Evidence::from_answer(&answer).unwrap(), lists)
    }

    pub(super) fn judge_all(&mut self) -> Appraisal {
        let lists = self.lists(0);
        self.judge(&lists, None, 0)
    }
}

#[test]
fn a_good_machine_passes_and_its_list_goes_on_where_it_stood() {
    let mut machine = Measured::new();
    let first = machine.judge_all();
    assert_eq!(first.outcome(), Outcome::Pass, "{:?}", first.findings());
    assert!(first.boot().is_some_and(BootJudgement::passed));
    machine.state = first.ima_state().unwrap().clone();
    assert_eq!(machine.state.next_entry(), 2);
    machine.list(&measured::file("/app", b"app"));
    let lists = machine.lists(2);
    let second = machine.judge(&lists, first.boot(), 0);
    assert_eq!(second.outcome(), Outcome::Pass, "{:?}", second.findings());
    assert_eq!(second.ima_state().unwrap().next_entry(), 3);
}

#[test]
fn each_requirement_that_is_dropped_is_named() {
    let mut machine = Measured::new();
    let whole = machine.lists(0);
    for (lists, expected) in [
        (Lists { boot_log: ListPart::Absent, ..whole.clone() }, "measured_boot.parser.missing_log"),
        (Lists { boot_log: ListPart::Unusable("x".into()), ..whole.clone() }, "measured_boot.parser.log.base64decode"),
        (Lists { boot_log: ListPart::Present(vec![1]), ..whole.clone() }, "measured_boot.parser.tpm2_eventlog.error"),
        (Lists { ima: ListPart::Absent, ..whole.clone() }, "ima.list_missing"),
        (Lists { ima: ListPart::Unusable("x".into()), ..whole.clone() }, "ima.parser.entry"),
    ] {
        let appraisal = machine.judge(&lists, None, 0);
        fails_with(&appraisal, &[expected]);
        assert_eq!(appraisal.ima_state().is_some(), !expected.starts_with("ima."), "{expected}");
    }
    for register in [0, 4, 8, 9, 10, 12] {
        fails_with(&machine.judge(&whole, None, 1 << register), &["qoute_validation.quote_validation"]);
    }
}

#[test]
fn a_list_that_starts_elsewhere_than_asked_fails_by_keylimes_name() {
    let mut machine = Measured::new();
    let lists = machine.lists(1);
    fails_with(&machine.judge(&lists, None, 0), &["qoute_validation.invalid_ima_entry_nb"]);
}

#[test]
fn a_log_is_judged_again_when_it_or_a_register_is_another_and_only_then() {
    let mut machine = Measured::new();
    let good = machine.judge_all();
    // A judgement of before that failed: what is taken over shows.
    machine.events.swap(8, 9);
    let bad = machine.judge_all();
    assert!(!bad.boot().unwrap().passed());
    machine.events.swap(8, 9);
    let lists = machine.lists(0);
    assert_eq!(machine.judge(&lists, bad.boot(), 0).outcome(), Outcome::Pass, "another log");
    assert_eq!(machine.judge(&lists, good.boot(), 0).outcome(), Outcome::Pass, "the same");
    machine.bench.tpm.measure(8, b"kernel_cmdline: evil");
    let changed = machine.judge(&lists, good.boot(), 0);
    assert!(events(&changed).contains(&"measured_boot.invalid_pcr_8".to_owned()), "{:?}", changed.findings());
}

#[test]
fn no_flipped_byte_of_a_list_passes() {
    let mut machine = Measured::new();
    let whole = machine.lists(0);
    let text = whole.ima.present().unwrap().text.clone();
    for at in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        *bytes.get_mut(at).unwrap() ^= 1;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let ima = ListPart::Present(MeasurementText { first_entry: 0, text });
        let appraisal = machine.judge(&Lists { ima, ..whole.clone() }, None, 0);
        assert_ne!(appraisal.outcome(), Outcome::Pass, "byte {at}");
    }
}

#[test]
fn no_changed_digest_of_a_boot_log_passes() {
    let mut machine = Measured::new();
    for number in 0..machine.events.len() {
        let flip = |events: &mut Vec<BootEvent>| {
            let byte = events.get_mut(number).and_then(|event| event.digest.first_mut());
            *byte.unwrap() ^= 1;
        };
        flip(&mut machine.events);
        assert_ne!(machine.judge_all().outcome(), Outcome::Pass, "event {number}");
        flip(&mut machine.events);
    }
    assert_eq!(machine.judge_all().outcome(), Outcome::Pass);
}

#[test]
fn what_an_exclude_hides_is_told_and_does_not_fail() {
    let mut machine = Measured::new();
    machine.list(&measured::file("/tmp/x", b"x"));
    let appraisal = machine.judge_all();
    assert_eq!(appraisal.outcome(), Outcome::Pass);
    assert_eq!(events(&appraisal), ["ima.excluded"]);
    assert_eq!(appraisal.first_event(), None);
}

#[test]
fn a_reference_that_accepts_everything_says_so() {
    let mut machine = Measured::new();
    machine.boot = MeasuredBootPolicy::parse(br#"{"keylime-policy": "accept-all"}"#).unwrap();
    let appraisal = machine.judge_all();
    assert_eq!(appraisal.outcome(), Outcome::Pass, "{:?}", appraisal.findings());
    assert_eq!(events(&appraisal), ["measured_boot.accept_all"]);
    let mut events_of_another = machine.events.clone();
    events_of_another.iter_mut().for_each(|event| event.digest = [1; 32]);
    machine.events = events_of_another;
    assert_eq!(machine.judge_all().outcome(), Outcome::Fail, "registers are compared all the same");
    machine.boot = MeasuredBootPolicy::parse(br#"{"keylime-policy": "reject-all"}"#).unwrap();
    assert!(events(&machine.judge_all()).contains(&"measured_boot.policy_everything_is_rejected".to_owned()));
}

#[test]
fn documents_that_are_no_policy_are_refused() {
    for text in [&b"{}"[..], b"", b"[]", b"{\"version\": 2, \"accept\": []}", b"{\"keylime-policy\": \"mine\"}"] {
        assert!(MeasuredBootPolicy::parse(text).is_err(), "{}", String::from_utf8_lossy(text));
    }
    let empty = MeasuredBootPolicy::parse(b"{\"version\": 1, \"accept\": []}").unwrap();
    assert_eq!(empty.mask(), 1);
    let mut machine = Measured::new();
    machine.boot = empty;
    assert!(events(&machine.judge_all()).contains(&"measured_boot.policy_nothing_is_accepted".to_owned()));
}
