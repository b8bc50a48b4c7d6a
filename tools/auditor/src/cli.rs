//! The command line: what is asked, and the exit codes.

mod arguments;
mod progress;
mod proofs;
mod telling;
mod whole;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use arguments::{Arguments, Command, ExportArguments, ExtractArguments, LogKey, ReceiptArguments, VerifyArguments};
use clap::Parser;
use evidence::runtime_policy::Signers;
use ledger_timestamp::Authorities;
use ledger_tlog::cose::ReceiptVerifier;
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::policy::{Policy, WitnessQuorum};
use messages::UnixMillis;

use crate::{
    cause, clock,
    export::{self, export},
    extract::{Choice, extract},
    instant,
    ledger::{Ledger, TlsFiles},
    receipt::{self, ReceiptQuestion, Subject},
    roots, text,
    verify::{self, Question},
};

/// Nothing was found false, but something could not be done.
const EXIT_FAILED: u8 = 3;
/// Something is false.
const EXIT_FALSE: u8 = 1;
/// The arguments cannot be used.
const EXIT_USAGE: u8 = 2;

/// Runs `attestry-audit` with the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let code = match arguments.command {
        Command::Export(arguments) => run_export(&arguments),
        Command::Monitor(arguments) => whole::run_monitor(&arguments),
        Command::Replay(arguments) => whole::run_replay(&arguments),
        Command::Receipt(arguments) => run_receipt(&arguments),
        Command::Prove(arguments) => proofs::run_prove(&arguments),
        Command::Verify(arguments) => run_verify(&arguments),
        Command::Extract(arguments) => run_extract(&arguments),
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, text }) => {
            let _ = writeln!(io::stderr(), "attestry-audit: {text}");
            ExitCode::from(code)
        }
    }
}

/// An exit code and the line that explains it.
struct Failure {
    code: u8,
    text: String,
}

fn usage(error: &dyn std::error::Error) -> Failure {
    Failure { code: EXIT_USAGE, text: cause::chain(error) }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure { code: EXIT_FAILED, text: cause::chain(error) }
}

fn run_export(arguments: &ExportArguments) -> Result<u8, Failure> {
    let (from, to) = interval(arguments.from.as_deref(), arguments.to.as_deref())?;
    let log_key = arguments.log_key.as_ref().map(|LogKey(text)| read_key(text)).transpose()?;
    let ledger =
        Ledger::new(&arguments.url, &TlsFiles::in_folder(&arguments.tls_dir)).map_err(|error| usage(&error))?;
    let request = export::Request { agent: &arguments.agent, from, to, log_key: log_key.as_ref() };
    let exported = export(&ledger, &request, &arguments.output).map_err(|error| match &error {
        export::ExportError::Write(crate::bundle::WriteError::Exists { .. }) => usage(&error),
        _ => failed(&error),
    })?;
    let mut err = io::stderr();
    for digest in &exported.blobs_missing {
        let _ = writeln!(err, "attestry-audit: the ledger no longer keeps blob {digest}; it is not in the bundle");
    }
    let (entries, blobs, size) = (exported.entries, exported.blobs, exported.tree_size);
    let folder = arguments.output.display();
    print(&format!(
        "Exported {entries} entries of {} with {blobs} blobs, {} beacons and {} time-stamps, proven in a log of {size}, to {folder}\n",
        arguments.agent, exported.checkpoints, exported.timestamps
    ));
    print(&format!("Check it with: attestry-audit verify {folder} --log-key VKEY --roots DIR\n"));
    Ok(0)
}

fn run_verify(arguments: &VerifyArguments) -> Result<u8, Failure> {
    let (from, to) = interval(arguments.from.as_deref(), arguments.to.as_deref())?;
    let LogKey(text) = &arguments.log_key;
    let log_key = read_key(text)?;
    let roots = if arguments.roots.is_empty() {
        None
    } else {
        Some(roots::load(&arguments.roots).map_err(|error| usage(&error))?)
    };
    let agent = arguments.agent.as_ref();
    let witnesses = arguments.witness_policy.as_deref().map(|path| read_policy(path, &log_key)).transpose()?;
    let witnesses = witnesses.as_ref();
    let stamps = read_authorities(&arguments.tsa_ca, &arguments.tsa_crl)?;
    let signers = read_signers(&arguments.policy_key)?;
    let policy_signers = signers.as_ref();
    let (roots, stamps) = (roots.as_ref(), stamps.as_ref());
    let question = Question { log_key: &log_key, roots, agent, from, to, policy_signers, witnesses, stamps };
    // A bundle is a directory; whatever else there is, or is not, is read as a proof.
    if !arguments.bundle.is_dir() {
        return proofs::run_verify(arguments, &question);
    }
    let report = verify::verify(&arguments.bundle, &question);
    show(&report, arguments.json, text::render)?;
    Ok(report.conclusion.exit_code())
}

fn run_extract(arguments: &ExtractArguments) -> Result<u8, Failure> {
    let choice = match (arguments.all, arguments.index) {
        (true, _) => Choice::All,
        (false, Some(index)) => Choice::Index(index),
        (false, None) => Choice::Last,
    };
    let extracted = extract(&arguments.bundle, choice, &arguments.output).map_err(|error| failed(&error))?;
    for quote in &extracted {
        print(&format!("# quote of entry {}, in {}\n", quote.index, quote.folder.display()));
        quote.commands.iter().for_each(|command| print(&format!("{command}\n")));
    }
    Ok(0)
}

fn interval(from: Option<&str>, to: Option<&str>) -> Result<(Option<UnixMillis>, Option<UnixMillis>), Failure> {
    let now = clock::now();
    let read =
        |text: Option<&str>| text.map(|text| instant::parse(text, now)).transpose().map_err(|error| usage(&error));
    let (from, to) = (read(from)?, read(to)?);
    match (from, to) {
        (Some(from), Some(to)) if from > to => {
            let text = format!("--from {} is after --to {}", instant::format(from), instant::format(to));
            Err(Failure { code: EXIT_USAGE, text })
        }
        interval => Ok(interval),
    }
}

/// A verifier key, or a file that holds one.
fn read_key(text: &str) -> Result<NoteVerifier, Failure> {
    let parsed = NoteVerifier::from_str(text.trim());
    let Err(error) = parsed else { return parsed.map_err(|error| usage(&error)) };
    match std::fs::read_to_string(Path::new(text)) {
        Ok(content) => NoteVerifier::from_str(content.trim()).map_err(|error| Failure {
            code: EXIT_USAGE,
            text: format!("{text} does not hold a verifier key: {}", cause::chain(&error)),
        }),
        Err(unread) => Err(Failure {
            code: EXIT_USAGE,
            text: format!(
                "--log-key {text:?} is neither a verifier key ({}) nor a file that can be read ({unread})",
                cause::chain(&error)
            ),
        }),
    }
}

fn run_receipt(arguments: &ReceiptArguments) -> Result<u8, Failure> {
    let read = |path: &Path| read_file(path, EXIT_FAILED);
    let pem = read_file(&arguments.key, EXIT_USAGE)?;
    let key = ReceiptVerifier::from_pem(&pem).map_err(|error| usage(&error))?;
    let log_key = arguments.log_key.as_ref().map(|LogKey(text)| read_key(text)).transpose()?;
    let checkpoint = arguments.checkpoint.as_deref().map(read).transpose()?;
    let entry = arguments.entry.as_deref().map(read).transpose()?;
    let older = arguments.old_checkpoint.as_deref().map(read).transpose()?;
    let subject = match (&entry, &older) {
        (Some(entry), _) => Subject::Entry(entry),
        (None, older) => Subject::Older(older.as_deref().unwrap_or_default()),
    };
    let question = ReceiptQuestion { key: &key, log_key: log_key.as_ref(), subject, checkpoint: checkpoint.as_deref() };
    let report = match receipt::check(&read(&arguments.receipt)?, &question) {
        Ok(report) => report,
        Err(problem) if problem.is_false() => {
            print(&format!("FALSE: {}.\n", cause::chain(&problem)));
            return Ok(EXIT_FALSE);
        }
        Err(problem) => return Err(usage(&problem)),
    };
    show(&report, arguments.json, text::render_receipt)?;
    Ok(0)
}

/// None if no root is named: then stamps prove no time.
fn read_authorities(roots: &[PathBuf], lists: &[PathBuf]) -> Result<Option<Authorities>, Failure> {
    let mut authorities = Authorities::new();
    for path in roots {
        let added = authorities.trust_pem(&read_file(path, EXIT_USAGE)?);
        added.map_err(|error| unusable("--tsa-ca", path, &error))?;
    }
    for path in lists {
        let added = authorities.add_revocation_list(&read_file(path, EXIT_USAGE)?);
        added.map_err(|error| unusable("--tsa-crl", path, &error))?;
    }
    Ok((!roots.is_empty()).then_some(authorities))
}

fn unusable(option: &str, path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure { code: EXIT_USAGE, text: format!("{option} {}: {}", path.display(), cause::chain(error)) }
}

fn read_file(path: &Path, code: u8) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure { code, text: format!("cannot read {}: {error}", path.display()) })
}

/// The witnesses of a tlog-policy file, which must be for this log if it names any.
fn read_policy(path: &Path, log_key: &NoteVerifier) -> Result<WitnessQuorum, Failure> {
    let usage = |text| Failure { code: EXIT_USAGE, text };
    let bytes = std::fs::read(path).map_err(|error| usage(format!("--witness-policy {}: {error}", path.display())))?;
    let policy = Policy::parse(&bytes)
        .map_err(|error| usage(format!("--witness-policy {}: {}", path.display(), cause::chain(&error))))?;
    let logs = policy.logs();
    if !logs.is_empty() && !logs.iter().any(|log| log.to_string() == log_key.to_string()) {
        return Err(usage(format!("--witness-policy {} is for other logs than {log_key}", path.display())));
    }
    Ok(policy.quorum().clone())
}

/// Who may sign runtime policies; nothing if nobody is named.
fn read_signers(paths: &[PathBuf]) -> Result<Option<Signers>, Failure> {
    let usage = |path: &Path, text: String| Failure {
        code: EXIT_USAGE,
        text: format!("--policy-key {}: {text}", path.display()),
    };
    let mut signers = Signers::new();
    for path in paths {
        let pem = std::fs::read(path).map_err(|error| usage(path, error.to_string()))?;
        signers.trust(&path.display().to_string(), &pem).map_err(|error| usage(path, cause::chain(&error)))?;
    }
    Ok((!paths.is_empty()).then_some(signers))
}

/// Prints a report as JSON, or in the words that `render` has for it.
fn show<R: serde::Serialize>(report: &R, json: bool, render: impl Fn(&R) -> String) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(report).map_err(|error| failed(&error))? + "\n"
    } else {
        render(report)
    };
    print(&text);
    Ok(())
}

/// Writes to stdout; a reader that has gone away is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
