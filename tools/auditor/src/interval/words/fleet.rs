//! The statement of a fleet proof for a person.

use std::collections::BTreeMap;

use ledger_history::fleet::{FleetStatement, Totals};

use super::{at, committed, counted, line, list, proven, standing, strength};

pub(super) fn state(of: &FleetStatement, out: &mut String) {
    let start = of.start.as_ref().map_or_else(|| "the begin of the log".to_owned(), proven);
    line(out, &format!("All machines; asked for {} to {}.", at(of.from), at(of.to)));
    line(out, &format!("Counted between two censuses, from {start} to {}:", proven(&of.end)));
    if of.end.seconds < of.to {
        line(out, "  The proof ends before what was asked for: nothing is said of the time after that census.");
    }
    let sums = &of.sums;
    line(
        out,
        &format!(
            "  {} ever enrolled, {} in the fleet at the end; of {} quotes are due, {} of them miss one.",
            of.slots, sums.agents, sums.due, sums.missed
        ),
    );
    line(out, &format!("  Together: {}.", totals(&of.total)));
    list(out, "machines shown", &of.machines, |machine| {
        let labels =
            machine.labels.iter().flatten().map(|label| format!(" {}={}", label.name, label.value)).collect::<String>();
        let last =
            machine.last.map_or_else(|| "never quoted".to_owned(), |time| format!("last quote {} (claimed)", at(time)));
        format!(
            "{}{labels}: {}; {last}; {} at the end",
            machine.agent,
            totals(&machine.total),
            standing(machine.at_end)
        )
    });
    state_labels(of, out);
    if of.others == 0 {
        line(out, "  Every machine ever enrolled is shown.");
    } else {
        line(
            out,
            &format!(
                "  The other {} machines together: {}; {} of them miss a quote at the end. What is 0 together is 0 on each.",
                of.others,
                totals(&of.rest),
                of.others_missed
            ),
        );
    }
    out.push('\n');
    line(out, "What it rests on:");
    line(
        out,
        &format!("  times of the censuses {}", strength(of.end.strength, "no census is older than its time says")),
    );
    line(out, "  times of the quotes   not shown what they rest on: claimed");
    committed(&of.committed_by, out);
    line(
        out,
        "  counts and labels     sums and entries of the log: everybody who replays the log recomputes them, and",
    );
    line(out, "                        finds a census that is false (attestry-audit replay)");
    line(
        out,
        "Not proven: anything about a machine that was never enrolled; what happened to the second, as censuses count",
    );
    line(out, "what was under their checkpoints.");
}

/// How many of the machines shown have each label at the end, and whether others can have it.
fn state_labels(of: &FleetStatement, out: &mut String) {
    let mut counts: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for machine in &of.machines {
        for label in machine.labels.iter().flatten() {
            counts.entry((&label.name, &label.value)).or_default().0 += 1;
        }
        let now = machine.labels.as_deref().unwrap_or_default();
        let mut gone: Vec<_> =
            machine.labels_before.iter().flatten().flatten().filter(|had| !now.contains(had)).collect();
        gone.sort_unstable_by_key(|label| (&label.name, &label.value));
        gone.dedup();
        for label in gone {
            counts.entry((&label.name, &label.value)).or_default().1 += 1;
        }
    }
    if counts.is_empty() && !of.labels_complete {
        return;
    }
    let counts: Vec<_> = counts.into_iter().collect();
    list(
        out,
        "labels of the machines shown, by policy entries on their chains",
        &counts,
        |((name, value), (now, gone))| {
            let before = if *gone > 0 { format!(", and {gone} before within the interval") } else { String::new() };
            format!("{name}={value}: {} at the end{before}", counted(*now, "machine", "machines"))
        },
    );
    line(
        out,
        if of.labels_complete {
            "  All slots are shown with their policies: no other machine in the log had any of these labels in that time."
        } else {
            "  That no other machine has these labels is not proven: for that all must be shown (prove --fleet --all)."
        },
    );
}

fn totals(of: &Totals) -> String {
    format!(
        "{}, {} failed, {} missed, {} resets, {} late",
        counted(of.quotes, "quote", "quotes"),
        of.failed,
        of.missed,
        of.resets,
        of.late
    )
}
