//! The commands about whole logs: replay and monitor.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ledger_tlog::key::NoteVerifier;

use super::{
    EXIT_FAILED, EXIT_FALSE, EXIT_USAGE, Failure,
    arguments::{Judging, LogKey, MonitorArguments, Reading, ReplayArguments},
    failed,
    progress::Progress,
    read_key, read_policy, read_signers, show,
    telling::Telling,
    usage,
};
use crate::{
    clock, entropy,
    ledger::{Ledger, TlsFiles},
    log::Log,
    monitor::{Monitor, Phase, Watch},
    replay::{render, replay},
    roots,
    verify::Question,
};

pub(super) fn run_replay(arguments: &ReplayArguments) -> Result<u8, Failure> {
    let LogKey(text) = &arguments.log_key;
    let log_key = read_key(text)?;
    let log = open(&arguments.log, &arguments.reading)?;
    let mut progress = Progress::new();
    let mut report = judging(&arguments.judging, &log_key, |question| {
        replay(&log, &log_key, question, |read, of| progress.show("read", read, of)).map_err(|error| failed(&error))
    })?;
    progress.clear();
    if arguments.allow_pruned {
        report.allow_pruned();
    }
    show(&report, arguments.json, render)?;
    Ok(report.conclusion.exit_code())
}

pub(super) fn run_monitor(arguments: &MonitorArguments) -> Result<u8, Failure> {
    let LogKey(text) = &arguments.log_key;
    let log_key = read_key(text)?;
    let log = open(&arguments.ledger, &arguments.reading)?;
    let witnesses = arguments.witness_policy.as_deref().map(|path| read_policy(path, &log_key)).transpose()?;
    let ms = |seconds: u64| seconds.saturating_mul(1_000);
    judging(&arguments.judging, &log_key, |question| {
        let watch = Watch {
            log_key: &log_key,
            witnesses: witnesses.as_ref(),
            question,
            age_ms: ms(arguments.max_age),
            repeat_ms: ms(arguments.repeat),
            allow_pruned: arguments.allow_pruned,
        };
        let mut progress = Progress::new();
        let mut show = |phase: Phase, number, of| progress.show(word(phase), number, of);
        let mirror = PathBuf::from(&arguments.mirror);
        let mut monitor = Monitor::open(mirror, watch, &mut show).map_err(|error| failed(&error))?;
        let mut telling = Telling::new(arguments.on_alarm.as_deref());
        // What a monitor before this one has found and was killed over.
        telling.tell(&mut monitor)?;
        loop {
            let seen = monitor.look(&log, clock::now(), entropy::draw(), &mut show).map_err(|error| failed(&error))?;
            let told = telling.tell(&mut monitor)?;
            if arguments.once {
                return Ok(match (seen.false_count, seen.unchecked_count, told) {
                    (0, 0, true) => 0,
                    (0, ..) => EXIT_FAILED,
                    _ => EXIT_FALSE,
                });
            }
            std::thread::sleep(Duration::from_secs(arguments.every.max(1)));
        }
    })
}

/// What was done to entries, in a word.
fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Copied => "copied",
        Phase::Fetched => "seen for what they name",
        Phase::Judged => "judged",
        Phase::Read => "of the mirror read",
    }
}

/// A folder, or a ledger.
pub(super) fn open(place: &str, reading: &Reading) -> Result<Log, Failure> {
    if !place.contains("://") {
        return Log::folder(Path::new(place)).map_err(|error| usage(&error));
    }
    let tls = reading
        .tls_dir
        .as_deref()
        .ok_or_else(|| Failure { code: EXIT_USAGE, text: "give --tls-dir for a ledger's address".to_owned() })?;
    let within = Duration::from_secs(reading.timeout.max(1));
    Ok(Log::ledger(Ledger::answering(place, &TlsFiles::in_folder(tls), within).map_err(|error| usage(&error))?))
}

/// Runs with what evidence is judged by, or without if it is not to be.
fn judging<T>(
    arguments: &Judging,
    log_key: &NoteVerifier,
    run: impl FnOnce(Option<&Question<'_>>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if arguments.without_evidence {
        return run(None);
    }
    let roots = match arguments.roots.as_slice() {
        [] => None,
        paths => Some(roots::load(paths).map_err(|error| usage(&error))?),
    };
    let signers = read_signers(&arguments.policy_key)?;
    let (roots, policy_signers) = (roots.as_ref(), signers.as_ref());
    let (agent, from, to, witnesses, stamps) = (None, None, None, None, None);
    run(Some(&Question { log_key, roots, agent, from, to, policy_signers, witnesses, stamps }))
}
