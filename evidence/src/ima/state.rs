//! What the verifier keeps of a list between rounds: never from the machine.

use super::devices::Devices;
use super::learned::LearnedKeys;
use crate::algorithm::{Digest, HashAlgorithm};
use crate::pcr::{PcrBank, PcrIndex};
use crate::reader::{MalformedStructure, Reader};
use crate::runtime_policy::StackId;

/// How far a machine's list was appraised, and with what.
///
/// Everything before `settled` was authentic and allowed, and is not looked at again. Entries from there to `seen` were
/// authentic; the first of them was not allowed, so they are asked for again, and each is allowed if the policy in
/// force when it was first seen allows it, or the one now in force.
#[derive(Clone, Debug)]
pub struct MeasurementState {
    pub(super) pcr: PcrIndex,
    /// The register's value after `settled` entries.
    pub(super) register: Digest,
    /// The reset count of the quotes so far; nothing before the first.
    pub(super) reset_count: Option<u32>,
    pub(super) settled: u64,
    pub(super) seen: u64,
    /// Entries the last list had beyond `seen`.
    pub(super) lag: u64,
    /// Which policies judged the entries from `settled` to `seen` first, ascending.
    pub(super) epochs: Vec<Epoch>,
    pub(super) learned: LearnedKeys,
    pub(super) devices: Devices,
}

/// From which entry on a policy was the first to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) from: u64,
    pub(super) policy: StackId,
}

impl MeasurementState {
    /// The state of a machine nothing is known of: its list is asked for from entry 0.
    #[must_use]
    pub fn new(pcr: PcrIndex, bank: PcrBank) -> Self {
        Self {
            pcr,
            register: Digest::zero(bank.algorithm()),
            reset_count: None,
            settled: 0,
            seen: 0,
            lag: 0,
            epochs: Vec::new(),
            learned: LearnedKeys::default(),
            devices: Devices::default(),
        }
    }

    /// A state taken up in the middle, as another appraiser states it: after `entries` entries the register held
    /// `register`.
    ///
    /// Whether these were allowed stays that appraiser's word, and keys learned from them are not known. That they were
    /// there shows when later entries replay to a quoted value.
    #[must_use]
    pub fn resumed(pcr: PcrIndex, register: Digest, reset_count: u32, entries: u64) -> Self {
        let fresh = Self::new(pcr, PcrBank(register.algorithm()));
        Self { register, reset_count: Some(reset_count), settled: entries, seen: entries, ..fresh }
    }

    /// The register the list belongs to.
    #[must_use]
    pub const fn pcr(&self) -> PcrIndex {
        self.pcr
    }

    /// The bank it is replayed to.
    #[must_use]
    pub const fn bank(&self) -> PcrBank {
        PcrBank(self.register.algorithm())
    }

    /// The entry to ask the machine's list from.
    #[must_use]
    pub const fn next_entry(&self) -> u64 {
        self.settled
    }

    /// The register's value after the entries that need not be looked at again.
    #[must_use]
    pub const fn register(&self) -> &Digest {
        &self.register
    }

    /// Entries that were authentic in the last round: at least [`next_entry`](Self::next_entry), more if the machine
    /// failed.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The policies [`appraise`](super::appraise) will want beside the one in force.
    pub fn policies(&self) -> impl Iterator<Item = StackId> {
        self.epochs.iter().map(|epoch| epoch.policy)
    }

    /// The policy that was in force when an entry was first seen.
    pub(super) fn policy_of(&self, entry: u64) -> Option<StackId> {
        if entry >= self.seen {
            return None;
        }
        self.epochs.iter().rev().find(|epoch| epoch.from <= entry).map(|epoch| epoch.policy)
    }

    /// The state to store: version 3 of a form of our own, big endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        out.push(self.pcr.get());
        out.extend_from_slice(&self.register.algorithm().tpm_id().to_be_bytes());
        out.extend_from_slice(self.register.as_bytes());
        out.push(u8::from(self.reset_count.is_some()));
        out.extend_from_slice(&self.reset_count.unwrap_or_default().to_be_bytes());
        for number in [self.settled, self.seen, self.lag] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&count(self.epochs.len()));
        for epoch in &self.epochs {
            out.extend_from_slice(&epoch.from.to_be_bytes());
            out.extend_from_slice(&epoch.policy.0);
        }
        self.learned.encode(&mut out);
        self.devices.encode(&mut out);
        out
    }

    /// Reads back what [`encode`](Self::encode) wrote; also version 2, which knows no keys of `.evm`, and version 1, which
    /// knows no devices either. What they do not know comes back with the machine's next start.
    ///
    /// # Errors
    /// [`MalformedState`] naming the field.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedState> {
        let version = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first);
        let Some((version @ b'1'..=VERSION, rest)) = version else { return Err(MalformedState::Magic) };
        let mut reader = Reader::new(rest);
        let pcr = reader.u8("register")?;
        let pcr = PcrIndex::try_from(pcr).map_err(|_| MalformedState::Register { found: pcr })?;
        let algorithm = reader.hash_algorithm("bank")?;
        let register = reader.take("register value", algorithm.digest_bytes())?;
        let register = Digest::filled(algorithm, register);
        let known = reader.u8("reset count known")? != 0;
        let reset_count = reader.u32("reset count")?;
        let (settled, seen, lag) = (reader.u64("settled")?, reader.u64("seen")?, reader.u64("lag")?);
        if settled > seen || seen.checked_add(lag).is_none() {
            return Err(MalformedState::Order { settled, seen });
        }
        let mut epochs = Vec::new();
        for _ in 0..reader.count("epochs", EPOCHS_MAX)? {
            let from = reader.u64("epoch")?;
            let policy = reader.take("policy", 32)?.first_chunk::<32>().copied().unwrap_or_default();
            epochs.push(Epoch { from, policy: StackId(policy) });
        }
        let learned = LearnedKeys::decode(&mut reader, *version >= b'3')?;
        let devices = if *version >= b'2' { Devices::decode(&mut reader)? } else { Devices::default() };
        reader.finish()?;
        let reset_count = known.then_some(reset_count);
        Ok(Self { pcr, register, reset_count, settled, seen, lag, epochs, learned, devices })
    }

    /// The state after a reset of the machine, or in another bank.
    pub(super) fn restarted(&self, algorithm: HashAlgorithm, reset_count: u32) -> Self {
        Self { reset_count: Some(reset_count), ..Self::new(self.pcr, PcrBank(algorithm)) }
    }

    /// Notes that `policy` judged entries from `from` on first. The oldest epochs fall together if there are too many:
    /// their entries are then judged by the policy in force.
    pub(super) fn begin_epoch(&mut self, from: u64, policy: StackId) {
        if self.epochs.last().is_some_and(|last| last.policy == policy) {
            return;
        }
        if self.epochs.len() == EPOCHS_MAX {
            self.epochs.remove(0);
        }
        self.epochs.push(Epoch { from, policy });
    }
}

/// Why bytes are no state.
#[derive(Debug, thiserror::Error)]
pub enum MalformedState {
    /// A learned key cannot be read.
    #[error("a learned key cannot be read")]
    Key {
        /// Why.
        source: super::keyring::UnusableKey,
    },
    /// The bytes do not start as a state does.
    #[error("it does not start as a measurement state of version 1 to 3 does")]
    Magic,
    /// The positions contradict each other.
    #[error("{settled} entries settled of {seen} seen")]
    Order {
        /// Entries settled.
        settled: u64,
        /// Entries seen.
        seen: u64,
    },
    /// There is no such register.
    #[error("register {found} does not exist, the last one is 23")]
    Register {
        /// The number found.
        found: u8,
    },
    /// A field does not fit.
    #[error(transparent)]
    Structure(#[from] MalformedStructure),
}

/// The form's name, in front of its version.
const MAGIC: &[u8] = b"ATIMAST";
const VERSION: u8 = b'3';
/// Policy changes while one machine stays failed; a fleet changes policies a few times a day.
const EPOCHS_MAX: usize = 1024;
