//! The arguments of each command, with their help.

use std::{path::PathBuf, str::FromStr};

use clap::{ArgGroup, Args, Parser, Subcommand};
use messages::AgentId;

/// Prove, to people who do not trust the operator, what a ledger says about a machine.
#[derive(Debug, Parser)]
#[command(name = "attestry-audit", version, about, after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write one agent's entries, with all that proves them, to a new directory.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArguments),
    /// Make a proof of all that is on record about a machine, or about all machines, between two times.
    #[command(after_help = PROVE_EXAMPLES)]
    Prove(ProveArguments),
    /// Check such a directory or proof, offline, with a key that you got from elsewhere.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArguments),
    /// Read a whole log and compute again everything that follows from its entries.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArguments),
    /// Follow a log, keep an own mirror of it, and raise an alarm for what an honest log does not do.
    #[command(after_help = MONITOR_EXAMPLES)]
    Monitor(MonitorArguments),
    /// Check a COSE receipt of an entry, or of a log's growth, with keys that you got from elsewhere.
    #[command(after_help = RECEIPT_EXAMPLES)]
    Receipt(ReceiptArguments),
    /// Write a quote's parts as files, and print the commands by which openssl and tpm2-tools check them.
    #[command(after_help = EXTRACT_EXAMPLES)]
    Extract(ExtractArguments),
}

#[derive(Args, Debug)]
pub(super) struct ExportArguments {
    /// Whose entries.
    #[arg(long, value_name = "ID", value_parser = AgentId::from_str)]
    pub(super) agent: AgentId,
    /// Start of the interval: RFC 3339, now, or an age such as -1h; from the beginning if not given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) from: Option<String>,
    /// End of the interval; to the end if not given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) to: Option<String>,
    /// The bundle's directory; it must not exist.
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: PathBuf,
    /// The ledger, https://HOST:PORT.
    #[arg(long, env = "ATTESTRY_LEDGER_URL", value_name = "URL")]
    pub(super) url: String,
    /// Folder with cacert.crt and a client's certificate and key, auditor-* or client-*.
    #[arg(long, env = "ATTESTRY_TLS_DIR", value_name = "DIR")]
    pub(super) tls_dir: PathBuf,
    /// Refuse a ledger that does not sign with this key (a verifier key, or a file that holds one).
    #[arg(long, value_name = "VKEY|FILE")]
    pub(super) log_key: Option<LogKey>,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("about").required(true).args(["agent", "fleet"]))]
#[command(group = ArgGroup::new("place").required(true).args(["ledger", "log"]))]
pub(super) struct ProveArguments {
    /// Which machine.
    #[arg(long, value_name = "ID", value_parser = AgentId::from_str)]
    pub(super) agent: Option<AgentId>,
    /// All machines, with those shown on which something went wrong.
    #[arg(long)]
    pub(super) fleet: bool,
    /// Of all machines show those with this label in the interval instead, such as role=hypervisor.
    #[arg(long, value_name = "NAME=VALUE", requires = "fleet", value_parser = label)]
    pub(super) label: Option<(String, String)>,
    /// Show every machine that ever was enrolled with its policies: only this proves that no other one has a label.
    #[arg(long, requires = "fleet", conflicts_with = "label")]
    pub(super) all: bool,
    /// Start of the interval: RFC 3339, now, or an age such as -1h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) from: String,
    /// End of the interval.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) to: String,
    /// The proof's file; it must not exist.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Gaps longer than this many seconds are shown one by one.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(super) gap: u64,
    /// Show the first and last quote of each boot.
    #[arg(long, conflicts_with = "fleet")]
    pub(super) boots: bool,
    /// Show every entry, and write the blobs they name beside the proof, so that every quote can be judged again.
    #[arg(long, conflicts_with = "fleet")]
    pub(super) full: bool,
    /// The ledger that makes the proof, https://HOST:PORT.
    #[arg(long, env = "ATTESTRY_LEDGER_URL", value_name = "URL", requires = "tls_dir")]
    pub(super) ledger: Option<String>,
    /// Make the proof here instead, from the whole log: a ledger's data directory, an exported folder or a mirror; or a
    /// ledger, https://HOST:PORT, all of which is then read.
    #[arg(long, value_name = "DIR|URL")]
    pub(super) log: Option<String>,
    #[command(flatten)]
    pub(super) reading: Reading,
}

/// By what evidence is judged again.
#[derive(Args, Debug)]
pub(super) struct Judging {
    /// Leave quotes' signatures and verdicts alone; everything else is computed.
    #[arg(long)]
    pub(super) without_evidence: bool,
    /// TPM manufacturers' certificates that you trust: files, or folders of them.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(super) roots: Vec<PathBuf>,
    /// Public keys or certificates (PEM), one of which must have signed each runtime policy.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) policy_key: Vec<PathBuf>,
}

/// How a ledger is read.
#[derive(Args, Debug)]
pub(super) struct Reading {
    /// Folder with cacert.crt and a client's certificate and key, auditor-* or client-*, for a URL.
    #[arg(long, env = "ATTESTRY_TLS_DIR", value_name = "DIR")]
    pub(super) tls_dir: Option<PathBuf>,
    /// Longest wait for one answer of a ledger, its body included.
    #[arg(long, value_name = "SECONDS", default_value_t = 40)]
    pub(super) timeout: u64,
}

#[derive(Args, Debug)]
pub(super) struct ReplayArguments {
    /// A ledger's data directory, an exported folder or a mirror; or a ledger, https://HOST:PORT.
    #[arg(value_name = "DIR|URL")]
    pub(super) log: String,
    /// The log's verifier key, or a file that holds it; never take it from the log.
    #[arg(long, value_name = "VKEY|FILE")]
    pub(super) log_key: LogKey,
    #[command(flatten)]
    pub(super) judging: Judging,
    /// Take a log from where its operator has pruned it: what that leaves open is told, and is no reason to end with 3.
    #[arg(long)]
    pub(super) allow_pruned: bool,
    #[command(flatten)]
    pub(super) reading: Reading,
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct MonitorArguments {
    /// The log to follow: a ledger, https://HOST:PORT, or a folder that somebody keeps current.
    #[arg(long, env = "ATTESTRY_LEDGER_URL", value_name = "URL|DIR")]
    pub(super) ledger: String,
    /// The folder of the monitor's own copy.
    #[arg(long, value_name = "DIR")]
    pub(super) mirror: PathBuf,
    /// The log's verifier key, or a file that holds it; never take it from the log.
    #[arg(long, value_name = "VKEY|FILE")]
    pub(super) log_key: LogKey,
    /// The witnesses of whom a quorum must have cosigned each checkpoint, as a C2SP tlog-policy file.
    #[arg(long, value_name = "FILE")]
    pub(super) witness_policy: Option<PathBuf>,
    #[command(flatten)]
    pub(super) judging: Judging,
    /// The oldest that the newest entry may be, and the longest time between two censuses.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(super) max_age: u64,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) every: u64,
    /// Look once and end: 1 if something is false, 3 if something could not be checked.
    #[arg(long)]
    pub(super) once: bool,
    /// Raise an alarm about what has not changed again after so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    pub(super) repeat: u64,
    /// Run by sh for each alarm, with its line on stdin and ATTESTRY_ALARM_CHECK, _TEXT, _FALSE, _OVER and _NUMBER in
    /// its environment. One that fails is run again after the next look.
    #[arg(long, value_name = "COMMAND")]
    pub(super) on_alarm: Option<String>,
    /// Begin a mirror of a pruned log without an alarm about what was pruned.
    #[arg(long)]
    pub(super) allow_pruned: bool,
    #[command(flatten)]
    pub(super) reading: Reading,
}

#[derive(Args, Debug)]
pub(super) struct VerifyArguments {
    /// The bundle's directory, or the file of an interval or fleet proof.
    #[arg(value_name = "DIR|FILE")]
    pub(super) bundle: PathBuf,
    /// Of an interval proof made with --full: judge every quote and verdict again.
    #[arg(long)]
    pub(super) full: bool,
    /// The blobs that a full proof's entries name; FILE.blobs if not given.
    #[arg(long, value_name = "DIR", requires = "full")]
    pub(super) blobs: Option<PathBuf>,
    /// The log's verifier key, or a file that holds it; never take it from the bundle.
    #[arg(long, value_name = "VKEY|FILE")]
    pub(super) log_key: LogKey,
    /// TPM manufacturers' certificates that you trust: files, or folders of them.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(super) roots: Vec<PathBuf>,
    /// The witnesses you trust and how many must have cosigned, as a C2SP tlog-policy file.
    #[arg(long, value_name = "FILE")]
    pub(super) witness_policy: Option<PathBuf>,
    /// Roots of the time-stamping authorities you trust (RFC 3161), PEM.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) tsa_ca: Vec<PathBuf>,
    /// Their revocation lists, DER or PEM.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "tsa_ca")]
    pub(super) tsa_crl: Vec<PathBuf>,
    /// Public keys, or signers' or issuers' certificates (PEM), one of which must have signed each runtime policy.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) policy_key: Vec<PathBuf>,
    /// The agent the bundle must be about.
    #[arg(long, value_name = "ID", value_parser = AgentId::from_str)]
    pub(super) agent: Option<AgentId>,
    /// Start of the interval the statement is about; the bundle's own if not given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) from: Option<String>,
    /// End of the interval the statement is about.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) to: Option<String>,
    /// Print the whole report as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("subject").required(true).args(["entry", "old_checkpoint"]))]
pub(super) struct ReceiptArguments {
    /// The receipt.
    #[arg(value_name = "FILE")]
    pub(super) receipt: PathBuf,
    /// The entry that must be included, as its bytes.
    #[arg(long, value_name = "FILE")]
    pub(super) entry: Option<PathBuf>,
    /// The older checkpoint that the log must have extended.
    #[arg(long, value_name = "FILE", requires = "log_key")]
    pub(super) old_checkpoint: Option<PathBuf>,
    /// The log's public key for receipts, PEM; never take it from the log.
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// The log's checkpoint of the receipt's tree: receipts sign a root, this confirms size and index.
    #[arg(long, value_name = "FILE", requires = "log_key")]
    pub(super) checkpoint: Option<PathBuf>,
    /// The log's verifier key, or a file that holds it.
    #[arg(long, value_name = "VKEY|FILE")]
    pub(super) log_key: Option<LogKey>,
    /// Print what was found as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ExtractArguments {
    /// The bundle.
    #[arg(value_name = "DIR")]
    pub(super) bundle: PathBuf,
    /// Index of the quote's entry in the log; the last quote if not given.
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub(super) index: Option<u64>,
    /// Every quote, each into a folder of its index.
    #[arg(long)]
    pub(super) all: bool,
    /// Where the files go.
    #[arg(short, long, value_name = "OUT")]
    pub(super) output: PathBuf,
}

/// A verifier key or the name of a file with one, as given.
#[derive(Clone, Debug)]
pub(super) struct LogKey(pub(super) String);

impl From<&str> for LogKey {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

const EXAMPLES: &str = "\
Exit codes: 0 everything was checked and is true (also of a machine that failed), 1 something is false,
2 the arguments cannot be used, 3 something could not be checked or done.

Examples:
  attestry-audit export --agent node-1 --from -1h -o bundle --url https://ledger:8894 --tls-dir tls
  attestry-audit verify bundle --log-key log.vkey --roots vendor-roots/
  attestry-audit extract bundle -o quote
  attestry-audit receipt 41.receipt --entry entries/41.cbor --key receipt.pub";

const RECEIPT_EXAMPLES: &str = "\
Examples:
  attestry-audit receipt 41.receipt --entry entries/41.cbor --key receipt.pub
  attestry-audit receipt 41.receipt --entry entries/41.cbor --key receipt.pub --checkpoint checkpoint --log-key log.vkey
  attestry-audit receipt growth.receipt --old-checkpoint checkpoint.january --key receipt.pub --log-key log.vkey";

const EXPORT_EXAMPLES: &str = "\
Examples:
  attestry-audit export --agent node-1 -o bundle --url https://127.0.0.1:8894 --tls-dir data/tls
  attestry-audit export --agent node-1 --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z -o january \\
      --url https://ledger:8894 --tls-dir tls --log-key log.vkey";

const VERIFY_EXAMPLES: &str = "\
Examples:
  attestry-audit verify bundle --log-key log.vkey --roots vendor-roots/
  attestry-audit verify bundle --log-key 'ledger.example/log+c2f1a3d4+AX…' --agent node-1 --from -30d --json
  attestry-audit verify bundle --log-key log.vkey --roots vendor-roots/ --tsa-ca tsa-roots.pem
  attestry-audit verify node-1.interval --log-key log.vkey --agent node-1 --witness-policy witnesses.policy
  attestry-audit verify january.interval --log-key log.vkey --full --roots vendor-roots/";

const REPLAY_EXAMPLES: &str = "\
Examples:
  attestry-audit replay /var/lib/attestry-ledger --log-key log.vkey --roots vendor-roots/
  attestry-audit replay https://ledger:8894 --tls-dir tls --log-key log.vkey --without-evidence --json";

const MONITOR_EXAMPLES: &str = "\
Alarms are lines of JSON on stdout, and in alarms.jsonl of the mirror.

Examples:
  attestry-audit monitor --ledger https://ledger:8894 --tls-dir tls --log-key log.vkey --mirror mirror --roots vendor-roots/
  attestry-audit monitor --ledger https://ledger:8894 --tls-dir tls --log-key log.vkey --mirror mirror --once || page-me";

const PROVE_EXAMPLES: &str = "\
Examples:
  attestry-audit prove --agent node-1 --from -1d --to now -o node-1.interval --ledger https://ledger:8894 --tls-dir tls
  attestry-audit prove --agent node-1 --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --full -o january.interval \\
      --log /var/lib/attestry-ledger
  attestry-audit prove --fleet --label role=hypervisor --from -30d --to now -o month.fleet --ledger https://ledger:8894 \\
      --tls-dir tls";

const EXTRACT_EXAMPLES: &str = "\
Examples:
  attestry-audit extract bundle -o quote
  attestry-audit extract bundle --index 41 -o quote
  attestry-audit extract bundle --all -o quotes | sh -e";
