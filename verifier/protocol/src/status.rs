//! How much of an agent's last verdict to believe now.

use messages::{
    UnixMillis,
    keylime::{AttestationStatus, OperationalState},
};

use crate::session::{Activity, Record, Settings, Trust};

/// An agent's state at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Keylime's `attestation_status`.
    pub attestation_status: AttestationStatus,
    /// Keylime's `operational_state`.
    pub operational_state: OperationalState,
    /// Age of the last passed quote, milliseconds; `None` before the first.
    pub quote_age_ms: Option<u64>,
    /// Why, for a person; `None` when there is nothing to say.
    pub reason: Option<String>,
}

/// Computes the state from what is on record and the time alone.
///
/// Nothing here depends on a timer having fired: when rounds stop, whatever the cause, the last
/// pass ages and the status becomes [`AttestationStatus::Timeout`] by itself. The age counts from
/// the sending of the challenge, so the quote is younger than the age says.
#[must_use]
pub fn standing(
    record: &Record,
    settings: &Settings,
    activity: Activity,
    trouble: Option<&str>,
    now: UnixMillis,
) -> Standing {
    let quote_age_ms = record.last_success.map(|at| now.ms_since(at));
    let aged = |at: UnixMillis| now.ms_since(at) > settings.age_max_ms();
    let old = format!("no verified quote within the last {} ms", settings.age_max_ms());
    let trouble = trouble.map(str::to_owned);
    let unreachable = || Some(format!("gave up asking: {}", trouble.as_deref().unwrap_or("no evidence came")));
    let (attestation_status, reason) = match &record.trust {
        Trust::Failed { event, .. } => (AttestationStatus::Fail, Some(with(format!("failed: {event}"), &trouble))),
        Trust::Stopped => (AttestationStatus::Fail, Some("stopped by an operator".to_owned())),
        Trust::Passed { .. } | Trust::Unproven { .. } if record.unreachable.is_some() => {
            (AttestationStatus::Timeout, unreachable())
        }
        Trust::Passed { at } if aged(*at) => (AttestationStatus::Timeout, Some(with(old, &trouble))),
        Trust::Passed { .. } => (AttestationStatus::Pass, trouble),
        Trust::Unproven { since } if aged(*since) => (AttestationStatus::Timeout, Some(with(old, &trouble))),
        Trust::Unproven { .. } => (AttestationStatus::Pending, trouble),
    };
    Standing { attestation_status, operational_state: operational(record, activity), quote_age_ms, reason }
}

fn with(text: String, trouble: &Option<String>) -> String {
    match trouble {
        Some(trouble) => format!("{text}; {trouble}"),
        None => text,
    }
}

fn operational(record: &Record, activity: Activity) -> OperationalState {
    match (&record.trust, activity) {
        (Trust::Failed { .. }, _) => OperationalState::InvalidQuote,
        (Trust::Stopped, _) => OperationalState::TenantFailed,
        (Trust::Passed { .. } | Trust::Unproven { .. }, _) if record.unreachable.is_some() => OperationalState::Failed,
        (_, Activity::ProvidingV { again: false }) => OperationalState::ProvideV,
        (_, Activity::ProvidingV { again: true }) => OperationalState::ProvideVRetry,
        (_, Activity::Retrying) => OperationalState::GetQuoteRetry,
        (Trust::Unproven { .. }, Activity::Attesting) => OperationalState::Start,
        (Trust::Passed { .. }, Activity::Attesting) => OperationalState::GetQuote,
    }
}

#[cfg(test)]
mod tests;
