//! Checks "chain" and "coverage": the order of the entries and how far they reach.

use messages::Digest;

use crate::{
    history::{Decoded, History, ProvenEntry, place},
    instant,
    report::{Check, CheckName},
    statement::Interval,
};

const FALSE_LOG: &str = "keep the bundle: it is signed proof against the log's operator";

/// Checks: 1. the first entry is the first enrolment; 2. numbers ascend with the log's indices; 3. of the entries before
/// the run there are only enrolments, policies and retirements; 4. in the run each entry names its predecessor's leaf
/// hash; 5. the log's clock never goes back; 6. enrolment and retirement alternate, and nothing else happens outside.
pub(super) fn check(history: &History) -> Check {
    let mut check = Check::new(CheckName::Chain);
    check_first(history, &mut check);
    for pair in history.entries().windows(2) {
        if let [earlier, later] = pair {
            check.examine();
            check_pair(earlier, later, &mut check);
        }
    }
    for entry in history.context() {
        // What else is left out of the beginning must be left out whole, or it is a hole.
        if !matches!(entry.body, Decoded::Enrol(_) | Decoded::Policy(_) | Decoded::Retire) {
            let problem = "the entry after this one is missing: their numbers are not consecutive";
            check.refute(place(entry), problem, "get the bundle again; an entry has been left out");
        }
    }
    for (position, entry) in history.entries().iter().enumerate() {
        check_membership(history, position, entry, &mut check);
    }
    check
}

fn check_first(history: &History, check: &mut Check) {
    let Some(first) = history.entries().first() else { return };
    check.examine();
    if first.seq != 0 || !matches!(first.body, Decoded::Enrol(_)) {
        let problem = "the first entry is not the agent's first enrolment (seq 0)";
        check.refute(place(first), problem, "get the bundle again; the agent's first entry has been left out");
    } else if first.prev != Digest::ZERO {
        check.refute(place(first), "the first entry of a chain names a predecessor; expected zeros", FALSE_LOG);
    }
}

fn check_pair(earlier: &ProvenEntry, later: &ProvenEntry, check: &mut Check) {
    if later.seq <= earlier.seq {
        let problem = format!("its number does not follow that of entry {} (seq {})", earlier.index, earlier.seq);
        check.refute(place(later), problem, FALSE_LOG);
    } else if later.seq == earlier.seq + 1 && later.prev != earlier.leaf {
        let problem =
            format!("it names {} as its predecessor; entry {} is {}", later.prev, earlier.index, earlier.leaf);
        check.refute(place(later), problem, FALSE_LOG);
    }
    if later.recorded < earlier.recorded {
        let (found, before) = (instant::format(later.recorded), instant::format(earlier.recorded));
        check.refute(place(later), format!("the log's clock went back from {before} to {found}"), FALSE_LOG);
    }
}

fn check_membership(history: &History, position: usize, entry: &ProvenEntry, check: &mut Check) {
    let before = history.in_force(position);
    let enrolled = before.enrol.is_some();
    match &entry.body {
        Decoded::Enrol(_) if enrolled => {
            check.refute(place(entry), "the agent is enrolled again without having been retired", FALSE_LOG);
        }
        Decoded::Enrol(_) => {}
        _ if !enrolled => {
            check.refute(place(entry), "the agent is not enrolled at this point; only enrol may follow", FALSE_LOG);
        }
        _ => {}
    }
}

/// The run reaches back to the start of the interval asked about.
pub(super) fn check_coverage(history: &History, interval: Interval) -> Check {
    let mut check = Check::new(CheckName::Coverage);
    check.examine();
    let Some((_, first)) = history.run().next() else { return check };
    if history.is_whole() {
        return check;
    }
    let reach = instant::format(first.recorded);
    let remedy = "export again with an earlier --from, or ask about a later interval";
    match interval.from {
        Some(from) if from < first.recorded => {
            let problem = format!("the run begins at {reach}; asked about was the time from {}", instant::format(from));
            check.doubt(place(first), problem, remedy);
        }
        Some(_) => {}
        None => {
            let problem = format!("the run begins at {reach}, asked about was the whole history");
            check.doubt(place(first), problem, remedy);
        }
    }
    check
}
