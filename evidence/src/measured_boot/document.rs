//! The declarative policy's JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::algorithm::{Digest, HashAlgorithm};
use crate::json::UniqueMap;
use crate::pcr::PcrIndex;

use super::alternative::{Alternative, CommandLine, Digests, Files, KeyId, Keys, SecureBoot};
use super::malformed::{MalformedPolicy, POLICY_BYTES_MAX, shown};
use super::pattern::Pattern;

/// Reads a document to its alternatives; none is well-formed and accepts nothing.
pub(super) fn parse(document: &[u8]) -> Result<Vec<Alternative>, MalformedPolicy> {
    if document.len() > POLICY_BYTES_MAX {
        return Err(MalformedPolicy::TooLong { max: POLICY_BYTES_MAX, found: document.len() });
    }
    let form: DocumentForm = serde_json::from_slice(document).map_err(|source| MalformedPolicy::Json { source })?;
    if form.version != 1 {
        return Err(MalformedPolicy::Version { found: form.version });
    }
    form.accept.into_iter().enumerate().map(|(number, form)| form.compile(&format!("accept[{number}]"))).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentForm {
    #[serde(rename = "$schema", default)]
    _schema: Option<String>,
    #[serde(rename = "description", default)]
    _description: Option<String>,
    version: u64,
    accept: Vec<AlternativeForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlternativeForm {
    name: String,
    secure_boot: Option<SecureBootForm>,
    images: Option<ImagesForm>,
    command_line: Option<CommandLineForm>,
    kernels: Option<Vec<String>>,
    initrds: Option<Vec<String>>,
    boot_files: Option<Vec<String>>,
    uki: Option<UniqueMap<Vec<String>>>,
    mok: Option<Vec<String>>,
    firmware: Option<FirmwareForm>,
    pcrs: Option<UniqueMap<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecureBootForm {
    enabled: bool,
    pk: Option<Vec<String>>,
    kek: Option<Vec<String>>,
    db: Option<Vec<String>>,
    #[serde(default)]
    dbx_required: Vec<String>,
    #[serde(default)]
    actions: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImagesForm {
    digests: Option<Vec<String>>,
    signers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandLineForm {
    #[serde(default)]
    patterns: Vec<String>,
    #[serde(default)]
    digests: Vec<String>,
    #[serde(default)]
    grub_commands: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirmwareForm {
    pcr0: Option<Vec<String>>,
    pcr2: Option<Vec<String>>,
}

impl AlternativeForm {
    fn compile(self, place: &str) -> Result<Alternative, MalformedPolicy> {
        let at = |field: &str| format!("{place}.{field}");
        // What is stated and demands nothing was meant to demand something.
        let is_empty = [
            ("images", self.images.as_ref().is_some_and(|form| form.digests.is_none() && form.signers.is_none())),
            ("firmware", self.firmware.as_ref().is_some_and(|form| form.pcr0.is_none() && form.pcr2.is_none())),
            ("pcrs", self.pcrs.as_ref().is_some_and(UniqueMap::is_empty)),
        ];
        if let Some((field, _)) = is_empty.into_iter().find(|(_, is_empty)| *is_empty) {
            return Err(MalformedPolicy::Empty { place: at(field) });
        }
        let registers = self.registers(place)?;
        let images = self.images.unwrap_or(ImagesForm { digests: None, signers: None });
        let alternative = Alternative {
            secure_boot: self.secure_boot.map(|form| form.compile(&at("secure_boot"))).transpose()?,
            images: images.digests.map(|texts| digests(&texts, &at("images.digests"))).transpose()?,
            signers: images.signers.map(|texts| keys(&texts, &at("images.signers"))).transpose()?,
            command_line: self.command_line.map(|form| form.compile(&at("command_line"))).transpose()?,
            files: files(
                self.kernels.map(|texts| digests(&texts, &at("kernels"))).transpose()?,
                self.initrds.map(|texts| digests(&texts, &at("initrds"))).transpose()?,
                self.boot_files.map(|texts| digests(&texts, &at("boot_files"))).transpose()?,
            ),
            uki: self.uki.map(|sections| sections_of(sections, &at("uki"))).transpose()?,
            mok: self.mok.map(|texts| digests(&texts, &at("mok"))).transpose()?,
            registers,
            name: self.name,
        };
        if alternative.is_empty() { Err(MalformedPolicy::Empty { place: place.to_owned() }) } else { Ok(alternative) }
    }

    /// Firmware sets and registers' values are the same thing under two names; both given must both be met.
    fn registers(&self, place: &str) -> Result<BTreeMap<PcrIndex, Digests>, MalformedPolicy> {
        let firmware = self.firmware.as_ref();
        let mut stated: Vec<(&str, &Vec<String>)> = Vec::new();
        stated.extend(firmware.and_then(|form| form.pcr0.as_ref()).map(|texts| ("0", texts)));
        stated.extend(firmware.and_then(|form| form.pcr2.as_ref()).map(|texts| ("2", texts)));
        stated.extend(self.pcrs.iter().flat_map(UniqueMap::iter).map(|(index, texts)| (index.as_str(), texts)));
        let mut registers: BTreeMap<PcrIndex, Digests> = BTreeMap::new();
        for (index, texts) in stated {
            let place = format!("{place}.pcrs.{}", shown(index));
            let accepted = digests(texts, &place)?;
            let register = register(index, &place)?;
            match registers.get_mut(&register) {
                Some(before) => before.0.retain(|digest| accepted.contains(digest)),
                None => drop(registers.insert(register, accepted)),
            }
        }
        Ok(registers)
    }
}

impl SecureBootForm {
    fn compile(self, place: &str) -> Result<SecureBoot, MalformedPolicy> {
        let list = |field: &str, texts: Option<Vec<String>>| {
            texts.map(|texts| keys(&texts, &format!("{place}.{field}"))).transpose()
        };
        Ok(SecureBoot {
            enabled: self.enabled,
            pk: list("pk", self.pk)?,
            kek: list("kek", self.kek)?,
            db: list("db", self.db)?,
            dbx_required: keys(&self.dbx_required, &format!("{place}.dbx_required"))?,
            actions: self.actions,
        })
    }
}

impl CommandLineForm {
    fn compile(self, place: &str) -> Result<CommandLine, MalformedPolicy> {
        let patterns = |field: &str, texts: Vec<String>| -> Result<Vec<Pattern>, MalformedPolicy> {
            let compiled = texts.iter().enumerate();
            compiled.map(|(number, text)| Pattern::new(text, &format!("{place}.{field}[{number}]"))).collect()
        };
        Ok(CommandLine {
            patterns: patterns("patterns", self.patterns)?,
            digests: digests(&self.digests, &format!("{place}.digests"))?,
            grub_commands: patterns("grub_commands", self.grub_commands)?,
        })
    }
}

fn files(kernels: Option<Digests>, initrds: Option<Digests>, others: Option<Digests>) -> Option<Files> {
    let is_stated = kernels.is_some() || initrds.is_some() || others.is_some();
    is_stated.then(|| Files { kernels, initrds, others: others.unwrap_or_default() })
}

fn sections_of(sections: UniqueMap<Vec<String>>, place: &str) -> Result<BTreeMap<String, Digests>, MalformedPolicy> {
    if sections.is_empty() {
        return Err(MalformedPolicy::Empty { place: place.to_owned() });
    }
    let compile = |(name, texts): (String, Vec<String>)| {
        let accepted = digests(&texts, &format!("{place}.{}", shown(&name)))?;
        Ok((name, accepted))
    };
    sections.into_iter().map(compile).collect()
}

fn digests(texts: &[String], place: &str) -> Result<Digests, MalformedPolicy> {
    let malformed = |found: &str| MalformedPolicy::Digest { place: place.to_owned(), found: shown(found) };
    let parsed = texts.iter().map(|text| digest(text).ok_or_else(|| malformed(text)));
    parsed.collect::<Result<_, _>>().map(Digests)
}

/// Such as `sha256:` and 64 hexadecimal digits.
fn digest(text: &str) -> Option<Digest> {
    let (name, digits) = text.split_once(':')?;
    Digest::new(name.parse().ok()?, &hex::decode(digits).ok()?).ok()
}

fn keys(texts: &[String], place: &str) -> Result<Keys, MalformedPolicy> {
    let malformed = |found: &str| MalformedPolicy::Key { place: place.to_owned(), found: shown(found) };
    texts.iter().map(|text| key(text).ok_or_else(|| malformed(text))).collect()
}

fn key(text: &str) -> Option<KeyId> {
    let (kind, digits) = text.split_once(':')?;
    let digest = Digest::new(HashAlgorithm::Sha256, &hex::decode(digits).ok()?).ok()?;
    match kind {
        "sha256" => Some(KeyId::Image(digest)),
        "x509" => Some(KeyId::X509(digest)),
        _ => None,
    }
}

fn register(text: &str, place: &str) -> Result<PcrIndex, MalformedPolicy> {
    let index = text.parse::<u8>().ok().filter(|index| index.to_string() == text);
    index
        .and_then(|index| PcrIndex::try_from(index).ok())
        .ok_or_else(|| MalformedPolicy::Register { place: place.to_owned(), found: shown(text) })
}
