//! `attestry-ledger backup` and `restore`.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ledger_server::{RestoreRequest, WitnessConfig, restore};

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// Folder of the log.
    #[arg(long, env = "ATTESTRY_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Folder of the copy; made if missing, brought up to date if it is an earlier copy.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Leave the keys that sign out of the copy: it need not be guarded as the log is, and `restore` asks for them.
    #[arg(long)]
    without_keys: bool,

    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// Folder of the copy.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,

    /// Folder of the log that is to be; empty or missing.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Folder with the keys that sign, if the copy was made without.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// Folder of the log's lock, if it is not `lock` in the data folder.
    #[arg(long, env = "ATTESTRY_LEDGER_LOCK", value_name = "DIR")]
    lock: Option<PathBuf>,

    /// Witnesses to ask what they have cosigned of this log, a C2SP tlog-policy file.
    #[arg(long, env = "ATTESTRY_LEDGER_WITNESS_POLICY", value_name = "FILE")]
    witness_policy: Option<PathBuf>,

    /// The authorities of the witnesses' servers, PEM.
    #[arg(long, env = "ATTESTRY_LEDGER_WITNESS_CA", value_name = "FILE", requires = "witness_policy")]
    witness_ca: Option<PathBuf>,

    /// Make a new lock because the old one is lost: what was signed after the copy will be signed
    /// again, and the log has two histories if anything was.
    #[arg(long)]
    danger_new_lock: bool,

    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Backup) -> Result<ExitCode, Box<dyn Error>> {
    let copy = if arguments.without_keys { ledger_server::backup_without_keys } else { ledger_server::backup };
    let report = copy(&arguments.data, &arguments.to)?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let (entries, origin, files, bytes) = (report.tree_size, &report.origin, report.files, report.bytes);
        writeln!(out, "{entries} entries of {origin}: {files} files, {bytes} bytes copied")?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run_restore(arguments: Restore) -> Result<ExitCode, Box<dyn Error>> {
    let Restore { from, to, keys, lock, witness_policy, witness_ca, danger_new_lock, json } = arguments;
    let witnesses = witness_policy.map(|policy| WitnessConfig::load(&policy, witness_ca.as_deref())).transpose()?;
    let report = restore(&RestoreRequest { danger_new_lock, from, keys, lock, to, witnesses })?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        writeln!(out, "{} entries of {} restored, {} bytes", report.tree_size, report.origin, report.bytes)?;
    }
    Ok(ExitCode::SUCCESS)
}
