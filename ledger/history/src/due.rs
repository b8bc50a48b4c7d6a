//! The due rule: how many quotes are missing between two times.

use std::collections::VecDeque;

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// How often quotes are asked for, and how much later they may come.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(crate) struct Demand {
    pub(crate) interval_ms: u64,
    pub(crate) tolerance_ms: u64,
}

/// Announced absence.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(crate) struct Window {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    /// Number of the announcement in the agent's chain.
    pub(crate) seq: u64,
}

/// Quotes missed between two times in seconds; windows announced at `before` or later do not count.
pub(crate) fn missed(from: u64, to: u64, demand: Option<Demand>, windows: &VecDeque<Window>, before: u64) -> u64 {
    let Some(Demand { interval_ms, tolerance_ms }) = demand else { return 0 };
    let (from_ms, to_ms) = (from.saturating_mul(1_000), to.saturating_mul(1_000));
    let unplanned = to_ms.saturating_sub(from_ms).saturating_sub(planned_ms(from_ms, to_ms, windows, before));
    unplanned.saturating_sub(tolerance_ms).checked_div(interval_ms).unwrap_or(0)
}

/// The first second at which [`missed`] is at least 1; the largest number if it never is.
pub(crate) fn overdue_at(from: u64, demand: Option<Demand>, windows: &VecDeque<Window>, before: u64) -> u64 {
    let Some(Demand { interval_ms, tolerance_ms }) = demand.filter(|demand| demand.interval_ms > 0) else {
        return u64::MAX;
    };
    let mut left = interval_ms.saturating_add(tolerance_ms);
    let mut at = from.saturating_mul(1_000);
    for (from_ms, to_ms) in union(windows, before) {
        let open = from_ms.saturating_sub(at);
        if left <= open {
            break;
        }
        left -= open;
        at = at.max(to_ms);
    }
    at.saturating_add(left).div_ceil(1_000)
}

/// Length of the part of a span that lies in windows announced before `before`.
pub(crate) fn planned_ms(from_ms: u64, to_ms: u64, windows: &VecDeque<Window>, before: u64) -> u64 {
    let inside = union(windows, before).map(|(from, to)| to.min(to_ms).saturating_sub(from.max(from_ms)));
    inside.sum()
}

/// Windows announced before `before`, ascending, without overlap.
fn union(windows: &VecDeque<Window>, before: u64) -> impl Iterator<Item = (u64, u64)> {
    let counted = windows.iter().filter(|window| window.seq < before);
    let mut spans: Vec<(u64, u64)> = counted.map(|window| (window.from_ms, window.to_ms)).collect();
    spans.sort_unstable();
    let mut end = 0;
    spans.into_iter().filter_map(move |(from, to)| {
        let span = (from.max(end), to);
        end = end.max(to);
        (span.0 < span.1).then_some(span)
    })
}

#[cfg(test)]
mod tests;
