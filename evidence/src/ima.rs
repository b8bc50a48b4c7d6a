//! IMA measurement lists: what Linux measured while it ran, read, replayed to a quoted register and judged.
//!
//! A list proves nothing by itself. [`appraise`] replays it from a [`MeasurementState`] the verifier keeps, entry by
//! entry, until the running value is the quoted one; only entries up to there are evidence. Judging needs a
//! [`PolicyStack`](crate::runtime_policy::PolicyStack). To look at a list without judging it, see [`ListSummary`].

mod appraisal;
mod ascii;
mod binary;
mod boot_aggregate;
mod device_mapper;
mod devices;
mod entry;
mod evm;
mod finding;
mod judge;
mod keyring;
mod learned;
mod list;
mod malformed;
mod modsig;
mod register;
mod replay;
mod signature;
mod state;
mod template;

pub use appraisal::{Appraisal, Evidence, Policies, appraise};
pub use boot_aggregate::boot_aggregates;
pub use devices::{DeviceFault, Happening};
pub use entry::{DigestKind, Entry, FileDigest};
pub use finding::{Event, FINDINGS_MAX, Finding, Findings, Severity};
pub use keyring::{FileKey, KeyId, Keyring, MalformedKeyring, UnusableKey};
pub use list::{Entries, ListForm, MeasurementList};
pub use malformed::{Excerpt, MalformedEntry, MalformedList};
pub use replay::{ListSummary, Listed, Replay, SummaryError};
pub use signature::{FileSignature, UnusableSignature};
pub use state::{MalformedState, MeasurementState};
pub use template::Template;

#[cfg(test)]
mod tests;
