//! Measured-boot policies.

use regex::Regex;
use serde_json::{Map, Value};

use super::Remark;

pub(super) fn lint(document: &Map<String, Value>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let alternatives = document.get("accept").and_then(Value::as_array);
    if alternatives.is_none_or(Vec::is_empty) {
        remarks.push(Remark::error(
            "empty-policy",
            "accept",
            "there is no alternative, so every machine fails",
            "make one of a good machine's log: attestry policy create measured-boot",
        ));
    }
    for (number, alternative) in alternatives.into_iter().flatten().enumerate() {
        let name = alternative.get("name").and_then(Value::as_str).unwrap_or_default();
        Alternative { value: alternative, place: format!("accept[{number}] {name:?}") }.lint(&mut remarks);
    }
    if alternatives.is_some_and(|alternatives| alternatives.len() > ALTERNATIVES_MANY) {
        remarks.push(Remark::warning(
            "many-alternatives",
            "accept",
            "old kernels with known holes stay accepted for as long as their alternatives stand here",
            "take alternatives out once no machine boots them any more",
        ));
    }
    remarks
}

struct Alternative<'v> {
    value: &'v Value,
    place: String,
}

impl Alternative<'_> {
    fn lint(&self, remarks: &mut Vec<Remark>) {
        let has = |pointer: &str| self.value.pointer(pointer).is_some();
        if !["/images", "/kernels", "/uki", "/pcrs/4", "/pcrs/9", "/pcrs/11"].into_iter().any(has) {
            remarks.push(Remark::error(
                "any-kernel",
                &self.place,
                "nothing says which kernel or boot loader may start",
                "require images, kernels or uki",
            ));
        }
        match self.value.pointer("/secure_boot/enabled") {
            Some(Value::Bool(true)) => (),
            _ if has("/pcrs/7") => (),
            Some(_) => remarks.push(Remark::warning(
                "secure-boot-off",
                &self.place,
                "Secure Boot has to be off, so that firmware starts whatever it finds",
                "turn Secure Boot on",
            )),
            None => remarks.push(Remark::warning(
                "secure-boot-free",
                &self.place,
                "Secure Boot may be on or off, with any keys",
                "require secure_boot",
            )),
        }
        if has("/images/signers") && !has("/images/digests") && !has("/secure_boot/dbx_required") {
            remarks.push(Remark::warning(
                "no-revocations",
                &self.place,
                "any image of these signers may boot, revoked versions among them",
                "require the current dbx by secure_boot.dbx_required",
            ));
        }
        if !["/command_line", "/uki", "/pcrs/8", "/pcrs/12"].into_iter().any(has) {
            remarks.push(Remark::warning(
                "any-command-line",
                &self.place,
                "the kernel may be told anything, as init=/bin/sh or ima=off",
                "require command_line",
            ));
        }
        if !["/firmware/pcr0", "/pcrs/0"].into_iter().any(has) {
            remarks.push(Remark::note(
                "any-firmware",
                &self.place,
                "the machine's firmware may be any",
                "require firmware.pcr0, with the values of all accepted versions",
            ));
        }
        self.patterns(remarks);
        if self.value.to_string().contains("\"sha1:") {
            remarks.push(Remark::warning(
                "sha1-digest",
                &self.place,
                "some digests are SHA-1: another image can be made to have the same",
                "have the SHA-256 bank quoted and make the policy with --bank sha256",
            ));
        }
    }

    fn patterns(&self, remarks: &mut Vec<Remark>) {
        for (member, hostile) in [("patterns", &COMMAND_LINES[..]), ("grub_commands", &GRUB_COMMANDS)] {
            let patterns = self.value.pointer(&format!("/command_line/{member}")).and_then(Value::as_array);
            for pattern in patterns.into_iter().flatten().filter_map(Value::as_str) {
                let Ok(regex) = Regex::new(&format!(r"\A(?:{pattern})\z")) else { continue };
                let place = format!("{} command_line.{member} {pattern}", self.place);
                if let Some(text) = hostile.iter().find(|text| regex.is_match(text)) {
                    let text = format!("fits {text:?}");
                    remarks.push(Remark::error("broad-pattern", place, text, PATTERN_REMEDY));
                } else if pattern.contains(".*") || pattern.contains(".+") {
                    let text = "has a part that fits anything, further options among it";
                    remarks.push(Remark::warning("open-pattern", place, text, PATTERN_REMEDY));
                }
            }
        }
    }
}

/// A reference state, which Keylime's policy goes by names with.
pub(super) fn lint_reference_state(state: &Map<String, Value>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let list = |name: &str| state.get(name).and_then(Value::as_array);
    for (member, what) in [("kernels", "no kernel is accepted"), ("scrtm_and_bios", "no firmware is accepted")] {
        if list(member).is_none_or(Vec::is_empty) {
            let remedy = "make the state of a good machine's log: attestry policy create measured-boot --keylime";
            remarks.push(Remark::error("empty-policy", member, what, remedy));
        }
    }
    if state.get("has_secureboot") == Some(&Value::Bool(false)) {
        let text = "Secure Boot has to be off, so that firmware starts whatever it finds";
        remarks.push(Remark::warning("secure-boot-off", "has_secureboot", text, "turn Secure Boot on"));
    } else if list("dbx").is_none_or(Vec::is_empty) {
        let text = "revoked images may boot";
        remarks.push(Remark::warning("no-revocations", "dbx", text, "list the current dbx"));
    }
    for kernel in list("kernels").into_iter().flatten() {
        let pattern = kernel.get("kernel_cmdline").and_then(Value::as_str).unwrap_or_default();
        let fits = |text: &&&str| Regex::new(&format!(r"\A(?:{pattern})\z")).is_ok_and(|regex| regex.is_match(text));
        if let Some(text) = COMMAND_LINES.iter().find(fits) {
            let place = format!("kernels kernel_cmdline {pattern}");
            remarks.push(Remark::error("broad-pattern", place, format!("fits {text:?}"), PATTERN_REMEDY));
        }
    }
    remarks.push(Remark::note(
        "free-commands",
        "",
        "Keylime's policy leaves GRUB's commands free and goes by the names of files, which are not measured",
        "use the declarative format: attestry policy create measured-boot, without --keylime",
    ));
    remarks
}

/// Command lines no policy should accept.
const COMMAND_LINES: [&str; 3] =
    ["x", "init=/bin/sh", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet init=/bin/sh ima=off lockdown=none"];
/// GRUB commands no policy should accept.
const GRUB_COMMANDS: [&str; 4] = ["x", "linux /evil init=/bin/sh", "chainloader /evil.efi", "insmod /evil.mod"];
const PATTERN_REMEDY: &str =
    "write the options out, and open only what differs between machines, as [0-9a-f-]{36} for a UUID";
/// A fleet has few kernels at a time.
const ALTERNATIVES_MANY: usize = 16;
