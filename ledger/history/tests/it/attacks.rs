//! What a stranger tries on a proof, and what an operator tries on a stranger: each with what is stated of it in the
//! end, by both verifiers.

use fixtures_histories::alterations::rich;
use fixtures_histories::{BEGIN, SyntheticLog};
use ledger_history::census::Status;
use ledger_history::fleet::{FleetRequest, Selection, prove as prove_fleet};
use ledger_history::interval::{IntervalProof, IntervalStatement, Request, Strength, Witnesses, prove};
use ledger_history::reading::Broken;
use ledger_protocol::body::VerdictResult::{self, Pass};
use messages::AgentId;
use serde_bytes::ByteBuf;

use crate::alterations::records;
use crate::second_opinion::{Auditor, Opinions};
use crate::support::check;

/// A log with one machine, quoted every 10 s; the auditor's witnesses; and what both verifiers are asked.
struct Desk {
    log: SyntheticLog,
    agent: AgentId,
    witnesses: Witnesses,
    opinions: Opinions,
}

impl Desk {
    fn new() -> Self {
        let (log, agent) = SyntheticLog::with_machine(3, 2);
        let witnesses = Witnesses::parse(&log.keys().policy_file()).unwrap();
        Self { log, agent, witnesses, opinions: Opinions::new() }
    }

    fn run(&mut self, seconds: u64, result: VerdictResult) {
        self.log.run(&[&self.agent], seconds, result);
    }

    fn silent(&mut self, seconds: u64) {
        self.log.run(&[], seconds, Pass);
    }

    /// What is stated between two times, counted from the log's begin.
    fn stated(&mut self, from: u64, to: u64) -> IntervalStatement {
        self.asked(BEGIN + from, BEGIN + to, false)
    }

    fn asked(&mut self, from: u64, to: u64, boots: bool) -> IntervalStatement {
        let request = Request { boots, ..self.log.request(&self.agent, from, to) };
        let proof = prove(&self.log, &request).unwrap().encode();
        self.opinions.interval(format!("{from} to {to}"), &self.agent, &Auditor::of(&self.log), &proof);
        check(&self.log, Some(&self.witnesses), &self.agent, &proof).unwrap()
    }

    /// The second verifier says the same of all that was asked.
    fn done(self) {
        self.opinions.compare();
    }
}

#[test]
fn another_tpm_with_the_same_counters_is_no_boot() {
    // Whether the later verdicts name their own binding, or that of the TPM that has gone.
    for lies in [false, true] {
        let mut desk = Desk::new();
        desk.run(300, Pass);
        let counters = desk.log.machine(&desk.agent).clone();
        desk.log.retire(&desk.agent);
        desk.log.machine(&desk.agent).replace_tpm();
        let other = desk.log.machine(&desk.agent).tpm;
        desk.log.enrol("hypervisor-1");
        *desk.log.machine(&desk.agent) = counters.clone();
        desk.log.machine(&desk.agent).tpm = if lies { counters.tpm } else { other };
        desk.log.policy(&desk.agent, 10_000, 10_000);
        desk.run(300, Pass);
        let stated = desk.stated(295, 299);
        assert_eq!((stated.resets, stated.quotes), (0, 0), "the counters are the same");
        let [reading] = stated.readings.as_slice() else { panic!("{:?}", stated.readings) };
        assert_eq!((reading.broken.as_slice(), reading.drift), ([Broken::OtherTpm].as_slice(), None));
        desk.done();
    }
}

/// The key of before, enrolled anew: its counters go on, and so does the reading.
#[test]
fn the_same_tpm_enrolled_anew_is_the_same_boot() {
    let mut desk = Desk::new();
    desk.run(300, Pass);
    desk.log.retire(&desk.agent);
    desk.log.enrol("hypervisor-1");
    desk.log.policy(&desk.agent, 10_000, 10_000);
    desk.run(300, Pass);
    let stated = desk.stated(295, 299);
    assert!(stated.readings.len() == 1 && stated.readings[0].broken.is_empty(), "{:?}", stated.readings);
    desk.done();
}

#[test]
fn a_policy_between_quote_and_verdict_hides_no_delay() {
    let mut desk = Desk::new();
    desk.run(300, Pass);
    desk.log.advance_ms(40_000);
    let quote = desk.log.quote_only(&desk.agent);
    // Kept back; and what may be late is widened for the one verdict.
    desk.log.advance_ms(400_000);
    desk.log.policy(&desk.agent, 10_000, 1_000_000);
    desk.log.verdict(&desk.agent, quote, Pass);
    desk.log.policy(&desk.agent, 10_000, 10_000);
    desk.log.checkpoint();
    desk.run(300, Pass);
    let stated = desk.stated(100, 1_000);
    // The kept back quote is counted at its beacon's time, so the gap lies behind it; it may lie before it.
    assert_eq!((stated.late, stated.gaps.len()), (0, 1), "{stated:?}");
    let leaves = desk.log.leaves(&desk.agent);
    let held = leaves.iter().position(|leaf| leaf.aggregate.last == stated.gaps[0].from).unwrap();
    let held = leaves[held].aggregate.last;
    let stated = desk.asked(held, held, true);
    let reading = stated.readings.iter().find(|reading| reading.times.1 == held).unwrap();
    assert!(reading.drift.is_none(), "400 s more than the beacon's time are within 1000 s: {reading:?}");
    desk.done();
}

#[test]
fn the_slack_of_a_gap_is_the_tolerance_by_which_its_end_was_not_late() {
    let mut desk = Desk::new();
    desk.run(300, Pass);
    desk.silent(100);
    desk.log.checkpoint();
    let quote = desk.log.quote_only(&desk.agent);
    desk.log.policy(&desk.agent, 10_000, 1_000_000);
    desk.log.advance_ms(400_000);
    desk.log.verdict(&desk.agent, quote, Pass);
    desk.log.policy(&desk.agent, 10_000, 10_000);
    desk.log.checkpoint();
    desk.run(100, Pass);
    let stated = desk.stated(100, 500);
    assert_eq!((stated.late, stated.gaps[0].slack_ms), (0, Some(1_000_000)), "{stated:?}");
    desk.done();
}

#[test]
fn a_machine_that_never_quoted_is_not_said_to_have_missed_nothing() {
    let mut desk = Desk::new();
    desk.silent(600);
    let stated = desk.stated(100, 500);
    assert_eq!((stated.quotes, stated.missed, stated.missed_at_end, stated.at_end), (0, 0, None, Status::Missed));
    // Nothing is due of a machine without a policy.
    desk.agent = desk.log.enrol("idle");
    desk.silent(120);
    let stated = desk.stated(100, 500);
    assert_eq!((stated.missed_at_end, stated.at_end), (Some(0), Status::Idle));
    desk.done();
}

#[test]
fn silence_before_a_retirement_is_a_gap_and_not_said_to_be_none() {
    let mut desk = Desk::new();
    desk.run(120, Pass);
    desk.silent(600);
    desk.log.retire(&desk.agent);
    desk.silent(120);
    let stated = desk.stated(30, 800);
    assert_eq!((stated.missed_at_end, stated.at_end), (None, Status::Retired));
    assert!(stated.gaps.len() == 1 && stated.gaps[0].seconds > 600, "{:?}", stated.gaps);
    // Enrolled anew: the first quote counts nothing as missed, but the gap stands.
    desk.log.enrol("hypervisor-1");
    desk.log.policy(&desk.agent, 10_000, 10_000);
    desk.run(120, Pass);
    let stated = desk.stated(30, 900);
    assert!(stated.gaps.len() == 1 && stated.gaps[0].seconds > 700, "{:?}", stated.gaps);
    assert_eq!(stated.missed, 0);
    desk.done();
}

/// A policy that asks for less, put on record when the silence is already there, counts for all of that gap.
#[test]
fn a_policy_relaxed_within_a_gap_hides_its_misses_but_neither_the_gap_nor_itself() {
    let mut desk = Desk::new();
    desk.run(120, Pass);
    desk.silent(3_600);
    desk.log.policy(&desk.agent, 86_400_000, 10_000);
    desk.run(10, Pass);
    desk.log.policy(&desk.agent, 10_000, 10_000);
    desk.run(120, Pass);
    let stated = desk.stated(30, 3_800);
    assert_eq!((stated.missed, stated.gaps.len(), stated.max_gap), (0, 1, 3_610));
    assert_eq!(stated.terms.len(), 4, "both policies stand in the list: {:?}", stated.terms);
    desk.done();
}

#[test]
fn an_interval_includes_the_seconds_it_begins_and_ends_with() {
    let mut desk = Desk::new();
    desk.run(300, Pass);
    let times: Vec<u64> = desk.log.leaves(&desk.agent).iter().map(|leaf| leaf.aggregate.last).collect();
    let (one, two, three) = (times[9], times[10], times[11]);
    for (from, to, quotes, before, after) in [
        (two, two, 1, one, three),
        (two + 1, two + 1, 0, two, three),
        (two - 1, two - 1, 0, one, two),
        (one, three, 3, times[8], times[12]),
        (one + 1, three, 2, one, times[12]),
        (one, three - 1, 2, times[8], three),
        (one + 1, three - 1, 1, one, three),
    ] {
        let stated = desk.asked(from, to, false);
        assert_eq!((stated.quotes, stated.before, stated.after), (quotes, Some(before), Some(after)), "{from} to {to}");
    }
    desk.done();
}

#[test]
fn intervals_outside_of_all_time_state_nothing_that_was_not_seen() {
    let mut desk = Desk::new();
    desk.run(300, Pass);
    let quotes = desk.log.leaves(&desk.agent).len() as u64;
    for (from, to) in [(0, 0), (0, 1), (BEGIN - 1, BEGIN - 1)] {
        let stated = desk.asked(from, to, true);
        assert_eq!((stated.quotes, stated.before, stated.missed_at_end, stated.start), (0, None, None, None));
    }
    let stated = desk.asked(0, u64::MAX, true);
    assert!(stated.quotes == quotes && stated.until.seconds < BEGIN + 310, "{stated:?}");
    for (from, to) in [(u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX), (BEGIN + 1_000_000, u64::MAX)] {
        let stated = desk.asked(from, to, true);
        assert_eq!((stated.quotes, stated.after), (0, None));
        assert!(stated.until.seconds < BEGIN + 310, "nothing is said of a time to come: {stated:?}");
    }
    desk.done();
}

#[test]
fn windows_that_overlap_count_once_and_only_inside_the_gap() {
    let mut desk = Desk::new();
    for (from, to) in [(100, 700), (400, 800), (400, 500), (0, 130)] {
        desk.log.maintenance(&desk.agent, BEGIN + from, BEGIN + to);
    }
    desk.run(120, Pass);
    desk.silent(1_200);
    // Over the same time once more, when the gap is there already.
    desk.log.maintenance(&desk.agent, BEGIN + 800, BEGIN + 1_400);
    desk.run(60, Pass);
    let stated = desk.stated(30, 1_350);
    let gap = stated.gaps[0];
    assert_eq!((gap.seconds, gap.planned_ms), (1_210, (BEGIN + 800 - gap.from) * 1_000));
    assert_eq!(stated.missed, (gap.seconds - (BEGIN + 800 - gap.from) - 10) / 10);
    desk.done();
}

/// Witnesses that sign a day ahead, as many as suffice: beyond what is assumed, and still no time goes back, and the
/// real time is not said to be covered.
#[test]
fn times_that_leap_ahead_leave_the_time_between_uncovered() {
    let mut desk = Desk::new();
    desk.run(300, Pass);
    desk.log.witnesses_ahead = 86_400;
    desk.run(30, Pass);
    desk.log.witnesses_ahead = 0;
    desk.run(300, Pass);
    let stated = desk.stated(400, 600);
    assert_eq!((stated.quotes, stated.after.is_some()), (0, true), "{stated:?}");
    assert!(stated.missed_at_end > Some(20), "{stated:?}");
    let stated = desk.stated(86_000, 87_500);
    assert!(stated.quotes > 30 && stated.max_gap < 86_400, "{stated:?}");
    let stated = desk.stated(100, 90_000);
    assert!(stated.until.seconds < BEGIN + 90_000, "{stated:?}");
    desk.done();
}

#[test]
fn witnesses_of_the_end_of_time_do_not_overflow() {
    let mut desk = Desk::new();
    desk.run(120, Pass);
    desk.log.witnesses_ahead = u64::MAX;
    desk.run(60, Pass);
    for (from, to) in [(BEGIN, u64::MAX), (BEGIN + 60, BEGIN + 200), (u64::MAX, u64::MAX)] {
        desk.asked(from, to, true);
    }
    desk.done();
}

#[test]
fn clocks_and_counters_that_wrap_are_no_boot() {
    let mut desk = Desk::new();
    // The clock's register ends 200 s after the begin.
    desk.log.machine(&desk.agent).clock_ahead_ms = u64::MAX - 200_000;
    desk.log.machine(&desk.agent).reset_count = u32::MAX;
    desk.run(300, Pass);
    let stated = desk.asked(BEGIN + 100, BEGIN + 250, false);
    let [reading] = stated.readings.as_slice() else { panic!("{:?}", stated.readings) };
    assert_eq!(reading.broken, [Broken::ClockStood]);
    let drift = reading.drift.unwrap();
    assert!(drift.counted_ms == 0 && drift.at_least_ms > 100_000, "{drift:?}");
    desk.log.machine(&desk.agent).reboot();
    assert_eq!(desk.log.machine(&desk.agent).reset_count, 0);
    desk.run(300, Pass);
    let stated = desk.asked(BEGIN + 250, BEGIN + 400, false);
    assert_eq!((stated.resets, stated.readings[0].broken.as_slice()), (1, [Broken::Reset].as_slice()));
    desk.done();
}

#[test]
fn a_clock_that_is_behind_is_a_finding_as_one_that_is_ahead() {
    for (first, then) in [(600_000, 100), (0, 600_000)] {
        let mut desk = Desk::new();
        desk.log.machine(&desk.agent).clock_ahead_ms = first;
        desk.run(700, Pass);
        // Still ahead of all that it said before, but by less than has gone by; or by more.
        desk.log.machine(&desk.agent).clock_ahead_ms = then;
        desk.run(700, Pass);
        let stated = desk.asked(BEGIN + 100, BEGIN + 1_300, true);
        let drifts: Vec<_> = stated.readings.iter().filter_map(|reading| reading.drift).collect();
        assert!(!drifts.is_empty(), "{:?}", stated.readings);
        assert!(drifts.iter().all(|drift| (drift.counted_ms < drift.at_least_ms) == (first > then)), "{drifts:?}");
        desk.done();
    }
}

/// A bracket of each boot, and the quotes of a boot between: nothing of two boots is read together.
#[test]
fn each_boot_has_its_bracket_and_only_reboots_lie_between() {
    let mut desk = Desk::new();
    desk.log.machine(&desk.agent).ima_entries = 900;
    for _ in 0..4 {
        desk.run(120, Pass);
        desk.log.machine(&desk.agent).reboot();
    }
    desk.run(120, Pass);
    let stated = desk.asked(BEGIN + 30, BEGIN + 570, true);
    assert_eq!(stated.resets, 4);
    let broken: Vec<_> = stated.readings.iter().map(|reading| reading.broken.as_slice()).collect();
    // Before to first, then each boot and the reboot behind it; last to after.
    let (whole, reset): (&[Broken], &[Broken]) = (&[], &[Broken::Reset]);
    assert_eq!(broken, [whole, whole, reset, whole, reset, whole, reset, whole, reset, whole, whole]);
    // The first boot began before the interval, and after it the list is short, but there.
    assert!(stated.readings.iter().all(|reading| reading.measured == reading.broken.is_empty()));
    desk.done();
}

/// A list that begins anew within a boot, by a kernel that was loaded without a reset.
#[test]
fn a_list_that_begins_anew_within_a_boot_covers_nothing() {
    let mut desk = Desk::new();
    desk.log.machine(&desk.agent).ima_entries = 900;
    desk.run(120, Pass);
    desk.log.machine(&desk.agent).ima_entries = 899;
    desk.run(120, Pass);
    let stated = desk.stated(60, 200);
    assert_eq!(stated.readings[0].broken, [Broken::ListRestarted]);
    // None at all was judged: nothing is broken, and nothing is said of what ran.
    desk.log.machine(&desk.agent).ima_entries = 0;
    desk.run(120, Pass);
    let stated = desk.stated(200, 300);
    assert!(stated.readings[0].broken.is_empty() && !stated.readings[0].measured);
    desk.done();
}

#[test]
fn parts_of_two_good_proofs_make_no_third() {
    let (log, witnesses, agent, good, request) = rich();
    let later = prove(&log, &Request { from: request.from + 150, to: request.to + 60, ..request.clone() }).unwrap();
    let full = prove(&log, &Request { full: true, ..request.clone() }).unwrap();
    let full_later = prove(&log, &Request { full: true, from: request.from + 150, ..request.clone() }).unwrap();
    type Splice<'a> = (&'static str, &'a IntervalProof, Box<dyn Fn(&mut IntervalProof) + 'a>);
    let cases: [Splice<'_>; 9] = [
        ("consistency", &good, Box::new(|p| p.start = later.start.clone())),
        ("consistency", &good, Box::new(|p| p.end = later.end.clone())),
        ("tree", &good, Box::new(|p| p.tree = later.tree.clone())),
        ("evidence-missing", &good, Box::new(|p| p.evidence = later.evidence.clone())),
        ("straddles", &good, Box::new(|p| (p.from, p.to) = (later.from, later.to))),
        ("full-leaf", &full, Box::new(|p| p.entries = full_later.entries.clone())),
        ("consistency", &good, Box::new(|p| p.end_to_note = later.end_to_note.clone())),
        (
            "tree",
            &good,
            Box::new(|p| {
                (p.start, p.end) = (later.start.clone(), later.end.clone());
                (p.start_to_end, p.end_to_note) = (later.start_to_end.clone(), later.end_to_note.clone());
            }),
        ),
        ("evidence-inclusion", &good, Box::new(|p| p.evidence[0].inclusion = p.evidence[1].inclusion.clone())),
    ];
    let mut opinions = Opinions::new();
    for (at, (name, of, splice)) in cases.iter().enumerate() {
        let mut proof = (*of).clone();
        splice(&mut proof);
        let refused = check(&log, Some(&witnesses), &agent, &proof.encode()).unwrap_err();
        assert_eq!(refused.name(), *name, "splice {at}: {refused:?}");
        opinions.interval(format!("splice {at}"), &agent, &Auditor::of(&log), &proof.encode());
    }
    opinions.compare();
}

/// Two histories signed by one key: a proof with a foot in each.
#[test]
fn a_proof_with_a_foot_in_another_history_is_refused() {
    let mut desk = Desk::new();
    desk.run(120, VerdictResult::Fail);
    desk.run(400, Pass);
    let mut forked = Desk::new();
    forked.run(520, Pass);
    let proof = |desk: &Desk| prove(&desk.log, &desk.log.request(&desk.agent, BEGIN + 200, BEGIN + 400)).unwrap();
    let (one, other) = (proof(&desk), proof(&forked));
    for (name, spliced) in [
        ("consistency", IntervalProof { start: other.start.clone(), ..one.clone() }),
        ("consistency", IntervalProof { note: other.note.clone(), ..one.clone() }),
        ("tree-root", IntervalProof { tree: other.tree.clone(), ..one.clone() }),
        ("evidence-other", IntervalProof { evidence: other.evidence.clone(), ..one.clone() }),
    ] {
        let refused = check(&desk.log, Some(&desk.witnesses), &desk.agent, &spliced.encode()).unwrap_err();
        assert_eq!(refused.name(), name, "{refused:?}");
        desk.opinions.interval(name, &desk.agent, &Auditor::of(&desk.log), &spliced.encode());
    }
    desk.done();
}

#[test]
fn a_quote_that_nobody_judged_counts_as_none_and_a_full_proof_holds_it() {
    let mut desk = Desk::new();
    desk.run(100, Pass);
    desk.log.quote_only(&desk.agent);
    desk.run(100, Pass);
    let stated = desk.stated(50, 150);
    let request = Request { full: true, ..desk.log.request(&desk.agent, BEGIN + 50, BEGIN + 150) };
    let proof = prove(&desk.log, &request).unwrap();
    let full = check(&desk.log, Some(&desk.witnesses), &desk.agent, &proof.encode()).unwrap();
    assert_eq!((full.quotes, full.full_entries), (stated.quotes, 2 * stated.quotes + 1));
    desk.done();
}

/// An interval's end laid where the prover opened nothing.
#[test]
fn an_end_that_is_not_opened_is_refused() {
    let (log, witnesses, agent, good, _) = rich();
    let mut opinions = Opinions::new();
    let second = |at: usize| u64::from_be_bytes(good.tree[at..at + 8].try_into().unwrap());
    let pruned = records(&good.tree).into_iter().filter(|(at, kind)| *kind == 1 && second(at + 9) > good.from);
    let mut seen = 0;
    for (at, _) in pruned {
        let (first, last) = (second(at + 9), second(at + 17));
        for (from, to) in [(first, good.to), (good.from, last)] {
            let moved = IntervalProof { from, to, ..good.clone() };
            let refused = check(&log, Some(&witnesses), &agent, &moved.encode()).unwrap_err();
            assert_eq!(refused.name(), "end-not-opened", "{refused:?}");
            opinions.interval("moved", &agent, &Auditor::of(&log), &moved.encode());
            seen += 1;
        }
        if seen > 4 {
            break;
        }
    }
    assert!(seen > 0);
    opinions.compare();
}

#[test]
fn clocks_of_censuses_say_what_they_rest_on() {
    let mut desk = Desk::new();
    desk.run(300, Pass);
    let stated = desk.stated(100, 200);
    assert_eq!(stated.end_clock.strength, Strength::Witnessed);
    let proof = prove(&desk.log, &desk.log.request(&desk.agent, BEGIN + 100, BEGIN + 200)).unwrap().encode();
    let stated = check(&desk.log, None, &desk.agent, &proof).unwrap();
    assert_eq!(stated.end_clock.strength, Strength::Claimed);
    assert_eq!(stated.start.map(|(clock, _)| clock.strength), Some(Strength::Claimed));
    desk.done();
}

#[test]
fn bytes_of_no_proof_are_refused_by_both_alike() {
    let (log, witnesses, agent, good, _) = rich();
    let (proof, fleet_proof) = (
        good.encode(),
        prove_fleet(&log, &FleetRequest { from: BEGIN + 100, to: BEGIN + 200, selection: Selection::All }),
    );
    let fleet_proof = fleet_proof.unwrap().encode();
    let mut opinions = Opinions::new();
    let deep = vec![0x81; 100_000];
    // An array that says it has 2^64 - 1 items, a byte string of as many bytes.
    let (huge_array, huge_bytes) = ([&[0x9b][..], &[0xff; 8]].concat(), [&[0x5b][..], &[0xff; 8]].concat());
    for bytes in [&[][..], &[0x80], &[0xf6], &deep, &huge_array, &huge_bytes, &proof[..40], &fleet_proof] {
        assert_eq!(check(&log, Some(&witnesses), &agent, bytes).unwrap_err().name(), "form");
        opinions.interval("no proof", &agent, &Auditor::of(&log), bytes);
    }
    for bytes in [&[][..], &deep, &proof] {
        opinions.fleet("no proof of a fleet", &Auditor::of(&log), bytes);
    }
    // A tree whose records say nothing of its size.
    let mut altered = good.clone();
    altered.tree = ByteBuf::from(vec![0; 1 << 16]);
    assert_eq!(check(&log, Some(&witnesses), &agent, &altered.encode()).unwrap_err().name(), "tree");
    opinions.interval("opened without end", &agent, &Auditor::of(&log), &altered.encode());
    opinions.compare();
}
