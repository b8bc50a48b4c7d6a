//! The commands about interval and fleet proofs.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use ledger_history::{
    fleet::Selection,
    interval::{PROOF_BYTES_MAX, Witnesses},
};
use messages::{Digest, UnixMillis};

use super::{
    EXIT_FAILED, EXIT_USAGE, Failure,
    arguments::{ProveArguments, VerifyArguments},
    failed, interval, print, read_file, show, unusable, usage,
    whole::open,
};
use crate::{
    interval::{Evidence, IntervalQuestion, render, verify},
    ledger::{Ledger, TlsFiles},
    prove::{About, Ask, Maker, NotMade, blobs_folder, prove, write},
    verify::Question,
};

pub(super) fn run_prove(arguments: &ProveArguments) -> Result<u8, Failure> {
    let (from, to) = interval(Some(&arguments.from), Some(&arguments.to))?;
    let seconds = |time: Option<UnixMillis>| time.map_or(0, |time| time.0 / 1_000);
    let about = match &arguments.agent {
        Some(agent) => {
            let (gap, boots, full) = (arguments.gap, arguments.boots, arguments.full);
            About::Machine { agent: agent.clone(), gap, boots, full }
        }
        None => About::Fleet(match &arguments.label {
            _ if arguments.all => Selection::All,
            None => Selection::Exceptions,
            Some((name, value)) => Selection::Label(name.clone(), value.clone()),
        }),
    };
    let ask = Ask { interval: (seconds(from), seconds(to)), about };
    let copy = arguments.log.as_deref().map(|place| open(place, &arguments.reading)).transpose()?;
    let ledger = match (&copy, &arguments.ledger, &arguments.reading.tls_dir) {
        (None, Some(url), Some(tls)) => {
            Some(Ledger::new(url, &TlsFiles::in_folder(tls)).map_err(|error| usage(&error))?)
        }
        _ => None,
    };
    let maker = match (&copy, &ledger) {
        (Some(log), _) => Maker::Copy(log),
        (None, Some(ledger)) => Maker::Ledger(ledger),
        (None, None) => {
            let text = "give --ledger URL with --tls-dir DIR, or --log DIR|URL".to_owned();
            return Err(Failure { code: EXIT_USAGE, text });
        }
    };
    let unmade = |error: NotMade| match error {
        NotMade::Exists { .. } => usage(&error),
        _ => failed(&error),
    };
    let proof = prove(&maker, &ask).map_err(unmade)?;
    for digest in write(&maker, &ask, &proof, &arguments.output).map_err(unmade)? {
        let _ = writeln!(io::stderr(), "attestry-audit: blob {digest} is not kept any more");
    }
    let path = arguments.output.display();
    print(&format!("Wrote a proof of {} bytes to {path}\n", proof.len()));
    print(&format!("Check it with: attestry-audit verify {path} --log-key VKEY --witness-policy FILE\n"));
    Ok(0)
}

/// A proof's file, of which no more is taken into memory than a proof can have.
fn read_proof(path: &Path) -> Result<Vec<u8>, Failure> {
    let place = path.display();
    let failed = |error: io::Error| Failure { code: EXIT_FAILED, text: format!("cannot read {place}: {error}") };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let stated = file.metadata().map_err(failed)?.len();
    let limit = PROOF_BYTES_MAX as u64;
    if stated <= limit {
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if stated > limit || bytes.len() > PROOF_BYTES_MAX {
        let text = format!("{place} has more than {PROOF_BYTES_MAX} bytes, the most that a proof can have");
        return Err(Failure { code: EXIT_FAILED, text });
    }
    Ok(bytes)
}

pub(super) fn run_verify(arguments: &VerifyArguments, question: &Question<'_>) -> Result<u8, Failure> {
    if arguments.from.is_some() || arguments.to.is_some() {
        let text = "--from and --to are for bundles; a proof is of its own interval".to_owned();
        return Err(Failure { code: EXIT_USAGE, text });
    }
    let bytes = read_proof(&arguments.bundle)?;
    // The file itself: its digest says whether the log's times rest on this very policy.
    let policy = arguments.witness_policy.as_deref();
    let witnesses = policy
        .map(|path| {
            let file = read_file(path, EXIT_USAGE)?;
            Witnesses::parse(&file).map_err(|error| unusable("--witness-policy", path, &error))
        })
        .transpose()?;
    let (log_key, agent) = (question.log_key, question.agent);
    let asked = IntervalQuestion { log_key, agent, witnesses: witnesses.as_ref(), authorities: question.stamps };
    let folder = arguments.blobs.clone().unwrap_or_else(|| blobs_folder(&arguments.bundle));
    let blob = |digest: &Digest| {
        let bytes = std::fs::read(folder.join(digest.to_string())).ok()?;
        (openssl::sha::sha256(&bytes) == digest.0).then_some(bytes)
    };
    let evidence = arguments.full.then_some(Evidence { blob: &blob, question });
    let report = verify(&bytes, &asked, evidence);
    show(&report, arguments.json, render)?;
    Ok(report.conclusion.exit_code())
}
