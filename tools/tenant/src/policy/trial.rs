//! `attestry policy try`: recorded evidence judged by policies, with the verifier's own engines.

mod bundle;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    boot_log::BootLog,
    ima::{self, Evidence, ListSummary, MeasurementState, Policies, Replay, Severity, appraise, boot_aggregates},
    measured_boot::{KeylimePolicyName, Policy},
    pcr::{PcrBank, PcrIndex, PcrValues},
    runtime_policy::{Extension, PolicyLayer, PolicyStack},
};
use messages::FindingText;
use serde_json::{Map, Value, json};
use verifier_protocol::appraisal::{boot_event, boot_text, ima_text};

use super::{arguments::TryArguments, file, loaded::Loaded, show};
use crate::failure::Failure;

pub(super) fn run(arguments: &TryArguments) -> Result<(), Failure> {
    let policies = TriedPolicies::read(&arguments.policies)?;
    let bank = PcrBank(arguments.bank.into());
    let mut report = Report::default();
    match &arguments.bundle {
        Some(folder) => bundle::judge(folder, &policies, bank, &mut report)?,
        None => judge_files(arguments, &policies, bank, &mut report)?,
    }
    let passed = report.passed();
    show(&report.into_value(), arguments.json.json);
    if passed { Ok(()) } else { Err(Failure::new("the policies do not accept this evidence")) }
}

/// The policies to judge by.
struct TriedPolicies {
    runtime: Option<PolicyStack>,
    boot: Option<NamedPolicy>,
}

/// A measured-boot policy and its file's name, which findings call it by.
struct NamedPolicy {
    name: String,
    policy: Policy,
}

impl TriedPolicies {
    fn read(paths: &[impl AsRef<Path>]) -> Result<Self, Failure> {
        let (mut layers, mut boot) = (Vec::new(), None);
        for path in paths.iter().map(AsRef::as_ref) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let policy = match Loaded::read(path)? {
                Loaded::Runtime(document) => {
                    layers.push(PolicyLayer { name, policy: Arc::new(document.compile()?.1) });
                    continue;
                }
                other @ Loaded::MeasuredBoot(_) => Policy::from_json(other.to_value()?.to_string().as_bytes()),
                other @ Loaded::ReferenceState(_) => {
                    Policy::keylime(KeylimePolicyName::Example, other.to_value()?.to_string().as_bytes())
                }
            };
            let policy = policy.map_err(|error| Failure::system(format_args!("use {}", path.display()), error))?;
            if boot.replace(NamedPolicy { name, policy }).is_some() {
                return Err(Failure::usage("more than one measured-boot policy is given")
                    .remedy("a machine has one; put several together with: attestry policy merge"));
            }
        }
        let runtime = if layers.is_empty() {
            None
        } else {
            let stack = PolicyStack::new(layers);
            Some(stack.map_err(|error| Failure::system("put the runtime policies on top of each other", error))?)
        };
        Ok(Self { runtime, boot })
    }
}

fn judge_files(
    arguments: &TryArguments,
    policies: &TriedPolicies,
    bank: PcrBank,
    report: &mut Report,
) -> Result<(), Failure> {
    let needed = [
        (policies.runtime.is_some() && arguments.ima_list.is_none(), "a runtime policy needs --ima-list"),
        (policies.boot.is_some() && arguments.boot_log.is_none(), "a measured-boot policy needs --boot-log"),
        (
            policies.runtime.is_none() && arguments.ima_list.is_some(),
            "an IMA list is judged by a runtime policy, and none is given",
        ),
    ];
    if let Some((_, what)) = needed.into_iter().find(|(is_missing, _)| *is_missing) {
        return Err(Failure::usage(what).remedy("or give evidence of both kinds with --bundle"));
    }
    let registers = arguments.pcrs.as_deref().map(registers).transpose()?.unwrap_or_default();
    let given = registers.get(&bank.algorithm());
    if arguments.pcrs.is_some() && given.is_none() {
        return Err(
            Failure::usage(format!("the registers given are not of bank {bank}")).remedy("choose it with --bank")
        );
    }
    let log_bytes = arguments.boot_log.as_deref().map(file::read).transpose()?;
    let log = log_bytes.as_deref().zip(arguments.boot_log.as_deref()).map(|(bytes, path)| boot_log(bytes, path));
    let log = log.transpose()?;
    if let (Some(policy), Some(log)) = (&policies.boot, &log) {
        let quoted = match given {
            Some(given) => given.clone(),
            None => replayed(log, bank)?,
        };
        judge_boot(policy, log, &quoted, given.is_some(), report)?;
    }
    if let (Some(stack), Some(path)) = (&policies.runtime, &arguments.ima_list) {
        let list = file::read(path)?;
        let given = given.and_then(|values| values.get(ima_register()?));
        let quoted = match given {
            Some(value) => *value,
            None => own_register(&list, path, stack, bank)?,
        };
        let mut aggregates = Vec::new();
        for values in aggregated(&registers, log.as_ref())? {
            aggregates.extend(boot_aggregates(&values).map_err(|error| Failure::system("hash", error))?);
        }
        let evidence = Evidence { list: &list, first_entry: 0, quoted, reset_count: 0, boot_aggregates: &aggregates };
        let state = new_state(bank)?;
        judge_ima(stack, &evidence, &state, given.is_some(), report)?;
    }
    Ok(())
}

fn boot_log<'a>(bytes: &'a [u8], path: &Path) -> Result<BootLog<'a>, Failure> {
    BootLog::parse(bytes).map_err(|error| {
        Failure::system(format_args!("read {} as a boot event log", path.display()), error)
            .remedy("expected a TCG event log such as /sys/kernel/security/tpm0/binary_bios_measurements")
    })
}

/// The registers that boot_aggregate is computed from: those given, else what the boot log replays to.
fn aggregated(given: &Registers, log: Option<&BootLog<'_>>) -> Result<Vec<PcrValues>, Failure> {
    if !given.is_empty() {
        return Ok(given.values().cloned().collect());
    }
    log.map_or_else(|| Ok(Vec::new()), |log| log.banks().map(|bank| replayed(log, bank)).collect())
}

/// What a machine with this log would quote.
fn replayed(log: &BootLog<'_>, bank: PcrBank) -> Result<PcrValues, Failure> {
    let replay = log.replay(bank).map_err(|error| Failure::system(format_args!("replay bank {bank}"), error))?;
    let mut values = PcrValues::new(bank);
    for index in PcrIndex::all().filter(|index| matches!(index.get(), 0..=9 | 11..=14)) {
        if replay.gap(index).is_none() {
            let value = replay.value(log, index);
            values.insert(index, value).map_err(|error| Failure::system("replay the log", error))?;
        }
    }
    Ok(values)
}

/// The register a list gives, as kernels extend it that the policy is for.
fn own_register(list: &[u8], path: &Path, stack: &PolicyStack, bank: PcrBank) -> Result<Digest, Failure> {
    let summary = ListSummary::of(list).map_err(|error| {
        Failure::system(format_args!("read {} as an IMA measurement list", path.display()), error)
            .remedy("expected ascii_runtime_measurements or binary_runtime_measurements as the kernel writes them")
    })?;
    let algorithm = bank.algorithm();
    let replay = if stack.extension() == Extension::DangerPaddedSha1 && algorithm != HashAlgorithm::Sha1 {
        Replay::RecordedPadded(algorithm)
    } else {
        Replay::Recomputed(algorithm)
    };
    let (number, recorded) = (10, Replay::Recorded(algorithm));
    let register = summary.registers.get(&(number, replay)).or_else(|| summary.registers.get(&(number, recorded)));
    register.copied().ok_or_else(|| Failure::new(format!("{} extends nothing into PCR 10", path.display())))
}

fn ima_register() -> Option<PcrIndex> {
    PcrIndex::try_from(10).ok()
}

fn new_state(bank: PcrBank) -> Result<MeasurementState, Failure> {
    let register = PcrIndex::try_from(10).map_err(|error| Failure::system("name PCR 10", error))?;
    Ok(MeasurementState::new(register, bank))
}

fn judge_boot(
    policy: &NamedPolicy,
    log: &BootLog<'_>,
    quoted: &PcrValues,
    is_compared: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let appraisal =
        policy.policy.appraise(log, quoted).map_err(|error| Failure::system("judge the boot log", error))?;
    for finding in appraisal.findings() {
        report.fail(COMPONENT, &boot_event(&finding.kind), &boot_text(finding, &policy.name));
    }
    report.cut += appraisal.findings_cut() as u64;
    report.failed |= !appraisal.passed();
    report.parts.insert(
        COMPONENT.to_owned(),
        json!({
            "passed": appraisal.passed(),
            "accepted_alternative": appraisal.accepted_alternative(),
            "registers": source_of_registers(is_compared),
        }),
    );
    Ok(())
}

/// Judges a list; the state to go on from.
fn judge_ima(
    stack: &PolicyStack,
    evidence: &Evidence<'_>,
    state: &MeasurementState,
    is_compared: bool,
    report: &mut Report,
) -> Result<MeasurementState, Failure> {
    let policies = Policies { current: stack, earlier: &[] };
    let appraisal = appraise(evidence, &policies, state).map_err(|error| Failure::system("judge the list", error))?;
    if !is_compared && appraisal.ahead > 0 {
        let found = format!("{} entries at its end that the register computed from it does not hold", appraisal.ahead);
        let text = FindingText::new("measurement list", found, "entries of register 10 only");
        report.fail(ima::Finding::COMPONENT, ima::Event::WrongPcr.name(), &text);
    }
    let passed = appraisal.passed() && (is_compared || appraisal.ahead == 0);
    for finding in appraisal.findings.kept() {
        let severity = if finding.severity == Severity::Failure { FAILURE } else { WARNING };
        report.add(ima::Finding::COMPONENT, finding.event.name(), severity, &ima_text(finding));
    }
    report.cut += appraisal.findings.cut();
    let excluded: Vec<Value> = appraisal
        .excluded
        .iter()
        .map(|one| json!({"layer": one.layer, "pattern": one.pattern, "entries": one.count}))
        .collect();
    report.parts.insert(
        ima::Finding::COMPONENT.to_owned(),
        json!({
            "passed": passed,
            "entries_judged": appraisal.judged,
            "entries_ahead_of_the_register": appraisal.ahead,
            "excluded": excluded,
            "violations_ignored": appraisal.ignored_violations,
            "boot_aggregate": if evidence.boot_aggregates.is_empty() { "by the policy's list" } else { "computed" },
            "registers": source_of_registers(is_compared),
        }),
    );
    report.failed |= !passed;
    Ok(appraisal.state)
}

const fn source_of_registers(is_compared: bool) -> &'static str {
    if is_compared { "compared with those given" } else { "taken from the evidence: only the policy was judged" }
}

/// What was found.
#[derive(Default)]
struct Report {
    findings: Vec<Value>,
    cut: u64,
    failed: bool,
    /// What was judged, by component; of a bundle, the last quote's.
    parts: Map<String, Value>,
    /// Of a bundle, how many quotes were judged.
    quotes: Option<u64>,
    /// The quote that findings are of.
    place: Option<String>,
}

impl Report {
    fn fail(&mut self, component: &str, event: &str, text: &FindingText) {
        self.add(component, event, FAILURE, text);
    }

    fn add(&mut self, component: &str, event: &str, severity: &str, text: &FindingText) {
        self.failed |= severity == FAILURE;
        if self.findings.len() >= FINDINGS_MAX {
            self.cut += 1;
            return;
        }
        let mut finding = json!({
            "component": component, "event": event, "severity": severity, "text": text.to_string(),
            "place": text.place(), "found": text.found(), "expected": text.expected(), "layer": text.layer(),
        });
        if let (Some(place), Some(members)) = (&self.place, finding.as_object_mut()) {
            members.insert("quote".to_owned(), place.clone().into());
        }
        self.findings.push(finding);
    }

    const fn passed(&self) -> bool {
        !self.failed && self.cut == 0
    }

    fn into_value(self) -> Value {
        let result = if self.passed() { "pass" } else { "fail" };
        let mut value = json!({"type": TYPE, "result": result});
        if let Some(members) = value.as_object_mut() {
            members.extend(self.parts);
            if let Some(quotes) = self.quotes {
                members.insert("quotes".to_owned(), quotes.into());
            }
            members.insert("findings".to_owned(), self.findings.into());
            members.insert("findings_cut".to_owned(), self.cut.into());
        }
        value
    }
}

type Registers = BTreeMap<HashAlgorithm, PcrValues>;

/// Reads `{"sha256": {"0": "hex"}}`, alone or under `pcrs`.
fn registers(path: &Path) -> Result<Registers, Failure> {
    type Text = BTreeMap<String, BTreeMap<String, String>>;
    let failed = |why: String| {
        Failure::new(format!("{}: {why}", path.display()))
            .remedy("expected {\"sha256\": {\"0\": \"hex\", …}}, alone or as the member pcrs")
    };
    let value: Value = serde_json::from_slice(&file::read(path)?).map_err(|error| failed(error.to_string()))?;
    let text = value.get("pcrs").unwrap_or(&value);
    let text: Text = serde_json::from_value(text.clone()).map_err(|error| failed(error.to_string()))?;
    let mut registers = Registers::new();
    for (name, values) in text {
        let algorithm: HashAlgorithm = name.parse().map_err(|_| failed(format!("{name:?} is no bank")))?;
        let mut bank = PcrValues::new(PcrBank(algorithm));
        for (index, digits) in values {
            let parsed = index.parse::<u8>().ok().and_then(|index| PcrIndex::try_from(index).ok());
            let digest = hex::decode(&digits).ok().and_then(|bytes| Digest::new(algorithm, &bytes).ok());
            let (Some(index), Some(digest)) = (parsed, digest) else {
                return Err(failed(format!("{name} {index:?}: {digits:?} is no value of a register of that bank")));
            };
            bank.insert(index, digest).map_err(|error| failed(error.to_string()))?;
        }
        registers.insert(algorithm, bank);
    }
    Ok(registers)
}

/// How the verifier names what judges boot logs.
const COMPONENT: &str = "measured_boot";
const FAILURE: &str = "failure";
const WARNING: &str = "warning";
/// What tells this JSON from others.
pub(super) const TYPE: &str = "attestry policy trial";
/// More than a person reads.
const FINDINGS_MAX: usize = 512;
