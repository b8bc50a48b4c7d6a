//! Keylime's policy `example`: each event's register and type must be one it lists, and pass that entry's test.
//!
//! Written to accept nothing that Keylime refuses. Beyond Keylime it wants the words it goes by to be measured: variables in PCR 7,
//! GRUB's texts, actions and separators whose data does not give their digest are findings, and so is a log without a
//! SecureBoot variable where Secure Boot is required. Digests count in the quoted bank alone.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::algorithm::Digest;
use crate::boot_log::{
    EventDetails, EventType, ExaminedEvent, Guid, Ipl, SeparatorValue, Signature, SignatureKind, SignatureList,
    Variable, VariableValue,
};
use crate::pcr::PcrBank;

use super::alternative::Digests;
use super::case::Case;
use super::finding::{Accepted, FindingKind, Findings, cut};
use super::keylime::{COMMAND_LINE_PREFIX, Firmware, Kernel, KeySet, ReferenceState};
use super::registers::RegisterSet;

/// Keylime's `relevant_pcr_indices`: 0 to 9 and 14.
pub(super) const REGISTERS: RegisterSet = RegisterSet(0x43ff);

/// Adds what the policy finds.
pub(super) fn judge(state: &ReferenceState, case: &Case<'_>, findings: &mut Findings) {
    let mut reading =
        Reading { state, case, chain: Chain::default(), once: BTreeSet::new(), mok: BTreeMap::new(), flags: 0 };
    for event in case.events {
        reading.read(event, findings);
    }
    if state.has_secureboot && !reading.once.contains("SecureBoot") {
        findings.add(FindingKind::Missing { what: "SecureBoot variable in PCR 7" });
    }
    if state.has_secureboot && !state.dbx.is_empty() && !reading.once.contains("dbx") {
        findings.add(FindingKind::Missing { what: "dbx" });
    }
    reading.chain.judge(state, findings);
}

/// What is judged together after the last event.
#[derive(Default)]
struct Chain {
    versions: Vec<Digest>,
    volumes: Vec<Digest>,
    applications: Vec<Digest>,
    kernels: Vec<Digest>,
    initrds: Vec<Digest>,
    command_lines: Vec<String>,
}

struct Reading<'r> {
    state: &'r ReferenceState,
    case: &'r Case<'r>,
    chain: Chain,
    /// What was seen that may be seen once.
    once: BTreeSet<&'static str>,
    /// What shim's lists may be, in words, once one is none of them.
    mok: BTreeMap<String, Accepted>,
    /// Platform configuration events, of which there may be four.
    flags: u32,
}

impl Reading<'_> {
    fn read(&mut self, event: &ExaminedEvent<'_, '_>, findings: &mut Findings) {
        let register = event.event.register();
        let index = register.map(crate::pcr::PcrIndex::get);
        let is_accepted = match (index, event.event.event_type()) {
            (Some(0), EventType::NO_ACTION) => self.once("EV_NO_ACTION"),
            (Some(0), EventType::S_CRTM_VERSION) => self.stash(event, |chain| &mut chain.versions),
            (Some(0), EventType::EFI_PLATFORM_FIRMWARE_BLOB | EventType::EFI_PLATFORM_FIRMWARE_BLOB2) => {
                self.stash(event, |chain| &mut chain.volumes)
            }
            (Some(1), EventType::CPU_MICROCODE) => self.once("EV_CPU_MICROCODE"),
            (Some(1), EventType::EFI_HANDOFF_TABLES) => self.once("EV_EFI_HANDOFF_TABLES"),
            (Some(1), EventType::EFI_HANDOFF_TABLES2) => self.once("EV_EFI_HANDOFF_TABLES2"),
            (Some(1), EventType::EFI_VARIABLE_BOOT) => is_boot_variable(event),
            (Some(1), EventType::PLATFORM_CONFIG_FLAGS) => {
                self.flags += 1;
                self.flags <= PLATFORM_CONFIG_FLAGS_MAX
            }
            (Some(2), EventType::EFI_BOOT_SERVICES_DRIVER) => true,
            (Some(4), EventType::EFI_BOOT_SERVICES_APPLICATION) => self.stash(event, |chain| &mut chain.applications),
            (Some(5), EventType::EFI_GPT_EVENT) => self.once("EV_EFI_GPT_EVENT"),
            (Some(index @ (1 | 4 | 5)), EventType::EFI_ACTION) => is_action(index, event),
            (Some(0..=7), EventType::SEPARATOR) => {
                matches!(event.details, EventDetails::Separator(SeparatorValue::HandOver)) && event.is_covered_whole()
            }
            (Some(7), EventType::EFI_VARIABLE_DRIVER_CONFIG | EventType::EFI_VARIABLE_AUTHORITY) => {
                return self.variable(event, findings);
            }
            (Some(8), EventType::IPL) => self.grub_text(event),
            (Some(9), EventType::IPL) => self.file(event),
            (Some(14), EventType::IPL) => return self.mok(event, findings),
            _ => false,
        };
        if !is_accepted {
            findings.unexplained(event);
        }
    }

    /// Whether this is the first of its kind.
    fn once(&mut self, what: &'static str) -> bool {
        self.once.insert(what)
    }

    fn stash(&mut self, event: &ExaminedEvent<'_, '_>, field: impl Fn(&mut Chain) -> &mut Vec<Digest>) -> bool {
        let digest = event.event.digest(self.case.bank());
        field(&mut self.chain).extend(digest);
        digest.is_some()
    }

    fn variable(&mut self, event: &ExaminedEvent<'_, '_>, findings: &mut Findings) {
        let EventDetails::Variable(variable) = &event.details else { return findings.unexplained(event) };
        if !event.is_covered_whole() {
            return findings.unexplained(event);
        }
        if event.event.event_type() == EventType::EFI_VARIABLE_AUTHORITY {
            self.authority(event, variable, findings);
        } else {
            self.configuration(event, variable, findings);
        }
    }

    fn configuration(&mut self, event: &ExaminedEvent<'_, '_>, variable: &Variable<'_>, findings: &mut Findings) {
        let state = self.state;
        if let (true, VariableValue::Switch(is_on), [_]) =
            (variable.is(Guid::GLOBAL_VARIABLE, "SecureBoot"), &variable.value, variable.data)
        {
            self.once.insert("SecureBoot");
            if *is_on != state.has_secureboot {
                findings.add_at(event, FindingKind::SecureBootState { expected: state.has_secureboot });
            }
            return;
        }
        let databases = [
            (Guid::GLOBAL_VARIABLE, "PK", &state.pk),
            (Guid::GLOBAL_VARIABLE, "KEK", &state.kek),
            (Guid::IMAGE_SECURITY_DATABASE, "db", &state.db),
            (Guid::IMAGE_SECURITY_DATABASE, "vendor_db", &state.vendor_db),
            (Guid::IMAGE_SECURITY_DATABASE, "dbx", &state.dbx),
        ];
        let found = databases.into_iter().find(|(vendor, name, _)| variable.is(*vendor, name));
        let (Some((_, name, reference)), VariableValue::SignatureDatabase(lists)) = (found, &variable.value) else {
            return findings.unexplained(event);
        };
        if !self.once(name) {
            return findings.add_at(event, FindingKind::Repeated { what: name });
        }
        if !state.has_secureboot && reference.is_empty() {
            return;
        }
        match name {
            // An empty database where keys are referred to: there is nothing to compare.
            _ if variable.data.is_empty() => findings.add_at(event, FindingKind::Missing { what: name }),
            "dbx" => superset(event, lists, reference, findings),
            "PK" | "KEK" => subset(event, name, &[SignatureKind::X509], lists, reference, findings),
            _ => {
                let kinds = [SignatureKind::X509, SignatureKind::ImageSha256];
                subset(event, name, &kinds, lists, reference, findings);
            }
        }
    }

    fn authority(&mut self, event: &ExaminedEvent<'_, '_>, variable: &Variable<'_>, findings: &mut Findings) {
        let names = [
            (Guid::IMAGE_SECURITY_DATABASE, "db", "the db authority"),
            (Guid::IMAGE_SECURITY_DATABASE, "vendor_db", "the vendor_db authority"),
            (Guid::SHIM_LOCK, "SbatLevel", "SbatLevel"),
            (Guid::SHIM_LOCK, "Shim", "the Shim authority"),
            (Guid::SHIM_LOCK, "MokListTrusted", "MokListTrusted in PCR 7"),
            (Guid::SHIM_LOCK, "MokListRT", "the MokListRT authority"),
        ];
        let found = names.into_iter().find(|(vendor, name, _)| variable.is(*vendor, name));
        let Some((_, name, what)) = found.filter(|_| !variable.data.is_empty()) else {
            return findings.unexplained(event);
        };
        if !self.once(what) {
            return findings.add_at(event, FindingKind::Repeated { what });
        }
        let vendor_keys = &self.state.vendor_db;
        match (&variable.value, name) {
            (VariableValue::Switch(_), "MokListTrusted") => (),
            (_, "MokListTrusted") => findings.unexplained(event),
            (VariableValue::Authority(authority), "vendor_db")
                if self.state.has_secureboot || !vendor_keys.is_empty() =>
            {
                let is_member = authority.owner.is_some_and(|owner| vendor_keys.contains(owner, authority.data));
                if !is_member {
                    findings.add_at(event, key_not_accepted("vendor_db", authority.data, &keys(vendor_keys)));
                }
            }
            _ => (),
        }
    }

    /// PCR 8: commands are free, command lines are judged together with the rest of the chain.
    fn grub_text(&mut self, event: &ExaminedEvent<'_, '_>) -> bool {
        let text = text(event);
        match &event.details {
            _ if event.verified != Some(true) => false,
            EventDetails::Ipl(Ipl::GrubCommand(_)) => text.starts_with("grub_cmd: "),
            EventDetails::Ipl(Ipl::CommandLine { .. }) => {
                let is_one_line = text.starts_with(COMMAND_LINE_PREFIX) && !text.contains('\n');
                if is_one_line {
                    self.chain.command_lines.push(text);
                }
                is_one_line
            }
            _ => false,
        }
    }

    /// PCR 9: loader's files are free; kernels and initrds, by their names, are judged together with the chain.
    fn file(&mut self, event: &ExaminedEvent<'_, '_>) -> bool {
        let text = text(event);
        let names = |part: &str| text.contains(part) && !text.contains('\n');
        if names("/loader/entries") || names("/grub") {
            true
        } else if names("/vmlinuz") {
            self.stash(event, |chain| &mut chain.kernels)
        } else if names("/initrd") || names("/initramfs") {
            self.stash(event, |chain| &mut chain.initrds)
        } else {
            false
        }
    }

    fn mok(&mut self, event: &ExaminedEvent<'_, '_>, findings: &mut Findings) {
        let name = text(event);
        let lists: &Digests = match name.as_str() {
            "MokList" => &self.state.mok,
            "MokListX" => &self.state.mokx,
            "MokListTrusted" if self.once("MokListTrusted in PCR 14") => return,
            _ => return findings.unexplained(event),
        };
        match event.event.digest(self.case.bank()) {
            Some(digest) if lists.contains(digest) => (),
            Some(digest) => {
                let bank = self.case.bank();
                let accepted = self.mok.entry(name.clone()).or_insert_with(|| Accepted::digests(&lists.0, bank));
                let (what, accepted) = ("list of shim's", accepted.clone());
                findings.add_at(event, FindingKind::DigestNotAccepted { what, digest: *digest, name, accepted });
            }
            None => findings.unexplained(event),
        }
    }
}

impl Chain {
    fn judge(&self, state: &ReferenceState, findings: &mut Findings) {
        if !state.firmware.iter().any(|firmware| {
            pairwise(&self.versions, std::slice::from_ref(&firmware.scrtm))
                && pairwise(&self.volumes, &firmware.volumes)
        }) {
            self.explain_firmware(state, findings);
        }
        if !state.kernels.iter().any(|kernel| self.is(kernel, state.has_secureboot)) {
            self.explain_kernel(state, findings);
        }
    }

    fn is(&self, kernel: &Kernel, has_secureboot: bool) -> bool {
        let applications = match (has_secureboot, self.applications.as_slice()) {
            (false, [shim, grub]) => *shim == kernel.shim && *grub == kernel.grub,
            // In some scenarios the kernel is measured twice.
            (true, [shim, grub, first, again @ ..]) if again.len() < 2 => {
                let kernels = std::iter::once(first).chain(again).all(|digest| *digest == kernel.kernel);
                *shim == kernel.shim && *grub == kernel.grub && kernels
            }
            _ => false,
        };
        let file = match self.kernels.as_slice() {
            [file] => has_secureboot || *file == kernel.kernel,
            _ => false,
        };
        let command_line = match self.command_lines.as_slice() {
            [text] => kernel.command_line.matches(text),
            _ => false,
        };
        applications && file && command_line && self.initrds.as_slice() == [kernel.initrd]
    }

    /// The bank of the digests that were put aside.
    fn bank(&self) -> Option<PcrBank> {
        let sets = [&self.versions, &self.volumes, &self.applications, &self.kernels, &self.initrds];
        sets.into_iter().flatten().next().map(|digest| PcrBank(digest.algorithm()))
    }

    fn explain_firmware(&self, state: &ReferenceState, findings: &mut Findings) {
        let shown = shown(state.firmware.iter().flat_map(Firmware::digests), self.bank());
        for digest in self.versions.iter().chain(&self.volumes) {
            let what = "firmware version or volume, together with the others,";
            findings.add(not_accepted(what, digest, &shown));
        }
        if self.versions.is_empty() {
            findings.add(FindingKind::Missing { what: "EV_S_CRTM_VERSION event in PCR 0" });
        }
    }

    /// Names each part that no accepted kernel has; all of them if only their combination is wrong.
    fn explain_kernel(&self, state: &ReferenceState, findings: &mut Findings) {
        let before = findings.len();
        let known = |digest: &Digest| {
            let is = |kernel: &Kernel| [kernel.shim, kernel.grub, kernel.kernel].contains(digest);
            state.kernels.iter().any(is)
        };
        let (kernels, bank) = (|| state.kernels.iter(), self.bank());
        let images = shown(kernels().flat_map(|kernel| [&kernel.shim, &kernel.grub, &kernel.kernel]), bank);
        let files = shown(kernels().map(|kernel| &kernel.kernel), bank);
        let initrds = shown(kernels().map(|kernel| &kernel.initrd), bank);
        let patterns = LazyCell::new(|| Accepted::of(kernels().map(|kernel| &kernel.command_line)));
        for digest in self.applications.iter().filter(|digest| !known(digest)) {
            findings.add(not_accepted("application", digest, &images));
        }
        for digest in self.kernels.iter().filter(|digest| !state.has_secureboot && !known(digest)) {
            findings.add(not_accepted("kernel", digest, &files));
        }
        for digest in self.initrds.iter().filter(|digest| !kernels().any(|kernel| kernel.initrd == **digest)) {
            findings.add(not_accepted("initrd", digest, &initrds));
        }
        for text in self.command_lines.iter().filter(|text| !kernels().any(|kernel| kernel.command_line.matches(text)))
        {
            let accepted = Accepted::clone(&patterns);
            findings.add(FindingKind::CommandLineNotAccepted { text: cut(text), accepted });
        }
        let counts = [
            (self.applications.len() < 2, "boot applications shim and GRUB in PCR 4"),
            (self.kernels.len() != 1, "one vmlinuz file in PCR 9"),
            (self.initrds.len() != 1, "one initrd file in PCR 9"),
            (self.command_lines.len() != 1, "one kernel command line in PCR 8"),
        ];
        for (_, what) in counts.into_iter().filter(|(is_wrong, _)| *is_wrong) {
            findings.add(FindingKind::Missing { what });
        }
        if findings.len() == before {
            let what = "accepted combination of shim, GRUB, kernel, initrd and command line";
            findings.add(FindingKind::Missing { what });
        }
    }
}

/// Whether each digest is in the set at its place, and there are as many of both.
fn pairwise(digests: &[Digest], accepted: &[Digests]) -> bool {
    digests.len() == accepted.len() && digests.iter().zip(accepted).all(|(digest, set)| set.contains(digest))
}

/// Every list is of one of the kinds and every entry is one of the reference's.
fn subset(
    event: &ExaminedEvent<'_, '_>,
    database: &'static str,
    kinds: &[SignatureKind],
    lists: &[SignatureList<'_>],
    reference: &KeySet,
    findings: &mut Findings,
) {
    let shown = LazyCell::new(|| keys(reference));
    for list in lists {
        for Signature { owner, data } in &list.signatures {
            if !kinds.contains(&list.kind) || !reference.contains(*owner, data) {
                findings.add_at(event, key_not_accepted(database, data, &shown));
            }
        }
    }
}

/// One list of image digests that has every entry of the reference.
fn superset(event: &ExaminedEvent<'_, '_>, lists: &[SignatureList<'_>], reference: &KeySet, findings: &mut Findings) {
    let [SignatureList { kind: SignatureKind::ImageSha256, signatures }] = lists else {
        return findings.add_at(event, FindingKind::Missing { what: "dbx of exactly one list of SHA-256 digests" });
    };
    let found: BTreeSet<(Guid, &[u8])> = signatures.iter().map(|signature| (signature.owner, signature.data)).collect();
    for (owner, data) in reference.iter() {
        if ![owner, owner.byte_swapped()].into_iter().any(|owner| found.contains(&(owner, data))) {
            findings.add_at(event, FindingKind::KeyRequired { database: "dbx", key: hex::encode(data) });
        }
    }
}

fn key_not_accepted(database: &'static str, data: &[u8], accepted: &Accepted) -> FindingKind {
    FindingKind::KeyNotAccepted { database, key: key(data), accepted: accepted.clone() }
}

fn keys(reference: &KeySet) -> Accepted {
    Accepted::of(reference.iter().map(|(_, data)| key(data)))
}

/// A key by its beginning and size.
fn key(data: &[u8]) -> String {
    let shown = data.get(..KEY_BYTES_SHOWN_MAX).unwrap_or(data);
    format!("{} ({} bytes)", hex::encode(shown), data.len())
}

/// What is accepted, put into words once it is asked for.
fn shown<'d, S: IntoIterator<Item = &'d Digest>>(
    digests: S,
    bank: Option<PcrBank>,
) -> LazyCell<Accepted, impl FnOnce() -> Accepted + use<'d, S>> {
    LazyCell::new(move || match bank {
        Some(bank) => Accepted::digests(digests, bank),
        None => Accepted::of::<&str>([]),
    })
}

fn not_accepted(what: &'static str, digest: &Digest, accepted: &Accepted) -> FindingKind {
    FindingKind::DigestNotAccepted { what, digest: *digest, name: String::new(), accepted: accepted.clone() }
}

/// The event's data as text, without what follows a zero.
fn text(event: &ExaminedEvent<'_, '_>) -> String {
    let data = event.event.data().split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(data).into_owned()
}

fn is_boot_variable(event: &ExaminedEvent<'_, '_>) -> bool {
    let EventDetails::Variable(variable) = &event.details else { return false };
    let number = variable.name.strip_prefix("Boot").unwrap_or("");
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_hexdigit());
    variable.vendor == Guid::GLOBAL_VARIABLE && !variable.data.is_empty() && (variable.name == "BootOrder" || is_number)
}

fn is_action(index: u8, event: &ExaminedEvent<'_, '_>) -> bool {
    let expected: &[&str] = match index {
        1 => &["Entering ROM Based Setup"],
        4 => &["Calling EFI Application from Boot Option", "Returning from EFI Application from Boot Option"],
        5 => &[
            "Exit Boot Services Invocation",
            "Exit Boot Services Returned with Failure",
            "Exit Boot Services Returned with Success",
        ],
        _ => &[],
    };
    matches!(&event.details, EventDetails::Action(text) if expected.contains(&text.as_str()))
        && event.is_covered_whole()
}

/// edk2 measures at most four, and nobody has reference values for them.
const PLATFORM_CONFIG_FLAGS_MAX: u32 = 4;
/// Bytes of a key that are shown: enough to tell certificates apart by eye, and a whole SHA-256 digest.
const KEY_BYTES_SHOWN_MAX: usize = 32;
