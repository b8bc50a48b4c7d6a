//! A machine's log and quoted registers, and policies that accept it.

use serde_json::{Value, json};

use crate::algorithm::{Digest, HashAlgorithm};
use crate::boot_log::BootLog;
use crate::boot_log::tests::builder::{self, Draft, Machine, SHA256};
use crate::measured_boot::{Appraisal, KeylimePolicyName, Policy};
use crate::pcr::{PcrBank, PcrIndex, PcrValues};

pub(super) const QUOTED: [u8; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];

/// What a TPM holds and quotes after these events.
pub(super) fn quoted(bank: u16, events: &[Draft], indices: &[u8]) -> PcrValues {
    let algorithm = HashAlgorithm::from_tpm_id(bank).unwrap();
    let registers = builder::registers(bank, events);
    let mut values = PcrValues::new(PcrBank(algorithm));
    for index in indices {
        let value = Digest::new(algorithm, &registers[index]).unwrap();
        values.insert(PcrIndex::try_from(*index).unwrap(), value).unwrap();
    }
    values
}

/// Judges the log these events make against what they leave in the TPM.
pub(super) fn judge(policy: &Policy, events: &[Draft]) -> Appraisal {
    judge_log(policy, &builder::agile(&[SHA256], events), events)
}

/// Judges a log against what other events leave in the TPM.
pub(super) fn judge_log(policy: &Policy, log: &[u8], happened: &[Draft]) -> Appraisal {
    policy.appraise(&BootLog::parse(log).unwrap(), &quoted(SHA256, happened, &QUOTED)).unwrap()
}

pub(super) fn codes(appraisal: &Appraisal) -> Vec<&'static str> {
    let mut codes: Vec<&str> = appraisal.findings().iter().map(|finding| finding.kind.code()).collect();
    codes.dedup();
    codes
}

pub(super) fn sha256(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(builder::digest(SHA256, data)))
}

pub(super) fn x509(name: &str) -> String {
    format!("x509:{}", hex::encode(builder::digest(SHA256, &builder::certificate(name))))
}

/// Every requirement that does not exclude another, met by [`Machine::default`].
pub(super) fn full_alternative() -> Value {
    let registers = builder::registers(SHA256, &Machine::default().events());
    let value = |index: u8| format!("sha256:{}", hex::encode(&registers[&index]));
    json!({
        "name": "rack server, linux 6.1",
        "secure_boot": {
            "enabled": true,
            "pk": [x509("platform")],
            "kek": [x509("platform")],
            "db": [x509("vendor"), x509("another vendor")],
            "dbx_required": [sha256(b"revoked a")],
        },
        "images": {
            "digests": [sha256(b"shim"), sha256(b"grub"), sha256(b"linux 6.1")],
            "signers": [x509("vendor")],
        },
        "command_line": {
            "patterns": [r"/vmlinuz-[0-9.]+ root=/dev/vda1 ro"],
            "grub_commands": [r"linux /vmlinuz-6\.1 root=/dev/vda1 ro"],
        },
        "kernels": [sha256(b"linux 6.1")],
        "initrds": [sha256(b"initrd 6.1")],
        "boot_files": [sha256(b"grub.cfg")],
        "mok": [sha256(b"mok list"), sha256(b"mok list x")],
        "firmware": {"pcr0": [value(0), sha256(b"another firmware")], "pcr2": [value(2)]},
        "pcrs": {"3": [value(3)]},
    })
}

pub(super) fn document(alternatives: &[Value]) -> Value {
    json!({"version": 1, "accept": alternatives})
}

pub(super) fn policy(alternatives: &[Value]) -> Policy {
    Policy::from_json(document(alternatives).to_string().as_bytes()).unwrap()
}

/// A reference state for [`Machine::default`], as Keylime's tool writes it.
pub(super) fn reference_state() -> Value {
    let prefixed = |data: &[u8]| format!("0x{}", hex::encode(builder::digest(SHA256, data)));
    let map = |data: &[u8]| json!({"sha256": prefixed(data)});
    let key =
        |data: &[u8]| json!({"SignatureOwner": builder::OWNER, "SignatureData": format!("0x{}", hex::encode(data))});
    json!({
        "has_secureboot": true,
        "scrtm_and_bios": [{
            "scrtm": map(&builder::utf16("firmware 1.0")),
            "platform_firmware": [map(b"firmware 1.0")],
        }],
        "pk": [key(&builder::certificate("platform"))],
        "kek": [key(&builder::certificate("platform"))],
        "db": [key(&builder::certificate("vendor"))],
        "dbx": [key(&builder::digest(SHA256, b"revoked a"))],
        "mokdig": [map(b"mok list")],
        "mokxdig": [map(b"mok list x")],
        "kernels": [{
            "shim_authcode_sha256": prefixed(b"shim"),
            "grub_authcode_sha256": prefixed(b"grub"),
            "kernel_authcode_sha256": prefixed(b"linux 6.1"),
            "initrd_plain_sha256": prefixed(b"initrd 6.1"),
            "kernel_cmdline": r"/vmlinuz\-6\.1\ root=/dev/vda1\ ro",
        }],
    })
}

pub(super) fn example(state: &Value) -> Policy {
    Policy::keylime(KeylimePolicyName::Example, state.to_string().as_bytes()).unwrap()
}

/// The machine's events as Keylime's policy knows them: it has no entry for POST codes.
pub(super) fn keylime_events(machine: &Machine) -> Vec<Draft> {
    let mut events = machine.events();
    events.retain(|event| event.event_type != builder::POST_CODE);
    events
}
