//! What two quotes of one boot say about the time between them.

use messages::Digest;
use serde::Serialize;

use crate::clock_info::ClockInfo;

/// One quote, as far as the reading goes. Only quotes that passed mean anything here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QuoteFacts {
    /// The EK–AK–id record that its verdict names.
    pub binding: Digest,
    /// The TPM's clock and counters, `None` if the quote has none.
    pub clock: Option<ClockInfo>,
    /// IMA entries replayed when it was judged; 0 without a runtime policy.
    pub ima_count: u64,
    /// Whether its verdict is a pass.
    pub passed: bool,
    /// Not before this second was it made, if that is proven.
    pub not_before: Option<u64>,
    /// Not after this second was it made, if that is proven.
    pub not_after: Option<u64>,
}

/// What is covered between two quotes, and what is not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Times of the two.
    pub times: (u64, u64),
    /// Why the two are not of one boot without interruption; empty if they are.
    pub broken: Vec<Broken>,
    /// Whether IMA entries carry the cover: both lists were judged, and the second is not shorter.
    pub measured: bool,
    /// Clock and proven times disagree by more than the tolerance.
    pub drift: Option<Drift>,
}

/// Why nothing is covered between two quotes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Broken {
    /// The TPM's clock did not advance.
    ClockStood,
    /// One of the quotes did not pass.
    Failed,
    /// The second IMA list is shorter than the first.
    ListRestarted,
    /// A quote has no clock and counters.
    NoClock,
    /// The two verdicts name different bindings: another TPM or another key answered.
    OtherTpm,
    /// The TPM was reset: the machine rebooted.
    Reset,
    /// The TPM was restarted or resumed.
    Restarted,
    /// The TPM says that its clock may repeat.
    Unsafe,
}

/// The TPM counted another time than has gone by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Drift {
    /// Milliseconds by the TPM.
    pub counted_ms: u64,
    /// At least so many have gone by.
    pub at_least_ms: u64,
    /// At most so many have; `None` if that is not proven.
    pub at_most_ms: Option<u64>,
}

/// How far a TPM's clock may be off before it is a finding, in thousandths: the specification asks for
/// 15 % (Part 1, "Clock"); adjustments beyond that need authorisation and are worth a finding.
pub const DRIFT_PER_MILLE: u64 = 150;
/// What seconds-resolution times can be off, on both ends together.
const RESOLUTION_MS: u64 = 2_000;

impl Reading {
    /// Reads two quotes of one agent, `second` the later one; `times` are those of their leaves.
    ///
    /// Checks: both passed; both are of one binding, since counters of two TPMs say nothing together; both have a clock,
    /// safe; equal resetCount and restartCount; the clock advanced; the IMA list of the second is not shorter. That it
    /// begins with the first's follows from the second verdict: its list replays to a register that only a reset clears.
    #[must_use]
    pub fn between(first: &QuoteFacts, second: &QuoteFacts, times: (u64, u64)) -> Self {
        let mut broken = Vec::new();
        if !first.passed || !second.passed {
            broken.push(Broken::Failed);
        }
        let mut drift = None;
        let mut one_boot = false;
        match (first.clock, second.clock) {
            _ if first.binding != second.binding => broken.push(Broken::OtherTpm),
            (Some(one), Some(two)) => {
                let same = one.reset_count == two.reset_count && one.restart_count == two.restart_count;
                let checks = [
                    (one.reset_count != two.reset_count, Broken::Reset),
                    (one.reset_count == two.reset_count && !same, Broken::Restarted),
                    (!one.safe || !two.safe, Broken::Unsafe),
                    (same && two.clock_ms <= one.clock_ms, Broken::ClockStood),
                ];
                broken.extend(checks.into_iter().filter(|(is, _)| *is).map(|(_, why)| why));
                one_boot = same;
                if same {
                    drift = drift_between(first, second, two.clock_ms.saturating_sub(one.clock_ms));
                }
            }
            _ => broken.push(Broken::NoClock),
        }
        let both = first.ima_count > 0 && second.ima_count > 0;
        // A shorter list without a reset is a list that was replaced.
        if one_boot && both && second.ima_count < first.ima_count {
            broken.push(Broken::ListRestarted);
        }
        let measured = both && broken.is_empty();
        Self { times, broken, measured, drift }
    }

    /// What is covered, in a sentence.
    #[must_use]
    pub fn covered(&self) -> String {
        if !self.broken.is_empty() {
            let reasons: Vec<&str> = self.broken.iter().map(|broken| broken.text()).collect();
            return format!("nothing is covered between the two quotes: {}", reasons.join("; "));
        }
        let boot = "the machine did not reset or restart between the two quotes";
        if self.measured {
            format!("{boot}; every event that its IMA policy measures is in the list that the second verdict accepted")
        } else {
            format!("{boot}; the two verdicts did not both judge an IMA list, so nothing is said of what ran")
        }
    }

    /// What is not covered, whatever the two quotes say; a sentence each.
    #[must_use]
    pub fn not_covered(&self) -> &'static [&'static str] {
        &[
            "what happens in memory: injected code, interpreters fed by other than files, eBPF, ptrace",
            "what a kernel that was compromised in between did not measure afterwards",
            "registers that can be reset without a reboot (16, 23, by locality 17 to 22)",
            "a kernel started by kexec that was not measured",
        ]
    }
}

impl Broken {
    /// The reason in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ClockStood => "the TPM's clock did not advance",
            Self::Failed => "one of the two did not pass",
            Self::ListRestarted => "the IMA list of the second is shorter than that of the first",
            Self::NoClock => "one of the two has no TPM clock",
            Self::OtherTpm => "they are of two enrolled TPM keys",
            Self::Reset => "the TPM was reset, the machine rebooted",
            Self::Restarted => "the TPM was restarted or resumed",
            Self::Unsafe => "the TPM says that its clock may repeat",
        }
    }
}

/// Compares with the least and the most time that can have gone by.
fn drift_between(first: &QuoteFacts, second: &QuoteFacts, counted_ms: u64) -> Option<Drift> {
    let least = second.not_before.zip(first.not_after).map_or(0, |(to, from)| to.saturating_sub(from));
    let most = second.not_after.zip(first.not_before).map(|(to, from)| to.saturating_sub(from));
    let at_least_ms = least.saturating_mul(1_000);
    let at_most_ms = most.map(|most| most.saturating_mul(1_000));
    let slow = at_least_ms.saturating_sub(at_least_ms / 1_000 * DRIFT_PER_MILLE).saturating_sub(RESOLUTION_MS);
    let fast = at_most_ms.map(|most| most.saturating_add(most / 1_000 * DRIFT_PER_MILLE).saturating_add(RESOLUTION_MS));
    let off = counted_ms < slow || fast.is_some_and(|fast| counted_ms > fast);
    off.then_some(Drift { counted_ms, at_least_ms, at_most_ms })
}

#[cfg(test)]
mod tests;
