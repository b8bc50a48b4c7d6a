//! The command line's words.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use ledger_server::StampingAuthority;
use logging::LogFormat;
use messages::{AgentId, UnixMillis};

use crate::policy::PolicyToolsArguments;

/// Remote attestation with a ledger: run the servers, enrol and provision machines, look into what was recorded.
#[derive(Debug, Parser)]
#[command(name = "attestry", version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "Examples:
  attestry up --data ./site                      registrar, verifier and ledger in one process
  attestry trust add --data ./site vendor.pem    trust a TPM vendor's root
  attestry tenant add --data ./site node-1 --tpm-policy '{\"15\":\"00…00\"}' --payload secret.txt
  attestry tenant status --data ./site node-1
  attestry ledger fsck --data ./site

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows what a file of evidence or an entry says, without judging it
    Inspect(InspectArguments),
    /// Checks, rebuilds or describes a ledger's directory
    Ledger(LedgerArguments),
    /// Makes, compares, signs, checks and tries policies, without any server
    Policy(PolicyToolsArguments),
    /// Adds machines to the verifier and asks after them
    Tenant(TenantArguments),
    /// Manages the TPM vendors' certificates the registrar trusts
    Trust(TrustArguments),
    /// Runs registrar, verifier and ledger in one process on one data directory
    Up(Box<UpArguments>),
}

/// Where the site's data directory is.
#[derive(Args, Debug)]
pub(crate) struct DataArgument {
    /// Data directory of `attestry up`
    #[arg(long, env = "ATTESTRY_DATA", default_value = "attestry-data", value_name = "DIR")]
    pub(crate) data: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct JsonArgument {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  attestry up --data ./site --webhook http://127.0.0.1:9000/alarm

Ports are Keylime's; 0 takes any free one. The addresses in use are written to DIR/endpoints.json, the
log's verifier key to DIR/log.vkey: give that key to your auditors now, by another way than this host.")]
pub(crate) struct UpArguments {
    #[command(flatten)]
    pub(crate) data: DataArgument,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub(crate) listen: IpAddr,
    /// Registrar's plain port, for registration alone
    #[arg(long, default_value_t = 8890, value_name = "PORT")]
    pub(crate) registrar_port: u16,
    /// Registrar's TLS port
    #[arg(long, default_value_t = 8891, value_name = "PORT")]
    pub(crate) registrar_tls_port: u16,
    /// Verifier's port
    #[arg(long, default_value_t = 8881, value_name = "PORT")]
    pub(crate) verifier_port: u16,
    /// Ledger's port
    #[arg(long, default_value_t = 8893, value_name = "PORT")]
    pub(crate) ledger_port: u16,
    /// Origin of the log's checkpoints, e.g. example.com/attestry; fixed when the log is created, made up if not given
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// More names for the servers' certificates
    #[arg(long = "name", value_name = "HOST")]
    pub(crate) names: Vec<String>,
    /// Where failures are posted, http (loopback only) or https
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Time between quotes where an add does not say
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    pub(crate) interval_ms: u64,
    /// Least time between two censuses of the ledger, by which intervals are proven; an idle log's checkpoint goes on record as often
    #[arg(long, default_value_t = 60_000, value_name = "MS")]
    pub(crate) epoch_ms: u64,
    /// Witnesses to ask for cosignatures: a C2SP tlog-policy file with their addresses
    #[arg(long, value_name = "FILE")]
    pub(crate) witness_policy: Option<PathBuf>,
    /// Authorities of the witnesses' servers, PEM; needed for https addresses
    #[arg(long, value_name = "FILE", requires = "witness_policy")]
    pub(crate) witness_ca: Option<PathBuf>,
    /// Time-stamping authority (RFC 3161) for the log's checkpoints; repeat for several. Without a name it has its host's
    #[arg(long, value_name = "[NAME=]URL", requires = "tsa_ca")]
    pub(crate) tsa: Vec<StampingAuthority>,
    /// The authorities' roots, PEM: tokens that do not lead there are refused
    #[arg(long, value_name = "FILE", requires = "tsa")]
    pub(crate) tsa_ca: Option<PathBuf>,
    /// Whom to trust with https to the authorities, PEM
    #[arg(long, value_name = "FILE", requires = "tsa")]
    pub(crate) tsa_tls_ca: Option<PathBuf>,
    /// Time between stamps while entries come
    #[arg(long, default_value_t = 3_600, value_name = "S")]
    pub(crate) tsa_interval: u64,
    /// How long before a stamp's certificate expires it is renewed
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    pub(crate) tsa_renew_days: u32,
    /// Serve checkpoint and tiles without a client certificate
    #[arg(long)]
    pub(crate) public_log: bool,
    /// DANGER: activate TPMs whose EK certificate is absent or chains to no trusted root
    #[arg(long)]
    pub(crate) danger_no_ek_certificate: bool,
    /// How to write the log on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Args, Debug)]
pub(crate) struct TenantArguments {
    #[command(subcommand)]
    pub(crate) command: TenantCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Checks a registered machine, gives it to the verifier, and provisions a payload
    Add(Box<AddArguments>),
    /// Removes a machine from the verifier, or with --registrar from the fleet
    Delete(DeleteArguments),
    /// Lists all machines
    List(ListArguments),
    /// Puts a planned absence on record: silence in it that begins after the machine's next quote is not counted as missed
    Maintenance(MaintenanceArguments),
    /// Asks a failed or stopped machine for a fresh quote; only a pass makes it trusted again
    Reactivate(AgentArguments),
    /// Shows one machine
    Status(AgentArguments),
    /// Stops asking a machine for quotes
    Stop(AgentArguments),
    /// Changes what is asked of a machine, keeping its history; what is not given is no longer asked
    Update(Box<PolicyArguments>),
}

#[derive(Args, Debug)]
pub(crate) struct AgentArguments {
    /// The machine's id
    #[arg(value_name = "AGENT")]
    pub(crate) agent: AgentId,
    #[command(flatten)]
    pub(crate) data: DataArgument,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("end").required(true).args(["to", "length_ms"])))]
#[command(after_help = "Examples:
  attestry tenant maintenance node-1 --for 2h --reason 'new fans, ticket 4711'
  attestry tenant maintenance node-1 --from 2026-12-01T22:00:00Z --to 2026-12-02T02:00:00Z --reason 'firmware'

Announce it early: only what is on record before the machine's last quote counts for the silence that follows.")]
pub(crate) struct MaintenanceArguments {
    #[command(flatten)]
    pub(crate) agent: AgentArguments,
    /// When it begins; now, if not given
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) from: Option<UnixMillis>,
    /// When it is over, e.g. 2026-12-02T02:00:00Z; at most 30 days after it begins
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) to: Option<UnixMillis>,
    /// How long it takes: 90s, 45m, 2h or 3d
    #[arg(long = "for", value_name = "LENGTH", value_parser = length_ms)]
    pub(crate) length_ms: Option<u64>,
    /// Why, for whoever reads the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) data: DataArgument,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    pub(crate) agent: AgentArguments,
    /// Also retire the machine at the registrar, so that another TPM may take its id
    #[arg(long)]
    pub(crate) registrar: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PolicyArguments {
    #[command(flatten)]
    pub(crate) agent: AgentArguments,
    /// PCR policy: JSON `{"<pcr>": "hex" | ["hex", …]}`, or @FILE
    #[arg(long, default_value = "{}", value_name = "JSON")]
    pub(crate) tpm_policy: String,
    /// What may run: a runtime policy in Keylime's JSON, or the DSSE envelope it is signed in
    #[arg(long, value_name = "FILE")]
    pub(crate) runtime_policy: Option<PathBuf>,
    /// Name of a runtime policy at the verifier; with --runtime-policy the name to keep it under
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime_policy_name: Option<String>,
    /// A runtime policy at the verifier to put below this one, the lowest first, e.g. base=debian-13
    #[arg(long = "runtime-layer", value_name = "LAYER=NAME", value_parser = label)]
    pub(crate) runtime_layers: Vec<(String, String)>,
    /// PEM of the key or certificate that must have signed the runtime policy
    #[arg(long, value_name = "FILE", requires = "runtime_policy")]
    pub(crate) runtime_policy_key: Option<PathBuf>,
    /// What may boot: a measured-boot policy, or a reference state in Keylime's JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) mb_policy: Option<PathBuf>,
    /// Name of a measured-boot policy at the verifier; with --mb-policy the name to keep it under
    #[arg(long, value_name = "NAME")]
    pub(crate) mb_policy_name: Option<String>,
    /// Labels to record, e.g. role=hypervisor
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Time between quotes
    #[arg(long, value_name = "MS")]
    pub(crate) interval_ms: Option<u64>,
    /// How much later than the interval a quote may be before it counts as missed
    #[arg(long, value_name = "MS")]
    pub(crate) tolerance_ms: Option<u64>,
    /// Accepted hash algorithms
    #[arg(long, value_delimiter = ',', default_values = ["sha256", "sha384", "sha512"], value_name = "NAMES")]
    pub(crate) hash_algs: Vec<String>,
    /// Accepted EK algorithms
    #[arg(long, value_delimiter = ',', default_values = ["rsa", "rsa3072", "rsa4096", "ecc", "ecc384"], value_name = "NAMES")]
    pub(crate) enc_algs: Vec<String>,
    /// Accepted AK schemes
    #[arg(long, value_delimiter = ',', default_values = ["rsassa", "rsapss", "ecdsa"], value_name = "NAMES")]
    pub(crate) sign_algs: Vec<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  attestry tenant add node-1 --tpm-policy @pcrs.json --label role=hypervisor --label site=ams1
  attestry tenant add node-1 --runtime-policy runtime.json --mb-policy boot.json --wait 30
  attestry tenant add node-1 --payload bootstrap.zip --wait 60

The payload is encrypted here; the machine gets one half of its key now, the other from the verifier after a pass.")]
pub(crate) struct AddArguments {
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    /// File to deliver after the first passed attestation, at most 1 MiB
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Wait so many seconds for the first verdict: exit 0 on a pass, 1 otherwise
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct TrustArguments {
    #[command(subcommand)]
    pub(crate) command: TrustCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Adds vendor certificates (PEM or DER; roots and intermediates)
    Add {
        /// Certificate files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        data: DataArgument,
    },
    /// Lists the certificates trusted for TPMs
    List {
        #[command(flatten)]
        data: DataArgument,
        #[command(flatten)]
        json: JsonArgument,
    },
}

#[derive(Args, Debug)]
pub(crate) struct LedgerArguments {
    #[command(subcommand)]
    pub(crate) command: LedgerCommand,
    #[command(flatten)]
    pub(crate) data: DataArgument,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Reads everything and says what is damaged
    Fsck,
    /// Describes the log
    Info,
    /// Rebuilds the indexes from the entries; the ledger must not be running
    Reindex,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArguments {
    /// What the file is
    #[arg(value_enum)]
    pub(crate) what: Inspected,
    /// The file; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Inspected {
    /// A boot event log as firmware and boot loaders write it, a confidential guest's (CCEL) among them
    BootLog,
    /// An EK certificate: PEM, DER, or as it lies in a TPM's NV memory
    EkCert,
    /// A ledger entry's CBOR
    Entry,
    /// An IMA measurement list, ASCII or binary
    Ima,
    /// A Keylime quote string, an agent's JSON answer around one, or a TPMS_ATTEST
    Quote,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// RFC 3339, which names its zone.
fn instant(text: &str) -> Result<UnixMillis, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok();
    let ms = time.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
    ms.map(UnixMillis).ok_or_else(|| "expected a time such as 2026-12-01T22:00:00Z".to_owned())
}

fn length_ms(text: &str) -> Result<u64, String> {
    let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let parts = units.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms)));
    let length = parts.and_then(|(number, ms)| number.parse::<u64>().ok()?.checked_mul(ms));
    length.filter(|length| *length > 0).ok_or_else(|| "expected a length such as 90s, 45m, 2h or 3d".to_owned())
}
