//! `attestry-registrar`: the registrar as a process of its own.
//!
//! Only flags, logs and signals; everything else is `registrar_server`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ledger_client::{LedgerClient, LedgerClientConfig};
use logging::LogFormat;
use registrar_protocol::EkCertificatePolicy;
use registrar_server::{Config, PendingLimits, RateLimits};
use tokio::signal::unix::{SignalKind, signal};
use transport::secret_memory::forbid_core_dumps;
use transport::server::{Limits, Shutdown};
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls, certificates_from_pem};

/// Checks who an attester is and keeps the book of identities.
///
/// Agents register over plain HTTP or TLS; operators and our own servers read over TLS with a client certificate.
/// Nothing becomes active before the ledger has recorded it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Folder of the identity book; made if missing.
    #[arg(long, env = "ATTESTRY_REGISTRAR_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Folder of the TPM vendors' certificates (.pem, .crt, .cer, .der); read again when it changes.
    #[arg(long, env = "ATTESTRY_REGISTRAR_TRUST", value_name = "DIR")]
    trust: PathBuf,

    /// Where to listen with TLS.
    #[arg(long, env = "ATTESTRY_REGISTRAR_LISTEN_TLS", value_name = "ADDRESS", default_value = "127.0.0.1:8891")]
    listen_tls: SocketAddr,

    /// Where to offer registration without TLS; nowhere if not given.
    #[arg(long, env = "ATTESTRY_REGISTRAR_LISTEN_PLAIN", value_name = "ADDRESS")]
    listen_plain: Option<SocketAddr>,

    /// The server's certificate, PEM.
    #[arg(long, env = "ATTESTRY_REGISTRAR_TLS_CERT", value_name = "FILE")]
    tls_cert: PathBuf,

    /// Its private key, PEM, readable by its owner only.
    #[arg(long, env = "ATTESTRY_REGISTRAR_TLS_KEY", value_name = "FILE")]
    tls_key: PathBuf,

    /// The authorities of client certificates, PEM: whoever has one of theirs is an operator, auditor or server of ours.
    #[arg(long, env = "ATTESTRY_REGISTRAR_CLIENT_CA", value_name = "FILE")]
    client_ca: PathBuf,

    /// The ledger, as https://host:port.
    #[arg(long, env = "ATTESTRY_REGISTRAR_LEDGER_URL", value_name = "URL")]
    ledger_url: String,

    /// The authorities of the ledger's certificate, PEM; those of client certificates if not given.
    #[arg(long, env = "ATTESTRY_REGISTRAR_LEDGER_CA", value_name = "FILE")]
    ledger_ca: Option<PathBuf>,

    /// The certificate shown to the ledger, PEM; its role must be service (OU=attestry-service).
    #[arg(long, env = "ATTESTRY_REGISTRAR_LEDGER_CERT", value_name = "FILE")]
    ledger_cert: PathBuf,

    /// Its private key, PEM, readable by its owner only.
    #[arg(long, env = "ATTESTRY_REGISTRAR_LEDGER_KEY", value_name = "FILE")]
    ledger_key: PathBuf,

    /// Which of several registrars this is, as the ledger will say.
    #[arg(long, env = "ATTESTRY_REGISTRAR_INSTANCE", value_name = "NAME", default_value = "1")]
    instance: String,

    /// Enrol TPMs whose EK certificate is missing or leads to no trusted root. Anyone can then enrol a TPM made of
    /// software; each such enrolment says so in the ledger.
    #[arg(long, env = "ATTESTRY_REGISTRAR_DANGER_EK_CERTIFICATE_NOT_REQUIRED")]
    danger_ek_certificate_not_required: bool,

    /// How logs are written to stderr; what is logged is chosen by RUST_LOG.
    #[arg(long, env = "ATTESTRY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.log_format);
    forbid_core_dumps();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return logging::failed("the registrar", &error),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => logging::failed("the registrar", error.as_ref()),
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (stop, shutdown) = Shutdown::new();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let running = registrar_server::start(config(arguments)?, shutdown).await?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    tracing::info!("stopping");
    stop.start();
    Ok(running.wait().await?)
}

fn config(arguments: Arguments) -> Result<Config, Box<dyn Error>> {
    let identity = Identity::load(&arguments.tls_cert, &arguments.tls_key)?;
    let clients = authorities(&arguments.client_ca)?;
    let shown = Identity::load(&arguments.ledger_cert, &arguments.ledger_key)?;
    let ledger_tls = ClientTls::new(&ClientTlsConfig {
        authorities: arguments.ledger_ca.as_ref().map_or_else(|| Ok(clients.clone()), authorities)?,
        host_names: HostNames::Checked,
        identity: Some(shown),
    })?;
    let ek_certificate = match arguments.danger_ek_certificate_not_required {
        true => EkCertificatePolicy::DangerNotRequired,
        false => EkCertificatePolicy::Required,
    };
    Ok(Config {
        data: arguments.data,
        ek_certificate,
        instance: arguments.instance,
        ledger: LedgerClient::new(LedgerClientConfig::new(arguments.ledger_url, ledger_tls)),
        limits: Limits::default(),
        pending: PendingLimits::default(),
        plain_address: arguments.listen_plain,
        rate: RateLimits::default(),
        tls: ServerTls::new(&identity, &ClientAuth::Optional(clients))?,
        tls_address: arguments.listen_tls,
        trust: arguments.trust,
    })
}

fn authorities(file: &PathBuf) -> Result<Vec<openssl::x509::X509>, Box<dyn Error>> {
    let pem = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let read = certificates_from_pem(&pem);
    read.map_err(|error| format!("{} holds no PEM certificate: {error}", file.display()).into())
}

const EXAMPLES: &str = "\
Examples:
  attestry-registrar --data /var/lib/attestry/registrar --trust /etc/attestry/trust \\
      --listen-tls 0.0.0.0:8891 --listen-plain 0.0.0.0:8890 \\
      --tls-cert tls/server-cert.crt --tls-key tls/server-private.pem --client-ca tls/cacert.crt \\
      --ledger-url https://ledger.example:8893 \\
      --ledger-cert tls/registrar-cert.crt --ledger-key tls/registrar-private.pem

  RUST_LOG=registrar_server=debug attestry-registrar --log-format json ...

Ends with 0 after SIGTERM or SIGINT, 1 on failure, 2 if the arguments are wrong.";
