//! Planned maintenance: which windows an operator may announce, and which of a chain's still count.

use std::collections::VecDeque;

use ledger_protocol::body::Maintenance;
use messages::{UnixMillis, keylime::MaintenanceWindow};
use serde::{Deserialize, Serialize};

/// The windows on an agent's chain since its latest enrolment, as histories keep them: the last [`WINDOWS_MAX`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Windows(VecDeque<MaintenanceWindow>);

impl Windows {
    /// Whether this very window is on record. Begin, end and reason are what tells one announcement from another: who asks
    /// again after an answer that was lost does not announce twice.
    pub(crate) fn holds(&self, window: &MaintenanceWindow) -> bool {
        self.0.contains(window)
    }

    /// Another one is on record.
    pub(crate) fn push(&mut self, window: MaintenanceWindow) {
        if self.0.len() >= WINDOWS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(window);
    }

    /// The agent is enrolled anew: what was announced before counts no more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The window that would no longer count if one more were announced, unless it is over at `now`.
    pub(crate) fn displaced(&self, now: UnixMillis) -> Option<&MaintenanceWindow> {
        let oldest = self.0.front().filter(|_| self.0.len() >= WINDOWS_MAX);
        oldest.filter(|window| window.to > now)
    }

    /// Those that are not over at `now`, in the order they were announced.
    pub(crate) fn ahead(&self, now: UnixMillis) -> Vec<MaintenanceWindow> {
        self.0.iter().filter(|window| window.to > now).cloned().collect()
    }
}

/// Why an announcement is refused before the ledger is asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum AnnouncementError {
    #[error("the maintenance begins at {}, more than a year from now; expected a time before {}", utc(.from), utc(.limit))]
    FarAhead { from: UnixMillis, limit: UnixMillis },
    #[error("the maintenance began at {}; expected {} or later, since only what is announced before counts", utc(.from), utc(.limit))]
    FarPast { from: UnixMillis, limit: UnixMillis },
    #[error(
        "the body is not the JSON of a maintenance window, {{\"from\": ms, \"to\": ms, \"reason\": text}} (line {line} column {column})"
    )]
    Json { line: usize, column: usize },
    #[error("the maintenance lasts {found} ms; expected at most {MAINTENANCE_MS_MAX} ms (30 days)")]
    Long { found: u64 },
    #[error("the maintenance ends at {}; expected a time after its begin at {}", utc(.to), utc(.from))]
    Order { from: UnixMillis, to: UnixMillis },
    #[error("the maintenance was over at {}; expected an end after now, {}", utc(.to), utc(.now))]
    Over { to: UnixMillis, now: UnixMillis },
    #[error("the reason has {found} characters; expected 1 to {REASON_CHARS_MAX}, none of them a control character")]
    Reason { found: usize },
}

/// Reads a request's body and judges the window by the time it came at.
///
/// Checked in this order: form, reason, order of its ends, length, end against `now`, begin against `now`.
pub(crate) fn parse(body: &[u8], now: UnixMillis) -> Result<MaintenanceWindow, AnnouncementError> {
    let window: MaintenanceWindow = serde_json::from_slice(body)
        .map_err(|error| AnnouncementError::Json { line: error.line(), column: error.column() })?;
    let MaintenanceWindow { from, to, reason } = &window;
    let (from, to, chars) = (*from, *to, reason.chars().count());
    if reason.trim().is_empty() || chars > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        return Err(AnnouncementError::Reason { found: chars });
    }
    if to <= from {
        return Err(AnnouncementError::Order { from, to });
    }
    if to.ms_since(from) > MAINTENANCE_MS_MAX {
        return Err(AnnouncementError::Long { found: to.ms_since(from) });
    }
    if to <= now {
        return Err(AnnouncementError::Over { to, now });
    }
    let earliest = UnixMillis(now.0.saturating_sub(PAST_MS_MAX));
    if from < earliest {
        return Err(AnnouncementError::FarPast { from, limit: earliest });
    }
    let latest = now.plus_ms(AHEAD_MS_MAX);
    if from > latest {
        return Err(AnnouncementError::FarAhead { from, limit: latest });
    }
    Ok(window)
}

/// The entry's body for a window that `actor` announced.
pub(crate) fn body(window: &MaintenanceWindow, actor: String) -> Maintenance {
    let MaintenanceWindow { from, to, reason } = window.clone();
    Maintenance { from, to, reason, actor }
}

/// RFC 3339 for a person, to the second.
fn utc(instant: &UnixMillis) -> String {
    let time = i64::try_from(instant.0).ok().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(|| instant.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// What counts of one machine at a time: `docs/spec/history.md` section 3.
const WINDOWS_MAX: usize = 16;
/// Thirty days: a machine that is away for longer is retired, or announced again, so that nobody forgets it.
const MAINTENANCE_MS_MAX: u64 = 30 * 86_400_000;
/// An hour: operators' clocks differ, and a window is often announced as work begins. What lies further back cannot count.
const PAST_MS_MAX: u64 = 3_600_000;
/// A year: nothing is planned further ahead, and a time in the wrong unit is caught.
const AHEAD_MS_MAX: u64 = 365 * 86_400_000;
/// A sentence or two, and a ticket's number.
const REASON_CHARS_MAX: usize = 512;

#[cfg(test)]
mod tests;
