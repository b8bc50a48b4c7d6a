//! Keylime's v2 routes of a verifier, and two of ours: `PUT /v2.x/agents/{id}` updates in place, `…/maintenance`
//! announces a planned absence.
//!
//! | method, path | who |
//! | --- | --- |
//! | `GET /version`, `GET /versions` | everyone |
//! | `GET /v2.x/agents/[?bulk=True][&verifier=]`, `GET /v2.x/agents/{id}` | admin, auditor |
//! | `POST`, `PUT`, `DELETE /v2.x/agents/{id}` | admin |
//! | `PUT /v2.x/agents/{id}/reactivate`, `…/stop` | admin |
//! | `POST /v2.x/agents/{id}/maintenance` | admin |
//! | `GET /v2.x/allowlists/[{name}]`, `GET /v2.x/mbpolicies/[{name}]` | admin, auditor |
//! | `POST`, `PUT`, `DELETE /v2.x/allowlists/{name}`, `…/mbpolicies/{name}` | admin |

mod policies;

use std::{collections::BTreeMap, sync::Arc};

use http::{Method, StatusCode};
use messages::{
    AgentId,
    envelope::{Empty, Envelope},
    keylime::{VERSION_CURRENT, VERSIONS_SUPPORTED, VerifierAgents, Versions},
};
use serde::Serialize;
use transport::router::{Access, Request, Response, Role, Route, Router, RouterError};

use crate::{
    agent::{Command, CommandError, Reply},
    error_chain::chain,
    fleet::{AddError, EnrolmentError, Fleet, TellError},
    maintenance,
    policies::Role as PolicyRole,
    terms::Application,
};

/// All routes.
pub(crate) fn router(fleet: &Arc<Fleet>) -> Result<Router, RouterError> {
    let read = Access::roles(&[Role::Admin, Role::Auditor]);
    let admin = Access::ADMIN;
    let route = |method: Method, pattern: &str, access, body_bytes_max, handler: HandlerFn| {
        let fleet = Arc::clone(fleet);
        Route::new(method, pattern, access, body_bytes_max, move |request: Request| {
            let fleet = Arc::clone(&fleet);
            async move { handler(fleet, request).await }
        })
    };
    let mut routes = vec![
        route(Method::GET, "/version", Access::PUBLIC, 0, |_, _| Box::pin(async { version() })),
        route(Method::GET, "/versions", Access::PUBLIC, 0, |_, _| Box::pin(async { version() })),
        route(Method::GET, "/:version/agents/", read, 0, |fleet, request| {
            Box::pin(async move { list(&fleet, &request) })
        }),
        route(Method::GET, "/:version/agents/:id", read, 0, |fleet, request| {
            Box::pin(async move { get(&fleet, &request) })
        }),
        route(Method::POST, "/:version/agents/:id", admin, BODY_BYTES_MAX, |fleet, request| {
            Box::pin(add(fleet, request))
        }),
        route(Method::PUT, "/:version/agents/:id", admin, BODY_BYTES_MAX, |fleet, request| {
            Box::pin(update(fleet, request))
        }),
        route(Method::DELETE, "/:version/agents/:id", admin, SMALL_BODY, |fleet, request| {
            Box::pin(delete(fleet, request))
        }),
        route(Method::PUT, "/:version/agents/:id/reactivate", admin, SMALL_BODY, |fleet, request| {
            Box::pin(act(fleet, request, |actor, reply| Command::Reactivate { actor, reply }))
        }),
        route(Method::PUT, "/:version/agents/:id/stop", admin, SMALL_BODY, |fleet, request| {
            Box::pin(act(fleet, request, |actor, reply| Command::Stop { actor, reply }))
        }),
        route(Method::POST, "/:version/agents/:id/maintenance", admin, ANNOUNCEMENT_BODY, |fleet, request| {
            Box::pin(announce(fleet, request))
        }),
    ];
    for (segment, role) in [("allowlists", PolicyRole::Runtime), ("mbpolicies", PolicyRole::MeasuredBoot)] {
        routes.extend(policies::routes(fleet, segment, role));
    }
    Router::new(routes)
}

type HandlerFn = fn(Arc<Fleet>, Request) -> futures_util::future::BoxFuture<'static, Response>;

fn version() -> Response {
    success(Versions {
        current_version: VERSION_CURRENT.to_owned(),
        supported_versions: VERSIONS_SUPPORTED.iter().map(ToString::to_string).collect(),
    })
}

fn list(fleet: &Fleet, request: &Request) -> Response {
    if let Err(refusal) = check_version(request) {
        return *refusal;
    }
    let services = fleet.services();
    // An empty name means all; there is one verifier here.
    let asked = request.query.get("verifier").unwrap_or_default();
    let ids = if asked.is_empty() || asked == services.verifier_id { fleet.ids() } else { vec![] };
    let bulk = request.query.get("bulk").is_some_and(|bulk| bulk.eq_ignore_ascii_case("true"));
    if !bulk {
        return success(VerifierAgents { uuids: ids.into_iter().map(|id| [id]).collect() });
    }
    let now = services.clock.now();
    let all = ids.into_iter().filter_map(|id| Some((id.to_string(), fleet.status(&id, now)?)));
    success(all.collect::<BTreeMap<_, _>>())
}

fn get(fleet: &Fleet, request: &Request) -> Response {
    let id = match agent_id(request) {
        Ok(id) => id,
        Err(refusal) => return *refusal,
    };
    match fleet.status(&id, fleet.services().clock.now()) {
        Some(status) => success(status),
        None => failure(404, "agent id not found"),
    }
}

async fn add(fleet: Arc<Fleet>, request: Request) -> Response {
    let (id, application) = match application(&fleet, &request) {
        Ok(parsed) => parsed,
        Err(refusal) => return *refusal,
    };
    match fleet.add(id, &actor(&request), application).await {
        Ok(()) => success(Empty {}),
        Err(AddError::Exists(id)) => failure(409, &format!("Agent of uuid {id} already exists")),
        Err(AddError::Command(error)) => refused(&error),
    }
}

async fn update(fleet: Arc<Fleet>, request: Request) -> Response {
    let (id, application) = match application(&fleet, &request) {
        Ok(parsed) => parsed,
        Err(refusal) => return *refusal,
    };
    let actor = actor(&request);
    let application = Box::new(application);
    answered(fleet.tell(&id, |reply| Command::Update { actor, application, reply }).await, 200)
}

async fn delete(fleet: Arc<Fleet>, request: Request) -> Response {
    let id = match agent_id(&request) {
        Ok(id) => id,
        Err(refusal) => return *refusal,
    };
    // Keylime's two answers: 202 tells the tenant to look until the agent is gone.
    let code = if fleet.view(&id).is_some_and(|view| view.in_flight) { 202 } else { 200 };
    answered(fleet.delete(&id, actor(&request)).await, code)
}

async fn act(fleet: Arc<Fleet>, request: Request, command: fn(String, Reply) -> Command) -> Response {
    let id = match agent_id(&request) {
        Ok(id) => id,
        Err(refusal) => return *refusal,
    };
    let actor = actor(&request);
    answered(fleet.tell(&id, |reply| command(actor, reply)).await, 200)
}

async fn announce(fleet: Arc<Fleet>, request: Request) -> Response {
    let id = match agent_id(&request) {
        Ok(id) => id,
        Err(refusal) => return *refusal,
    };
    let window = match maintenance::parse(&request.body, fleet.services().clock.now()) {
        Ok(window) => window,
        Err(error) => return failure(400, &chain(&error)),
    };
    let actor = actor(&request);
    answered(fleet.tell(&id, |reply| Command::Announce { actor, window, reply }).await, 200)
}

fn application(fleet: &Fleet, request: &Request) -> Result<(AgentId, Application), Box<Response>> {
    let id = agent_id(request)?;
    let services = fleet.services();
    let parsed = Application::parse(&request.body, &services.polling, services.danger_agents_without_tls);
    parsed.map(|application| (id, application)).map_err(|error| Box::new(failure(400, &chain(&error))))
}

fn answered(outcome: Result<(), TellError>, code: u16) -> Response {
    match outcome {
        Ok(()) if code == 200 => success(Empty {}),
        Ok(()) => envelope(&Envelope { code, status: "Accepted".to_owned(), results: Empty {} }),
        Err(TellError::Unknown) => failure(404, "agent id not found"),
        Err(error @ TellError::Restarting) => failure(503, &error.to_string()),
        Err(TellError::Command(error)) => refused(&error),
    }
}

/// The one table from what went wrong to what the caller is told.
fn refused(error: &CommandError) -> Response {
    let code = match error {
        CommandError::Enrolment(enrolment) => match enrolment {
            EnrolmentError::Ak | EnrolmentError::Binding { .. } | EnrolmentError::Terms(_) => 400,
            EnrolmentError::NotEnrolled => 404,
            EnrolmentError::BindingMalformed { .. } | EnrolmentError::BindingOfOther { .. } => 500,
            EnrolmentError::Chain(_) | EnrolmentError::Request(_) => 503,
            EnrolmentError::Random(_) | EnrolmentError::Seal(_) => 500,
        },
        CommandError::LedgerRefused(_) | CommandError::Windows { .. } => 409,
        CommandError::LedgerUnavailable(_) | CommandError::Restless => 503,
        CommandError::Policy(error) => policies::code(error),
        CommandError::Store(_) => 500,
        CommandError::Terms(_) => 400,
    };
    if code >= 500 {
        tracing::error!(error = chain(error), "a request could not be carried out");
    }
    failure(code, &chain(error))
}

fn agent_id(request: &Request) -> Result<AgentId, Box<Response>> {
    check_version(request)?;
    request.param("id").parse().map_err(|error: messages::AgentIdError| Box::new(failure(400, &error.to_string())))
}

/// `v2` or `v2.x` of a version that is served; anything else is no route.
fn check_version(request: &Request) -> Result<(), Box<Response>> {
    let version = request.param("version").strip_prefix('v').unwrap_or_default();
    let known = version == "2" || VERSIONS_SUPPORTED.contains(&version);
    if known { Ok(()) } else { Err(Box::new(Response::empty(StatusCode::NOT_FOUND))) }
}

fn actor(request: &Request) -> String {
    request.peer.common_name().unwrap_or_default().to_owned()
}

fn success<T: Serialize>(results: T) -> Response {
    envelope(&Envelope::success(results))
}

fn failure(code: u16, status: &str) -> Response {
    envelope(&Envelope::failure(code, status))
}

fn envelope<T: Serialize>(envelope: &Envelope<T>) -> Response {
    let body = serde_json::to_vec(envelope).expect("invariant: answers have text keys and no failing parts");
    let status = StatusCode::from_u16(envelope.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Response::new(status, "application/json", body)
}

/// A body with a runtime policy: the largest ones known have 20 MiB, in base64 a third more.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Tenants send `{}` or nothing.
const SMALL_BODY: usize = 1 << 10;
/// A reason of 512 characters, each at most six bytes of JSON, and two numbers.
const ANNOUNCEMENT_BODY: usize = 4 << 10;
