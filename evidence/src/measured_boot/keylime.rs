//! Keylime's reference states, as `keylime-policy create measured-boot` writes them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::algorithm::{Digest, HashAlgorithm, UnknownAlgorithmName};
use crate::boot_log::Guid;
use crate::json;

use super::alternative::Digests;
use super::malformed::{MalformedPolicy, POLICY_BYTES_MAX};
use super::pattern::Pattern;

/// Keylime's named policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeylimePolicyName {
    /// `accept-all`: events are not judged; quoted registers must follow from the log.
    AcceptAll,
    /// `example`: the whole log against a reference state.
    Example,
    /// `reject-all`: nothing passes.
    RejectAll,
}

impl KeylimePolicyName {
    /// Keylime's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptAll => "accept-all",
            Self::Example => "example",
            Self::RejectAll => "reject-all",
        }
    }
}

impl fmt::Display for KeylimePolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeylimePolicyName {
    type Err = UnknownKeylimePolicy;

    fn from_str(name: &str) -> Result<Self, UnknownKeylimePolicy> {
        [Self::AcceptAll, Self::Example, Self::RejectAll]
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or(UnknownKeylimePolicy)
    }
}

/// A name that is none of Keylime's built-in policies; those imported from Python modules have no equivalent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected accept-all, example or reject-all")]
pub struct UnknownKeylimePolicy;

/// The document as an object with at least one member.
pub(super) fn object(document: &[u8]) -> Result<Map<String, Value>, MalformedPolicy> {
    if document.len() > POLICY_BYTES_MAX {
        return Err(MalformedPolicy::TooLong { max: POLICY_BYTES_MAX, found: document.len() });
    }
    let state = json::object(document).map_err(|source| MalformedPolicy::Json { source })?;
    if state.is_empty() { Err(MalformedPolicy::Empty { place: "the reference state".to_owned() }) } else { Ok(state) }
}

/// A reference state for the policy `example`.
#[derive(Clone, Debug)]
pub(super) struct ReferenceState {
    pub(super) has_secureboot: bool,
    pub(super) firmware: Vec<Firmware>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) pk: KeySet,
    pub(super) kek: KeySet,
    pub(super) db: KeySet,
    pub(super) dbx: KeySet,
    pub(super) vendor_db: KeySet,
    pub(super) mok: Digests,
    pub(super) mokx: Digests,
}

/// One accepted firmware: its version and its volumes in order.
#[derive(Clone, Debug)]
pub(super) struct Firmware {
    pub(super) scrtm: Digests,
    pub(super) volumes: Vec<Digests>,
}

impl Firmware {
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.scrtm).chain(&self.volumes).flat_map(|set| &set.0)
    }
}

/// One accepted chain of boot loader and kernel.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) shim: Digest,
    pub(super) grub: Digest,
    /// The kernel's Authenticode digest with Secure Boot, its file's without.
    pub(super) kernel: Digest,
    pub(super) initrd: Digest,
    pub(super) command_line: Pattern,
}

/// Entries by owner and data.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(BTreeSet<(Guid, Vec<u8>)>);

impl KeySet {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the entry is one of these. Owners written by old tools have their groups swapped.
    pub(super) fn contains(&self, owner: Guid, data: &[u8]) -> bool {
        [owner, owner.byte_swapped()].into_iter().any(|owner| self.0.contains(&(owner, data.to_vec())))
    }

    /// The entries, each with its owner as the reference state has it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Guid, &[u8])> {
        self.0.iter().map(|(owner, data)| (*owner, data.as_slice()))
    }
}

impl ReferenceState {
    pub(super) fn parse(state: &Map<String, Value>) -> Result<Self, MalformedPolicy> {
        let has_secureboot = match state.get("has_secureboot") {
            None => true,
            Some(Value::Bool(is_on)) => *is_on,
            Some(_) => return Err(MalformedPolicy::reference_state("has_secureboot", "true or false")),
        };
        Ok(Self {
            has_secureboot,
            firmware: each(state, "scrtm_and_bios", Firmware::parse)?,
            kernels: each(state, "kernels", |value, place| Kernel::parse(value, place, has_secureboot))?,
            pk: keys(state, "pk")?,
            kek: keys(state, "kek")?,
            db: keys(state, "db")?,
            dbx: keys(state, "dbx")?,
            vendor_db: if state.contains_key("vendor_db") { keys(state, "vendor_db")? } else { KeySet::default() },
            mok: union(each(state, "mokdig", digest_map)?),
            mokx: union(each(state, "mokxdig", digest_map)?),
        })
    }
}

impl Firmware {
    fn parse(value: &Value, place: &str) -> Result<Self, MalformedPolicy> {
        let object = as_object(value, place)?;
        let scrtm_place = format!("{place}.scrtm");
        let scrtm =
            object.get("scrtm").ok_or_else(|| MalformedPolicy::reference_state(&scrtm_place, "a digest map"))?;
        let scrtm = digest_map(scrtm, &scrtm_place)?;
        Ok(Self { scrtm, volumes: each(object, "platform_firmware", digest_map)? })
    }
}

impl Kernel {
    fn parse(value: &Value, place: &str, has_secureboot: bool) -> Result<Self, MalformedPolicy> {
        let object = as_object(value, place)?;
        let sha256 = |field: &str| {
            let place = format!("{place}.{field}");
            let bytes = object.get(field).and_then(Value::as_str).and_then(prefixed_hex);
            bytes
                .and_then(|bytes| Digest::new(HashAlgorithm::Sha256, &bytes).ok())
                .ok_or_else(|| MalformedPolicy::reference_state(place, "0x and 64 lower-case hexadecimal digits"))
        };
        let command_line_place = format!("{place}.kernel_cmdline");
        let Some(pattern) = object.get("kernel_cmdline").and_then(Value::as_str) else {
            return Err(MalformedPolicy::reference_state(command_line_place, "a regular expression"));
        };
        Ok(Self {
            shim: sha256("shim_authcode_sha256")?,
            grub: sha256("grub_authcode_sha256")?,
            kernel: sha256(if has_secureboot { "kernel_authcode_sha256" } else { "vmlinuz_plain_sha256" })?,
            initrd: sha256("initrd_plain_sha256")?,
            // Keylime puts the prefix before the pattern without grouping it; so does this.
            command_line: Pattern::new(&format!("{COMMAND_LINE_PREFIX}{pattern}"), &command_line_place)?,
        })
    }
}

fn each<T>(
    object: &Map<String, Value>,
    field: &str,
    parse: impl Fn(&Value, &str) -> Result<T, MalformedPolicy>,
) -> Result<Vec<T>, MalformedPolicy> {
    let items =
        object.get(field).and_then(Value::as_array).ok_or_else(|| MalformedPolicy::reference_state(field, "a list"))?;
    items.iter().enumerate().map(|(number, item)| parse(item, &format!("{field}[{number}]"))).collect()
}

fn as_object<'v>(value: &'v Value, place: &str) -> Result<&'v Map<String, Value>, MalformedPolicy> {
    value.as_object().ok_or_else(|| MalformedPolicy::reference_state(place, "an object"))
}

/// `{"sha256": "0x…"}`, of any of the banks we know; a map of none matches nothing.
fn digest_map(value: &Value, place: &str) -> Result<Digests, MalformedPolicy> {
    let parse = |(name, value): (&String, &Value)| {
        let algorithm: Result<HashAlgorithm, UnknownAlgorithmName> = name.parse();
        let bytes = value.as_str().and_then(prefixed_hex);
        Digest::new(algorithm.ok()?, &bytes?).ok()
    };
    let digests = as_object(value, place)?.iter().map(parse).collect::<Option<BTreeSet<Digest>>>();
    digests.map(Digests).ok_or_else(|| {
        MalformedPolicy::reference_state(place, "names of banks with 0x and that bank's lower-case hexadecimal digits")
    })
}

fn union(maps: Vec<Digests>) -> Digests {
    Digests(maps.into_iter().flat_map(|map| map.0).collect())
}

fn keys(state: &Map<String, Value>, field: &str) -> Result<KeySet, MalformedPolicy> {
    each(state, field, |value, place| {
        let object = as_object(value, place)?;
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        let owner = text("SignatureOwner").and_then(Guid::from_text);
        match (owner, text("SignatureData").and_then(prefixed_hex)) {
            (Some(owner), Some(data)) => Ok((owner, data)),
            _ => Err(MalformedPolicy::reference_state(
                place,
                "SignatureOwner, a GUID, and SignatureData, 0x and hexadecimal",
            )),
        }
    })
    .map(|entries| KeySet(entries.into_iter().collect()))
}

/// `0x` and lower-case hexadecimal digits, at least one.
fn prefixed_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.is_empty())?;
    if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    hex::decode(digits).ok()
}

/// What GRUB writes before a kernel's command line.
pub(super) const COMMAND_LINE_PREFIX: &str = "kernel_cmdline: ";
