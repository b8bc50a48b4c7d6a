//! Why the ledger was asked in vain.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use messages::ledger::Head;
use transport::client::ClientError;

/// Why a group was not appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The chain ends elsewhere than the group expects: somebody else appended.
    #[error("the chain ends before entry {}, not where the group expects", .0.seq)]
    Conflict(Head),
    /// The group breaks a rule of the log; trying again does not help.
    #[error("the ledger refuses the entries: {0}")]
    Refused(String),
    /// No answer in the time allowed. The group may have been appended or not.
    #[error("the ledger did not confirm the entries in {attempts} attempts")]
    Unavailable {
        /// How often the batch was sent.
        attempts: u32,
        /// What went wrong the last time; `None` if the client has been stopped.
        source: Option<Arc<RequestError>>,
    },
}

impl AppendError {
    pub(crate) fn stopped() -> Self {
        Self::Unavailable { attempts: 0, source: None }
    }
}

/// Why one request to the ledger gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No answer.
    #[error("the ledger was not reached")]
    Client(#[source] ClientError),
    /// An answer of success that is not what was asked for.
    #[error("the ledger's answer to {path} is not {expected}")]
    Malformed {
        /// What should have come.
        expected: &'static str,
        /// What was asked.
        path: String,
    },
    /// The system's random source failed, so that no batch could be named.
    #[error("no random bytes")]
    Random(#[source] openssl::error::ErrorStack),
    /// Another caller's request for the same was not answered while this one waited.
    #[error("the ledger did not answer while others asked for the same")]
    Silent,
    /// The ledger says no.
    #[error("the ledger answered {status}: {text}")]
    Status {
        /// When the ledger wants to be asked again, if it said so.
        retry_after: Option<Duration>,
        /// The HTTP status.
        status: StatusCode,
        /// The ledger's reason.
        text: String,
    },
}

impl RequestError {
    pub(crate) fn malformed(path: &str, expected: &'static str) -> Self {
        Self::Malformed { expected, path: path.to_owned() }
    }

    /// How long the ledger wants to be left alone, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed later without anything being changed by a person.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Client(ClientError::Url { .. }) | Self::Malformed { .. } => false,
            Self::Client(_) | Self::Random(_) | Self::Silent => true,
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
        }
    }
}
