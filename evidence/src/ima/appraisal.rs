//! Replays a list to the quoted register and judges every entry on the way.

use super::devices::Devices;
use super::entry::Entry;
use super::finding::{Event, Finding, Findings, Severity};
use super::judge::{Hidden, Judge, Place};
use super::learned::{LearnedCounts, LearnedKeys};
use super::list::{MeasurementList, Scratch};
use super::register::{extend, hash, padded, violation_extension};
use super::state::MeasurementState;
use crate::algorithm::Digest;
use crate::crypto::CryptoUnavailable;
use crate::runtime_policy::{ExcludeCount, Extension, PolicyStack, StackId};

/// What a round brings.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The list, or its end: entries as the kernel wrote them, in either form. Untrusted.
    pub list: &'a [u8],
    /// The number of its first entry since the machine started, as the machine says. Untrusted; checked by replay.
    pub first_entry: u64,
    /// The register's value in the quote, which the caller has verified.
    pub quoted: Digest,
    /// The reset count the quote signs. Another one than last time makes the list start anew.
    pub reset_count: u32,
    /// What `boot_aggregate` must be: [`boot_aggregates`](super::boot_aggregates) of verified registers. Empty if the
    /// caller has none; then the policy must list the value.
    pub boot_aggregates: &'a [Digest],
}

/// The policies a list is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a> {
    /// The one in force: it judges every entry that is seen for the first time.
    pub current: &'a PolicyStack,
    /// Those that were, as [`MeasurementState::policies`] names them. One that is missing allows nothing.
    pub earlier: &'a [&'a PolicyStack],
}

/// What an appraisal found.
#[derive(Clone, Debug)]
#[must_use]
pub struct Appraisal {
    /// Everything that is wrong.
    pub findings: Findings,
    /// What to keep for the next round.
    pub state: MeasurementState,
    /// Whether some prefix of the list is what the register holds. Where not, findings about entries rest on an
    /// unauthentic list.
    pub authentic: bool,
    /// Entries judged in this round.
    pub judged: u64,
    /// Entries behind the last one the register holds: read for their form only. The next round judges them.
    pub ahead: u64,
    /// How many entries each exclude pattern hid in this round.
    pub excluded: Vec<ExcludeCount>,
    /// Violations the policy says to ignore.
    pub ignored_violations: u64,
}

impl Appraisal {
    /// Whether the list is authentic and the policy allows all of it.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.authentic && self.findings.failures() == 0
    }
}

/// Appraises a list, or the part of it that is new since `state`. In this order:
///
/// 1. the list starts where `state` ends, or at entry 0, where the entries already known are replayed again and must
///    give the same register;
/// 2. every entry has the register's number and a template digest that is the hash of its data;
/// 3. every entry up to the quoted register is allowed: by the policy in force when it was first seen, which for
///    entries seen now is the current one;
/// 4. the running register is the quoted one somewhere, not before an entry that was authentic earlier;
/// 5. a list that ran ahead of the last quote is caught up with;
/// 6. something was measured at all;
/// 7. the mapped devices are as the policy over device-mapper records wants them, if there is one.
///
/// The cost is that of the entries handed in. State moves on over what passed; it stays in front of the first entry
/// that did not, and moves nowhere if the list is not authentic.
///
/// # Errors
/// [`CryptoUnavailable`] if the library cannot hash or check signatures: no verdict, never a pass.
pub fn appraise(
    evidence: &Evidence<'_>,
    policies: &Policies<'_>,
    state: &MeasurementState,
) -> Result<Appraisal, CryptoUnavailable> {
    let known =
        state.reset_count == Some(evidence.reset_count) && state.register.algorithm() == evidence.quoted.algorithm();
    let base = if known { state.clone() } else { state.restarted(evidence.quoted.algorithm(), evidence.reset_count) };
    let mut walk = Walk {
        evidence,
        policies,
        judge: Judge {
            boot_aggregates: evidence.boot_aggregates,
            learned: base.learned.clone(),
            devices: base.devices.clone(),
            hidden: Hidden::default(),
            ignored_violations: 0,
        },
        findings: Findings::default(),
        register: base.register,
        position: base.settled,
        matched: None,
        ahead: 0,
        judged: 0,
        first_failure: None,
        base: &base,
    };
    walk.judge.devices.follow(policies.current.device_mapper().is_some(), base.settled);
    let whole = walk.run()?;
    let next = if whole { walk.conclude() } else { None };
    let (authentic, ahead, judged) = (walk.matched.is_some(), walk.ahead, walk.judged);
    let (excluded, ignored_violations) = (walk.judge.hidden.counts(), walk.judge.ignored_violations);
    let (findings, learned) = (walk.findings, walk.judge.learned);
    let state = match next {
        Some(next) => next.state(base, learned, policies.current.id()),
        None => base,
    };
    Ok(Appraisal { findings, state, authentic, judged, ahead, excluded, ignored_violations })
}

/// A list being walked through.
struct Walk<'a> {
    evidence: &'a Evidence<'a>,
    policies: &'a Policies<'a>,
    judge: Judge<'a>,
    findings: Findings,
    register: Digest,
    /// Entries the register holds.
    position: u64,
    /// The position at which the register was the quoted one.
    matched: Option<u64>,
    ahead: u64,
    judged: u64,
    /// Where the state must stay.
    first_failure: Option<Settled>,
    base: &'a MeasurementState,
}

/// A position with all that was known there.
struct Settled {
    position: u64,
    register: Digest,
    learned: LearnedCounts,
    devices: Devices,
}

/// Where an authentic list leads to.
struct Next {
    /// In front of the first entry that failed, or behind the last.
    settled: Settled,
    seen: u64,
    lag: u64,
}

impl Next {
    fn state(self, base: MeasurementState, mut learned: LearnedKeys, current: StackId) -> MeasurementState {
        let mut state = base;
        if self.seen > state.seen {
            let from = state.seen;
            state.begin_epoch(from, current);
        }
        if self.settled.position == self.seen {
            state.epochs.clear();
        }
        learned.truncate(self.settled.learned);
        MeasurementState {
            register: self.settled.register,
            settled: self.settled.position,
            seen: self.seen,
            lag: self.lag,
            learned,
            devices: self.settled.devices,
            ..state
        }
    }
}

impl<'a> Walk<'a> {
    /// Reads the list to its end; false if it cannot be read or is not a continuation.
    fn run(&mut self) -> Result<bool, CryptoUnavailable> {
        let first = self.evidence.first_entry;
        if first != self.base.settled {
            if first != 0 {
                let found = format!("a list from entry {first} on");
                let expected = format!("one from entry {} on, or from entry 0", self.base.settled);
                self.findings.push(Finding::list(Event::ListGap, found, expected));
                return Ok(false);
            }
            self.register = Digest::zero(self.register.algorithm());
            self.position = 0;
        } else {
            self.note_match();
        }
        let mut cursor = MeasurementList::new(self.evidence.list, self.policies.current.log_hash()).cursor();
        let mut scratch: [Scratch; WINDOW] = std::array::from_fn(|_| Scratch::default());
        let mut end = None;
        while end.is_none() {
            let mut window = [None; WINDOW];
            for (entry, scratch) in window.iter_mut().zip(&mut scratch) {
                match cursor.read(scratch) {
                    Ok(Some(read)) => *entry = Some(read),
                    other => {
                        end = Some(other.map(drop));
                        break;
                    }
                }
            }
            self.fetch_ahead(&window);
            for entry in window.iter().flatten() {
                if !self.step(entry)? {
                    return Ok(false);
                }
            }
        }
        if let Some(Err(malformed)) = end {
            let finding = Finding::list(Event::ParserEntry, malformed.to_string(), "a list as the kernel writes it");
            self.findings.push_front(Finding { entry: Some(first.saturating_add(malformed.entry)), ..finding });
            return Ok(false);
        }
        if self.position < self.base.settled {
            let found = format!("a list that ends behind entry {}", self.position);
            let expected = format!("the {} entries that were there before", self.base.settled);
            self.findings.push(Finding::list(Event::PrefixRewritten, found, expected));
            return Ok(false);
        }
        Ok(true)
    }

    /// Brings what the policy says of some entries into the processor's cache, all at once: one after the other, look-ups
    /// in a policy of megabytes take longer to wait for memory than all hashing takes.
    fn fetch_ahead(&self, window: &[Option<Entry<'_>>]) {
        if self.matched.is_none() && self.position >= self.base.settled {
            self.policies.current.fetch(window.iter().flatten().filter_map(|entry| entry.name));
        }
    }

    /// Takes one entry; false if it ends what was known before and that was something else.
    fn step(&mut self, entry: &Entry<'_>) -> Result<bool, CryptoUnavailable> {
        if self.matched.is_some() {
            self.ahead += 1;
            return Ok(true);
        }
        if self.position < self.base.settled {
            self.replay(entry)?;
            if self.position == self.base.settled && !self.is_same_prefix() {
                return Ok(false);
            }
        } else {
            self.judge(entry)?;
        }
        self.note_match();
        Ok(true)
    }

    /// Whether the entries known before are still the same.
    fn is_same_prefix(&mut self) -> bool {
        let same = self.register == self.base.register;
        if !same {
            let found = format!("other entries before {}: they give {}", self.position, self.register);
            let expected = format!("those of the earlier rounds, which gave {}", self.base.register);
            self.findings.push(Finding::list(Event::PrefixRewritten, found, expected));
        }
        same
    }

    /// Notes whether the register is the quoted one here. It never goes back behind what was authentic before.
    fn note_match(&mut self) {
        if self.matched.is_none() && self.position >= self.base.seen && self.register == self.evidence.quoted {
            self.matched = Some(self.position);
        }
    }

    /// Extends the register by an entry; gives whether its template digest is right.
    fn replay(&mut self, entry: &Entry<'_>) -> Result<bool, CryptoUnavailable> {
        let (bank, log_hash) = (self.register.algorithm(), self.policies.current.log_hash());
        self.position += 1;
        if entry.is_violation(log_hash) {
            self.register = extend(&self.register, violation_extension(bank))?;
            return Ok(true);
        }
        // What is extended comes from the data that are judged, never from the recorded digest.
        let template_digest = hash(log_hash, entry.data)?;
        self.register = if bank == log_hash {
            extend(&self.register, template_digest.as_bytes())?
        } else {
            match self.policies.current.extension() {
                Extension::Recomputed => extend(&self.register, hash(bank, entry.data)?.as_bytes())?,
                Extension::DangerPaddedSha1 => {
                    extend(&self.register, padded(bank, template_digest.as_bytes()).as_bytes())?
                }
            }
        };
        Ok(template_digest.as_bytes() == entry.template_digest)
    }

    fn judge(&mut self, entry: &Entry<'_>) -> Result<(), CryptoUnavailable> {
        let number = self.position;
        let (register, learned) = (self.register, self.judge.learned.counts());
        self.judge.devices.begin();
        let mut allowed = self.replay(entry)?;
        let place = Place { number, name: entry.name.unwrap_or_default() };
        if !allowed {
            let expected = format!("the {} of the entry's data", self.policies.current.log_hash());
            self.findings.push(place.failure(Event::TemplateHash, "another template digest", expected));
        }
        if entry.pcr != u32::from(self.base.pcr.get()) {
            let (found, expected) = (format!("register {}", entry.pcr), format!("register {}", self.base.pcr));
            self.findings.push(place.failure(Event::WrongPcr, found, expected));
            allowed = false;
        }
        if number == 0 && !self.evidence.boot_aggregates.is_empty() && !entry.is_boot_aggregate() {
            let expected = "boot_aggregate, which ties the list to the registers of the firmware";
            self.findings.push(place.failure(Event::BootAggregate, "another first entry", expected));
            allowed = false;
        }
        allowed &= self.is_allowed(number, entry)?;
        self.judged += 1;
        if !allowed && self.first_failure.is_none() {
            let devices = self.judge.devices.before();
            self.first_failure = Some(Settled { position: number, register, learned, devices });
        }
        Ok(())
    }

    fn is_allowed(&mut self, number: u64, entry: &Entry<'_>) -> Result<bool, CryptoUnavailable> {
        let Policies { current, earlier } = *self.policies;
        if let Some(policy) = self.base.policy_of(number).filter(|policy| *policy != current.id()) {
            let then = earlier.iter().copied().find(|earlier| earlier.id() == policy);
            // Template digests and extension are the current policy's: those of an epoch cannot differ within a list.
            if let Some(then) = then.filter(|then| then.log_hash() == current.log_hash()) {
                if self.judge.allows(then, number, entry, None)? {
                    return Ok(true);
                }
                self.judge.devices.take_back();
            }
        }
        self.judge.allows(current, number, entry, Some(&mut self.findings))
    }

    /// What the whole list comes to; nothing if it moves nothing.
    fn conclude(&mut self) -> Option<Next> {
        let Some(seen) = self.matched else {
            let found = format!("entries up to {} give {}", self.position, self.register);
            let expected = format!("the quoted value of PCR {}, {}", self.base.pcr, self.evidence.quoted);
            self.findings.push_front(Finding::list(Event::PcrMismatch, found, expected));
            return None;
        };
        let due = self.base.seen.saturating_add(self.base.lag);
        if seen < due && self.ahead > 0 {
            let found = format!("a register that holds {seen} entries of {}", seen + self.ahead);
            let expected = format!("at least {due}, which the list had in the last round");
            self.findings.push_front(Finding::list(Event::QuoteProgress, found, expected));
            return None;
        }
        if seen == 0 {
            let found = "no entry at all";
            self.findings.push_front(Finding::list(Event::ListMissing, found, "a machine that measures with IMA"));
            return None;
        }
        self.tell_devices();
        self.judge.devices.begin();
        let settled = self.first_failure.take().unwrap_or_else(|| Settled {
            position: seen,
            register: self.register,
            learned: self.judge.learned.counts(),
            devices: self.judge.devices.clone(),
        });
        Some(Next { settled, seen, lag: self.ahead })
    }

    /// Holds the devices, as all entries leave them, against the policy.
    fn tell_devices(&mut self) {
        let Some((layer, policy)) = self.policies.current.device_mapper() else { return };
        let (faults, untold) = self.judge.devices.faults(policy);
        let faults = faults.into_iter().map(|fault| (Severity::Failure, fault));
        for (severity, fault) in faults.chain(untold.into_iter().map(|fault| (Severity::Warning, fault))) {
            let finding = Finding::list(Event::Device(fault.fault), fault.found, fault.expected);
            self.findings.push(Finding { severity, ..finding.of_layer(layer.to_owned()) });
        }
    }
}

/// Entries read ahead of the one that is judged: enough for their look-ups to wait for memory together.
const WINDOW: usize = 16;
