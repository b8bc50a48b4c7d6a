//! Forged evidence of a whole machine: nothing passes, and the first finding names the true cause. The table of all
//! such tests is in `docs/policies.md`.

use super::measured::Measured;
use super::*;

/// A machine that was judged once, rebooted into another kernel the policy accepts, and measured its list anew.
fn rebooted() -> (Measured, Appraisal, Lists) {
    let mut machine = Measured::accepting(&[b"linux", b"linux-2"]);
    let first = machine.judge_all();
    assert_eq!(first.outcome(), Outcome::Pass, "{:?}", first.findings());
    machine.settle(&first);
    let before = machine.lists(0);
    machine.reboot(b"linux-2");
    (machine, first, before)
}

#[test]
fn a_reset_with_its_own_log_and_list_passes() {
    let (mut machine, first, _) = rebooted();
    let lists = machine.lists(0);
    machine.bench.rule(r#"{"resets": "with-boot-log", "resets-max": 1}"#);
    let appraisal = machine.judge_anew(&lists, first.boot());
    assert_eq!(appraisal.outcome(), Outcome::Pass, "{:?}", appraisal.findings());
    assert!(appraisal.clock().is_some());
}

#[test]
fn a_reset_without_a_new_boot_log_or_list_fails_for_that() {
    for (name, forge, expected) in [
        ("no log", (|_, new| Lists { boot_log: ListPart::Absent, ..new }) as Forge, "measured_boot.parser.missing_log"),
        ("the log of before", |old, new| Lists { boot_log: old.boot_log, ..new }, "measured_boot.invalid_pcr_4"),
        ("no list", |_, new| Lists { ima: ListPart::Absent, ..new }, "ima.list_missing"),
        ("the list of before", |old, new| Lists { ima: old.ima, ..new }, "ima.pcr_mismatch"),
        ("both of before", |old, _| old, "measured_boot.invalid_pcr_4"),
        (
            "nothing new in the list",
            |_, new| Lists { ima: part(2, ""), ..new },
            "qoute_validation.invalid_ima_entry_nb",
        ),
    ] {
        let (mut machine, first, old) = rebooted();
        let new = machine.lists(0);
        let forged = forge(old, new);
        let appraisal = machine.judge_anew(&forged, first.boot());
        assert_eq!(appraisal.outcome(), Outcome::Fail, "{name}");
        assert_eq!(appraisal.first_event().as_deref(), Some(expected), "{name}: {:?}", appraisal.findings());
        // With the rule the reboot itself is held against a machine whose log is not this start's.
        machine.bench.rule(r#"{"resets": "with-boot-log"}"#);
        let appraisal = machine.judge_anew(&forged, first.boot());
        let told = events(&appraisal).contains(&"qoute_validation.clock_reset".to_owned());
        let booted_right = expected.starts_with("ima.") || expected.starts_with("qoute");
        assert_eq!((told, appraisal.clock().is_none()), (!booted_right, !booted_right), "{name}");
    }
}

type Forge = fn(Lists, Lists) -> Lists;

fn part(first_entry: u64, text: &str) -> ListPart<MeasurementText> {
    ListPart::Present(MeasurementText { first_entry, text: text.to_owned() })
}

#[test]
fn lists_spliced_truncated_reordered_repeated_and_of_another_machine_fail_for_the_register() {
    let mut machine = Measured::new();
    machine.run("/opt/evil", b"evil");
    machine.run("/app", b"app");
    let other = Measured::accepting(&[b"linux-2"]);
    let whole = machine.lists(0);
    let lines: Vec<String> = machine.lines();
    let others = other.lines();
    let text = |picked: &[&String]| picked.iter().map(|line| format!("{line}\n")).collect::<String>();
    let [first, app, evil, again] = [0, 1, 2, 3].map(|at| lines.get(at).unwrap());
    let [other_first, other_app] = [0, 1].map(|at| others.get(at).unwrap());
    for (name, forged) in [
        ("without the bad entry", text(&[first, app, again])),
        ("truncated in front of it", text(&[first, app])),
        ("reordered", text(&[first, evil, app, again])),
        ("repeated", text(&[first, app, app, again])),
        ("spliced with another machine's", text(&[first, other_app, app, again])),
        ("another machine's begin", text(&[other_first, app, again])),
        ("another machine's", text(&[other_first, other_app])),
        ("empty", String::new()),
    ] {
        let appraisal = machine.judge(&Lists { ima: part(0, &forged), ..whole.clone() }, None, 0);
        let first = appraisal.first_event();
        assert_eq!(first.as_deref(), Some("ima.pcr_mismatch"), "{name}: {:?}", appraisal.findings());
        assert_eq!(appraisal.outcome(), Outcome::Fail, "{name}");
    }
    let true_cause = machine.judge(&whole, None, 0);
    assert_eq!(true_cause.first_event().as_deref(), Some("ima.validation.ima-ng.not_in_allowlist"));
    let of_other = other.lists(0);
    let swapped = machine.judge(&Lists { boot_log: of_other.boot_log, ..whole }, None, 0);
    assert_eq!(swapped.first_event().as_deref(), Some("measured_boot.invalid_pcr_4"), "{:?}", swapped.findings());
}

#[test]
fn a_list_that_begins_with_another_machines_aggregate_fails_although_it_replays() {
    // A kernel that lies about what booted has its lie in the register too.
    let other = Measured::accepting(&[b"linux-2"]);
    let mut machine = Measured::booted(&[b"linux"]);
    machine.take_begin_of(&other);
    let appraisal = machine.judge_all();
    fails_with(&appraisal, &["ima.validation.boot_aggregate"]);
    let text = appraisal.findings().first().unwrap().text.to_string();
    assert!(text.contains("boot_aggregate") && text.contains("expected sha256:"), "{text}");
}

#[test]
fn a_prefix_rewritten_between_rounds_is_told_as_such() {
    let mut machine = Measured::new();
    machine.run("/app", b"app");
    let first = machine.judge_all();
    machine.settle(&first);
    // Shorter and another, from the begin on, under a register that fits what is shown.
    let mut rewritten = Measured::new();
    rewritten.state = machine.state.clone();
    rewritten.bench.previous_clock = None;
    let lists = rewritten.lists(0);
    let appraisal = rewritten.judge(&lists, None, 0);
    fails_with(&appraisal, &["ima.prefix_rewritten"]);
}

#[test]
fn every_findings_text_says_what_was_found_and_expected_and_of_which_layer() {
    let mut machine = Measured::new();
    machine.run("/app", b"trojan");
    machine.run("/unknown", b"x");
    let appraisal = machine.judge_all();
    let texts: Vec<String> = appraisal.findings().into_iter().map(|finding| finding.text.to_string()).collect();
    assert_eq!(texts.len(), 2);
    for (text, place) in texts.iter().zip(["entry 2 \"/app\": sha256:", "entry 3 \"/unknown\": sha256:"]) {
        assert!(text.starts_with(place) && text.contains("; expected ") && text.ends_with("; layer runtime"), "{text}");
    }
}

#[test]
fn no_name_the_machine_gives_passes_for_an_expectation_or_a_policy() {
    let mut machine = Measured::new();
    let path = r#"/opt/x": sha256:00; expected sha256:00; layer site "; expected y\"#;
    machine.run(path, b"x");
    let appraisal = machine.judge_all();
    fails_with(&appraisal, &["ima.validation.ima-ng.not_in_allowlist"]);
    let told = FindingText::parse(&appraisal.findings().first().unwrap().text.to_string());
    assert_eq!(told.place(), Some(format!("entry 2 {path:?}").as_str()));
    assert!(told.found().starts_with("sha256:2d711642b726b044"), "{told}");
    assert_eq!(told.layer(), Some("runtime"));
    assert!(!told.expected().unwrap().contains("sha256:00"), "{told}");

    // So with the boot log, which the machine writes too.
    let lie = "quiet\"; expected \"quiet\"; layer a test machine";
    let mut machine = Measured::new();
    machine.reboot_with(lie);
    let lists = machine.lists(0);
    let appraisal = machine.judge_anew(&lists, None);
    let told = appraisal.findings().first().unwrap().text.clone();
    assert_eq!(told.found(), format!("kernel command line {lie:?}"));
    assert_eq!(told.expected(), Some("a match of \"quiet\""));
    assert!(told.layer().unwrap().ends_with(", alternative \"a test machine\""), "{told}");
}

#[test]
fn each_kind_of_policy_is_named_by_what_breaks_it_and_by_nothing_else() {
    let mut machine = Measured::new();
    machine.reboot(b"backdoor");
    machine.run("/unknown", b"x");
    let lists = machine.lists(0);
    let appraisal = machine.judge_anew(&lists, None);
    let tpm = layer_name("tpm_policy", machine.bench.policy.digest());
    let boot = layer_name("measured_boot", machine.boot_policy().digest());
    let layers: Vec<(String, Option<String>)> =
        appraisal.findings().iter().map(|one| (one.event_id(), one.text.layer().map(str::to_owned))).collect();
    let expected = [
        ("measured_boot.policy_digest_not_accepted", Some(format!("{boot}, alternative \"a test machine\""))),
        ("ima.validation.ima-ng.not_in_allowlist", Some("runtime".to_owned())),
    ];
    assert_eq!(layers, expected.map(|(event, layer)| (event.to_owned(), layer)));
    machine.bench.tpm.measure(15, b"unexpected");
    let appraisal = machine.judge_anew(&lists, None);
    let first = appraisal.findings().first().unwrap().clone();
    assert_eq!((first.event.as_str(), first.text.layer()), ("invalid_pcr_15", Some(tpm.as_str())));
    // What only shows that the evidence is not this machine's is of no policy.
    let mut other = Measured::accepting(&[b"linux"]);
    let appraisal = other.judge_anew(&lists, None);
    let first = appraisal.findings().first().unwrap().clone();
    assert_eq!((first.event.as_str(), first.text.layer()), ("invalid_pcr_4", None));
    assert_eq!(first.text.place(), Some("PCR 4 of bank sha256"));
}

#[test]
fn failures_without_number_and_of_any_length_do_not_hide_and_fit_one_entry() {
    let mut machine = Measured::new();
    for number in 0..1_000 {
        machine.run(&format!("/opt/{number}{}", "\u{1b}\"".repeat(200)), b"x");
    }
    machine.bench.tpm.measure(15, b"unexpected");
    let appraisal = machine.judge_all();
    assert_eq!(appraisal.outcome(), Outcome::Fail);
    let findings = appraisal.findings();
    assert_eq!((findings.len(), findings.first().unwrap().event.as_str()), (FINDINGS_MAX, "invalid_pcr_15"));
    let last = findings.last().unwrap().text.to_string();
    assert_eq!(last, format!("{} more findings were cut", 1_001 - FINDINGS_MAX + 1));
    let bytes: usize = findings.iter().map(|one| one.text.to_string().len() + one.event_id().len() + 16).sum();
    assert!(bytes < 60_000, "{bytes}");
}
