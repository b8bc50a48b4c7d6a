//! `attestry-verifier`: one verifier as a process of its own.

use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use ledger_client::LedgerClientConfig;
use logging::LogFormat;
use tokio::signal::unix::{SignalKind, signal};
use transport::{
    secret_memory::forbid_core_dumps,
    server::Shutdown,
    tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls, certificates_from_pem},
};
use verifier_server::{Config, Notify, Polling, Webhook};

/// Asks agents for quotes, records each with its verdict in the ledger, then releases keys and tells of failures.
#[derive(Debug, Parser)]
#[command(
    name = "attestry-verifier",
    version,
    after_help = "\
Examples:
  attestry-verifier --data /var/lib/attestry/verifier --tls-dir /etc/attestry/tls --ledger https://ledger:8892
  attestry-verifier --data data/verifier --tls-dir data/tls --ledger https://127.0.0.1:8892 \\
      --webhook http://127.0.0.1:9000/revocations --log-format json

The TLS folder is laid out as Keylime's cv_ca: cacert.crt, server-cert.crt and server-private.pem for this server,
verifier-cert.crt and verifier-private.pem (with OU=attestry-service) for the ledger, the agents and the webhook.
Private keys must be readable by their owner alone.

Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage."
)]
struct Arguments {
    /// Adds agents without a TLS certificate and asks them over plain HTTP. Anyone between reads and changes what passes.
    #[arg(long, env = "ATTESTRY_VERIFIER_DANGER_AGENTS_WITHOUT_TLS")]
    danger_agents_without_tls: bool,
    /// Folder for records and the secret key; made if it is not there.
    #[arg(long, value_name = "DIR", env = "ATTESTRY_VERIFIER_DATA")]
    data: PathBuf,
    /// Milliseconds between two quotes of one agent, unless its add says otherwise.
    #[arg(long, value_name = "MS", default_value_t = 2_000, env = "ATTESTRY_VERIFIER_INTERVAL_MS")]
    interval_ms: u64,
    /// Address of the ledger, https://host:port.
    #[arg(long, value_name = "URL", env = "ATTESTRY_VERIFIER_LEDGER")]
    ledger: String,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8881", env = "ATTESTRY_VERIFIER_LISTEN")]
    listen: SocketAddr,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "ATTESTRY_VERIFIER_LOG_FORMAT")]
    log_format: LogFormat,
    /// Milliseconds for one request to an agent.
    #[arg(long, value_name = "MS", default_value_t = 10_000, env = "ATTESTRY_VERIFIER_REQUEST_TIMEOUT_MS")]
    request_timeout_ms: u64,
    /// Milliseconds before a request that failed is repeated; each next wait doubles.
    #[arg(long, value_name = "MS", default_value_t = 2_000, env = "ATTESTRY_VERIFIER_RETRY_BASE_MS")]
    retry_base_ms: u64,
    /// Repetitions before a miss is recorded.
    #[arg(long, value_name = "N", default_value_t = 5, env = "ATTESTRY_VERIFIER_RETRIES")]
    retries: u32,
    /// Folder with this verifier's certificates and keys.
    #[arg(long, value_name = "DIR", env = "ATTESTRY_VERIFIER_TLS_DIR")]
    tls_dir: PathBuf,
    /// Milliseconds that a quote may be later than its interval; four intervals if not given.
    #[arg(long, value_name = "MS", env = "ATTESTRY_VERIFIER_TOLERANCE_MS")]
    tolerance_ms: Option<u64>,
    /// Which one of several verifiers this is.
    #[arg(long, value_name = "ID", default_value = "default", env = "ATTESTRY_VERIFIER_ID")]
    verifier_id: String,
    /// Address that revocations are posted to: https, or http to a loopback address.
    #[arg(long, value_name = "URL", env = "ATTESTRY_VERIFIER_WEBHOOK")]
    webhook: Option<String>,
    /// PEM file of the authorities the webhook's certificate may have; the TLS folder's cacert.crt if not given.
    #[arg(long, value_name = "FILE", requires = "webhook", env = "ATTESTRY_VERIFIER_WEBHOOK_CA")]
    webhook_ca: Option<PathBuf>,
    /// Tells no agents of other agents' failures.
    #[arg(long, env = "ATTESTRY_VERIFIER_NO_AGENT_NOTICES")]
    no_agent_notices: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.log_format);
    forbid_core_dumps();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attestry-verifier: {}", logging::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let config = config(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (handle, shutdown) = Shutdown::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let running = verifier_server::start(config, shutdown).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        handle.start();
        running.wait().await;
        Ok(())
    })
}

fn config(arguments: Arguments) -> Result<Config, Box<dyn Error>> {
    let folder = &arguments.tls_dir;
    let read = |path: &PathBuf| {
        let pem = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        certificates_from_pem(&pem).map_err(|error| format!("{} holds no PEM certificate: {error}", path.display()))
    };
    let authorities = read(&folder.join("cacert.crt"))?;
    let server = Identity::load(&folder.join("server-cert.crt"), &folder.join("server-private.pem"))?;
    let own = Identity::load(&folder.join("verifier-cert.crt"), &folder.join("verifier-private.pem"))?;
    let client = |authorities, host_names| {
        ClientTls::new(&ClientTlsConfig { authorities, host_names, identity: Some(own.clone()) })
    };
    let webhook = match arguments.webhook {
        None => None,
        Some(url) => {
            let trusted = arguments.webhook_ca.as_ref().map_or_else(|| Ok(authorities.clone()), read)?;
            Some(Webhook { tls: client(trusted, HostNames::Checked)?, url })
        }
    };
    let ledger_tls = client(authorities.clone(), HostNames::Checked)?;
    Ok(Config {
        // Agents are pinned one by one: nobody is trusted for being certified.
        agent_tls: client(Vec::new(), HostNames::Checked)?,
        danger_agents_without_tls: arguments.danger_agents_without_tls,
        data_dir: arguments.data,
        ledger: LedgerClientConfig::new(arguments.ledger, ledger_tls),
        listen: arguments.listen,
        notify: Notify { agents: !arguments.no_agent_notices, webhook, ..Notify::default() },
        polling: Polling {
            interval: Duration::from_millis(arguments.interval_ms),
            request_timeout: Duration::from_millis(arguments.request_timeout_ms),
            retry_base: Duration::from_millis(arguments.retry_base_ms),
            retries_max: arguments.retries,
            tolerance: arguments.tolerance_ms.map(Duration::from_millis),
            ..Polling::default()
        },
        server_tls: ServerTls::new(&server, &ClientAuth::Optional(authorities))?,
        long_lists_bytes_max: verifier_server::LONG_LISTS_BYTES_MAX,
        verifier_id: arguments.verifier_id,
    })
}
