//! Which requests there are, who may make them, and how long they may be.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use messages::AgentId;
use messages::keylime::{VERSION_CURRENT, VERSIONS_SUPPORTED, Versions};
use transport::router::{Access, Request, Response, Route};

use crate::enrolment::EnrolmentError;
use crate::refusal::{Refusal, chain, success};
use crate::registrar::Registrar;

/// All routes, for the plain and the TLS listener alike: on the plain one only the public ones answer.
///
/// One set per supported version: a request of any other version finds nothing (404), whoever makes it.
pub(crate) fn routes(registrar: &Arc<Registrar>) -> Vec<Route> {
    let mut routes = vec![versions("/version"), versions("/versions")];
    let prefixes = VERSIONS_SUPPORTED.iter().map(|version| format!("/v{version}"));
    for prefix in prefixes.chain(["/v2".to_owned()]) {
        routes.extend(agent_routes(registrar, &prefix));
    }
    routes
}

/// The slash at a pattern's end makes one at a path's end optional.
fn agent_routes(registrar: &Arc<Registrar>, prefix: &str) -> Vec<Route> {
    let all = format!("{prefix}/agents/");
    let one = format!("{prefix}/agents/:agent/");
    let activate = format!("{prefix}/agents/:agent/activate/");
    vec![
        route(registrar, Method::GET, &all, Access::READER, 0, Registrar::agents),
        route(registrar, Method::GET, &one, Access::READER, 0, Registrar::agent),
        route(registrar, Method::DELETE, &one, Access::ADMIN, DELETE_BYTES_MAX, Registrar::delete),
        route(registrar, Method::POST, &one, Access::PUBLIC, REGISTER_BYTES_MAX, Registrar::register),
        route(registrar, Method::PUT, &one, Access::PUBLIC, ACTIVATE_BYTES_MAX, Registrar::activate),
        route(registrar, Method::PUT, &activate, Access::PUBLIC, ACTIVATE_BYTES_MAX, Registrar::activate),
        route(registrar, Method::POST, &activate, Access::PUBLIC, ACTIVATE_BYTES_MAX, Registrar::activate),
    ]
}

fn route<F, A>(
    registrar: &Arc<Registrar>,
    method: Method,
    pattern: &str,
    access: Access,
    body_bytes_max: usize,
    handle: F,
) -> Route
where
    F: Fn(Arc<Registrar>, Request) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = Result<Response, Refusal>> + Send + 'static,
{
    let registrar = Arc::clone(registrar);
    let of_one = pattern.contains("/:agent/");
    Route::new(method, pattern, access, body_bytes_max, move |request| {
        let registrar = Arc::clone(&registrar);
        async move {
            let about = About::of(&request, of_one);
            let outcome = handle(registrar, request).await;
            outcome.unwrap_or_else(|refusal| about.refuse(refusal))
        }
    })
}

/// What the log says of a refused request.
struct About {
    /// Only an id that is one: the path is the caller's, the log is ours.
    agent: Option<AgentId>,
    method: Method,
    remote: SocketAddr,
    request_id: String,
}

impl About {
    fn of(request: &Request, of_one: bool) -> Self {
        let agent = if of_one { request.param("agent").parse().ok() } else { None };
        let (method, request_id) = (request.method.clone(), request.request_id.clone());
        Self { agent, method, remote: request.remote, request_id }
    }

    fn refuse(self, refusal: Refusal) -> Response {
        let Self { agent, method, remote, request_id } = self;
        let agent = agent.as_ref().map(AgentId::as_str);
        let reason = chain(&refusal);
        match &refusal {
            // Somebody claims an id that is another TPM's: an operator should know.
            Refusal::Taken(_) | Refusal::Enrolment(EnrolmentError::Taken(_)) => {
                tracing::warn!(%method, agent, %remote, request_id, reason, "another identity claims an agent's id");
            }
            _ if refusal.is_ours() => {
                tracing::error!(%method, agent, %remote, request_id, reason, "a request failed on our side");
            }
            _ => tracing::info!(%method, agent, %remote, request_id, reason, "refused a request"),
        }
        refusal.into_response()
    }
}

fn versions(path: &str) -> Route {
    Route::new(Method::GET, path, Access::PUBLIC, 0, |_request| async {
        success(Versions {
            current_version: VERSION_CURRENT.to_owned(),
            supported_versions: VERSIONS_SUPPORTED.map(str::to_owned).to_vec(),
        })
    })
}

/// A registration with an EK certificate, the five issuers of the longest vendor's chain, IAK and IDevID certificates
/// and a TLS certificate, all in PEM or base64, has below 20 KiB; three times that.
const REGISTER_BYTES_MAX: usize = 64 * 1024;
/// A tag has 96 characters; the rest is for JSON's white space.
const ACTIVATE_BYTES_MAX: usize = 1024;
/// The stock tenant sends none; some HTTP libraries send `{}`.
const DELETE_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
