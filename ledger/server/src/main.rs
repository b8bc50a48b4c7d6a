//! `attestry-ledger`: the ledger as a process of its own, and what an operator does to its files.
//!
//! Only flags, logs and signals; everything else is `ledger_server`.

mod cli;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ledger_server::{
    Config, ExportedBlobs, HistoriesConfig, KeyType, LogConfig, Severity, StampingAuthority, StampingConfig,
    WitnessConfig, certificates, export, fsck_showing, info_of, init, reindex_log,
};
use logging::LogFormat;
use tokio::signal::unix::{SignalKind, signal};
use transport::secret_memory::forbid_core_dumps;
use transport::server::{Limits, Shutdown};
use transport::tls::{ClientAuth, Identity, ServerTls};

/// Keeps the log of everything that was attested, and proves that it does.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// How logs are written to stderr; what is logged is chosen by RUST_LOG.
    #[arg(long, global = true, env = "ATTESTRY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the keys of a log before it is served first, or gives a stopped log further ones.
    Init(Init),
    /// Serves the log in a folder, beginning one where there is none.
    Serve(Box<Serve>),
    /// Reads a stopped log through and says what is lost or altered.
    Fsck(Inspect),
    /// Makes the indexes of a stopped log anew from its segments and checkpoints.
    Reindex(Inspect),
    /// Copies a log, which may be running, with its keys; copies only what is new into an earlier copy.
    Backup(cli::backup::Backup),
    /// Makes a log of such a copy again, unless more was signed than the copy holds.
    Restore(cli::backup::Restore),
    /// Deletes the bodies of old entries of a stopped log, after recording that; receipts and
    /// proofs stay valid.
    Prune(cli::prune::Prune),
    /// Shows what a stopped log says of itself.
    Info(Inspect),
    /// Writes checkpoint, tiles and entries into a folder that any web server can serve (C2SP
    /// tlog-tiles); the log may be running.
    Export(Export),
}

#[derive(Args, Debug)]
struct Serve {
    /// Folder of the log; made if missing.
    #[arg(long, env = "ATTESTRY_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Folder of the lock that says which checkpoint was signed last, apart from the data and its
    /// copies; made with the log and never again. By default `lock` in the data folder.
    #[arg(long, env = "ATTESTRY_LEDGER_LOCK", value_name = "DIR")]
    lock: Option<PathBuf>,

    /// Where to listen with TLS.
    #[arg(long, env = "ATTESTRY_LEDGER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8893")]
    listen: SocketAddr,

    /// The server's certificate, PEM.
    #[arg(long, env = "ATTESTRY_LEDGER_TLS_CERT", value_name = "FILE")]
    tls_cert: PathBuf,

    /// Its private key, PEM, readable by its owner only.
    #[arg(long, env = "ATTESTRY_LEDGER_TLS_KEY", value_name = "FILE")]
    tls_key: PathBuf,

    /// The authorities of client certificates, PEM: services append, auditors and operators read.
    #[arg(long, env = "ATTESTRY_LEDGER_CLIENT_CA", value_name = "FILE")]
    client_ca: PathBuf,

    /// The log's name when it is new, by convention a URL without scheme; made up if not given.
    #[arg(long, env = "ATTESTRY_LEDGER_ORIGIN", value_name = "NAME")]
    origin: Option<String>,

    /// Which of several ledgers this is, as its entries will say.
    #[arg(long, env = "ATTESTRY_LEDGER_INSTANCE", value_name = "NAME", default_value = "1")]
    instance: String,

    /// Milliseconds between checkpoints while entries come.
    #[arg(long, env = "ATTESTRY_LEDGER_CHECKPOINT_INTERVAL_MS", value_name = "MS", default_value_t = 1_000)]
    checkpoint_interval_ms: u64,

    /// The witnesses to ask for cosignatures, a C2SP tlog-policy file with their addresses.
    #[arg(long, env = "ATTESTRY_LEDGER_WITNESS_POLICY", value_name = "FILE")]
    witness_policy: Option<PathBuf>,

    /// The authorities of the witnesses' servers, PEM; needed for addresses with https.
    #[arg(long, env = "ATTESTRY_LEDGER_WITNESS_CA", value_name = "FILE", requires = "witness_policy")]
    witness_ca: Option<PathBuf>,

    /// Milliseconds that a checkpoint waits for cosignatures before it is published.
    #[arg(long, env = "ATTESTRY_LEDGER_WITNESS_TIMEOUT_MS", value_name = "MS", default_value_t = 1_000)]
    witness_timeout_ms: u64,

    /// Start although no witness can be asked whether this folder is the newest state of the log.
    #[arg(long, requires = "witness_policy")]
    danger_start_unchecked: bool,

    /// Let everyone read checkpoint and tiles, without a certificate.
    #[arg(long, env = "ATTESTRY_LEDGER_PUBLIC_READ")]
    public_read: bool,

    /// Where /metrics, /healthz and /readyz answer without TLS, on a loopback address.
    #[arg(long, env = "ATTESTRY_LEDGER_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,

    /// Mebibytes that the disk must have left for the ledger to call itself ready.
    #[arg(long, env = "ATTESTRY_LEDGER_DISK_FREE_MIN_MIB", value_name = "MIB", default_value_t = 512)]
    disk_free_min_mib: u64,

    /// How long entries keep their bodies (90d, 12h); older ones are pruned, after recording that.
    /// For ever if not given.
    #[arg(long, env = "ATTESTRY_LEDGER_RETAIN", value_name = "DURATION", value_parser = cli::duration)]
    retain: Option<Duration>,

    #[command(flatten)]
    stamping: Stamping,

    #[command(flatten)]
    histories: Histories,
}

/// How often checkpoints and the census go on record.
#[derive(Args, Debug)]
struct Histories {
    /// Least milliseconds between two censuses.
    #[arg(long, env = "ATTESTRY_LEDGER_EPOCH_MS", value_name = "MS", default_value_t = 60_000)]
    epoch_ms: u64,

    /// Milliseconds after which an idle log puts a checkpoint on record all the same.
    #[arg(long, env = "ATTESTRY_LEDGER_IDLE_CHECKPOINT_MS", value_name = "MS", default_value_t = 60_000)]
    idle_checkpoint_ms: u64,

    /// Put neither checkpoints nor censuses on record and keep no histories: no interval can be proven.
    #[arg(long, env = "ATTESTRY_LEDGER_NO_HISTORIES", conflicts_with_all = ["epoch_ms", "idle_checkpoint_ms"])]
    no_histories: bool,
}

impl Histories {
    fn config(&self) -> Option<HistoriesConfig> {
        (!self.no_histories).then(|| HistoriesConfig {
            epoch: Duration::from_millis(self.epoch_ms),
            idle_checkpoint_interval: Duration::from_millis(self.idle_checkpoint_ms.max(1)),
        })
    }
}

/// Who stamps the log's checkpoints (RFC 3161).
#[derive(Args, Debug)]
struct Stamping {
    /// A time-stamping authority; repeat for several, each with a name of its own.
    #[arg(long, env = "ATTESTRY_LEDGER_TSA", value_name = "[NAME=]URL", value_delimiter = ',', requires = "tsa_ca")]
    tsa: Vec<StampingAuthority>,

    /// The authorities' roots, PEM: tokens that do not lead there are refused.
    #[arg(long, env = "ATTESTRY_LEDGER_TSA_CA", value_name = "FILE")]
    tsa_ca: Option<PathBuf>,

    /// Whom to trust with https to the authorities, PEM; without it only http is possible.
    #[arg(long, env = "ATTESTRY_LEDGER_TSA_TLS_CA", value_name = "FILE")]
    tsa_tls_ca: Option<PathBuf>,

    /// Seconds between stamps while entries come.
    #[arg(long, env = "ATTESTRY_LEDGER_TSA_PERIOD_S", value_name = "S", default_value_t = 3_600)]
    tsa_period_s: u64,

    /// Days before a stamp's certificate expires at which it is renewed.
    #[arg(long, env = "ATTESTRY_LEDGER_TSA_RENEW_DAYS", value_name = "DAYS", default_value_t = 30)]
    tsa_renew_days: u32,
}

#[derive(Args, Debug)]
struct Init {
    /// Folder of the log; made if missing.
    #[arg(long, env = "ATTESTRY_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Folder of its lock, if it is not to be `lock` in the data folder.
    #[arg(long, env = "ATTESTRY_LEDGER_LOCK", value_name = "DIR")]
    lock: Option<PathBuf>,

    /// The log's name, by convention a URL without scheme; made up if not given.
    #[arg(long, env = "ATTESTRY_LEDGER_ORIGIN", value_name = "NAME")]
    origin: Option<String>,

    /// Types of the keys, each of which signs every checkpoint with a line of its own: ed25519, p256,
    /// mldsa44. The first is the log's own, ed25519 or p256; public logs have ed25519 there.
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "ed25519")]
    key_type: Vec<KeyType>,
}

#[derive(Args, Debug)]
struct Export {
    /// Folder of the log.
    #[arg(long, env = "ATTESTRY_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Folder to write into; made if missing, brought up to date if it has an earlier export.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,

    /// With all blobs that the entries name (evidence, policies, certificates), so that verdicts can be judged
    /// again; else with those that histories and times are computed with.
    #[arg(long)]
    blobs: bool,

    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Inspect {
    /// Folder of the log.
    #[arg(long, env = "ATTESTRY_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Folder of its lock, if it is not `lock` in the data folder.
    #[arg(long, env = "ATTESTRY_LEDGER_LOCK", value_name = "DIR")]
    lock: Option<PathBuf>,

    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    fn config(&self) -> LogConfig {
        let mut config = LogConfig::new(&self.data);
        config.lock.clone_from(&self.lock);
        config
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.log_format);
    forbid_core_dumps();
    let done = match arguments.command {
        Command::Init(init) => run_init(&init),
        Command::Serve(serve) => run(*serve),
        Command::Fsck(inspect) => run_fsck(&inspect),
        Command::Reindex(inspect) => run_reindex(&inspect),
        Command::Backup(backup) => cli::backup::run(&backup),
        Command::Restore(restore) => cli::backup::run_restore(restore),
        Command::Prune(prune) => cli::prune::run(prune),
        Command::Info(inspect) => run_info(&inspect),
        Command::Export(arguments) => run_export(&arguments),
    };
    done.unwrap_or_else(|error| logging::failed("the ledger", error.as_ref()))
}

fn run(serve: Serve) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let (stop, shutdown) = Shutdown::new();
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let running = ledger_server::start(config(serve)?, shutdown).await?;
        // A supervisor that asked for port 0 learns here where to connect.
        let mut told = format!("listening on {}\nlog key {}\n", running.address(), running.vkey());
        if let Some(address) = running.monitoring_address() {
            told.push_str(&format!("metrics on {address}\n"));
        }
        if let Err(error) = io::stdout().write_all(told.as_bytes()).and_then(|()| io::stdout().flush()) {
            tracing::warn!(%error, "nobody reads where the ledger listens");
        }
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            () = running.lock_lost() => {}
        }
        tracing::info!("stopping");
        stop.start();
        running.wait().await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn config(serve: Serve) -> Result<Config, Box<dyn Error>> {
    let identity = Identity::load(&serve.tls_cert, &serve.tls_key)?;
    let clients = certificates(&serve.client_ca)?;
    let mut log = LogConfig::new(serve.data);
    log.checkpoint_interval = Duration::from_millis(serve.checkpoint_interval_ms);
    log.histories = serve.histories.config();
    log.instance = serve.instance;
    log.lock = serve.lock;
    log.retain = serve.retain;
    log.monitoring.listen = serve.metrics_listen;
    log.monitoring.disk_free_bytes_min = serve.disk_free_min_mib.saturating_mul(1 << 20);
    log.origin = serve.origin;
    log.stamping = stamping(serve.stamping)?;
    if let Some(path) = &serve.witness_policy {
        let mut witnesses = WitnessConfig::load(path, serve.witness_ca.as_deref())?;
        witnesses.timeout = Duration::from_millis(serve.witness_timeout_ms);
        witnesses.danger_start_unchecked = serve.danger_start_unchecked;
        log.witnesses = Some(witnesses);
    }
    Ok(Config {
        address: serve.listen,
        limits: Limits::default(),
        log,
        public_read: serve.public_read,
        tls: ServerTls::new(&identity, &ClientAuth::Optional(clients))?,
    })
}

/// Nobody, if no authority is named.
fn stamping(stamping: Stamping) -> Result<Option<StampingConfig>, Box<dyn Error>> {
    let (Some(roots), false) = (&stamping.tsa_ca, stamping.tsa.is_empty()) else {
        return Ok(None);
    };
    let config = StampingConfig::load(
        stamping.tsa,
        roots,
        stamping.tsa_tls_ca.as_deref(),
        Duration::from_secs(stamping.tsa_period_s),
        Duration::from_secs(u64::from(stamping.tsa_renew_days) * 24 * 60 * 60),
    )?;
    Ok(Some(config))
}

fn run_init(arguments: &Init) -> Result<ExitCode, Box<dyn Error>> {
    let mut log = LogConfig::new(arguments.data.clone());
    log.origin.clone_from(&arguments.origin);
    log.lock.clone_from(&arguments.lock);
    let keys = init(&log, &arguments.key_type)?;
    let mut out = io::stdout().lock();
    for key in keys {
        writeln!(out, "{key}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_export(arguments: &Export) -> Result<ExitCode, Box<dyn Error>> {
    let blobs = if arguments.blobs { ExportedBlobs::All } else { ExportedBlobs::Histories };
    let report = export(&arguments.data, &arguments.out, blobs)?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let (origin, entries) = (&report.origin, report.tree_size);
        let (written, kept, notes, stamps) = (report.written, report.kept, report.notes, report.stamps);
        writeln!(
            out,
            "{entries} entries of {origin}: {written} tiles written, {kept} kept; {notes} notes, {stamps} time-stamps"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_fsck(inspect: &Inspect) -> Result<ExitCode, Box<dyn Error>> {
    // On a terminal only: what is piped or logged stays clean.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")?);
    let report = fsck_showing(&inspect.config(), |read, total| {
        bar.set_length(total);
        bar.set_position(read);
    })?;
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    if inspect.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        for finding in &report.findings {
            let severity = match finding.severity {
                Severity::Damage => "DAMAGE",
                Severity::Notice => "notice",
            };
            writeln!(out, "{severity} {}: {}", finding.file, finding.text)?;
        }
        let (entries, signed) = (report.entries, report.signed);
        let (checkpoints, blobs) = (report.checkpoints, report.blobs);
        writeln!(out, "{entries} entries ({signed} signed), {checkpoints} checkpoints, {blobs} blobs")?;
        writeln!(out, "{}", if report.is_sound() { "sound" } else { "NOT sound" })?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_reindex(inspect: &Inspect) -> Result<ExitCode, Box<dyn Error>> {
    let digest = reindex_log(&inspect.config())?;
    let mut out = io::stdout().lock();
    if inspect.json {
        writeln!(out, "{}", serde_json::json!({ "index_digest": digest.to_string() }))?;
    } else {
        writeln!(out, "index made anew, digest {digest}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_info(inspect: &Inspect) -> Result<ExitCode, Box<dyn Error>> {
    let (info, digest) = info_of(&inspect.config())?;
    let mut out = io::stdout().lock();
    if inspect.json {
        let mut value = serde_json::to_value(&info)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("index_digest".to_owned(), digest.to_string().into());
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
    } else {
        writeln!(out, "origin      {}\nkey         {}", info.origin, info.vkey)?;
        writeln!(out, "entries     {}\nsigned      {}", info.durable_size, info.checkpoint_size)?;
        writeln!(out, "next slot   {}\nindex       {digest}", info.next_slot)?;
    }
    Ok(ExitCode::SUCCESS)
}

const EXAMPLES: &str = "\
Examples:
  attestry-ledger serve --data /var/lib/attestry/ledger --listen 0.0.0.0:8893 --origin ledger.example/log1 \\
      --tls-cert tls/server-cert.crt --tls-key tls/server-private.pem --client-ca tls/cacert.crt

  attestry-ledger serve ... --tsa tsa1=http://tsa.example/tsr --tsa-ca tsa-roots.pem

  attestry-ledger init --data /var/lib/attestry/ledger --origin ledger.example/log1 --key-type ed25519,p256

  attestry-ledger export --data /var/lib/attestry/ledger --out /var/www/log
  attestry-ledger backup --data /var/lib/attestry/ledger --to /mnt/backup/ledger
  attestry-ledger restore --from /mnt/backup/ledger --to /var/lib/attestry/ledger --lock /var/lib/attestry/lock
  attestry-ledger fsck --data /var/lib/attestry/ledger --json
  attestry-ledger prune --data /var/lib/attestry/ledger --older-than 400d --reason 'retention policy 7'
  attestry-ledger reindex --data /var/lib/attestry/ledger

Ends with 0 when all is well, 1 on failure or damage, 2 if the arguments are wrong.";
