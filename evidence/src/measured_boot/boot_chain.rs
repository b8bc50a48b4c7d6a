//! What was loaded after the firmware: images, command lines, files, sections and shim's lists.
//!
//! Each register is relied on as a whole: an event in it is accepted for what it measured, never for what it is called,
//! and an event that nothing explains is a finding.

use std::cell::LazyCell;
use std::collections::BTreeMap;

use crate::algorithm::Digest;
use crate::boot_log::{Coverage, EventDetails, ExaminedEvent, Ipl, SeparatorValue, Tag};
use crate::pcr::PcrIndex;

use super::alternative::{CommandLine, Digests, Files};
use super::case::Case;
use super::finding::{Accepted, FindingKind, Findings, cut};

/// PCR 4: applications, and what the boot manager did.
pub(super) fn judge_images(accepted: &Digests, case: &Case<'_>, findings: &mut Findings) {
    const WHAT: &str = "image";
    accepted.demand_bank(WHAT, case.bank(), findings);
    let Some(register) = register(4) else { return };
    let shown = shown([accepted], case);
    let mut images = 0;
    for event in case.measured(register) {
        match (&event.details, case.digest(event)) {
            (_, Some(digest)) if accepted.contains(digest) => images += 1,
            (EventDetails::Image(image), Some(digest)) => {
                findings.add_at(event, not_accepted(WHAT, digest, &image.path.to_string(), &shown));
            }
            _ if is_boot_managers(event) => (),
            _ => findings.unexplained(event),
        }
    }
    if images == 0 {
        findings.add(FindingKind::Missing { what: "accepted image in PCR 4" });
    }
}

/// A separator, or one of the texts the specification gives the boot manager.
fn is_boot_managers(event: &ExaminedEvent<'_, '_>) -> bool {
    event.is_covered_whole()
        && match &event.details {
            EventDetails::Separator(value) => *value == SeparatorValue::HandOver,
            EventDetails::Action(text) => BOOT_MANAGER_ACTIONS.contains(&text.as_str()),
            _ => false,
        }
}

/// PCR 8 and 12: command lines and GRUB's commands. A load options event of Linux' stub counts by its digest.
///
/// Since GRUB's prefixes are not measured, a text is accepted only if a pattern of either list matches it.
pub(super) fn judge_command_lines(accepted: &CommandLine, case: &Case<'_>, findings: &mut Findings) {
    let patterns = LazyCell::new(|| Accepted::of(&accepted.patterns));
    let commands = LazyCell::new(|| Accepted::of(&accepted.grub_commands));
    let options = shown([&accepted.digests], case);
    let mut command_lines = 0;
    for register in [8, 12].into_iter().filter_map(register) {
        for event in case.measured(register) {
            if case.digest(event).is_some_and(|digest| accepted.digests.contains(digest)) {
                command_lines += 1;
                continue;
            }
            let text = match (&event.details, event.verified) {
                (EventDetails::Ipl(ipl), Some(true)) => ipl,
                (EventDetails::Separator(SeparatorValue::HandOver), Some(true)) => continue,
                _ => {
                    findings.unexplained(event);
                    continue;
                }
            };
            match text {
                Ipl::CommandLine { text, .. } if matches_any(&accepted.patterns, text) => command_lines += 1,
                Ipl::CommandLine { text, .. } => {
                    let accepted = Accepted::clone(&patterns);
                    findings.add_at(event, FindingKind::CommandLineNotAccepted { text: cut(text), accepted });
                }
                Ipl::GrubCommand(text) | Ipl::ModuleCommandLine(text) if matches_any(&accepted.grub_commands, text) => {
                }
                Ipl::GrubCommand(text) | Ipl::ModuleCommandLine(text) => {
                    let accepted = Accepted::clone(&commands);
                    findings.add_at(event, FindingKind::GrubCommandNotAccepted { text: cut(text), accepted });
                }
                _ => findings.unexplained(event),
            }
        }
    }
    for event in register(9).into_iter().flat_map(|register| case.measured(register)) {
        let is_options = matches!(&event.details, EventDetails::Tagged(tagged) if tagged.tag == Tag::LinuxLoadOptions);
        match case.digest(event) {
            Some(digest) if accepted.digests.contains(digest) => command_lines += 1,
            Some(digest) if is_options => findings.add_at(event, not_accepted("load options", digest, "", &options)),
            _ => (),
        }
    }
    if command_lines == 0 {
        findings.add(FindingKind::Missing { what: "accepted kernel command line in PCR 8, 9 or 12" });
    }
}

fn matches_any(patterns: &[super::pattern::Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

/// PCR 9: files that GRUB or Linux' stub read. A kernel may have been started as an image instead, in PCR 4.
pub(super) fn judge_files(files: &Files, options: Option<&Digests>, case: &Case<'_>, findings: &mut Findings) {
    let Some(register) = register(9) else { return };
    let is_in = |set: Option<&Digests>, digest: &Digest| set.is_some_and(|set| set.contains(digest));
    let shown = shown(files.kernels.iter().chain(&files.initrds).chain([&files.others]).chain(options), case);
    let (mut kernels, mut initrds) = (0, 0);
    for event in case.measured(register) {
        let Some(digest) = case.digest(event) else {
            findings.unexplained(event);
            continue;
        };
        if is_in(files.kernels.as_ref(), digest) {
            kernels += 1;
        } else if is_in(files.initrds.as_ref(), digest) {
            initrds += 1;
        } else if !files.others.contains(digest) && !is_in(options, digest) {
            findings.add_at(event, not_accepted("boot file", digest, &event.details.to_string(), &shown));
        }
    }
    let images = self::register(4).into_iter().flat_map(|register| case.measured(register));
    kernels += images.filter_map(|event| case.digest(event)).filter(|one| is_in(files.kernels.as_ref(), one)).count();
    for (set, found, what, missing) in [
        (&files.kernels, kernels, "kernels", "accepted kernel in PCR 9 or 4"),
        (&files.initrds, initrds, "initrds", "accepted initrd in PCR 9"),
    ] {
        let Some(set) = set else { continue };
        set.demand_bank(what, case.bank(), findings);
        if found == 0 {
            findings.add(FindingKind::Missing { what: missing });
        }
    }
}

/// PCR 11: sections of a unified kernel image, each as its name and then its contents.
pub(super) fn judge_uki(sections: &BTreeMap<String, Digests>, case: &Case<'_>, findings: &mut Findings) {
    const WHAT: &str = "section of the unified kernel image";
    let Some(register) = register(11) else { return };
    let mut missing: Vec<&str> = sections.keys().map(String::as_str).collect();
    let every = shown(sections.values(), case);
    let mut announced: Option<&str> = None;
    for event in case.measured(register) {
        let named = match &event.details {
            EventDetails::Ipl(Ipl::UkiSection(name)) if event.covers == Coverage::SectionName => Some(name.as_str()),
            _ => None,
        };
        match (announced.take(), named, case.digest(event)) {
            // The contents of the section named before.
            (Some(name), None, Some(digest)) => match sections.get(name) {
                Some(accepted) if accepted.contains(digest) => missing.retain(|other| *other != name),
                _ => findings.add_at(event, not_accepted(WHAT, digest, name, &every)),
            },
            (None, Some(name), _) => announced = Some(name),
            (None, None, _) | (Some(_), _, _) => findings.unexplained(event),
        }
    }
    if announced.is_some() {
        findings.add(FindingKind::Missing { what: "contents of the last section in PCR 11" });
    }
    for (name, accepted) in sections {
        accepted.demand_bank(WHAT, case.bank(), findings);
        if missing.contains(&name.as_str()) {
            findings.add(FindingKind::Missing { what: "accepted section of the unified kernel image in PCR 11" });
        }
    }
}

/// PCR 14: shim's lists.
pub(super) fn judge_mok(accepted: &Digests, case: &Case<'_>, findings: &mut Findings) {
    const WHAT: &str = "list of shim's";
    accepted.demand_bank(WHAT, case.bank(), findings);
    let Some(register) = register(14) else { return };
    let shown = shown([accepted], case);
    let mut lists = 0;
    for event in case.measured(register) {
        match case.digest(event) {
            Some(digest) if accepted.contains(digest) => lists += 1,
            Some(digest) => findings.add_at(event, not_accepted(WHAT, digest, &event.details.to_string(), &shown)),
            None => findings.unexplained(event),
        }
    }
    if lists == 0 {
        findings.add(FindingKind::Missing { what: "accepted list of shim's in PCR 14" });
    }
}

/// What these sets have for the quoted bank, put into words once it is asked for.
fn shown<'c, S: IntoIterator<Item = &'c Digests>>(
    sets: S,
    case: &Case<'_>,
) -> LazyCell<Accepted, impl FnOnce() -> Accepted + use<'c, S>> {
    let bank = case.bank();
    LazyCell::new(move || Accepted::digests(sets.into_iter().flat_map(|set| &set.0), bank))
}

fn not_accepted(what: &'static str, digest: &Digest, name: &str, accepted: &Accepted) -> FindingKind {
    FindingKind::DigestNotAccepted { what, digest: *digest, name: cut(name), accepted: accepted.clone() }
}

fn register(index: u8) -> Option<PcrIndex> {
    PcrIndex::try_from(index).ok()
}

/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.4.
const BOOT_MANAGER_ACTIONS: [&str; 2] =
    ["Calling EFI Application from Boot Option", "Returning from EFI Application from Boot Option"];
