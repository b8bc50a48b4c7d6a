//! `attestry-witness`: makes a witness and runs it.
//!
//! Only flags, logs and signals; everything else is `ledger_witness`.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ledger_keys::KeyType;
use ledger_witness::logs::Logs;
use ledger_witness::service::{self, Config};
use ledger_witness::{Witness, identity};
use logging::LogFormat;
use tokio::signal::unix::{SignalKind, signal};
use transport::server::Shutdown;
use transport::tls::{ClientAuth, Identity, ServerTls};

/// Watches logs: cosigns each checkpoint that extends the last one, and no other.
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
    /// Makes a witness with a new key and prints its verifier key.
    Keygen(Keygen),
    /// Runs a witness.
    Serve(Serve),
}

#[derive(Args, Debug)]
struct Keygen {
    /// Folder of the witness: its key and what it has cosigned. Never to be restored from a copy.
    #[arg(long, env = "ATTESTRY_WITNESS_DATA", value_name = "DIR")]
    data: PathBuf,

    /// The witness's name, by convention a URL without scheme.
    #[arg(long, env = "ATTESTRY_WITNESS_NAME", value_name = "NAME")]
    name: String,

    /// Type of the key: ed25519, which everybody verifies, or mldsa44, which needs OpenSSL 3.5 or later.
    #[arg(long, env = "ATTESTRY_WITNESS_KEY_TYPE", value_name = "TYPE", default_value_t = KeyType::Ed25519)]
    key_type: KeyType,
}

#[derive(Args, Debug)]
struct Serve {
    /// Folder of the witness.
    #[arg(long, env = "ATTESTRY_WITNESS_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Where to listen.
    #[arg(long, env = "ATTESTRY_WITNESS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8895")]
    listen: SocketAddr,

    /// Verifier key of a log to witness, and its origin after a space if that is not the key's name.
    #[arg(long, value_name = "VKEY")]
    log: Vec<String>,

    /// File with one such line for each log key.
    #[arg(long, env = "ATTESTRY_WITNESS_LOGS", value_name = "FILE")]
    logs: Option<PathBuf>,

    /// Path in front of `/add-checkpoint` and of each log's `/checkpoint`.
    #[arg(long, env = "ATTESTRY_WITNESS_PREFIX", value_name = "PATH", default_value = "")]
    prefix: String,

    /// The server's certificate, PEM; without it the witness speaks plain HTTP.
    #[arg(long, env = "ATTESTRY_WITNESS_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its private key, PEM, readable by its owner only.
    #[arg(long, env = "ATTESTRY_WITNESS_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.log_format);
    let done = match arguments.command {
        Command::Keygen(keygen) => run_keygen(&keygen),
        Command::Serve(serve) => run(serve),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => logging::failed("the witness", error.as_ref()),
    }
}

fn run_keygen(keygen: &Keygen) -> Result<(), Box<dyn Error>> {
    let verifier = identity::create(&keygen.data, &keygen.name, keygen.key_type)?;
    writeln!(io::stdout(), "{verifier}")?;
    Ok(())
}

fn run(serve: Serve) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let (stop, shutdown) = Shutdown::new();
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let config = config(serve)?;
        let vkey = config.witness.verifier().to_string();
        let running = service::start(config, shutdown).await?;
        // A supervisor that asked for port 0 learns here where to connect.
        let told = format!("listening on {}\nwitness key {vkey}\n", running.address());
        if let Err(error) = io::stdout().write_all(told.as_bytes()).and_then(|()| io::stdout().flush()) {
            tracing::warn!(%error, "nobody reads where the witness listens");
        }
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        tracing::info!("stopping");
        stop.start();
        running.wait().await?;
        Ok(())
    })
}

fn config(serve: Serve) -> Result<Config, Box<dyn Error>> {
    let mut logs = match &serve.logs {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            Logs::parse(&text.map_err(|error| format!("cannot read {}: {error}", path.display()))?)?
        }
        None => Logs::default(),
    };
    for line in &serve.log {
        logs.add(line)?;
    }
    if logs.is_empty() {
        return Err("no log to witness: name one with --log or --logs".into());
    }
    let tls = match serve.tls_cert.zip(serve.tls_key) {
        Some((certificate, key)) => Some(ServerTls::new(&Identity::load(&certificate, &key)?, &ClientAuth::None)?),
        None => None,
    };
    let cosigner = identity::load(&serve.data)?;
    let witness = Witness::open(&serve.data, cosigner, logs)?;
    Ok(Config { address: serve.listen, limits: service::limits(), prefix: serve.prefix, tls, witness })
}

const EXAMPLES: &str = "\
Examples:
  attestry-witness keygen --data /var/lib/attestry-witness --name witness.example/w1
  attestry-witness serve --data /var/lib/attestry-witness --listen 0.0.0.0:8895 \\
      --log ledger.example/log1+0e8f6b0c+AZsf… --tls-cert server.crt --tls-key server.pem

Ends with 0 when all is well, 1 on failure, 2 if the arguments are wrong.";
