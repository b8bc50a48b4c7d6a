//! Trust policies: which logs are known, and which witnesses must have cosigned.
//!
//! ```text
//! log ledger.example/log1+0e8f6b0c+AZsf…
//! witness w1 witness.example/w1+24c2fdca+BHun…
//! witness w2 witness.example/w2+…
//! group either any w1 w2
//! quorum either
//! ```
//!
//! Source: C2SP tlog-policy.

use std::collections::HashMap;

use crate::checkpoint::AuthenticCheckpoint;
use crate::decimal;
use crate::key::{MalformedKey, NoteVerifier, PosixSeconds};

/// Most bytes of a policy: 32 logs, 32 witnesses and 32 groups, which every reader must take,
/// with lines of 4 KiB for ML-DSA keys and URLs come to 384 KiB; this is more than twice that.
pub const POLICY_BYTES_MAX: usize = 1_000_000;

/// The name that stands for "no cosignatures needed" in a quorum line.
const NONE: &str = "none";

/// A parsed policy file. URLs are not kept: they do not take part in verification.
#[derive(Debug, Clone)]
pub struct Policy {
    logs: Vec<NoteVerifier>,
    quorum: WitnessQuorum,
}

/// Which witnesses are known and which sets of them suffice.
#[derive(Debug, Clone)]
pub struct WitnessQuorum {
    members: Vec<Member>,
    /// Position of the member that must have witnessed; `None` asks for nothing.
    root: Option<usize>,
}

/// A witness, or a group of members defined before it.
#[derive(Debug, Clone)]
enum Member {
    Group { threshold: usize, members: Vec<usize> },
    Witness(NoteVerifier),
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`MalformedPolicy`] with the number of the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedPolicy> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(MalformedPolicy::TooLong { found: bytes.len() });
        }
        let mut reader = Reader::default();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            reader.line(line).map_err(|source| MalformedPolicy::Line { number, source })?;
        }
        let root = reader.quorum.ok_or(MalformedPolicy::NoQuorum)?;
        let quorum = WitnessQuorum { members: reader.members, root };
        Ok(Self { logs: reader.logs, quorum })
    }

    /// The known logs; a log's key name is its origin.
    #[must_use]
    pub fn logs(&self) -> &[NoteVerifier] {
        &self.logs
    }

    /// The witnesses and how many of them must have cosigned.
    #[must_use]
    pub const fn quorum(&self) -> &WitnessQuorum {
        &self.quorum
    }
}

impl WitnessQuorum {
    /// Asks for no cosignatures: the log's word is enough.
    #[must_use]
    pub const fn none() -> Self {
        Self { members: Vec::new(), root: None }
    }

    /// Asks for cosignatures by `threshold` of `witnesses`.
    ///
    /// # Errors
    /// [`MalformedPolicyLine::Threshold`] unless it is 1 to the number of witnesses,
    /// [`MalformedPolicyLine::KeyKind`] or [`MalformedPolicyLine::DuplicateKey`] for keys that
    /// cannot count.
    pub fn of(threshold: usize, witnesses: Vec<NoteVerifier>) -> Result<Self, MalformedPolicyLine> {
        let mut reader = Reader::default();
        for witness in witnesses {
            reader.check_witness(&witness)?;
            reader.members.push(Member::Witness(witness));
        }
        let members: Vec<usize> = (0..reader.members.len()).collect();
        if threshold == 0 || threshold > members.len() {
            return Err(MalformedPolicyLine::Threshold { members: members.len() });
        }
        reader.members.push(Member::Group { threshold, members });
        let root = Some(reader.members.len() - 1);
        Ok(Self { members: reader.members, root })
    }

    /// The keys of all known witnesses, for [`Checkpoint::open`](crate::checkpoint::Checkpoint::open).
    pub fn witnesses(&self) -> impl Iterator<Item = &NoteVerifier> {
        self.members.iter().filter_map(|member| match member {
            Member::Witness(verifier) => Some(verifier),
            Member::Group { .. } => None,
        })
    }

    /// Between which times the cosignatures place `checkpoint`, which was opened with
    /// [`Self::witnesses`], taking one witness of each set that suffices as honest.
    ///
    /// For `k` of `n` these are the `k`-th latest and the `k`-th earliest time. `None` without a
    /// quorum, and if none is asked for.
    #[must_use]
    pub fn time_bounds(&self, checkpoint: &AuthenticCheckpoint) -> Option<TimeBounds> {
        if !self.asks() {
            return None;
        }
        let time_of = |verifier: &NoteVerifier| {
            let mut signatures = checkpoint.note().signatures().iter();
            signatures
                .find(|signature| signature.is_by(verifier) && signature.time.is_some())
                .and_then(|signature| signature.time)
        };
        let mut times: Vec<PosixSeconds> = self.witnesses().filter_map(time_of).collect();
        times.sort_unstable();
        let not_before =
            times.iter().rev().find(|t| self.suffices(|witness| time_of(witness).is_some_and(|time| time >= **t)))?;
        let not_after =
            times.iter().find(|t| self.suffices(|witness| time_of(witness).is_some_and(|time| time <= **t)))?;
        Some(TimeBounds { not_before: *not_before, not_after: *not_after })
    }

    /// Whether cosignatures are asked for at all.
    #[must_use]
    pub fn asks(&self) -> bool {
        !self.suffices(|_| false)
    }

    /// Whether the witnesses that `counts` says yes to are enough.
    fn suffices(&self, counts: impl Fn(&NoteVerifier) -> bool) -> bool {
        let Some(root) = self.root else { return true };
        // Members refer to earlier ones only, so one pass in order decides all.
        let mut witnessed: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            witnessed.push(match member {
                Member::Witness(verifier) => counts(verifier),
                Member::Group { threshold, members } => {
                    let count = members.iter().filter(|at| witnessed.get(**at) == Some(&true));
                    count.count() >= *threshold
                }
            });
        }
        witnessed.get(root) == Some(&true)
    }

    /// Checks that enough witnesses cosigned; `checkpoint` was opened with [`Self::witnesses`].
    ///
    /// A cosignature counts if it was verified and states its time: one that cannot be verified
    /// here, or that does not say to be of the newest checkpoint, is none.
    ///
    /// # Errors
    /// [`QuorumMissed`].
    pub fn check(&self, checkpoint: &AuthenticCheckpoint) -> Result<(), QuorumMissed> {
        if self.suffices(|verifier| is_witnessed(checkpoint, verifier)) {
            return Ok(());
        }
        let count = |counts: &dyn Fn(&NoteVerifier) -> bool| self.witnesses().filter(|key| counts(key)).count();
        Err(QuorumMissed {
            cosigned: count(&|witness| is_witnessed(checkpoint, witness)),
            known: self.witnesses().count(),
            unverifiable: count(&|witness| checkpoint.note().has_unverifiable(witness)),
        })
    }
}

fn is_witnessed(checkpoint: &AuthenticCheckpoint, witness: &NoteVerifier) -> bool {
    checkpoint.note().signatures().iter().any(|signature| signature.is_by(witness) && signature.time.is_some())
}

/// When a checkpoint was cosigned, as far as a quorum of witnesses proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    /// An honest witness cosigned at this time or later: the note, whole, is not older.
    pub not_before: PosixSeconds,
    /// An honest witness had cosigned by this time: what the checkpoint covers is not younger.
    pub not_after: PosixSeconds,
}

/// The cosignatures do not satisfy the quorum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cosigned by {cosigned} of {known} known witnesses, which is not a quorum{}", not_verified(*.unverifiable))]
pub struct QuorumMissed {
    /// Known witnesses that cosigned.
    pub cosigned: usize,
    /// Known witnesses.
    pub known: usize,
    /// Known witnesses whose line is there but needs a newer openssl to be verified.
    pub unverifiable: usize,
}

fn not_verified(lines: usize) -> String {
    match lines {
        0 => String::new(),
        _ => format!("; {lines} more are there and not verifiable here (ML-DSA-44 needs OpenSSL 3.5 or later)"),
    }
}

/// Why bytes are not a policy.
#[derive(Debug, thiserror::Error)]
pub enum MalformedPolicy {
    /// A line is wrong.
    #[error("line {number} of the policy is malformed")]
    Line {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        source: MalformedPolicyLine,
    },
    /// No quorum line.
    #[error("the policy has no quorum line")]
    NoQuorum,
    /// More bytes than any policy needs.
    #[error("the policy has {found} bytes, at most {POLICY_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes given.
        found: usize,
    },
}

/// Why a line has no place in a policy.
#[derive(Debug, thiserror::Error)]
pub enum MalformedPolicyLine {
    /// A control character other than tab.
    #[error("the control character 0x{found:02x}")]
    Control {
        /// The character.
        found: u8,
    },
    /// The same public key again, whatever its name: it would count twice.
    #[error("the key of {name} is listed twice")]
    DuplicateKey {
        /// Name of the second one.
        name: String,
    },
    /// The name is taken.
    #[error("the name {name:?} is defined twice, or reserved")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// The verifier key is malformed.
    #[error("the verifier key is malformed")]
    Key {
        /// What is wrong with it.
        source: MalformedKey,
    },
    /// A witness with a log's kind of key or the reverse.
    #[error("the key of {name} is of the wrong kind: witnesses have cosignature keys, logs do not")]
    KeyKind {
        /// Name of the key.
        name: String,
    },
    /// A member of two groups would count in two ways.
    #[error("{name:?} is a member of a second group")]
    MemberTwice {
        /// The member.
        name: String,
    },
    /// A second quorum line.
    #[error("a second quorum line")]
    SecondQuorum,
    /// Not one of the four kinds of line, or with too few or too many items.
    #[error("not of the form log, witness, group or quorum with its items")]
    Shape,
    /// The threshold is not `all`, `any` or a number from 1 to the number of members.
    #[error("the threshold is not all, any or a number from 1 to {members}")]
    Threshold {
        /// Members of the group.
        members: usize,
    },
    /// A name that no earlier line defines.
    #[error("{name:?} is not defined on an earlier line")]
    UnknownName {
        /// The name.
        name: String,
    },
}

/// What the lines so far have defined.
#[derive(Default)]
struct Reader {
    logs: Vec<NoteVerifier>,
    members: Vec<Member>,
    /// Names are opaque bytes: position of the member, and whether a group has it already.
    names: HashMap<Vec<u8>, (usize, bool)>,
    quorum: Option<Option<usize>>,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), MalformedPolicyLine> {
        let control = |byte: &&u8| (**byte < 0x20 && **byte != b'\t') || **byte == 0x7f;
        if let Some(found) = line.iter().find(control) {
            return Err(MalformedPolicyLine::Control { found: *found });
        }
        let mut items = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty());
        let Some(keyword) = items.next() else {
            return Ok(());
        };
        let items: Vec<&[u8]> = items.collect();
        match (keyword, items.as_slice()) {
            ([b'#', ..], _) => Ok(()),
            (b"log", [vkey] | [vkey, _]) => self.log(vkey),
            (b"witness", [name, vkey] | [name, vkey, _]) => self.witness(name, vkey),
            (b"group", [name, threshold, members @ ..]) => self.group(name, threshold, members),
            (b"quorum", [name]) => self.quorum(name),
            _ => Err(MalformedPolicyLine::Shape),
        }
    }

    fn log(&mut self, vkey: &[u8]) -> Result<(), MalformedPolicyLine> {
        let log = parse_key(vkey)?;
        if !log.may_be_log() {
            return Err(MalformedPolicyLine::KeyKind { name: log.name().to_string() });
        }
        check_unique(&log, self.logs.iter())?;
        self.logs.push(log);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], vkey: &[u8]) -> Result<(), MalformedPolicyLine> {
        let witness = parse_key(vkey)?;
        self.check_witness(&witness)?;
        self.define(name, Member::Witness(witness))
    }

    fn check_witness(&self, witness: &NoteVerifier) -> Result<(), MalformedPolicyLine> {
        if !witness.may_witness() {
            return Err(MalformedPolicyLine::KeyKind { name: witness.name().to_string() });
        }
        let witnesses = self.members.iter().filter_map(|member| match member {
            Member::Witness(verifier) => Some(verifier),
            Member::Group { .. } => None,
        });
        check_unique(witness, witnesses)
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], names: &[&[u8]]) -> Result<(), MalformedPolicyLine> {
        let count = names.len();
        let wrong = MalformedPolicyLine::Threshold { members: count };
        let threshold = match threshold {
            b"all" => Some(count),
            b"any" => Some(1),
            number => {
                str::from_utf8(number).ok().and_then(decimal::parse).and_then(|number| usize::try_from(number).ok())
            }
        };
        let Some(threshold) = threshold.filter(|k| (1..=count).contains(k)) else {
            return Err(wrong);
        };
        let mut members = Vec::with_capacity(count);
        for member in names {
            let shown = || shown(member);
            let Some((position, taken)) = self.names.get_mut(*member) else {
                return Err(MalformedPolicyLine::UnknownName { name: shown() });
            };
            if *taken {
                return Err(MalformedPolicyLine::MemberTwice { name: shown() });
            }
            *taken = true;
            members.push(*position);
        }
        self.define(name, Member::Group { threshold, members })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), MalformedPolicyLine> {
        if self.quorum.is_some() {
            return Err(MalformedPolicyLine::SecondQuorum);
        }
        let root = match self.names.get(name) {
            Some((position, _)) => Some(*position),
            None if name == NONE.as_bytes() => None,
            None => return Err(MalformedPolicyLine::UnknownName { name: shown(name) }),
        };
        self.quorum = Some(root);
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), MalformedPolicyLine> {
        let position = self.members.len();
        if name == NONE.as_bytes() || self.names.contains_key(name) {
            return Err(MalformedPolicyLine::DuplicateName { name: shown(name) });
        }
        self.names.insert(name.to_vec(), (position, false));
        self.members.push(member);
        Ok(())
    }
}

fn parse_key(vkey: &[u8]) -> Result<NoteVerifier, MalformedPolicyLine> {
    let text = str::from_utf8(vkey).map_err(|_| MalformedPolicyLine::Shape)?;
    text.parse().map_err(|source| MalformedPolicyLine::Key { source })
}

fn check_unique<'k>(
    key: &NoteVerifier,
    mut others: impl Iterator<Item = &'k NoteVerifier>,
) -> Result<(), MalformedPolicyLine> {
    if others.any(|other| other.public_bytes() == key.public_bytes()) {
        return Err(MalformedPolicyLine::DuplicateKey { name: key.name().to_string() });
    }
    Ok(())
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
