//! `attestry policy create measured-boot`: what good boot logs show, as a policy.
//!
//! Every group of requirements is kept only if the log it was made from meets it, as the verifier's own engine judges;
//! where it does not, the group's registers are pinned to their values instead, and the reason is told.

mod reference_state;
mod requirements;

use std::path::Path;

use evidence::{
    algorithm::HashAlgorithm,
    boot_log::{BootLog, EventDetails, ExaminedEvent, LogFormat},
    measured_boot::Policy,
    pcr::{PcrBank, PcrIndex, PcrValues},
};
use serde_json::{Map, Value, json};

use super::{
    arguments::{Algorithm, CreateMeasuredBootArguments},
    deliver, file,
    merge::{merge_states, text},
};
use crate::failure::Failure;

pub(super) fn run(arguments: &CreateMeasuredBootArguments) -> Result<(), Failure> {
    if arguments.keylime {
        return create_reference_state(arguments);
    }
    let (mut alternatives, mut notes): (Vec<Map<String, Value>>, Vec<String>) = (Vec::new(), Vec::new());
    for path in &arguments.logs {
        let bytes = file::read(path)?;
        let log = parse(&bytes, path)?;
        let source = Source::new(&log, path, arguments.bank)?;
        let requirements = source.requirements(&mut notes)?;
        if alternatives.iter().any(|known| known.iter().filter(|(name, _)| *name != "name").eq(requirements.iter())) {
            notes.push(format!("{} gives the same as a log before it", path.display()));
            continue;
        }
        let name = name(arguments.name.as_deref(), path, &alternatives);
        let mut alternative = Map::from_iter([("name".to_owned(), Value::from(name))]);
        alternative.extend(requirements);
        source.check(&alternative)?;
        alternatives.push(alternative);
    }
    let names: Vec<Option<&Value>> = alternatives.iter().map(|alternative| alternative.get("name")).collect();
    let summary = json!({"kind": "measured-boot policy", "alternatives": names, "notes": notes});
    for note in notes.iter().filter(|_| arguments.output.output.is_none()) {
        eprintln!("attestry: {note}");
    }
    let policy = text(&json!({"version": 1, "accept": alternatives}))?;
    deliver(&policy, &summary, &arguments.output)
}

fn create_reference_state(arguments: &CreateMeasuredBootArguments) -> Result<(), Failure> {
    let mut merged: Option<Map<String, Value>> = None;
    for path in &arguments.logs {
        let bytes = file::read(path)?;
        let log = parse(&bytes, path)?;
        let source = Source::new(&log, path, arguments.bank)?;
        let state = reference_state::of(&source)?;
        merged = Some(match merged {
            None => state,
            Some(before) => merge_states(before, state).map_err(|failure| failure.at(path))?,
        });
    }
    let state = Value::Object(merged.unwrap_or_default());
    let kernels = state.get("kernels").and_then(Value::as_array).map_or(0, Vec::len);
    deliver(&text(&state)?, &json!({"kind": "reference state", "kernels": kernels}), &arguments.output)
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<BootLog<'a>, Failure> {
    BootLog::parse(bytes).map_err(|error| {
        Failure::system(format_args!("read {} as a boot event log", path.display()), error)
            .remedy("expected a TCG event log such as /sys/kernel/security/tpm0/binary_bios_measurements")
    })
}

/// The name asked for, or the file's; numbered from the second on.
fn name(asked: Option<&str>, path: &Path, before: &[Map<String, Value>]) -> String {
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = asked.map(str::to_owned).or_else(stem).unwrap_or_else(|| "boot".to_owned());
    let is_taken = |name: &str| before.iter().any(|other| other.get("name").and_then(Value::as_str) == Some(name));
    if !is_taken(&name) {
        return name;
    }
    let mut number = 2;
    while is_taken(&format!("{name} {number}")) {
        number += 1;
    }
    format!("{name} {number}")
}

/// A log to make a policy of, with what it replays to in one bank.
struct Source<'s, 'a> {
    log: &'s BootLog<'a>,
    path: &'s Path,
    bank: PcrBank,
    events: Vec<ExaminedEvent<'s, 'a>>,
    /// The registers as a machine with this log quotes them.
    quoted: PcrValues,
}

impl<'s, 'a> Source<'s, 'a> {
    fn new(log: &'s BootLog<'a>, path: &'s Path, asked: Option<Algorithm>) -> Result<Self, Failure> {
        if log.format() == LogFormat::ConfidentialComputing {
            return Err(Failure::new(format!("{} is the log of a confidential guest's registers", path.display()))
                .remedy("no TPM quotes them; give the log of a machine's TPM"));
        }
        let bank = bank(log, path, asked)?;
        let unavailable = |error| Failure::system(format_args!("replay {} in bank {bank}", path.display()), error);
        let replay = log.replay(bank).map_err(unavailable)?;
        let events = log.examine(bank).map_err(unavailable)?;
        let mut quoted = PcrValues::new(bank);
        for index in PcrIndex::all().filter(|index| is_of_boot(*index) && replay.gap(*index).is_none()) {
            quoted.insert(index, replay.value(log, index)).map_err(|error| Failure::system("replay the log", error))?;
        }
        Ok(Self { log, path, bank, events, quoted })
    }

    /// What the log measured into a register, in order.
    fn measured(&self, register: u8) -> impl Iterator<Item = &ExaminedEvent<'s, 'a>> {
        let is_of = move |event: &&ExaminedEvent<'_, '_>| {
            event.event.register().map(PcrIndex::get) == Some(register) && event.event.is_measured()
        };
        self.events.iter().filter(is_of)
    }

    /// Whether something else than separators was measured into a register.
    fn is_used(&self, register: u8) -> bool {
        self.measured(register).any(|event| !matches!(event.details, EventDetails::Separator(_)))
    }

    /// An event's digest as policies name it.
    fn digest(&self, event: &ExaminedEvent<'_, '_>) -> Option<String> {
        event.event.digest(self.bank).map(|digest| format!("{}:{digest}", digest.algorithm()))
    }

    /// A register's value as policies name it, if the log says all that was extended.
    fn value(&self, register: u8) -> Option<String> {
        let index = PcrIndex::try_from(register).ok()?;
        self.quoted.get(index).map(|value| format!("{}:{value}", value.algorithm()))
    }

    /// The groups of requirements that this log meets.
    fn requirements(&self, notes: &mut Vec<String>) -> Result<Map<String, Value>, Failure> {
        let (mut kept, mut pinned) = (Map::new(), Map::new());
        let groups = requirements::of(self);
        let is_covered = |register: &u8| groups.iter().any(|group| group.registers.contains(register));
        for register in BOOT_CHAIN.iter().filter(|register| !is_covered(register) && self.is_used(**register)) {
            if let Some(value) = self.value(*register) {
                let path = self.path.display();
                notes.push(format!("{path}: PCR {register} is pinned by its value, since nothing known is in it"));
                pinned.insert(register.to_string(), json!([value]));
            }
        }
        for group in groups {
            let Some(problem) = self.problem(&group.members)? else {
                kept.extend(group.members);
                continue;
            };
            let registers: Vec<String> = group.registers.iter().map(u8::to_string).collect();
            notes.push(format!(
                "{}: {} is pinned by the value of PCR {}, since {problem}",
                self.path.display(),
                group.what,
                registers.join(", ")
            ));
            for register in group.registers.iter().filter(|register| self.measured(**register).next().is_some()) {
                if let Some(value) = self.value(*register) {
                    pinned.insert(register.to_string(), json!([value]));
                }
            }
        }
        if !pinned.is_empty() {
            kept.insert("pcrs".to_owned(), pinned.into());
        }
        if kept.is_empty() {
            let what = format!("{} measures nothing a policy could require in bank {}", self.path.display(), self.bank);
            return Err(Failure::new(what).remedy("choose another bank with --bank"));
        }
        Ok(kept)
    }

    /// What the verifier would find against this log under these requirements; nothing if it would pass.
    fn problem(&self, requirements: &Map<String, Value>) -> Result<Option<String>, Failure> {
        let mut alternative = requirements.clone();
        alternative.entry("name").or_insert_with(|| "this".into());
        let document = json!({"version": 1, "accept": [alternative]}).to_string();
        let policy = match Policy::from_json(document.as_bytes()) {
            Ok(policy) => policy,
            Err(error) => return Ok(Some(error.to_string())),
        };
        self.problem_with(&policy)
    }

    fn problem_with(&self, policy: &Policy) -> Result<Option<String>, Failure> {
        let appraisal =
            policy.appraise(self.log, &self.quoted).map_err(|error| Failure::system("try the policy", error))?;
        Ok(appraisal.findings().first().map(|finding| {
            let (place, found) = (finding.place(), finding.found());
            format!("{place}: {found}; expected {}", finding.expected())
        }))
    }

    /// The whole alternative must accept the log it was made from.
    fn check(&self, alternative: &Map<String, Value>) -> Result<(), Failure> {
        match self.problem(alternative)? {
            None => Ok(()),
            Some(problem) => {
                let path = self.path.display();
                Err(Failure::new(format!("the policy made of {path} would refuse it: {problem}"))
                    .remedy("please report this log"))
            }
        }
    }
}

/// The bank asked for; else SHA-256, which verifiers quote unless told otherwise, or the strongest the log has.
fn bank(log: &BootLog<'_>, path: &Path, asked: Option<Algorithm>) -> Result<PcrBank, Failure> {
    let preferred = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Sha1];
    let wanted = asked.map(HashAlgorithm::from);
    let has = |algorithm: &HashAlgorithm| log.banks().any(|bank| bank.algorithm() == *algorithm);
    let found = preferred.into_iter().filter(|algorithm| wanted.is_none_or(|wanted| wanted == *algorithm)).find(has);
    found.map(PcrBank).ok_or_else(|| {
        let banks: Vec<String> = log.banks().map(|bank| bank.to_string()).collect();
        Failure::new(format!("{} has no digests of that bank", path.display()))
            .remedy(format!("its banks are {}", banks.join(", ")))
    })
}

/// Registers that firmware and boot loaders extend: 10 is IMA's, 15 and above the running system's.
const fn is_of_boot(index: PcrIndex) -> bool {
    matches!(index.get(), 0..=9 | 11..=14)
}

/// Registers that say what was started and how: Secure Boot, images, command lines, files, sections, shim's lists. Others
/// hold what differs between machines of one kind, such as boot options and partition tables.
const BOOT_CHAIN: [u8; 7] = [4, 7, 8, 9, 11, 12, 14];
