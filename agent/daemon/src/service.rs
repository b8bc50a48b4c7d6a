//! Putting an agent together and keeping it running.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use agent_protocol::identifier::{IdOption, hash_of_ek, random_uuid};
use agent_protocol::registration::Backoff;
use messages::{AgentId, AgentIdError};
use openssl::error::ErrorStack;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transport::ca::{self, CaError};
use transport::client::Client;
use transport::secret_file;
use transport::server::{BindError, Limits, Server, Shutdown};
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, ServerTls, TlsError, certificates_from_pem};

use crate::config::Config;
use crate::entropy;
use crate::measured_lists::MeasuredLists;
use crate::node::Node;
use crate::payload_key::PayloadKey;
use crate::provisioner::Provisioner;
use crate::registrar::Registrar;
use crate::revocation::RevocationLog;
use crate::routes;
use crate::tpm::{Attester, Identification, Tpm};

/// A running agent.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    id: AgentId,
    registered: watch::Receiver<bool>,
    registration: JoinHandle<()>,
    server: JoinHandle<()>,
}

/// Why an agent does not run. The causes name files, handles and what to do about them.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The agent's own TLS certificate.
    #[error("the agent's TLS identity is not usable")]
    Certificate(#[source] CaError),
    /// The data folder was not made, or a file in it not read.
    #[error("cannot use {path}", path = path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The id could not be kept, or the one kept is none.
    #[error("the agent's id is not usable")]
    Id(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The TPM, the EK or the AK.
    #[error("the TPM's keys are not usable")]
    Keys(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The port is taken, or the like.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The payload key or the list of used keys.
    #[error("the payload key is not usable")]
    Payload(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// A file of authorities holds no certificate.
    #[error("{path} holds no PEM certificate", path = path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// What openssl says.
        source: ErrorStack,
    },
    /// The routes contradict each other, which is a mistake in this crate.
    #[error("the routes contradict each other")]
    Routes(#[source] transport::router::RouterError),
}

/// Starts an agent: opens the TPM, loads or makes its keys, listens, and registers in the background. Challenges are
/// answered at once, registered or not.
///
/// # Errors
/// [`StartError`] for what an operator has to mend; a registrar that is away is none of it.
pub async fn start(config: Config, shutdown: Shutdown) -> Result<Running, StartError> {
    make_folder(&config.data_folder)?;
    if let Some(path) = &config.ready_file {
        // One that is left over would say that this process is ready.
        remove(path)?;
    }
    let attester = open_attester(&config).await?;
    let id = agent_id(&config, &attester)?;
    let payload_key = Arc::new(
        PayloadKey::open_or_create(&config.payload_key_path).map_err(|error| StartError::Payload(error.into()))?,
    );
    let addresses: Vec<IpAddr> = config.contact_host.parse().into_iter().collect();
    let identity =
        ca::open_or_self_sign(&config.data_folder, id.as_str(), &addresses).map_err(StartError::Certificate)?;
    let clients = ClientAuth::Required(authorities(&config.trusted_client_authorities)?);
    let tls = ServerTls::new(&identity, &clients)?;
    let provisioner = Provisioner::open(&config, id.clone(), Arc::clone(&payload_key))
        .map_err(|error| StartError::Payload(error.into()))?;
    let node = Node {
        attester,
        id: id.clone(),
        lists: Arc::new(Mutex::new(MeasuredLists::new(config.ima_list_path.clone(), config.boot_log_path.clone()))),
        payload_key,
        provisioner,
        revocation_certificate: config.revocation_certificate.clone(),
        revocations: RevocationLog::new(config.data_folder.join("revocations")),
    };
    let (router, node) = routes::router(node).map_err(StartError::Routes)?;
    let server = Server::bind(config.listen, Some(tls), router, limits()).await?;
    let address = server.local_addr();
    let certificate = identity
        .certificate()
        .to_pem()
        .map_err(|source| StartError::Trust { path: config.data_folder.join("server-cert.crt"), source })?;
    let port = config.contact_port.unwrap_or(address.port());
    let register = node.registration(&config.contact_host, port, String::from_utf8_lossy(&certificate).into_owned());
    let registrar = Registrar {
        client: registrar_client(&config)?,
        node,
        register,
        url: config.registrar_url.trim_end_matches('/').to_owned(),
    };
    tracing::info!(%id, %address, "listening");
    let (tell, registered) = watch::channel(false);
    let ready = Ready { host: config.contact_host.clone(), id: id.clone(), path: config.ready_file.clone(), port };
    let (first, longest) = config.registration_pause_ms;
    let registration =
        tokio::spawn(register_until(shutdown.clone(), registrar, Backoff::new(first, longest), ready, tell));
    let server = tokio::spawn(async move {
        server.run(shutdown).await;
    });
    Ok(Running { address, id, registered, registration, server })
}

impl Running {
    /// Where it listens, with the real port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Under which id it registers.
    #[must_use]
    pub const fn agent_id(&self) -> &AgentId {
        &self.id
    }

    /// Waits until the registrar has activated it; `false` if the agent stopped before.
    pub async fn registered(&mut self) -> bool {
        self.registered.wait_for(|registered| *registered).await.is_ok()
    }

    /// Waits until it has stopped after its shutdown.
    ///
    /// # Errors
    /// [`tokio::task::JoinError`] if a part of it ended with a panic.
    pub async fn wait(self) -> Result<(), tokio::task::JoinError> {
        self.server.await?;
        self.registration.await
    }
}

/// What the ready file says.
struct Ready {
    host: String,
    id: AgentId,
    path: Option<PathBuf>,
    port: u16,
}

/// Registers, says so, and takes it back at the end.
async fn register_until(
    mut shutdown: Shutdown,
    registrar: Registrar,
    backoff: Backoff,
    ready: Ready,
    tell: watch::Sender<bool>,
) {
    let done = tokio::select! {
        () = shutdown.started() => false,
        () = registrar.register(backoff) => true,
    };
    if !done {
        return;
    }
    if let Some(path) = &ready.path {
        let content = json!({"agent_id": ready.id, "ip": ready.host, "port": ready.port}).to_string();
        if let Err(error) = secret_file::write(path, content.as_bytes()) {
            tracing::error!(%error, cause = %error.source, "the ready file was not written");
        }
    }
    tell.send_replace(true);
    shutdown.started().await;
    if let Some(path) = &ready.path {
        let _ = std::fs::remove_file(path);
    }
}

async fn open_attester(config: &Config) -> Result<Attester, StartError> {
    let tpm = Tpm::new(&config.tcti, config.endorsement_password.clone());
    let wanted = Identification {
        agent_data: config.agent_data_path.clone(),
        ek_algorithm: config.ek_algorithm,
        ek_handle: config.ek_handle,
        hash: config.hash,
        scheme: config.scheme,
    };
    let tpm = tpm.map_err(|error| StartError::Keys(error.into()))?;
    Attester::open(tpm, wanted).await.map_err(|error| StartError::Keys(error.into()))
}

/// The id that is configured; one that is generated is kept, so that a restart does not make another agent.
fn agent_id(config: &Config, attester: &Attester) -> Result<AgentId, StartError> {
    let unusable = |error: AgentIdError| StartError::Id(error.into());
    match &config.agent_id {
        IdOption::Literal(id) => Ok(id.clone()),
        IdOption::HashEk => {
            let pem = attester.ek().public.public_key_pem().map_err(|error| StartError::Id(error.into()))?;
            hash_of_ek(&pem).map_err(unusable)
        }
        IdOption::Generate => {
            let path = config.data_folder.join("agent-id");
            match std::fs::read_to_string(&path) {
                Ok(text) => text.trim().parse().map_err(unusable),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let bits = entropy::identifier_bits().map_err(|error| StartError::Id(error.into()))?;
                    let id = random_uuid(bits).map_err(unusable)?;
                    secret_file::write(&path, id.as_str().as_bytes()).map_err(|error| StartError::Id(error.into()))?;
                    Ok(id)
                }
                Err(source) => Err(StartError::Folder { path, source }),
            }
        }
    }
}

fn registrar_client(config: &Config) -> Result<Client, StartError> {
    let tls = ClientTlsConfig {
        authorities: authorities(&config.registrar_authorities)?,
        host_names: HostNames::Checked,
        identity: None,
    };
    Ok(Client::new(ClientTls::new(&tls)?))
}

fn authorities(paths: &[PathBuf]) -> Result<Vec<openssl::x509::X509>, StartError> {
    let mut all = Vec::new();
    for path in paths {
        let pem = std::fs::read(path).map_err(|source| StartError::Folder { path: path.clone(), source })?;
        let found = certificates_from_pem(&pem).map_err(|source| StartError::Trust { path: path.clone(), source })?;
        all.extend(found);
    }
    Ok(all)
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), StartError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StartError::Folder { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// An agent is called by one verifier and its operator: 64 connections leave room for slow ones, and eight of the
/// largest bodies at once (16 MiB) bound its memory.
fn limits() -> Limits {
    Limits { bodies_bytes_max: 16 << 20, connections_max: 64, connections_per_ip_max: 48, ..Limits::default() }
}
