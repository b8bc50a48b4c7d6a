//! Whether one authentic entry is allowed.

use super::device_mapper::Record;
use super::devices::{DeviceProblem, Devices};
use super::entry::{Entry, FileDigest};
use super::evm::{Content, FileAttributes};
use super::finding::{Event, Finding, Findings, Severity};
use super::keyring::{FileKey, KeyId};
use super::learned::LearnedKeys;
use super::malformed::Excerpt;
use super::modsig::ModuleSignature;
use super::register::hash;
use super::signature::{EVM_PORTABLE_DIGSIG, FileSignature, SignedAttribute};
use super::template::Field;
use crate::algorithm::Digest;
use crate::crypto::CryptoUnavailable;
use crate::runtime_policy::{ExcludeCount, Lookup, PolicyStack, Table, ViolationChoice};

/// What judging a list's entries gathers.
pub(super) struct Judge<'a> {
    /// What `boot_aggregate` must be; empty if the caller has no registers to say.
    pub(super) boot_aggregates: &'a [Digest],
    /// Keys whose loading was measured and allowed, of this list and before it.
    pub(super) learned: LearnedKeys,
    /// Mapped devices as their records left them.
    pub(super) devices: Devices,
    pub(super) hidden: Hidden<'a>,
    /// Violations a policy says to ignore.
    pub(super) ignored_violations: u64,
}

/// Where findings go: nowhere when only the outcome is asked for.
pub(super) type Report<'r> = Option<&'r mut Findings>;

impl<'a> Judge<'a> {
    /// Whether `stack` allows an entry; if not, why not goes into the report.
    pub(super) fn allows(
        &mut self,
        stack: &'a PolicyStack,
        number: u64,
        entry: &Entry<'_>,
        report: Report<'_>,
    ) -> Result<bool, CryptoUnavailable> {
        let place = Place { number, name: entry.name.unwrap_or_default() };
        if entry.is_violation(stack.log_hash()) {
            return Ok(self.allows_violation(stack, &place, report));
        }
        let (Some(name), Some(digest)) = (entry.name, entry.digest) else {
            return Ok(no_validator(&place, entry, report));
        };
        if !entry.template.is_built_in() {
            return Ok(no_validator(&place, entry, report));
        }
        if entry.template.is_buffer() {
            return self.allows_buffer(stack, &place, entry, &digest, report);
        }
        if entry.is_boot_aggregate() && !self.boot_aggregates.is_empty() {
            return Ok(self.allows_boot_aggregate(stack, &place, &digest, report));
        }
        let lookup = stack.look_up(Table::Files, name, digest.bytes);
        if lookup == Lookup::Allowed {
            return Ok(true);
        }
        let mut unsigned = Vec::new();
        for signature in signatures_of(entry) {
            match self.signature_problem(stack, signature, entry, &digest)? {
                None => return Ok(true),
                Some(problem) => unsigned.push((signature, problem)),
            }
        }
        if self.hidden.hides(stack, name) {
            return Ok(true);
        }
        if let Some(findings) = report {
            for (signature, problem) in unsigned {
                let (event, expected) = (signature.event(), signature.expected());
                findings.push(place.failure(event, problem, expected).of_layer(stack.names()));
            }
            findings.push(place.unlisted(stack, Table::Files, lookup, &digest));
        }
        Ok(false)
    }

    fn allows_violation(&mut self, stack: &PolicyStack, place: &Place<'_>, report: Report<'_>) -> bool {
        let (choice, layer) = stack.violation(place.name);
        let finding = || {
            let finding = place.failure(
                Event::Violation,
                "a violation: the file was open for writing while it was measured or read",
                "none, or a rule of the policy for this path",
            );
            finding.of_layer(layer.map_or_else(|| stack.names(), str::to_owned))
        };
        match (choice, report) {
            (ViolationChoice::Fail, Some(findings)) => findings.push(finding()),
            (ViolationChoice::Warn, Some(findings)) => {
                findings.push(Finding { severity: Severity::Warning, ..finding() });
            }
            (ViolationChoice::Ignore, _) => self.ignored_violations += 1,
            (ViolationChoice::Fail | ViolationChoice::Warn, None) => (),
        }
        choice != ViolationChoice::Fail
    }

    /// Only computed values count where there are any: a listed one could be another machine's.
    fn allows_boot_aggregate(
        &mut self,
        stack: &'a PolicyStack,
        place: &Place<'_>,
        digest: &FileDigest<'_>,
        report: Report<'_>,
    ) -> bool {
        let computed = |aggregate: &Digest| {
            digest.hash_algorithm() == Some(aggregate.algorithm()) && aggregate.as_bytes() == digest.bytes
        };
        if self.boot_aggregates.iter().any(computed) || self.hidden.hides(stack, place.name) {
            return true;
        }
        if let Some(findings) = report {
            let expected: Vec<String> =
                self.boot_aggregates.iter().map(|digest| format!("{}:{digest}", digest.algorithm())).collect();
            findings.push(place.failure(Event::BootAggregate, describe(digest), expected.join(" or ")));
        }
        false
    }

    fn allows_buffer(
        &mut self,
        stack: &'a PolicyStack,
        place: &Place<'_>,
        entry: &Entry<'_>,
        digest: &FileDigest<'_>,
        report: Report<'_>,
    ) -> Result<bool, CryptoUnavailable> {
        // The kernel hashes the buffer it records. Whoever relabels a file's ima-sig entry to pass its signature off
        // as a buffer would need a file that is its own signature.
        let measured = match digest.hash_algorithm() {
            Some(algorithm) => hash(algorithm, entry.buffer)?.as_bytes() == digest.bytes,
            None => false,
        };
        if !measured {
            if let Some(findings) = report {
                let expected = "the hash of the recorded buffer, in an algorithm known here";
                findings.push(place.failure(Event::BufferDigest, describe(digest), expected));
            }
            return Ok(false);
        }
        if let Some((layer, policy)) = stack.device_mapper().filter(|_| Record::is_named(place.name)) {
            let problems = self.devices.take(policy, place.name, entry.buffer, describe(digest));
            let allowed = problems.is_empty();
            if let Some(findings) = report {
                for DeviceProblem { fault, found, expected } in problems {
                    findings.push(place.failure(Event::Device(fault), found, expected).of_layer(layer.to_owned()));
                }
            }
            return Ok(allowed);
        }
        let key = key_in(place.name, entry.buffer);
        let table = if key.is_some() { Table::Keyrings } else { Table::Buffers };
        // Keys of ignored keyrings pass unseen, so no file is believed for their sake.
        if key.is_some() && stack.ignores_keyring(place.name) {
            return Ok(true);
        }
        let lookup = stack.look_up(table, place.name, digest.bytes);
        if lookup == Lookup::Allowed {
            if let Some(key) = key {
                self.learned.learn(place.name, key);
            }
            return Ok(true);
        }
        let by_pattern = table == Table::Buffers && stack.allows_critical_data(place.name, entry.buffer);
        if by_pattern || self.hidden.hides(stack, place.name) {
            return Ok(true);
        }
        if let Some(findings) = report {
            findings.push(place.unlisted(stack, table, lookup, digest));
        }
        Ok(false)
    }

    /// Why a signature does not speak for a file; nothing if it does.
    fn signature_problem(
        &self,
        stack: &PolicyStack,
        signature: Signature<'_>,
        entry: &Entry<'_>,
        digest: &FileDigest<'_>,
    ) -> Result<Option<String>, CryptoUnavailable> {
        match signature {
            Signature::File(attribute) => self.file_problem(stack, attribute, digest),
            Signature::Attributes => self.attributes_problem(stack, entry, digest),
            Signature::AttributesUnrecorded(attribute) => Ok(Some(self.unrecorded(stack, attribute, entry))),
            Signature::Module { digest, pkcs7 } => self.module_problem(stack, digest, pkcs7),
        }
    }

    fn file_problem(
        &self,
        stack: &PolicyStack,
        attribute: &[u8],
        digest: &FileDigest<'_>,
    ) -> Result<Option<String>, CryptoUnavailable> {
        let signature = match FileSignature::parse(attribute, digest) {
            Ok(signature) => signature,
            Err(unusable) => return Ok(Some(format!("a signature that cannot be checked: {unusable}"))),
        };
        let rings = [stack.keyring(), self.learned.files()];
        let checked = rings.map(|keyring| keyring.check(&signature.0, digest.bytes));
        said(checked, "signature", signature.key_id())
    }

    /// EVM's signature of the attributes, and what ties these to the content. A key that was loaded for files' own
    /// signatures does not count for it, nor one of EVM's for those.
    fn attributes_problem(
        &self,
        stack: &PolicyStack,
        entry: &Entry<'_>,
        digest: &FileDigest<'_>,
    ) -> Result<Option<String>, CryptoUnavailable> {
        let unusable = |unusable| Ok(Some(format!("EVM's signature, which cannot be checked: {unusable}")));
        let attributes = match FileAttributes::of(entry) {
            Ok(attributes) => attributes,
            Err(why) => return unusable(why),
        };
        let content = match attributes.content(digest) {
            Ok(content) => content,
            Err(why) => return unusable(why),
        };
        let signed = attributes.digest()?;
        let rings = [stack.keyring(), self.learned.attributes()];
        let checked = rings.map(|keyring| keyring.check(attributes.signature(), signed.as_bytes()));
        if let Some(problem) = said(checked, "signature of EVM's", attributes.signature().key_id)? {
            return Ok(Some(problem));
        }
        match content {
            Content::Digest => Ok(None),
            Content::Signature(attribute) => self.file_problem(stack, attribute, digest),
        }
    }

    /// What to say of EVM's signature in an entry that has not got the attributes it is over: whether it would count
    /// if it could be checked.
    fn unrecorded(&self, stack: &PolicyStack, attribute: &[u8], entry: &Entry<'_>) -> String {
        let signature = match SignedAttribute::parse(attribute) {
            Ok(signature) => signature,
            Err(unusable) => return format!("EVM's signature, which cannot be checked: {unusable}"),
        };
        let rings = [stack.keyring(), self.learned.attributes()];
        let known = rings.iter().flat_map(|ring| ring.keys()).any(|key| key.id() == signature.key_id);
        format!(
            "EVM's signature of {} key {}, over owner, mode and attributes that template {} does not record",
            if known { "trusted" } else { "unknown" },
            signature.key_id,
            entry.template
        )
    }

    fn module_problem(
        &self,
        stack: &PolicyStack,
        digest: &[u8],
        pkcs7: &[u8],
    ) -> Result<Option<String>, CryptoUnavailable> {
        let signature = match ModuleSignature::parse(pkcs7) {
            Ok(signature) => signature,
            Err(unusable) => {
                return Ok(Some(format!("an appended signature that cannot be checked: {unusable}")));
            }
        };
        let digest = FileDigest::parse(digest).ok().and_then(|digest| {
            let algorithm = digest.hash_algorithm().filter(|algorithm| *algorithm == signature.hash)?;
            Digest::new(algorithm, digest.bytes).ok()
        });
        let Some(digest) = digest else {
            return Ok(Some("an appended signature over a digest of another algorithm than d-modsig".to_owned()));
        };
        let mut known = None;
        for keyring in [stack.keyring(), self.learned.files()] {
            match keyring.check_module(&signature, &digest)? {
                Some(true) => return Ok(None),
                Some(false) => known = Some(false),
                None => (),
            }
        }
        Ok(Some(match known {
            Some(_) => "an appended signature that verifies under no key of its signer's".to_owned(),
            None => "an appended signature of a signer who is unknown".to_owned(),
        }))
    }
}

/// Nothing if one of the keyrings has the key and it fits; else what to say of a signature.
fn said<const N: usize>(
    checked: [Result<Option<bool>, CryptoUnavailable>; N],
    what: &str,
    id: KeyId,
) -> Result<Option<String>, CryptoUnavailable> {
    let mut known = false;
    for checked in checked {
        match checked? {
            Some(true) => return Ok(None),
            Some(false) => known = true,
            None => (),
        }
    }
    Ok(Some(match known {
        true => format!("a {what} that does not verify under key {id}"),
        false => format!("a {what} of key {id}, which is unknown"),
    }))
}

/// A signature an entry carries.
#[derive(Clone, Copy)]
enum Signature<'e> {
    /// EVM's, over the attributes in the entry.
    Attributes,
    /// EVM's, over attributes that are not in the entry: what `ima-sig` has of a file without a signature of its own.
    ///
    /// Source: Linux, `ima_eventsig_init` in `security/integrity/ima/ima_template_lib.c`.
    AttributesUnrecorded(&'e [u8]),
    /// The file's own, in `security.ima`.
    File(&'e [u8]),
    /// The one appended to the file, and the digest it is over.
    Module { digest: &'e [u8], pkcs7: &'e [u8] },
}

impl Signature<'_> {
    const fn event(self) -> Event {
        match self {
            Self::Attributes | Self::AttributesUnrecorded(_) => Event::EvmSignature,
            Self::File(_) => Event::SignatureInvalid,
            Self::Module { .. } => Event::ModuleSignature,
        }
    }

    /// What a file with such a signature needs instead.
    const fn expected(self) -> &'static str {
        match self {
            Self::AttributesUnrecorded(_) => "a listed digest, a signature of the file's own, or template evm-sig",
            Self::Attributes | Self::File(_) | Self::Module { .. } => {
                "a signature of a key of the policy, or a listed digest"
            }
        }
    }
}

/// The signatures in an entry, one of which is enough.
fn signatures_of<'e>(entry: &Entry<'e>) -> impl Iterator<Item = Signature<'e>> {
    let of_attributes = entry.template.fields().contains(&Field::EvmSignature);
    let attribute = Some(entry.signature).filter(|attribute| !attribute.is_empty());
    let first = attribute.map(|own| match own {
        _ if of_attributes => Signature::Attributes,
        [EVM_PORTABLE_DIGSIG, ..] => Signature::AttributesUnrecorded(own),
        _ => Signature::File(own),
    });
    let module = entry.template.fields().contains(&Field::Modsig).then(|| {
        let field = |wanted| entry.fields().find(|(field, _)| *field == wanted).map(|(_, content)| content);
        Some(Signature::Module { digest: field(Field::ModsigDigest)?, pkcs7: field(Field::Modsig)? })
    });
    let module = module.flatten().filter(|module| !matches!(module, Signature::Module { pkcs7: [], .. }));
    first.into_iter().chain(module)
}

/// How many entries each exclude pattern hid.
#[derive(Default)]
pub(super) struct Hidden<'a> {
    counts: Vec<(&'a PolicyStack, usize, usize, u64)>,
}

impl<'a> Hidden<'a> {
    /// Whether a pattern hides an entry that nothing else allows.
    fn hides(&mut self, stack: &'a PolicyStack, name: &[u8]) -> bool {
        let Some((layer, pattern)) = stack.exclude(name) else { return false };
        let same = |(known, l, p, _): &&mut (&PolicyStack, usize, usize, u64)| {
            known.id() == stack.id() && (*l, *p) == (layer, pattern)
        };
        match self.counts.iter_mut().find(same) {
            Some((.., count)) => *count += 1,
            None => self.counts.push((stack, layer, pattern, 1)),
        }
        true
    }

    pub(super) fn counts(&self) -> Vec<ExcludeCount> {
        let counts = self.counts.iter();
        counts.filter_map(|(stack, layer, pattern, count)| stack.exclude_count(*layer, *pattern, *count)).collect()
    }
}

/// Where an entry stands.
pub(super) struct Place<'e> {
    pub(super) number: u64,
    pub(super) name: &'e [u8],
}

impl Place<'_> {
    pub(super) fn failure(&self, event: Event, found: impl Into<String>, expected: impl Into<String>) -> Finding {
        Finding {
            event,
            severity: Severity::Failure,
            entry: Some(self.number),
            path: Some(Excerpt::of(self.name)),
            found: found.into(),
            expected: expected.into(),
            layer: None,
        }
    }

    fn unlisted(&self, stack: &PolicyStack, table: Table, lookup: Lookup, digest: &FileDigest<'_>) -> Finding {
        if lookup == Lookup::Unknown {
            let expected = format!("an entry in {}", table.name());
            return self.failure(Event::NotInAllowlist, describe(digest), expected).of_layer(stack.names());
        }
        let mut layers: Vec<&str> = stack.allowed(table, self.name).map(|(layer, ..)| layer).collect();
        layers.dedup();
        let layers = layers.join(" + ");
        let mut allowed: Vec<String> = stack
            .allowed(table, self.name)
            .take(EXPECTED_MAX + 1)
            .map(|(layer, _, digest)| format!("{} (layer {layer})", hex::encode(digest)))
            .collect();
        if allowed.len() > EXPECTED_MAX {
            allowed.truncate(EXPECTED_MAX);
            allowed.push("others".to_owned());
        }
        self.failure(Event::RuntimePolicyHash, describe(digest), allowed.join(" or ")).of_layer(layers)
    }
}

fn no_validator(place: &Place<'_>, entry: &Entry<'_>, report: Report<'_>) -> bool {
    if let Some(findings) = report {
        let found = format!("template {}", entry.template);
        findings.push(place.failure(Event::NoValidator, found, "one of the kernel's own with a digest and a name"));
    }
    false
}

/// The key in a buffer, if that is what it holds. Keyrings have no path for a name.
fn key_in(name: &[u8], buffer: &[u8]) -> Option<FileKey> {
    let plausible = buffer.first() == Some(&SEQUENCE) && name.first() != Some(&b'/');
    if plausible { FileKey::from_der(buffer).ok() } else { None }
}

fn describe(digest: &FileDigest<'_>) -> String {
    format!("{}:{}", Excerpt::of(digest.algorithm).as_str(), hex::encode(digest.bytes))
}

/// How DER certificates and public keys start.
const SEQUENCE: u8 = 0x30;
/// Digests named in a finding.
const EXPECTED_MAX: usize = 4;
