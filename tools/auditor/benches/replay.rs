//! What reading a whole log again costs: all but the evidence, one core; and bare SHA-256 of the same entries, by turns.
#![expect(clippy::cast_precision_loss, reason = "rates")]

use std::{fs, hint::black_box, path::Path, time::Instant};

use fixtures_bench::{Report, process::cpu_seconds};
use fixtures_histories::SyntheticLog;
use ledger_protocol::body::VerdictResult;
use ledger_tlog::{
    bundle::append_entry,
    tile::{TILE_WIDTH, TilePath, TileSpan},
};
use tools_auditor::{log::Log, replay::replay, report::Conclusion};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    // Cargo's test runs build benchmarks and start them with `--test`: one small sample will do.
    let trial = std::env::args().any(|argument| argument == "--test");
    let (machines, rounds) = if trial { (10, 20) } else { (1_000, 500) };
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
    let note = log.get_blob(&digest).ok_or("no note")?;
    let folder = tempfile::tempdir()?;
    write(&log, size, &note, folder.path())?;
    let (mut rates, mut walls, mut bare) = (vec![], vec![], vec![]);
    for _ in 0..if trial { 1 } else { 5 } {
        let copy = Log::folder(folder.path())?;
        let (cpu, started) = (cpu_seconds(), Instant::now());
        let done = black_box(replay(&copy, log.log_key(), None, |_, _| {})?);
        rates.push(size as f64 / (cpu_seconds() - cpu).max(0.01));
        walls.push(size as f64 / started.elapsed().as_secs_f64());
        if done.conclusion != Conclusion::Verified {
            return Err(format!("the log is not verified: {:?}", done.findings).into());
        }
        let cpu = cpu_seconds();
        for entry in log.entries() {
            let mut hash = openssl::sha::Sha256::new();
            hash.update(black_box(entry));
            black_box(hash.finish());
        }
        bare.push(size as f64 / (cpu_seconds() - cpu).max(0.01));
    }
    let bytes: usize = log.entries().iter().map(Vec::len).sum();
    let mut report = Report::new("replay");
    report.add("replay_log_entries", "1", vec![size as f64]);
    report.add("replay_bytes_per_entry", "B", vec![bytes as f64 / size as f64]);
    report.add("replay_entries_per_s", "1/s", rates);
    report.add("replay_entries_per_wall_s", "1/s", walls);
    report.add("replay_bare_sha256_entries_per_s", "1/s", bare);
    report.write()?;
    Ok(())
}

/// The log as a mirror has it.
fn write(log: &SyntheticLog, size: u64, note: &[u8], folder: &Path) -> Result<(), Failed> {
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
    fs::write(folder.join("checkpoint"), note)?;
    Ok(())
}
