//! Whether one authentic entry is allowed.

use super::entry::{Entry, FileDigest};
use super::finding::{Event, Finding, Findings, Severity};
use super::keyring::{FileKey, Keyring};
use super::malformed::Excerpt;
use super::register::hash;
use super::signature::FileSignature;
use crate::algorithm::Digest;
use crate::crypto::CryptoUnavailable;
use crate::runtime_policy::{ExcludeCount, Lookup, PolicyStack, Table, ViolationChoice};

/// What judging a list's entries gathers.
pub(super) struct Judge<'a> {
    /// What `boot_aggregate` must be; empty if the caller has no registers to say.
    pub(super) boot_aggregates: &'a [Digest],
    /// Keys whose loading was measured and allowed, of this list and before it.
    pub(super) learned: Keyring,
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
        let mut unsigned = None;
        if !entry.signature.is_empty() {
            match self.signature_problem(stack, entry.signature, &digest)? {
                None => return Ok(true),
                Some(problem) => unsigned = Some(problem),
            }
        }
        if self.hidden.hides(stack, name) {
            return Ok(true);
        }
        if let Some(findings) = report {
            if let Some(problem) = unsigned {
                let expected = "a signature of a key of the policy, or a listed digest";
                findings.push(place.failure(Event::SignatureInvalid, problem, expected));
            }
            findings.push(place.unlisted(stack, Table::Files, lookup, &digest));
        }
        Ok(false)
    }

    fn allows_violation(&mut self, stack: &PolicyStack, place: &Place<'_>, report: Report<'_>) -> bool {
        let choice = stack.violation(place.name);
        let finding = || {
            place.failure(
                Event::Violation,
                "a violation: the file was open for writing while it was measured or read",
                "none, or a rule of the policy for this path",
            )
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
        let key = key_in(place.name, entry.buffer);
        let table = if key.is_some() { Table::Keyrings } else { Table::Buffers };
        // Keys of ignored keyrings pass unseen, so no file is believed for their sake.
        if key.is_some() && stack.ignores_keyring(place.name) {
            return Ok(true);
        }
        let lookup = stack.look_up(table, place.name, digest.bytes);
        if lookup == Lookup::Allowed {
            if let Some(key) = key.filter(|_| APPRAISAL_KEYRINGS.contains(&place.name)) {
                self.learned.add(key);
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

    /// Why a file's signature does not speak for it; nothing if it does.
    fn signature_problem(
        &self,
        stack: &PolicyStack,
        attribute: &[u8],
        digest: &FileDigest<'_>,
    ) -> Result<Option<String>, CryptoUnavailable> {
        let signature = match FileSignature::parse(attribute, digest) {
            Ok(signature) => signature,
            Err(unusable) => return Ok(Some(format!("a signature that cannot be checked: {unusable}"))),
        };
        let mut known = None;
        for keyring in [stack.keyring(), &self.learned] {
            match keyring.check(&signature, digest)? {
                Some(true) => return Ok(None),
                Some(false) => known = Some(false),
                None => (),
            }
        }
        let id = signature.key_id();
        Ok(Some(match known {
            Some(_) => format!("a signature that does not verify under key {id}"),
            None => format!("a signature of key {id}, which is unknown"),
        }))
    }
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
        }
    }

    fn unlisted(&self, stack: &PolicyStack, table: Table, lookup: Lookup, digest: &FileDigest<'_>) -> Finding {
        if lookup == Lookup::Unknown {
            let layers: Vec<&str> = stack.layers().iter().map(|layer| layer.name.as_str()).collect();
            let expected = format!("an entry in {} of layer {}", table.name(), layers.join(" or "));
            return self.failure(Event::NotInAllowlist, describe(digest), expected);
        }
        let mut allowed: Vec<String> = stack
            .allowed(table, self.name)
            .take(EXPECTED_MAX + 1)
            .map(|(layer, _, digest)| format!("{} (layer {layer})", hex::encode(digest)))
            .collect();
        if allowed.len() > EXPECTED_MAX {
            allowed.truncate(EXPECTED_MAX);
            allowed.push("others".to_owned());
        }
        self.failure(Event::RuntimePolicyHash, describe(digest), allowed.join(" or "))
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

/// The keyrings the kernel takes keys of file signatures from.
const APPRAISAL_KEYRINGS: [&[u8]; 2] = [b".ima", b"_ima"];
/// How DER certificates and public keys start.
const SEQUENCE: u8 = 0x30;
/// Digests named in a finding.
const EXPECTED_MAX: usize = 4;
