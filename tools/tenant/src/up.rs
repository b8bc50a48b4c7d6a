//! `attestry up`: registrar, verifier and ledger in one process on one data directory.
//!
//! They speak with each other as they would apart, over mutual TLS on the loopback interface.

mod material;
mod outside;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use ledger_client::{LedgerClient, LedgerClientConfig};
use ledger_server::{HistoriesConfig, LogConfig};
use registrar_protocol::EkCertificatePolicy;
use registrar_server::{PendingLimits, RateLimits};
use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};
use transport::server::{Limits, Shutdown, ShutdownHandle};
use verifier_server::{Notify, Polling, Webhook};

use crate::{
    cli::UpArguments,
    failure::Failure,
    output::outln,
    site::{Endpoints, Site},
    up::material::Material,
};

pub(crate) async fn run(arguments: Box<UpArguments>) -> Result<(), Failure> {
    logging::start(arguments.log_format);
    let site = Site::new(&arguments.data.data);
    create_folders(&site)?;
    let material = Material::open(&site, &arguments)?;
    // The ledger outlives the others, so that what they still record finds it.
    let (ledger_stop, ledger_shutdown) = Shutdown::new();
    let ledger = start_ledger(&arguments, &site, &material, ledger_shutdown).await?;
    write(&site.log_vkey(), format!("{}\n", ledger.vkey()).as_bytes())?;
    let (stop, shutdown) = Shutdown::new();
    let ledger_url = url("https", &arguments, ledger.address());
    let registrar = start_registrar(&arguments, &site, &material, &ledger_url, shutdown.clone()).await?;
    let verifier = start_verifier(&arguments, &site, &material, &ledger_url, shutdown).await?;
    let plain = registrar.plain_address().unwrap_or_else(|| registrar.tls_address());
    let endpoints = Endpoints {
        registrar: url("http", &arguments, plain),
        registrar_tls: url("https", &arguments, registrar.tls_address()),
        verifier: url("https", &arguments, verifier.address()),
        ledger: ledger_url,
    };
    publish(&site, &endpoints)?;
    announce(&site, &endpoints, ledger.vkey());
    until_stopped(stop, ledger_stop, registrar, verifier, ledger).await
}

async fn start_ledger(
    arguments: &UpArguments,
    site: &Site,
    material: &Material,
    shutdown: Shutdown,
) -> Result<ledger_server::Running, Failure> {
    let (stamping, witnesses) = (outside::stamping(arguments)?, outside::witnesses(arguments)?);
    let epoch = std::time::Duration::from_millis(arguments.epoch_ms.max(1));
    let histories = Some(HistoriesConfig { epoch, idle_checkpoint_interval: epoch });
    let origin = arguments.origin.clone();
    let log = LogConfig { histories, origin, stamping, witnesses, ..LogConfig::new(site.ledger()) };
    let config = ledger_server::Config {
        address: SocketAddr::new(arguments.listen, arguments.ledger_port),
        limits: Limits::default(),
        log,
        public_read: arguments.public_log,
        tls: material.server.clone(),
    };
    ledger_server::start(config, shutdown).await.map_err(|error| Failure::system("start the ledger", error))
}

async fn start_registrar(
    arguments: &UpArguments,
    site: &Site,
    material: &Material,
    ledger_url: &str,
    shutdown: Shutdown,
) -> Result<registrar_server::Running, Failure> {
    let ek_certificate = if arguments.danger_no_ek_certificate {
        EkCertificatePolicy::DangerNotRequired
    } else {
        EkCertificatePolicy::Required
    };
    let config = registrar_server::Config {
        data: site.registrar(),
        ek_certificate,
        instance: "up".to_owned(),
        ledger: LedgerClient::new(LedgerClientConfig::new(ledger_url, material.registrar.clone())),
        limits: Limits::default(),
        pending: PendingLimits::default(),
        plain_address: Some(SocketAddr::new(arguments.listen, arguments.registrar_port)),
        rate: RateLimits::default(),
        tls: material.server.clone(),
        tls_address: SocketAddr::new(arguments.listen, arguments.registrar_tls_port),
        trust: site.trust(),
    };
    registrar_server::start(config, shutdown).await.map_err(|error| Failure::system("start the registrar", error))
}

async fn start_verifier(
    arguments: &UpArguments,
    site: &Site,
    material: &Material,
    ledger_url: &str,
    shutdown: Shutdown,
) -> Result<verifier_server::Running, Failure> {
    let webhook = arguments.webhook.clone().map(|url| Webhook { tls: material.verifier.clone(), url });
    let config = verifier_server::Config {
        agent_tls: material.verifier.clone(),
        danger_agents_without_tls: false,
        data_dir: site.verifier(),
        ledger: LedgerClientConfig::new(ledger_url, material.verifier.clone()),
        listen: SocketAddr::new(arguments.listen, arguments.verifier_port),
        notify: Notify { webhook, ..Notify::default() },
        polling: Polling {
            interval: std::time::Duration::from_millis(arguments.interval_ms.max(1)),
            ..Polling::default()
        },
        server_tls: material.server.clone(),
        long_lists_bytes_max: verifier_server::LONG_LISTS_BYTES_MAX,
        verifier_id: "default".to_owned(),
    };
    verifier_server::start(config, shutdown).await.map_err(|error| Failure::system("start the verifier", error))
}

/// Waits for a signal or for a part to end by itself, then stops all in order.
async fn until_stopped(
    stop: ShutdownHandle,
    ledger_stop: ShutdownHandle,
    registrar: registrar_server::Running,
    verifier: verifier_server::Running,
    ledger: ledger_server::Running,
) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::system("listen for signals", error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut registrar = tokio::spawn(registrar.wait());
    let mut verifier = tokio::spawn(verifier.wait());
    let mut ledger = tokio::spawn(ledger.wait());
    let died = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        _ = &mut registrar => Some("registrar"),
        _ = &mut verifier => Some("verifier"),
        _ = &mut ledger => Some("ledger"),
    };
    if let Some(part) = died {
        stop.start();
        ledger_stop.start();
        return Err(Failure::new(format!("the {part} ended by itself; see the log above")));
    }
    tracing::info!("stopping");
    stop.start();
    let _ = registrar.await;
    let _ = verifier.await;
    ledger_stop.start();
    match ledger.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::system("close the ledger", error)),
        Err(error) => Err(Failure::system("close the ledger", error)),
    }
}

fn create_folders(site: &Site) -> Result<(), Failure> {
    for folder in [site.root().to_owned(), site.trust()] {
        let failed = |error| Failure::system(format_args!("create {}", folder.display()), error);
        fs::create_dir_all(&folder).map_err(failed)?;
        // Keys and records lie below; others have no business here.
        rustix::fs::chmod(&folder, Mode::RWXU).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// Where others reach a listener: the first `--name`, or the address it is bound to.
fn url(scheme: &str, arguments: &UpArguments, address: SocketAddr) -> String {
    if let Some(name) = arguments.names.first() {
        return format!("{scheme}://{name}:{}", address.port());
    }
    let reachable = if address.ip().is_unspecified() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { address.ip() };
    format!("{scheme}://{}", SocketAddr::new(reachable, address.port()))
}

fn publish(site: &Site, endpoints: &Endpoints) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(endpoints).map_err(|error| Failure::system("encode the endpoints", error))?;
    write(&site.endpoints_file(), &text)
}

/// A small public file, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::system(format_args!("write {}", path.display()), error);
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

fn announce(site: &Site, endpoints: &Endpoints, vkey: &str) {
    outln!("registrar  {} (registration), {}", endpoints.registrar, endpoints.registrar_tls);
    outln!("verifier   {}", endpoints.verifier);
    outln!("ledger     {}", endpoints.ledger);
    outln!("log key    {vkey}");
    outln!("           also in {}; give it to your auditors", site.log_vkey().display());
}
