//! Adding and updating a machine.

use std::{fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use messages::{
    AgentId, UnixMillis,
    envelope::Empty,
    keylime::{
        AddAgent, AddAgentExtension, AgentVersions, AttestationStatus, IdentityQuote, RegisteredAgent, RuntimeLayer,
        UKey, VERSIONS_SUPPORTED,
    },
};
use transport::tls::CertificatePin;
use zeroize::Zeroizing;

use super::{Connected, agent_path, show};
use crate::{
    api::Peer,
    cli::{AddArguments, PolicyArguments},
    clock, entropy,
    failure::Failure,
    keys::{PAYLOAD_BYTES_MAX, SplitKey},
    node::{self, BoundNode},
};

/// Largest policy file: 24 registers with some hundred accepted values each.
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Largest runtime policy: in base64 it still fits a request to the verifier, 32 MiB.
const RUNTIME_POLICY_BYTES_MAX: u64 = 23 << 20;

/// Largest measured-boot policy a verifier reads.
const MB_POLICY_BYTES_MAX: u64 = 4 << 20;

/// How often a waiting add asks for the status.
const STATUS_POLL: Duration = Duration::from_millis(200);

pub(super) async fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let agent = &arguments.policy.agent.agent;
    // Everything local is read and checked before anyone is spoken to.
    let mut body = body_from(&arguments.policy)?;
    let payload = arguments.payload.as_deref().map(read_payload).transpose()?;
    let site = Connected::to(&arguments.policy.agent.data.data)?;
    let (registered, node) = registered(&site, agent).await?;
    fill(&mut body, &registered, &node);
    let contact = contact(&site, agent, &registered)?;
    let peer = Peer { name: "agent", url: &contact.url, client: &contact.client };
    let version = negotiate(&peer).await?;
    let identity = identity(&peer, &version).await?;
    node::check_identity(&node, &identity.answer, &identity.nonce)?;
    if let Some(payload) = &payload {
        let key = SplitKey::generate()?;
        let u = UKey {
            encrypted_key: key.u_for(&identity.answer.pubkey)?,
            auth_tag: key.auth_tag(agent)?,
            payload: Some(key.encrypt(payload)?),
        };
        peer.submit::<_, Option<Empty>>(Method::POST, &format!("/v{version}/keys/ukey"), &u).await?;
        body.v = Some(key.v_base64().to_string());
        extension(&mut body).key_id = Some(key.id());
    }
    body.supported_version = Some(version);
    site.verifier().submit::<_, Empty>(Method::POST, &agent_path(agent), &body).await?;
    eprintln!("{agent}: added under binding {}", node.binding);
    match arguments.wait {
        Some(seconds) => wait(&site, agent, seconds, arguments.policy.agent.json.json).await,
        None => show::status(agent, &site.status(agent).await?, arguments.policy.agent.json.json),
    }
}

pub(super) async fn update(arguments: &PolicyArguments) -> Result<(), Failure> {
    let agent = &arguments.agent.agent;
    let mut body = body_from(arguments)?;
    let site = Connected::to(&arguments.agent.data.data)?;
    let (registered, node) = registered(&site, agent).await?;
    fill(&mut body, &registered, &node);
    site.verifier().submit::<_, Empty>(Method::PUT, &agent_path(agent), &body).await?;
    show::status(agent, &site.status(agent).await?, arguments.agent.json.json)
}

/// What the registrar knows of the agent, checked against the ledger's record.
async fn registered(site: &Connected, agent: &AgentId) -> Result<(RegisteredAgent, BoundNode), Failure> {
    let registered: RegisteredAgent = site.registrar().get(&agent_path(agent)).await?.ok_or_else(|| {
        Failure::new(format!("the registrar does not know {agent}, or it is not active yet"))
            .remedy("start attestry-agent on the machine and see its log; it registers by itself")
    })?;
    let name = registered.binding.ok_or_else(|| {
        Failure::new("the registrar's answer names no binding record").remedy("use an Attestry registrar")
    })?;
    let url = format!("{}/ledger/v1/blobs/{name}", site.endpoints.ledger);
    let answer = site
        .client
        .request(transport::client::Outgoing::new(Method::GET, url))
        .await
        .map_err(|error| Failure::system("reach the ledger", error).remedy("see that attestry up is running"))?;
    if !answer.status.is_success() {
        return Err(Failure::new(format!("the ledger has no binding record {name}: {}", answer.status)));
    }
    let node = node::bind(agent, &registered, name, &answer.body)?;
    Ok((registered, node))
}

/// An agent's address and a client that speaks with this agent alone.
struct Contact {
    client: transport::client::Client,
    url: String,
}

fn contact(site: &Connected, agent: &AgentId, registered: &RegisteredAgent) -> Result<Contact, Failure> {
    let missing = |what: &str| {
        Failure::new(format!("{agent} registered without {what}")).remedy("set it in the agent's configuration")
    };
    let ip = registered.ip.as_deref().ok_or_else(|| missing("an address"))?;
    let port = registered.port.ok_or_else(|| missing("a port"))?;
    let certificate = registered.mtls_cert.as_deref().filter(|pem| *pem != "disabled");
    let certificate = certificate.ok_or_else(|| missing("a TLS certificate"))?;
    let pin = CertificatePin::of_pem(certificate.as_bytes())
        .map_err(|error| Failure::system(format_args!("read the TLS certificate of {agent}"), error))?;
    let host = if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip.to_owned() };
    Ok(Contact { client: site.client.pinned(pin), url: format!("https://{host}:{port}") })
}

/// The newest API version that both sides speak.
async fn negotiate(peer: &Peer<'_>) -> Result<String, Failure> {
    let versions: AgentVersions =
        peer.get("/version").await?.ok_or_else(|| Failure::new("the agent does not answer /version"))?;
    let common = VERSIONS_SUPPORTED
        .iter()
        .rev()
        .find(|ours| versions.supported_version == **ours || versions.supported_versions.iter().any(|v| v == *ours));
    common.map(|version| (*version).to_owned()).ok_or_else(|| {
        Failure::new(format!(
            "the agent speaks API {:?}; expected one of {VERSIONS_SUPPORTED:?}",
            versions.supported_versions
        ))
    })
}

struct Identity {
    answer: IdentityQuote,
    nonce: String,
}

async fn identity(peer: &Peer<'_>, version: &str) -> Result<Identity, Failure> {
    let nonce = entropy::nonce()?;
    let path = format!("/v{version}/quotes/identity?nonce={nonce}");
    let answer = peer.get(&path).await?.ok_or_else(|| Failure::new("the agent does not answer an identity quote"))?;
    Ok(Identity { answer, nonce })
}

async fn wait(site: &Connected, agent: &AgentId, seconds: u64, json: bool) -> Result<(), Failure> {
    let deadline: UnixMillis = clock::now().plus_ms(seconds.saturating_mul(1_000));
    loop {
        let status = site.status(agent).await?;
        match status.attestation_status {
            AttestationStatus::Pass => return show::status(agent, &status, json),
            AttestationStatus::Fail => {
                show::status(agent, &status, json)?;
                return Err(Failure::new(format!("{agent} failed its first attestation")));
            }
            AttestationStatus::Pending | AttestationStatus::Timeout if clock::now() >= deadline => {
                show::status(agent, &status, json)?;
                return Err(Failure::new(format!("{agent} has no verdict after {seconds} s")));
            }
            AttestationStatus::Pending | AttestationStatus::Timeout => tokio::time::sleep(STATUS_POLL).await,
        }
    }
}

fn body_from(arguments: &PolicyArguments) -> Result<AddAgent, Failure> {
    let extension = AddAgentExtension {
        labels: arguments.labels.iter().cloned().collect(),
        interval_ms: arguments.interval_ms,
        tolerance_ms: arguments.tolerance_ms,
        runtime_layers: arguments.runtime_layers.iter().map(runtime_layer).collect(),
        ..AddAgentExtension::default()
    };
    Ok(AddAgent {
        v: None,
        cloudagent_ip: None,
        cloudagent_port: None,
        verifier_ip: None,
        verifier_port: None,
        tpm_policy: tpm_policy(&arguments.tpm_policy)?,
        runtime_policy: arguments.runtime_policy.as_deref().map(in_base64).transpose()?,
        runtime_policy_name: arguments.runtime_policy_name.clone(),
        runtime_policy_key: arguments.runtime_policy_key.as_deref().map(in_base64).transpose()?,
        mb_policy: arguments.mb_policy.as_deref().map(text).transpose()?,
        mb_policy_name: arguments.mb_policy_name.clone(),
        ima_sign_verification_keys: None,
        metadata: Some("{}".to_owned()),
        revocation_key: None,
        accept_tpm_hash_algs: arguments.hash_algs.clone(),
        accept_tpm_encryption_algs: arguments.enc_algs.clone(),
        accept_tpm_signing_algs: arguments.sign_algs.clone(),
        ak_tpm: String::new(),
        mtls_cert: None,
        supported_version: None,
        attestry: Some(extension),
    })
}

fn runtime_layer((layer, policy): &(String, String)) -> RuntimeLayer {
    RuntimeLayer { layer: layer.clone(), policy: policy.clone() }
}

fn fill(body: &mut AddAgent, registered: &RegisteredAgent, node: &BoundNode) {
    body.cloudagent_ip.clone_from(&registered.ip);
    body.cloudagent_port = registered.port;
    body.ak_tpm.clone_from(&registered.aik_tpm);
    body.mtls_cert.clone_from(&registered.mtls_cert);
    extension(body).binding = Some(node.binding);
}

fn extension(body: &mut AddAgent) -> &mut AddAgentExtension {
    body.attestry.get_or_insert_default()
}

/// The policy's text: given, or read from `@FILE`. The verifier judges its meaning.
fn tpm_policy(argument: &str) -> Result<String, Failure> {
    let text = match argument.strip_prefix('@') {
        None => argument.to_owned(),
        Some(path) => {
            let bytes = read(Path::new(path), POLICY_BYTES_MAX)?;
            String::from_utf8(bytes).map_err(|error| Failure::system(format_args!("read {path}"), error))?
        }
    };
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) if value.is_object() => Ok(text),
        Ok(_) => Err(Failure::usage("--tpm-policy is JSON, but no object; expected {\"<pcr>\": \"<hex>\", …}")),
        Err(error) => Err(Failure::usage("--tpm-policy is no JSON")
            .because(error)
            .remedy("give {\"<pcr>\": \"<hex>\", …}, or @FILE to read it from a file")),
    }
}

fn read_payload(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    read(path, PAYLOAD_BYTES_MAX).map(Zeroizing::new)
}

/// A runtime policy's file, or its key's, as the wire has them. The verifier judges their meaning.
fn in_base64(path: &Path) -> Result<String, Failure> {
    Ok(STANDARD.encode(read(path, RUNTIME_POLICY_BYTES_MAX)?))
}

fn text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path, MB_POLICY_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|error| Failure::system(format_args!("read {}", path.display()), error))
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::system(format_args!("read {}", path.display()), error);
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > bytes_max {
        return Err(Failure::usage(format!("{} has {bytes} bytes; expected at most {bytes_max}", path.display())));
    }
    fs::read(path).map_err(failed)
}
