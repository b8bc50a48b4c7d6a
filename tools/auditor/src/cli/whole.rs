//! The commands about whole logs: replay and monitor.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ledger_tlog::key::NoteVerifier;

use super::{
    EXIT_FAILED, EXIT_FALSE, EXIT_USAGE, Failure,
    arguments::{Judging, LogKey, MonitorArguments, ReplayArguments},
    failed, print, read_key, read_policy, read_signers, show, usage,
};
use crate::{
    clock,
    ledger::{Ledger, TlsFiles},
    log::Log,
    monitor::{Monitor, Watch},
    replay::{render, replay},
    roots,
    verify::Question,
};

pub(super) fn run_replay(arguments: &ReplayArguments) -> Result<u8, Failure> {
    let LogKey(text) = &arguments.log_key;
    let log_key = read_key(text)?;
    let log = open(&arguments.log, arguments.tls_dir.as_deref())?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} entries, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let report = judging(&arguments.judging, &log_key, |question| {
        let progress = |read, of| {
            bar.set_length(of);
            bar.set_position(read);
        };
        replay(&log, &log_key, question, progress).map_err(|error| failed(&error))
    })?;
    bar.finish_and_clear();
    show(&report, arguments.json, render)?;
    Ok(report.conclusion.exit_code())
}

pub(super) fn run_monitor(arguments: &MonitorArguments) -> Result<u8, Failure> {
    let LogKey(text) = &arguments.log_key;
    let log_key = read_key(text)?;
    let log = open(&arguments.ledger, arguments.tls_dir.as_deref())?;
    let witnesses = arguments.witness_policy.as_deref().map(|path| read_policy(path, &log_key)).transpose()?;
    judging(&arguments.judging, &log_key, |question| {
        let age_ms = arguments.max_age.saturating_mul(1_000);
        let watch = Watch { log_key: &log_key, witnesses: witnesses.as_ref(), question, age_ms };
        let mut monitor = Monitor::open(PathBuf::from(&arguments.mirror), watch).map_err(|error| failed(&error))?;
        loop {
            let alarms = monitor.look(&log, clock::now()).map_err(|error| failed(&error))?;
            for alarm in &alarms {
                print(&(serde_json::to_string(alarm).map_err(|error| failed(&error))? + "\n"));
            }
            if arguments.once {
                let is_false = alarms.iter().any(|alarm| alarm.finding.is_false);
                return Ok(if is_false {
                    EXIT_FALSE
                } else if alarms.is_empty() {
                    0
                } else {
                    EXIT_FAILED
                });
            }
            std::thread::sleep(Duration::from_secs(arguments.every.max(1)));
        }
    })
}

/// A folder, or a ledger.
fn open(place: &str, tls: Option<&Path>) -> Result<Log, Failure> {
    if !place.contains("://") {
        return Log::folder(Path::new(place)).map_err(|error| usage(&error));
    }
    let tls =
        tls.ok_or_else(|| Failure { code: EXIT_USAGE, text: "give --tls-dir for a ledger's address".to_owned() })?;
    Ok(Log::ledger(Ledger::new(place, &TlsFiles::in_folder(tls)).map_err(|error| usage(&error))?))
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
