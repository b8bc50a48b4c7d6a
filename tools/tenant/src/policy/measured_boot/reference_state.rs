//! A reference state for Keylime's policy `example`, as `keylime-policy create measured-boot` writes it.

use evidence::{
    algorithm::HashAlgorithm,
    boot_log::{EventDetails, EventType, ExaminedEvent, Guid, Ipl, SignatureList, VariableValue},
    measured_boot::{KeylimePolicyName, Policy},
    pcr::PcrBank,
};
use serde_json::{Map, Value, json};

use super::Source;
use crate::failure::Failure;

/// The state; it accepts its log, or there is none.
pub(super) fn of(source: &Source<'_, '_>) -> Result<Map<String, Value>, Failure> {
    let mut state = Map::new();
    let has_secureboot = source.measured(7).any(|event| match &event.details {
        EventDetails::Variable(variable) => {
            variable.name == "SecureBoot" && variable.value == VariableValue::Switch(true)
        }
        _ => false,
    });
    state.insert("has_secureboot".into(), has_secureboot.into());
    state.insert("scrtm_and_bios".into(), json!([firmware(source)?]));
    for (member, variable) in [("pk", "PK"), ("kek", "KEK"), ("db", "db"), ("dbx", "dbx")] {
        state.insert(member.into(), keys(source, variable).into());
    }
    let vendor = [keys(source, "vendor_db"), authorities(source, "vendor_db")].concat();
    if !vendor.is_empty() {
        state.insert("vendor_db".into(), vendor.into());
    }
    state.insert("kernels".into(), json!([kernel(source, has_secureboot)?]));
    for (member, list) in [("mokdig", "MokList"), ("mokxdig", "MokListX")] {
        let named = |event: &&ExaminedEvent<'_, '_>| matches!(&event.details, EventDetails::Ipl(Ipl::MokVariable(name)) if name == list);
        let digests: Vec<Value> = source.measured(14).filter(named).map(digest_map).collect();
        state.insert(member.into(), digests.into());
    }
    let text = Value::Object(state.clone()).to_string();
    let policy = Policy::keylime(KeylimePolicyName::Example, text.as_bytes())
        .map_err(|error| Failure::system("read the reference state again", error))?;
    match source.problem_with(&policy)? {
        None => Ok(state),
        Some(problem) => {
            let path = source.path.display();
            Err(Failure::new(format!("Keylime's policy `example` does not accept {path}: {problem}")).remedy(REMEDY))
        }
    }
}

/// The version of the root of trust and the firmware's volumes, in every bank.
fn firmware(source: &Source<'_, '_>) -> Result<Value, Failure> {
    let is = |event: &&ExaminedEvent<'_, '_>, types: &[EventType]| types.contains(&event.event.event_type());
    let scrtm = source.measured(0).find(|event| is(event, &[EventType::S_CRTM_VERSION]));
    let scrtm = scrtm.map(digest_map).ok_or_else(|| missing(source, "an EV_S_CRTM_VERSION event in PCR 0"))?;
    let volumes = [EventType::EFI_PLATFORM_FIRMWARE_BLOB, EventType::EFI_PLATFORM_FIRMWARE_BLOB2];
    let volumes: Vec<Value> = source.measured(0).filter(|event| is(event, &volumes)).map(digest_map).collect();
    Ok(json!({"scrtm": scrtm, "platform_firmware": volumes}))
}

/// shim, GRUB, kernel, initrd and command line.
fn kernel(source: &Source<'_, '_>, has_secureboot: bool) -> Result<Value, Failure> {
    let images: Vec<String> = source
        .measured(4)
        .filter(|event| event.event.event_type() == EventType::EFI_BOOT_SERVICES_APPLICATION)
        .filter_map(sha256)
        .collect();
    let file = |parts: &[&str]| {
        let named = |event: &&ExaminedEvent<'_, '_>| match &event.details {
            EventDetails::Ipl(Ipl::File(name)) => parts.iter().any(|part| name.contains(part)),
            _ => false,
        };
        source.measured(9).filter(named).find_map(sha256)
    };
    let command_line = source.measured(8).find_map(|event| match &event.details {
        EventDetails::Ipl(Ipl::CommandLine { text, .. }) => Some(regex::escape(text)),
        _ => None,
    });
    let need = |value: Option<String>, what| value.ok_or_else(|| missing(source, what));
    let image = |at: usize, what| need(images.get(at).cloned(), what);
    let mut kernel = Map::new();
    kernel.insert("shim_authcode_sha256".into(), image(0, "shim in PCR 4")?.into());
    kernel.insert("grub_authcode_sha256".into(), image(1, "GRUB in PCR 4")?.into());
    if has_secureboot {
        kernel.insert("kernel_authcode_sha256".into(), image(2, "a kernel in PCR 4")?.into());
    }
    let vmlinuz = need(file(&["/vmlinuz"]), "a vmlinuz file in PCR 9")?;
    if !has_secureboot {
        kernel.insert("vmlinuz_plain_sha256".into(), vmlinuz.into());
    }
    let initrd = need(file(&["/initrd", "/initramfs"]), "an initrd file in PCR 9")?;
    kernel.insert("initrd_plain_sha256".into(), initrd.into());
    kernel.insert("kernel_cmdline".into(), need(command_line, "a kernel command line in PCR 8")?.into());
    Ok(Value::Object(kernel))
}

/// The entries of a database.
fn keys(source: &Source<'_, '_>, name: &str) -> Vec<Value> {
    let lists = source.measured(7).find_map(|event| match &event.details {
        EventDetails::Variable(variable) if variable.name == name => match &variable.value {
            VariableValue::SignatureDatabase(lists) => Some(lists),
            _ => None,
        },
        _ => None,
    });
    let lists: &[SignatureList<'_>] = lists.map_or(&[], Vec::as_slice);
    lists.iter().flat_map(|list| &list.signatures).map(|signature| key(signature.owner, signature.data)).collect()
}

/// The entries images were verified with that stand in shim's own database.
fn authorities(source: &Source<'_, '_>, name: &str) -> Vec<Value> {
    let authority = |event: &ExaminedEvent<'_, '_>| match &event.details {
        EventDetails::Variable(variable) if variable.name == name => match &variable.value {
            VariableValue::Authority(authority) => authority.owner.map(|owner| key(owner, authority.data)),
            _ => None,
        },
        _ => None,
    };
    source.measured(7).filter_map(authority).collect()
}

fn key(owner: Guid, data: &[u8]) -> Value {
    json!({"SignatureOwner": owner.to_string(), "SignatureData": format!("0x{}", hex::encode(data))})
}

/// An event's digests by bank.
fn digest_map(event: &ExaminedEvent<'_, '_>) -> Value {
    let digests = event.event.digests().iter();
    digests.map(|digest| (digest.algorithm().to_string(), Value::from(format!("0x{digest}")))).collect()
}

fn sha256(event: &ExaminedEvent<'_, '_>) -> Option<String> {
    event.event.digest(PcrBank(HashAlgorithm::Sha256)).map(|digest| format!("0x{digest}"))
}

fn missing(source: &Source<'_, '_>, what: &str) -> Failure {
    let path = source.path.display();
    Failure::new(format!("{path} has not {what}, which Keylime's policy `example` wants")).remedy(REMEDY)
}

const REMEDY: &str =
    "that policy is for machines that boot by shim and GRUB; make a declarative policy, without --keylime";
