//! `attestry ledger …`: a log that is not running, checked, rebuilt or described.

use ledger_server::{FsckReport, Severity};

use crate::{
    cli::{LedgerArguments, LedgerCommand},
    failure::Failure,
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
                println!("{value}");
                return Ok(());
            }
            println!("origin      {}", info.origin);
            println!("log key     {}", info.vkey);
            println!("entries     {}", info.durable_size);
            println!("signed      {}", info.checkpoint_size);
            println!("agents      {}", info.next_slot);
            println!("index       {index}");
            Ok(())
        }
        LedgerCommand::Reindex => {
            let index = ledger_server::reindex(&folder).map_err(|error| {
                Failure::system(format_args!("rebuild the indexes of {}", folder.display()), error).remedy(STOP_FIRST)
            })?;
            if json {
                println!("{}", serde_json::json!({"index_digest": index.to_string()}));
            } else {
                println!("indexes rebuilt from the entries: {index}");
            }
            Ok(())
        }
    }
}

fn show(report: &FsckReport, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string(report).map_err(|error| Failure::system("write JSON", error))?;
        println!("{text}");
    } else {
        for finding in &report.findings {
            let word = match finding.severity {
                Severity::Damage => "DAMAGE",
                Severity::Notice => "notice",
            };
            println!("{word}  {}: {}", finding.file, finding.text);
        }
        println!(
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
