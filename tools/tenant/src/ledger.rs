//! `attestry ledger …`: a log that is not running, checked, rebuilt or described.

use ledger_server::{FsckReport, Severity};

use crate::{
    cli::{LedgerArguments, LedgerCommand},
    failure::Failure,
    output::outln,
    site::Site,
};

const STOP_FIRST: &str = "stop attestry up first; a running log is described by GET /ledger/v1/info";

pub(crate) fn run(arguments: &LedgerArguments) -> Result<(), Failure> {
    let folder = Site::new(&arguments.data.data).ledger();
    let json = arguments.json.json;
    match arguments.command {
        LedgerCommand::Fsck => {
            let report = ledger_server::fsck(&folder).map_err(|error| {
                Failure::system(format_args!("check {}", folder.display()), error).remedy(STOP_FIRST)
            })?;
            show(&report, json)
        }
        LedgerCommand::Info => {
            let (info, index) = ledger_server::info(&folder).map_err(|error| {
                Failure::system(format_args!("read {}", folder.display()), error).remedy(STOP_FIRST)
            })?;
            if json {
                let mut value = serde_json::to_value(&info).map_err(|error| Failure::system("write JSON", error))?;
                if let Some(object) = value.as_object_mut() {
                    object.insert("index_digest".to_owned(), index.to_string().into());
                }
                outln!("{value}");
                return Ok(());
            }
            outln!("origin      {}", info.origin);
            outln!("log key     {}", info.vkey);
            outln!("entries     {}", info.durable_size);
            outln!("signed      {}", info.checkpoint_size);
            outln!("agents      {}", info.next_slot);
            outln!("index       {index}");
            Ok(())
        }
        LedgerCommand::Reindex => {
            let index = ledger_server::reindex(&folder).map_err(|error| {
                Failure::system(format_args!("rebuild the indexes of {}", folder.display()), error).remedy(STOP_FIRST)
            })?;
            if json {
                outln!("{}", serde_json::json!({"index_digest": index.to_string()}));
            } else {
                outln!("indexes rebuilt from the entries: {index}");
            }
            Ok(())
        }
    }
}

fn show(report: &FsckReport, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string(report).map_err(|error| Failure::system("write JSON", error))?;
        outln!("{text}");
    } else {
        for finding in &report.findings {
            let word = match finding.severity {
                Severity::Damage => "DAMAGE",
                Severity::Notice => "notice",
            };
            outln!("{word}  {}: {}", finding.file, finding.text);
        }
        outln!(
            "{} entries, {} checkpoints, {} blobs read; signed up to {}: {}",
            report.entries,
            report.checkpoints,
            report.blobs,
            report.signed,
            if report.is_sound() { "sound" } else { "DAMAGED" }
        );
    }
    if report.is_sound() {
        return Ok(());
    }
    Err(Failure::new("the log is damaged").remedy("keep this directory as it is and restore from a mirror or backup"))
}
