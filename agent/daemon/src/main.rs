//! `attestry-agent`: the attester as a process of its own.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use agent_daemon::config::{ConfigError, Options};
use agent_daemon::{Config, StartError};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use transport::{secret_memory::forbid_core_dumps, server::Shutdown};

/// Attests this machine: registers its TPM, answers challenges with quotes and logs, takes payloads.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// TOML file whose table "agent" has the settings; its members have the flags' names, with underscores
    #[arg(long, env = "KEYLIME_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// How to write the log to stderr: text or json
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(&arguments.log_format);
    forbid_core_dumps();
    let config = match configure(arguments) {
        Ok(config) => config,
        Err(error) => return fail(&error, ExitCode::from(2)),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, ExitCode::FAILURE),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref(), ExitCode::FAILURE),
    }
}

fn configure(arguments: Arguments) -> Result<Config, ConfigError> {
    let file = match &arguments.config {
        None => Options::default(),
        Some(path) => {
            let (options, unused) = Options::read(path)?;
            if !unused.is_empty() {
                tracing::warn!(settings = unused.join(", "), "settings without a meaning here are ignored");
            }
            options
        }
    };
    arguments.options.or(file).into_config(std::env::var("TPM2TOOLS_TCTI").ok())
}

async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let (handle, shutdown) = Shutdown::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let running = agent_daemon::start(config, shutdown).await.map_err(Box::<StartError>::new)?;
    let stopped = running.wait();
    tokio::pin!(stopped);
    tokio::select! {
        ended = &mut stopped => return Ok(ended?),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    handle.start();
    Ok(stopped.await?)
}

fn start_log(format: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if format == "json" { log.json().init() } else { log.init() }
}

/// Prints the error and its causes for a person.
fn fail(error: &(dyn std::error::Error + 'static), code: ExitCode) -> ExitCode {
    let mut text = format!("attestry-agent: {error}");
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!("\n  because: {next}"));
        cause = next.source();
    }
    // There is nowhere to report that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}

/// One for the server, one for what runs beside it; the TPM has threads of its own.
const WORKERS: usize = 2;

const EXAMPLES: &str = "\
Examples:
  attestry-agent --registrar-ip registrar.example --ip 0.0.0.0 --contact-ip 192.0.2.7
  attestry-agent --config /etc/keylime/agent.conf --log-format json
  attestry-agent --tcti swtpm:host=127.0.0.1,port=2321 --keylime-dir ./agent --port 0 \\
      --trusted-client-ca ./data/tls/cacert.crt --secure-dir /dev/shm/agent --ready-file ./agent/ready.json

Settings come from flags, then KEYLIME_AGENT_* variables, then the file. The TPM is taken from --tcti, TCTI or
TPM2TOOLS_TCTI. Exit status: 0 stopped as asked, 1 failed, 2 wrong usage or settings.";
