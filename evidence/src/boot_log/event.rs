//! One event as it stands in the log.

use std::fmt;

use crate::algorithm::{Digest, HashAlgorithm};
use crate::pcr::{PcrBank, PcrIndex};

use super::event_type::EventType;

/// One event: which register it extended with which digests, and what the log says about it.
///
/// Only register and digests take part in the replay. Type and data are what the log's author states.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    pub(super) place: EventPlace,
    pub(super) register: Option<PcrIndex>,
    pub(super) event_type: EventType,
    pub(super) digests: Vec<Digest>,
    pub(super) data: &'a [u8],
    pub(super) data_offset: usize,
}

impl<'a> Event<'a> {
    /// Its number and where it starts.
    #[must_use]
    pub const fn place(&self) -> EventPlace {
        self.place
    }

    /// The register it names; `None` for an event of no register (index 0xffffffff, Windows' trust point).
    ///
    /// In a confidential computing log this is the measurement register: 0 for MRTD, n + 1 for RTMR n.
    #[must_use]
    pub const fn register(&self) -> Option<PcrIndex> {
        self.register
    }

    /// Its type; untrusted, see [`EventType`].
    #[must_use]
    pub const fn event_type(&self) -> EventType {
        self.event_type
    }

    /// The digests in the order of the log, one per bank at most; those of unknown algorithms are left out.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The digest that was extended into `bank`, if the log states one.
    #[must_use]
    pub fn digest(&self, bank: PcrBank) -> Option<&Digest> {
        self.digest_of(bank.algorithm())
    }

    pub(super) fn digest_of(&self, algorithm: HashAlgorithm) -> Option<&Digest> {
        self.digests.iter().find(|digest| digest.algorithm() == algorithm)
    }

    /// The event's data; untrusted until it is compared with the digest, and then only the part the digest covers.
    #[must_use]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Whether it extended its register: every event does but those of type `EV_NO_ACTION`.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.event_type != EventType::NO_ACTION
    }
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPlace {
    /// Its number, the first being 0; the Spec ID event counts.
    pub number: usize,
    /// Bytes before it in the log.
    pub offset: usize,
}

impl fmt::Display for EventPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} at byte {}", self.number, self.offset)
    }
}
