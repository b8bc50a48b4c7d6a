//! Keylime's routes for named policies: `/allowlists` for runtime policies, `/mbpolicies` for measured boot.

use std::sync::Arc;

use http::{Method, StatusCode};
use messages::keylime::{
    MeasuredBootPolicyNames, MeasuredBootPolicyShown, MeasuredBootPolicyUpload, RuntimePolicyNames, RuntimePolicyShown,
    RuntimePolicyUpload,
};
use serde::de::DeserializeOwned;
use transport::router::{Access, Request, Response, Role, Route};

use super::{BODY_BYTES_MAX, SMALL_BODY, actor, check_version, envelope, failure, success};
use crate::{
    error_chain::chain,
    fleet::Fleet,
    policies::{Document, DocumentError, PolicyError, Role as PolicyRole, checked_name},
};
use messages::envelope::{Empty, Envelope};

/// The routes of one role under `/:version/{segment}`.
pub(super) fn routes(fleet: &Arc<Fleet>, segment: &str, role: PolicyRole) -> Vec<Route> {
    let read = Access::roles(&[Role::Admin, Role::Auditor]);
    let (all, one) = (format!("/:version/{segment}/"), format!("/:version/{segment}/:name"));
    let route = |method: Method, pattern: &str, access, body_bytes_max, handler: Handler| {
        let fleet = Arc::clone(fleet);
        Route::new(method, pattern, access, body_bytes_max, move |request: Request| {
            let fleet = Arc::clone(&fleet);
            async move {
                match check_version(&request) {
                    Ok(()) => handler(fleet, request, role).await,
                    Err(refusal) => *refusal,
                }
            }
        })
    };
    vec![
        route(Method::GET, &all, read, 0, |fleet, _, role| Box::pin(async move { names(&fleet, role) })),
        route(Method::GET, &one, read, 0, |fleet, request, role| Box::pin(show(fleet, request, role))),
        route(Method::POST, &one, Access::ADMIN, BODY_BYTES_MAX, |fleet, request, role| {
            Box::pin(create(fleet, request, role))
        }),
        route(Method::PUT, &one, Access::ADMIN, BODY_BYTES_MAX, |fleet, request, role| {
            Box::pin(replace(fleet, request, role))
        }),
        route(Method::DELETE, &one, Access::ADMIN, SMALL_BODY, |fleet, request, role| {
            Box::pin(remove(fleet, request, role))
        }),
    ]
}

type Handler = fn(Arc<Fleet>, Request, PolicyRole) -> futures_util::future::BoxFuture<'static, Response>;

fn names(fleet: &Fleet, role: PolicyRole) -> Response {
    let names = fleet.services().policies.names(role);
    match role {
        PolicyRole::MeasuredBoot => success(MeasuredBootPolicyNames { names }),
        PolicyRole::Runtime => success(RuntimePolicyNames { names }),
    }
}

async fn show(fleet: Arc<Fleet>, request: Request, role: PolicyRole) -> Response {
    let name = request.param("name").to_owned();
    let text = match fleet.services().policies.text(role, &name).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return refused(&error),
    };
    match role {
        PolicyRole::MeasuredBoot => success(MeasuredBootPolicyShown { name, mb_policy: text }),
        PolicyRole::Runtime => success(RuntimePolicyShown { name, tmp_policy: None, runtime_policy: text }),
    }
}

async fn create(fleet: Arc<Fleet>, request: Request, role: PolicyRole) -> Response {
    let (name, document) = match upload(&request, role) {
        Ok(upload) => upload,
        Err(refusal) => return *refusal,
    };
    let services = fleet.services();
    let created = services.policies.create(role, name, document, &actor(&request), services.clock.now_s()).await;
    created.map_or_else(|error| refused(&error), |_| done())
}

async fn replace(fleet: Arc<Fleet>, request: Request, role: PolicyRole) -> Response {
    let (name, document) = match upload(&request, role) {
        Ok(upload) => upload,
        Err(refusal) => return *refusal,
    };
    let services = fleet.services();
    let replaced = services.policies.replace(role, name, document, &actor(&request), services.clock.now_s()).await;
    match replaced {
        Ok(_) => done(),
        // Keylime's answer for this one route.
        Err(error @ PolicyError::Unknown { role: PolicyRole::MeasuredBoot, .. }) => failure(409, &chain(&error)),
        Err(error) => refused(&error),
    }
}

async fn remove(fleet: Arc<Fleet>, request: Request, role: PolicyRole) -> Response {
    let name = request.param("name");
    if let Some(agent) = fleet.user_of(role, name) {
        return refused(&PolicyError::InUse { role, name: name.to_owned(), agent });
    }
    match fleet.services().policies.remove(role, name, &actor(&request)).await {
        Ok(()) => Response::empty(StatusCode::NO_CONTENT),
        Err(error) => refused(&error),
    }
}

fn upload(request: &Request, role: PolicyRole) -> Result<(String, Document), Box<Response>> {
    let name = checked_name(request.param("name"));
    let document = match role {
        PolicyRole::MeasuredBoot => {
            parsed::<MeasuredBootPolicyUpload>(request).map(|upload| Document::measured_boot(upload.mb_policy))
        }
        PolicyRole::Runtime => parsed::<RuntimePolicyUpload>(request)
            .map(|upload| Document::runtime(&upload.runtime_policy, upload.runtime_policy_key.as_deref())),
    }?;
    let wrong = |error: DocumentError| Box::new(refused(&PolicyError::Document(error)));
    Ok((name.map_err(wrong)?, document.map_err(wrong)?))
}

fn parsed<T: DeserializeOwned>(request: &Request) -> Result<T, Box<Response>> {
    serde_json::from_slice(&request.body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Box::new(failure(400, &format!("the body is not the JSON of a policy's upload ({place})")))
    })
}

fn done() -> Response {
    envelope(&Envelope { code: 201, status: "Created".to_owned(), results: Empty {} })
}

fn refused(error: &PolicyError) -> Response {
    let code = code(error);
    if code >= 500 {
        tracing::error!(error = chain(error), "a policy could not be taken, changed or given");
    }
    failure(code, &chain(error))
}

/// From what is wrong with a policy to what the caller is told.
pub(super) const fn code(error: &PolicyError) -> u16 {
    use crate::policies::CompileError;
    match error {
        PolicyError::Document(DocumentError::Signature(_)) => 401,
        PolicyError::Document(_) | PolicyError::KeysAlone => 400,
        PolicyError::Compile(CompileError::MeasuredBoot(_) | CompileError::Runtime(_)) => 400,
        PolicyError::Compile(CompileError::Task(_)) | PolicyError::Store(_) => 500,
        PolicyError::Compile(CompileError::Blob { .. }) => 503,
        PolicyError::Exists { .. } | PolicyError::InUse { .. } | PolicyError::LedgerRefused(_) => 409,
        PolicyError::LedgerUnavailable(_) | PolicyError::Request(_) => 503,
        PolicyError::Unknown { .. } => 404,
    }
}
