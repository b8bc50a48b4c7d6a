//! `attestry-ledger prune`: on a log that is not running.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ledger_server::{BLOB_GRACE, Ledger, PruneBelow, PruneRequest};

use super::duration;
use crate::Inspect;

#[derive(Args, Debug)]
pub(crate) struct Prune {
    #[command(flatten)]
    inspect: Inspect,

    /// Prune entries below this index.
    #[arg(long, value_name = "INDEX", required_unless_present = "older_than", conflicts_with = "older_than")]
    below: Option<u64>,

    /// Prune entries recorded so long ago: 90d, 12h, 30m, 45s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,

    /// Why; it stands in the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Who; it stands in the log.
    #[arg(long, value_name = "NAME", default_value = "operator")]
    actor: String,
}

pub(crate) fn run(arguments: Prune) -> Result<ExitCode, Box<dyn Error>> {
    let Prune { inspect, below, older_than, reason, actor } = arguments;
    let below = match (below, older_than) {
        (Some(index), _) => PruneBelow::Index(index),
        (None, age) => PruneBelow::OlderThan(age.unwrap_or(Duration::MAX)),
    };
    let mut config = inspect.config();
    config.instance = "prune".to_owned();
    let ledger = Ledger::open(&config)?;
    let report = ledger.prune(&PruneRequest { actor, below, blob_grace: BLOB_GRACE, reason });
    ledger.close();
    let report = report?;
    let mut out = io::stdout().lock();
    if inspect.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        writeln!(out, "entries before {} pruned, as entry {} says", report.first, report.policy_index)?;
        writeln!(out, "minimum index {}, {} small entries kept", report.minimum_index, report.kept)?;
        writeln!(out, "{} segments and {} blobs deleted", report.segments, report.blobs)?;
    }
    Ok(ExitCode::SUCCESS)
}
