//! What memory reading a whole log takes, and following it from its first entry: at the command, not in this process.
#![expect(clippy::cast_precision_loss, reason = "figures")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use fixtures_bench::Report;
use fixtures_histories::SyntheticLog;
use ledger_protocol::body::VerdictResult;
use ledger_tlog::{
    bundle::append_entry,
    tile::{TILE_WIDTH, TilePath, TileSpan},
};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    // Cargo's test runs build benchmarks and start them with `--test`: one small sample will do.
    let trial = std::env::args().any(|argument| argument == "--test");
    let (machines, rounds) = if trial { (10, 20) } else { (1_000, 500) };
    let folder = tempfile::tempdir()?;
    let (log, key, mirror) = (folder.path().join("log"), folder.path().join("log.vkey"), folder.path().join("mirror"));
    let size = write(machines, rounds, &log, &key)?;
    let [log, key, mirror] = [log, key, mirror].map(|path| path.display().to_string());
    let common = ["--log-key", &key, "--without-evidence"];
    let mut report = Report::new("auditor-memory");
    report.add("auditor_log_entries", "1", vec![size as f64]);
    let replay = peak(Command::new(env!("CARGO_BIN_EXE_attestry-audit")).args(["replay", &log]).args(common))?;
    report.add("replay_peak_mib", "MiB", vec![replay]);
    let watch = ["monitor", "--once", "--max-age", "1000000000", "--ledger", &log, "--mirror", &mirror];
    for name in ["monitor_first_look_peak_mib", "monitor_restart_peak_mib"] {
        let watched = peak(Command::new(env!("CARGO_BIN_EXE_attestry-audit")).args(watch).args(common))?;
        report.add(name, "MiB", vec![watched]);
    }
    report.write()?;
    Ok(())
}

/// The most memory that a command had resident, in MiB.
fn peak(command: &mut Command) -> Result<f64, Failed> {
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut most = 0.0_f64;
    loop {
        most = most.max(resident(&child).unwrap_or(0.0));
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(most),
            Some(status) => return Err(format!("{command:?} ended with {status}").into()),
            // The system keeps the peak itself; only what comes after the last look is missed.
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn resident(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1_024.0)
}

/// A log as a mirror has it, and its key; returns the entries under its checkpoint.
fn write(machines: u32, rounds: u32, folder: &Path, key: &Path) -> Result<u64, Failed> {
    let mut log = SyntheticLog::new(0, 0);
    let agents: Vec<_> = (0..machines).map(|number| log.enrol(&format!("hypervisor-{number}"))).collect();
    agents.iter().for_each(|agent| log.policy(agent, 2_000, 10_000));
    log.close();
    for round in 0..rounds {
        log.advance_ms(2_000);
        agents.iter().for_each(|agent| log.quote(agent, VerdictResult::Pass));
        log.checkpoint();
        if round % 30 == 29 {
            log.census();
        }
    }
    let (size, digest) = log.publish();
    let entries = log.entries().get(..usize::try_from(size)?).ok_or("fewer entries")?;
    for (number, chunk) in (0..).zip(entries.chunks(usize::from(TILE_WIDTH))) {
        let path = folder.join(TilePath::Entries(TileSpan::new(number, u16::try_from(chunk.len())?)?).to_string());
        let mut bytes = Vec::new();
        for entry in chunk {
            append_entry(&mut bytes, entry)?;
        }
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        fs::write(path, bytes)?;
    }
    fs::create_dir_all(folder.join("checkpoints"))?;
    for size in 0..=size {
        if let Some(note) = log.published(size).and_then(|digest| log.get_blob(&digest)) {
            fs::write(folder.join("checkpoints").join(size.to_string()), note)?;
        }
    }
    fs::write(folder.join("checkpoint"), log.get_blob(&digest).ok_or("no note")?)?;
    fs::write(key, log.log_key().to_string())?;
    Ok(size)
}
