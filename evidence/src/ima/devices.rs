//! Mapped devices as their records leave them, judged by Keylime's device-mapper policy.

use std::collections::BTreeMap;

use super::device_mapper::{Device, Named, Record, TEXT_BYTES_MAX, Target};
use crate::reader::{MalformedStructure, Reader};
use crate::runtime_policy::{DeviceMapperPolicy, DeviceRule, Expectation, MatchOn};

/// The devices of one machine since it started; never from the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Devices {
    /// The first entry a device-mapper policy was in force for; nothing while there is none.
    since: Option<u64>,
    by_key: BTreeMap<String, DeviceState>,
    /// What stood at each key that changed since [`begin`](Self::begin), the latest change last. Copying all devices for
    /// each entry instead would let a machine that invents records keep its verifier busy.
    before: Vec<(String, Option<DeviceState>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DeviceState {
    /// The rule it was loaded by.
    rule: String,
    /// Whether it was resumed.
    active: bool,
    /// Whether nothing forbidden happened to it, and nothing that is required is missing.
    valid: bool,
    /// The digest of its load's record, as a resume has it: `sha256:hex`.
    table: String,
}

/// What is wrong with a record or the devices; its name is Keylime's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceFault {
    /// The device works already.
    AlreadyActive,
    /// The device is not in the state its rule asks for.
    Invalid,
    /// The device's metadata are others.
    InvalidEntry,
    /// The table was loaded a second time.
    LoadedAgain,
    /// The record cannot be read.
    Malformed,
    /// A name its rule does not allow.
    NewName,
    /// A UUID its rule does not allow.
    NewUuid,
    /// No rule is for this device.
    NoRule,
    /// The device was removed, which its rule does not allow.
    Removed,
    /// No device is as a required rule says.
    RequiredMissing,
    /// Something happened to a device that was not loaded before.
    NotLoaded(Happening),
    /// The table was cleared, which its rule does not allow.
    TableCleared,
    /// Another table was set to work than was loaded.
    TableMismatch,
    /// A target of a loaded table is another.
    Target,
    /// The number of targets is another.
    TargetCount,
    /// A target's state changed to something else than its rule says.
    TargetUpdated,
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Happening {
    /// Its table was cleared.
    Clear,
    /// It was removed.
    Remove,
    /// It was renamed.
    Rename,
    /// It was resumed.
    Resume,
    /// A target of it has changed.
    Update,
}

impl DeviceFault {
    /// The event's name behind `ima.`, Keylime's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AlreadyActive => "validation.dm.dm_device_resume.already_active",
            Self::Invalid => "validation.dm.device_invalid_state",
            Self::InvalidEntry => "validation.dm.dm_table_load.invalid_entry",
            Self::LoadedAgain => "validation.dm.dm_table_load.multiple_table_loads",
            Self::Malformed => "validation.dm.parsing_failed",
            Self::NewName => "validation.dm.dm_device_rename.new_name_invalid",
            Self::NewUuid => "validation.dm.dm_device_rename.new_uuid_invalid",
            Self::NoRule => "validation.dm.dm_table_load.no_matching_policy",
            Self::Removed => "validation.dm.dm_device_remove.device_removed",
            Self::RequiredMissing => "validation.dm.required_policy_not_in_use",
            Self::NotLoaded(Happening::Clear) => "validation.dm.dm_table_clear.clear_before_table_load",
            Self::NotLoaded(Happening::Remove) => "validation.dm.dm_device_remove.remove_before_table_load",
            Self::NotLoaded(Happening::Rename) => "validation.dm.dm_device_rename.rename_before_table_load",
            Self::NotLoaded(Happening::Resume) => "validation.dm.dm_device_resume.resume_before_table_load",
            Self::NotLoaded(Happening::Update) => "validation.dm.dm_target_update.update_before_table_load",
            Self::TableCleared => "validation.dm.dm_table_clear.table_cleared",
            Self::TableMismatch => "validation.dm.dm_device_resume.active_table_mismatch",
            Self::Target => "validation.dm.dm_table_load.target_data_invalid",
            Self::TargetCount => "validation.dm.dm_table_load.num_targets_mismatch",
            Self::TargetUpdated => "validation.dm.dm_target_update.target_data_invalid",
        }
    }
}

/// One thing that is wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceProblem {
    pub(super) fault: DeviceFault,
    pub(super) found: String,
    pub(super) expected: String,
}

fn problem(fault: DeviceFault, found: impl Into<String>, expected: impl Into<String>) -> DeviceProblem {
    DeviceProblem { fault, found: found.into(), expected: expected.into() }
}

impl Devices {
    /// Begins to follow the devices at entry `next`, if there is a policy over them; forgets them if there is none.
    pub(super) fn follow(&mut self, is_judged: bool, next: u64) {
        if !is_judged {
            *self = Self::default();
        } else if self.since.is_none() {
            self.since = Some(next);
        }
    }

    /// Begins an entry, whose records can be taken back.
    pub(super) fn begin(&mut self) {
        self.before.clear();
    }

    /// Takes back what the entry changed.
    pub(super) fn take_back(&mut self) {
        while let Some((key, state)) = self.before.pop() {
            match state {
                Some(state) => drop(self.by_key.insert(key, state)),
                None => drop(self.by_key.remove(&key)),
            }
        }
    }

    /// The devices as they were in front of the entry.
    pub(super) fn before(&self) -> Self {
        let mut devices = self.clone();
        devices.take_back();
        devices
    }

    /// Keeps what stands at the keys a record may change.
    fn keep(&mut self, match_on: MatchOn, record: &Record<'_>) {
        let (named, new) = match record {
            Record::Load { device, .. }
            | Record::Resume { device, .. }
            | Record::Remove(device)
            | Record::Update { device, .. } => (device.named, None),
            Record::Rename { device, name, uuid } => (device.named, Some(Named { name, uuid })),
            Record::Clear(named) => (*named, None),
        };
        for key in [Some(named), new].into_iter().flatten().map(|named| key_of(match_on, named)) {
            self.before.push((key.to_owned(), self.by_key.get(key).cloned()));
        }
    }

    /// Takes a record in, whose digest is `table`; gives what is wrong with it.
    pub(super) fn take(
        &mut self,
        policy: &DeviceMapperPolicy,
        name: &[u8],
        content: &[u8],
        table: String,
    ) -> Vec<DeviceProblem> {
        let record = match Record::parse(name, content) {
            Ok(record) => record,
            Err(malformed) => {
                let expected = "a record as the kernel writes it";
                return vec![problem(DeviceFault::Malformed, malformed.to_string(), expected)];
            }
        };
        self.keep(policy.match_on, &record);
        match record {
            Record::Load { device, targets } => self.load(policy, &device, &targets, table),
            Record::Resume { device, table } => self.resume(policy, &device, table),
            Record::Rename { device, name, uuid } => self.rename(policy, &device, Named { name, uuid }),
            Record::Remove(device) => self.remove(policy, &device),
            Record::Clear(named) => self.clear(policy, named),
            Record::Update { device, target } => self.update(policy, &device, &target),
        }
    }

    /// What is wrong with the devices as they are, beside what was told when it happened. Rules that must be in use are
    /// asked for only if the policy was in force from the machine's start on; those not asked for come second.
    pub(super) fn faults(&self, policy: &DeviceMapperPolicy) -> (Vec<DeviceProblem>, Vec<DeviceProblem>) {
        let invalid = self.by_key.iter().filter(|(_, state)| !state.valid).map(|(key, state)| {
            let found = format!("device {key:?} is loaded and not in order");
            problem(
                DeviceFault::Invalid,
                found,
                format!("a device resumed with its table, as rule {:?} says", state.rule),
            )
        });
        let mut faults: Vec<DeviceProblem> = invalid.collect();
        let in_use = |name: &str| self.by_key.values().any(|state| state.valid && state.rule == name);
        let missing = policy.rules.iter().filter(|(name, rule)| rule.required && !in_use(name)).map(|(name, _)| {
            let found = match self.since {
                Some(0) | None => "no device of it since the machine started".to_owned(),
                Some(entry) => format!("no device of it since entry {entry}, when the policy came into force"),
            };
            problem(DeviceFault::RequiredMissing, found, format!("a device of the required rule {name:?}"))
        });
        match self.since {
            Some(0) | None => {
                faults.extend(missing);
                (faults, Vec::new())
            }
            Some(_) => {
                let untold = missing.collect();
                (faults, untold)
            }
        }
    }

    fn known<'p>(
        &mut self,
        policy: &'p DeviceMapperPolicy,
        named: Named<'_>,
        happening: Happening,
    ) -> Result<(&mut DeviceState, &'p DeviceRule), Vec<DeviceProblem>> {
        let key = key_of(policy.match_on, named);
        let state = self.by_key.get_mut(key).ok_or_else(|| {
            let found = format!("device {key:?}, of which no table was loaded");
            vec![problem(DeviceFault::NotLoaded(happening), found, "a device that was loaded before")]
        })?;
        let rule = policy.rule(&state.rule).ok_or_else(|| {
            let found = format!("device {key:?}, loaded by rule {:?}, which is not in force", state.rule);
            vec![problem(DeviceFault::NoRule, found, "a device of a rule in force")]
        })?;
        Ok((state, rule))
    }

    fn load(
        &mut self,
        policy: &DeviceMapperPolicy,
        device: &Device<'_>,
        targets: &[Target<'_>],
        table: String,
    ) -> Vec<DeviceProblem> {
        let key = key_of(policy.match_on, device.named);
        if let Some(state) = self.by_key.get(key)
            && !policy.rule(&state.rule).is_some_and(|rule| rule.may_be_loaded_again)
        {
            let found = format!("another table for device {key:?}");
            return vec![problem(DeviceFault::LoadedAgain, found, "one table a device")];
        }
        let position = match policy.match_on {
            MatchOn::Name => 0,
            MatchOn::Uuid => 1,
        };
        let fits = |rule: &DeviceRule| rule.metadata.get(position).is_some_and(|(_, key_of)| key_of.fits(Some(key)));
        let Some((rule_name, rule)) = policy.rules.iter().find(|(_, rule)| fits(rule)) else {
            let found = format!("a table for device {key:?}");
            return vec![problem(DeviceFault::NoRule, found, "a device that a rule is for")];
        };
        if let Some(other) = other_metadata(rule, device) {
            return vec![other];
        }
        if device.targets_count != targets.len() as u64 || rule.targets_count != device.targets_count {
            let found = format!("{} targets, {} announced", targets.len(), device.targets_count);
            return vec![problem(
                DeviceFault::TargetCount,
                found,
                format!("{} by rule {rule_name:?}", rule.targets_count),
            )];
        }
        if self.by_key.len() >= DEVICES_MAX {
            let found = format!("more than {DEVICES_MAX} devices");
            return vec![problem(DeviceFault::NoRule, found, "as many as a machine has")];
        }
        let problems: Vec<DeviceProblem> = targets
            .iter()
            .zip(&rule.targets)
            .flat_map(|(target, expected)| other_attributes(DeviceFault::Target, target, expected))
            .collect();
        let state = DeviceState { rule: rule_name.clone(), active: false, valid: !rule.resume_required, table };
        self.by_key.insert(key.to_owned(), state);
        problems
    }

    fn resume(&mut self, policy: &DeviceMapperPolicy, device: &Device<'_>, table: &str) -> Vec<DeviceProblem> {
        let (state, _) = match self.known(policy, device.named, Happening::Resume) {
            Ok(known) => known,
            Err(problems) => return problems,
        };
        if state.active {
            state.valid = false;
            let found = "a resume of a device that works already";
            return vec![problem(DeviceFault::AlreadyActive, found, "one resume a table")];
        }
        if state.table != table {
            state.valid = false;
            let (found, expected) = (format!("table {table}"), format!("{}, the one loaded", state.table));
            return vec![problem(DeviceFault::TableMismatch, found, expected)];
        }
        (state.active, state.valid) = (true, true);
        Vec::new()
    }

    fn rename(&mut self, policy: &DeviceMapperPolicy, device: &Device<'_>, new: Named<'_>) -> Vec<DeviceProblem> {
        let (state, rule) = match self.known(policy, device.named, Happening::Rename) {
            Ok(known) => known,
            Err(problems) => return problems,
        };
        let mut problems = Vec::new();
        let changes = [
            (DeviceFault::NewName, "name", device.named.name, new.name, &rule.may_be_renamed_to),
            (DeviceFault::NewUuid, "UUID", device.named.uuid, new.uuid, &rule.may_take_uuid),
        ];
        for (fault, what, old, new, expected) in changes {
            if old != new && !expected.fits(Some(new)) {
                state.valid = false;
                problems.push(problem(fault, format!("the new {what} {new:?}"), expected.to_string()));
            }
        }
        if problems.is_empty() {
            let (from, to) = (key_of(policy.match_on, device.named), key_of(policy.match_on, new));
            if let Some(state) = self.by_key.remove(from) {
                self.by_key.insert(to.to_owned(), state);
            }
        }
        problems
    }

    fn remove(&mut self, policy: &DeviceMapperPolicy, device: &Device<'_>) -> Vec<DeviceProblem> {
        let (state, rule) = match self.known(policy, device.named, Happening::Remove) {
            Ok(known) => known,
            Err(problems) => return problems,
        };
        let key = key_of(policy.match_on, device.named);
        if !rule.may_be_removed {
            state.valid = false;
            return vec![problem(DeviceFault::Removed, format!("device {key:?} was removed"), "a device that stays")];
        }
        self.by_key.remove(key);
        Vec::new()
    }

    fn clear(&mut self, policy: &DeviceMapperPolicy, named: Named<'_>) -> Vec<DeviceProblem> {
        let (state, rule) = match self.known(policy, named, Happening::Clear) {
            Ok(known) => known,
            Err(problems) => return problems,
        };
        if rule.may_be_cleared {
            return Vec::new();
        }
        state.valid = false;
        let found = format!("the table of device {:?} was cleared", key_of(policy.match_on, named));
        vec![problem(DeviceFault::TableCleared, found, "a table that stays")]
    }

    fn update(&mut self, policy: &DeviceMapperPolicy, device: &Device<'_>, target: &Target<'_>) -> Vec<DeviceProblem> {
        let (_, rule) = match self.known(policy, device.named, Happening::Update) {
            Ok(known) => known,
            Err(problems) => return problems,
        };
        let expected = usize::try_from(target.index).ok().and_then(|index| rule.targets.get(index));
        match expected {
            Some(expected) => other_attributes(DeviceFault::TargetUpdated, target, expected),
            None => {
                let found = format!("target {}", target.index);
                vec![problem(DeviceFault::TargetUpdated, found, format!("one of {}", rule.targets.len()))]
            }
        }
    }

    /// Appends the devices to a stored state.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.since.is_some()));
        out.extend_from_slice(&self.since.unwrap_or_default().to_be_bytes());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&count(self.by_key.len()));
        for (key, state) in &self.by_key {
            for text in [key, &state.rule, &state.table] {
                out.extend_from_slice(&count(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
            out.push(u8::from(state.active) | u8::from(state.valid) << 1);
        }
    }

    /// Reads back what [`encode`](Self::encode) wrote.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, MalformedStructure> {
        let known = reader.u8("device-mapper policy known")? != 0;
        let since = reader.u64("device-mapper policy since")?;
        let mut by_key = BTreeMap::new();
        for _ in 0..reader.count("devices", DEVICES_MAX)? {
            let mut text = |field| {
                let length = reader.count(field, TEXT_BYTES_MAX)?;
                reader.take(field, length).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            let (key, rule, table) = (text("device")?, text("device's rule")?, text("device's table")?);
            let flags = reader.u8("device's state")?;
            by_key.insert(key, DeviceState { rule, active: flags & 1 != 0, valid: flags & 2 != 0, table });
        }
        Ok(Self { since: known.then_some(since), by_key, before: Vec::new() })
    }
}

const fn key_of(match_on: MatchOn, named: Named<'_>) -> &str {
    match match_on {
        MatchOn::Name => named.name,
        MatchOn::Uuid => named.uuid,
    }
}

fn other_metadata(rule: &DeviceRule, device: &Device<'_>) -> Option<DeviceProblem> {
    let found = |field: &str| match field {
        "name" => Some(device.named.name),
        "uuid" => Some(device.named.uuid),
        field => device.numbers.iter().find(|(known, _)| *known == field).map(|(_, value)| *value),
    };
    let other = rule.metadata.iter().find(|(field, expected)| !expected.fits(found(field)))?;
    let (field, expected) = other;
    let found = format!("{field} {:?}", found(field).unwrap_or_default());
    Some(problem(DeviceFault::InvalidEntry, found, expected.to_string()))
}

fn other_attributes(fault: DeviceFault, target: &Target<'_>, expected: &[(String, Expectation)]) -> Vec<DeviceProblem> {
    let others = expected.iter().filter(|(name, expected)| !expected.fits(target.attribute(name)));
    let others = others.map(|(name, expected)| {
        let found = target.attribute(name).map_or_else(|| "nothing".to_owned(), |found| format!("{found:?}"));
        problem(fault, format!("{name} of target {} is {found}", target.index), expected.to_string())
    });
    others.collect()
}

/// A machine has a few dozen mapped devices; one with thousands of containers, a few thousand.
const DEVICES_MAX: usize = 8192;
