//! The agent's API, Keylime 2.x: who may call what, and what is answered.

use std::sync::{Arc, PoisonError};

use agent_protocol::parameters::{IntegrityRequest, KeyChallenge, ParameterError, QuoteNonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use messages::envelope::{Empty, Envelope};
use messages::keylime::{
    AgentInfo, AgentVersions, IdentityQuote, IntegrityQuote, KeyVerification, PayloadPublicKey, RevocationNotice, UKey,
    VERSION_CURRENT, VERSIONS_SUPPORTED, VKey,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transport::router::{Access, Request, Response, Role, Route, Router, RouterError};

use crate::measured_lists::ListError;
use crate::node::Node;
use crate::provisioner::ProvisionError;
use crate::registrar::with_causes;
use crate::revocation::RevocationRefused;

/// All routes. Clients need a certificate of a trusted authority for every one; auditors' certificates serve for none
/// but `/version`, since whoever may ask for quotes or send shares acts on this machine.
pub(crate) fn router(node: Node) -> Result<(Router, Arc<Node>), RouterError> {
    let node = Arc::new(node);
    let at =
        |method: Method, path: &str, body_bytes_max: usize, answer: fn(Arc<Node>, Request, ApiVersion) -> Pending| {
            let node = Arc::clone(&node);
            Route::new(method, &format!("/:version{path}"), CALLERS, body_bytes_max, move |request| {
                let node = Arc::clone(&node);
                async move {
                    match ApiVersion::parse(request.param("version")) {
                        Some(version) => answer(node, request, version).await.unwrap_or_else(Refusal::answer),
                        None => failure(StatusCode::BAD_REQUEST, "API version not supported").answer(),
                    }
                }
            })
        };
    let unknown = |method| {
        Route::new(method, "/*path", CALLERS, NOTICE_BYTES_MAX, |_| async {
            failure(StatusCode::BAD_REQUEST, "Not Implemented").answer()
        })
    };
    let version = |_| async { success(versions()) };
    let router = Router::new(vec![
        Route::new(Method::GET, "/version", Access::READER, 0, version),
        at(Method::GET, "/agent/info", 0, |node, _, version| Box::pin(info(node, version))),
        at(Method::GET, "/keys/pubkey", 0, |node, _, _| Box::pin(public_key(node))),
        at(Method::GET, "/keys/verify", 0, |node, request, _| Box::pin(verify_key(node, request))),
        at(Method::POST, "/keys/ukey", U_BYTES_MAX, |node, request, _| Box::pin(take_u(node, request))),
        at(Method::POST, "/keys/vkey", V_BYTES_MAX, |node, request, _| Box::pin(take_v(node, request))),
        at(Method::GET, "/quotes/identity", 0, |node, request, version| Box::pin(identity(node, request, version))),
        at(Method::GET, "/quotes/integrity", 0, |node, request, version| Box::pin(integrity(node, request, version))),
        at(Method::POST, "/notifications/revocation", NOTICE_BYTES_MAX, |node, request, _| {
            Box::pin(revocation(node, request))
        }),
        unknown(Method::GET),
        unknown(Method::POST),
    ])?;
    Ok((router, node))
}

/// Why a request is not answered with what it asks for; the text is fit for the peer.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn answer(self) -> Response {
        json(self.status, &Envelope::failure(self.status.as_u16(), self.text))
    }
}

/// An answer in the making.
type Pending = futures_util::future::BoxFuture<'static, Result<Response, Refusal>>;

/// The minor version of a 2.x path.
#[derive(Clone, Copy)]
struct ApiVersion(u8);

impl ApiVersion {
    /// Reads `v2`, which is the newest, or `v2.0` to `v2.6`.
    fn parse(segment: &str) -> Option<Self> {
        let version = segment.strip_prefix('v')?;
        let version = if version == "2" { VERSION_CURRENT } else { version };
        let known = VERSIONS_SUPPORTED.contains(&version);
        version.strip_prefix("2.").filter(|_| known)?.parse().ok().map(Self)
    }

    /// Below 2.5 the two default key sizes go without their number.
    fn key_algorithm(self, node: &Node) -> String {
        let algorithm = node.attester.ek().public.encryption_algorithm();
        if self.0 < 5 { algorithm.short_name() } else { algorithm.name() }.to_owned()
    }
}

fn versions() -> AgentVersions {
    // 2.0 is spoken as far as paths go and not announced, as by other agents.
    let announced = VERSIONS_SUPPORTED.iter().skip(1).map(|version| (*version).to_owned()).collect();
    AgentVersions { supported_version: VERSION_CURRENT.to_owned(), supported_versions: announced }
}

async fn info(node: Arc<Node>, version: ApiVersion) -> Result<Response, Refusal> {
    Ok(success(AgentInfo {
        agent_uuid: node.id.to_string(),
        tpm_hash_alg: node.attester.hash().name().to_owned(),
        tpm_enc_alg: version.key_algorithm(&node),
        tpm_sign_alg: node.attester.scheme().name().to_owned(),
        ak_handle: None,
    }))
}

async fn public_key(node: Arc<Node>) -> Result<Response, Refusal> {
    Ok(success(PayloadPublicKey { pubkey: node.payload_key.public_pem().to_owned() }))
}

async fn verify_key(node: Arc<Node>, request: Request) -> Result<Response, Refusal> {
    let challenge = KeyChallenge::parse(request.query.get("challenge")).map_err(|error| refuse_parameter(&error))?;
    match node.provisioner.prove(&challenge) {
        Ok(Some(tag)) => Ok(success(KeyVerification { hmac: tag.to_hex() })),
        Ok(None) => Err(failure(StatusCode::BAD_REQUEST, "Bootstrap key not yet available.")),
        Err(error) => Err(internal("prove possession of the key", &error)),
    }
}

async fn take_u(node: Arc<Node>, request: Request) -> Result<Response, Refusal> {
    let sent: UKey = body(&request)?;
    take(node, move |node| node.provisioner.offer_u(&sent)).await
}

async fn take_v(node: Arc<Node>, request: Request) -> Result<Response, Refusal> {
    let sent: VKey = body(&request)?;
    take(node, move |node| node.provisioner.offer_v(&sent)).await
}

async fn take(
    node: Arc<Node>,
    offer: impl FnOnce(&Node) -> Result<Option<crate::secure_folder::SecureFolder>, ProvisionError> + Send + 'static,
) -> Result<Response, Refusal> {
    let worker = Arc::clone(&node);
    let taken = tokio::task::spawn_blocking(move || offer(&worker)).await;
    match taken.map_err(|error| internal("take a key share", &error))? {
        Ok(None) => {}
        Ok(Some(folder)) => {
            tokio::spawn(async move { node.provisioner.run_script(&folder).await });
        }
        // The share is good and the key is known; what went wrong after that is the operator's to mend.
        Err(error @ ProvisionError::Keep(_)) => {
            tracing::error!(error = with_causes(&error), "the payload is not in place");
            return Err(failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
        }
        Err(error) => {
            tracing::warn!(%error, "a key share was refused");
            return Err(failure(StatusCode::BAD_REQUEST, error.to_string()));
        }
    }
    Ok(json(StatusCode::OK, &Envelope::success(None::<Empty>)))
}

async fn identity(node: Arc<Node>, request: Request, version: ApiVersion) -> Result<Response, Refusal> {
    let nonce = QuoteNonce::parse(request.query.get("nonce")).map_err(|error| refuse_parameter(&error))?;
    let quote = node.quote(nonce.as_bytes(), 0).await.map_err(|error| internal("quote", &error))?;
    Ok(success(IdentityQuote {
        quote,
        hash_alg: node.attester.hash().name().to_owned(),
        enc_alg: version.key_algorithm(&node),
        sign_alg: node.attester.scheme().name().to_owned(),
        pubkey: node.payload_key.public_pem().to_owned(),
    }))
}

/// The logs are read after the quote, so that they are never behind the registers.
async fn integrity(node: Arc<Node>, request: Request, version: ApiVersion) -> Result<Response, Refusal> {
    let asked = IntegrityRequest::parse(|name| request.query.get(name)).map_err(|error| refuse_parameter(&error))?;
    let quote = node.quote(asked.nonce.as_bytes(), asked.mask).await.map_err(|error| internal("quote", &error))?;
    let (lists, wanted, with_boot_log) = (Arc::clone(&node.lists), asked.ima_entry, asked.mask & 1 == 1);
    let read = tokio::task::spawn_blocking(move || {
        let mut lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
        let boot = if with_boot_log { lists.boot()? } else { None };
        Ok::<_, ListError>((lists.ima(wanted)?, boot))
    });
    let (ima, boot) = read
        .await
        .map_err(|error| internal("read the logs", &error))?
        .map_err(|error| internal("read the logs", &error))?;
    let (ima_text, ima_entry) = ima.map(|part| (part.text, part.entry)).unzip();
    Ok(success(IntegrityQuote {
        quote,
        hash_alg: node.attester.hash().name().to_owned(),
        enc_alg: version.key_algorithm(&node),
        sign_alg: node.attester.scheme().name().to_owned(),
        pubkey: asked.with_public_key.then(|| node.payload_key.public_pem().to_owned()),
        ima_measurement_list: ima_text,
        ima_measurement_list_entry: ima_entry,
        mb_measurement_list: boot.map(|log| STANDARD.encode(log)),
    }))
}

async fn revocation(node: Arc<Node>, request: Request) -> Result<Response, Refusal> {
    let notice: RevocationNotice = body(&request)?;
    let accepted = tokio::task::spawn_blocking(move || {
        let certificate = match &node.revocation_certificate {
            Some(path) => std::fs::read(path).ok(),
            None => {
                node.provisioner.payload_file(REVOCATION_CERTIFICATE, CERTIFICATE_BYTES_MAX).map(|pem| pem.to_vec())
            }
        };
        node.revocations.accept(&notice, certificate.as_deref())
    });
    match accepted.await.map_err(|error| internal("take a revocation", &error))? {
        Ok(name) => {
            tracing::warn!(revocation = name, "a revocation was accepted; no action of this agent follows from it");
            Ok(json(StatusCode::OK, &Envelope::success(None::<Empty>)))
        }
        Err(error @ (RevocationRefused::Keep(_) | RevocationRefused::Write(_) | RevocationRefused::Full)) => {
            Err(internal("keep a revocation", &error))
        }
        Err(refused) => {
            tracing::warn!(error = with_causes(&refused), "a revocation was refused");
            Err(failure(StatusCode::BAD_REQUEST, refused.to_string()))
        }
    }
}

/// Reads a JSON body. What is wrong with it is not repeated: it may hold half a secret.
fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_slice(&request.body)
        .map_err(|_| failure(StatusCode::BAD_REQUEST, "the body is not the JSON this call takes"))
}

fn refuse_parameter(error: &ParameterError) -> Refusal {
    failure(StatusCode::BAD_REQUEST, error.to_string())
}

/// The peer learns what failed, the log learns why.
fn internal(operation: &'static str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(operation, error = with_causes(error), "a request failed");
    failure(StatusCode::INTERNAL_SERVER_ERROR, format!("this agent cannot {operation}; its log says why"))
}

fn success(results: impl Serialize) -> Response {
    json(StatusCode::OK, &Envelope::success(results))
}

fn failure(status: StatusCode, text: impl Into<String>) -> Refusal {
    Refusal { status, text: text.into() }
}

fn json(status: StatusCode, envelope: &impl Serialize) -> Response {
    match serde_json::to_vec(envelope) {
        Ok(body) => Response::new(status, "application/json", body),
        Err(_) => Response::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Operators (the tenant, and verifiers with Keylime's client certificate) and our own servers.
const CALLERS: Access = Access::roles(&[Role::Admin, Role::Service]);
/// Keylime's tenant sends payloads of at most 1 MiB; base64 makes 4/3 of it, and a key and a tag come along.
const U_BYTES_MAX: usize = 2 << 20;
/// A share under RSA-4096 is 684 characters.
const V_BYTES_MAX: usize = 4 << 10;
/// A revocation repeats the agent's policies' names and the finding's context.
const NOTICE_BYTES_MAX: usize = 256 << 10;
/// Where the tenant's archive has the certificate of its revocation key.
const REVOCATION_CERTIFICATE: &str = "RevocationNotifier-cert.crt";
/// A PEM certificate over RSA-4096 is 2 KiB.
const CERTIFICATE_BYTES_MAX: u64 = 64 << 10;
