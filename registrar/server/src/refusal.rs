//! Why a request is refused, and the one table from reasons to HTTP.

use std::error::Error;
use std::time::Duration;

use evidence::credential::MakeCredentialError;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
pub(crate) use logging::chain;
use messages::envelope::{Empty, Envelope};
use messages::{AgentId, AgentIdError};
use openssl::error::ErrorStack;
use registrar_protocol::{IdentityRejected, IdentityTaken, MalformedClaim};
use serde::Serialize;
use transport::router::Response;

use crate::enrolment::EnrolmentError;
use crate::pending::TableFull;
use crate::store::StoreError;

/// Why the registrar does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the id in the path is no agent id")]
    Agent(#[source] AgentIdError),
    #[error("the registration is malformed")]
    Claim(#[source] MalformedClaim),
    #[error("no credential could be made")]
    Credential(#[source] MakeCredentialError),
    #[error("the cryptographic library failed")]
    Crypto(#[source] ErrorStack),
    #[error("the ledger does not have the agent as wished")]
    Enrolment(#[source] EnrolmentError),
    #[error("the registration gives no identity")]
    Identity(#[source] IdentityRejected),
    #[error("a task did not finish")]
    Internal(#[source] tokio::task::JoinError),
    #[error("the body is not the JSON of this request")]
    Json(#[source] serde_json::Error),
    #[error("the ledger has not recorded this registrar's start yet")]
    NotReady,
    #[error("too many requests from this network")]
    Rate { wait: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("registrations must wait")]
    TableFull(#[source] TableFull),
    #[error("the id is taken")]
    Taken(#[source] IdentityTaken),
    #[error("no such agent")]
    Unknown(AgentId),
    /// The answer says no more than that: neither what was expected nor how near the tag came.
    #[error("the proof of activation is wrong")]
    WrongTag,
}

impl Refusal {
    /// The answer. Whoever registers may know what is wrong with the registration; what is wrong with this server is
    /// for its operator, who finds it in the log.
    pub(crate) fn into_response(self) -> Response {
        let (status, text, wait) = self.answer();
        let response = json(status, &Envelope::failure(status.as_u16(), text));
        match wait {
            Some(wait) => response.with_header(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1))),
            None => response,
        }
    }

    fn answer(&self) -> (StatusCode, String, Option<Duration>) {
        let because = |text: &str, error: &dyn Error| format!("{text}: {}", chain(error));
        match self {
            Self::Agent(error) => (StatusCode::BAD_REQUEST, because("Invalid agent ID", error), None),
            Self::Claim(error) => (StatusCode::BAD_REQUEST, because(INVALID_DATA, error), None),
            Self::Identity(IdentityRejected::Unavailable(_)) => internal(),
            Self::Identity(error) => (StatusCode::BAD_REQUEST, because(INVALID_DATA, error), None),
            Self::Json(error) => (StatusCode::BAD_REQUEST, because("Malformed JSON body", error), None),
            Self::WrongTag => (StatusCode::BAD_REQUEST, "Could not activate agent".to_owned(), None),
            Self::Taken(error) | Self::Enrolment(EnrolmentError::Taken(error)) => {
                let text = "The agent ID is registered for another identity; an operator must delete it first";
                (StatusCode::FORBIDDEN, because(text, error), None)
            }
            Self::Unknown(id) => (StatusCode::NOT_FOUND, format!("Agent with ID '{id}' not found"), None),
            Self::Rate { wait } => {
                (StatusCode::TOO_MANY_REQUESTS, "Too many requests from this network".to_owned(), Some(*wait))
            }
            Self::TableFull(full) => (StatusCode::SERVICE_UNAVAILABLE, capital(full), Some(FULL_WAIT)),
            Self::NotReady => unavailable(),
            Self::Enrolment(error) if error.may_pass() => unavailable(),
            Self::Credential(_) | Self::Crypto(_) | Self::Enrolment(_) | Self::Internal(_) | Self::Store(_) => {
                internal()
            }
        }
    }

    /// Whether the operator must look after this server.
    pub(crate) fn is_ours(&self) -> bool {
        self.answer().0.is_server_error()
    }
}

/// Success in Keylime's envelope.
pub(crate) fn success<T: Serialize>(results: T) -> Response {
    json(StatusCode::OK, &Envelope::success(results))
}

/// Success without results: an empty object, as Keylime's registrar answers.
pub(crate) fn done() -> Response {
    success(Empty {})
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => Response::new(status, "application/json", body),
        Err(_) => Response::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn internal() -> (StatusCode, String, Option<Duration>) {
    (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error; see the registrar's log".to_owned(), None)
}

fn unavailable() -> (StatusCode, String, Option<Duration>) {
    let text = "The ledger has not confirmed the record, so the agent's state here is unchanged; try again";
    (StatusCode::SERVICE_UNAVAILABLE, text.to_owned(), Some(LEDGER_WAIT))
}

fn capital(full: &TableFull) -> String {
    match full {
        TableFull::All => "Too many registrations wait for their activation".to_owned(),
        TableFull::Network => "Too many registrations from this network wait for their activation".to_owned(),
    }
}

/// Keylime's text.
const INVALID_DATA: &str = "Could not register agent with invalid data";
/// A ledger's restart takes a second or two.
const LEDGER_WAIT: Duration = Duration::from_secs(2);
/// Pending registrations go away as agents activate theirs, which takes seconds.
const FULL_WAIT: Duration = Duration::from_secs(5);
