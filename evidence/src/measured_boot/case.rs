//! What is judged: the log, examined and replayed, beside the quoted values.

use crate::algorithm::Digest;
use crate::boot_log::{BootLog, ExaminedEvent, Replay};
use crate::pcr::{PcrBank, PcrIndex, PcrValues};

pub(super) struct Case<'c> {
    pub(super) log: &'c BootLog<'c>,
    pub(super) events: &'c [ExaminedEvent<'c, 'c>],
    pub(super) replay: &'c Replay,
    pub(super) quoted: &'c PcrValues,
}

impl<'c> Case<'c> {
    pub(super) const fn bank(&self) -> PcrBank {
        self.quoted.bank()
    }

    /// The events that extended a register, in order.
    pub(super) fn measured(&self, register: PcrIndex) -> impl Iterator<Item = &'c ExaminedEvent<'c, 'c>> {
        self.events.iter().filter(move |event| event.event.register() == Some(register) && event.event.is_measured())
    }

    /// What an event extended in the quoted bank.
    pub(super) fn digest(&self, event: &'c ExaminedEvent<'_, '_>) -> Option<&'c Digest> {
        event.event.digest(self.bank())
    }
}
