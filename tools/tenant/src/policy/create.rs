//! `attestry policy create runtime`.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::{
    algorithm::HashAlgorithm,
    ima::{Entry, FileKey, Keyring, MeasurementList},
    runtime_policy::{PolicyBuilder, Table},
};
use openssl::{pkey::PKey, x509::X509};
use serde_json::json;

use super::{
    arguments::CreateRuntimeArguments,
    deliver,
    document::{RuntimeDocument, add, add_text},
    file,
    harvest::{Sources, harvest},
    loaded::Loaded,
    repository::{Reading, TrustedKeys},
};
use crate::{clock, failure::Failure};

pub(super) fn run(arguments: &CreateRuntimeArguments) -> Result<(), Failure> {
    let packages = [&arguments.debs, &arguments.rpms, &arguments.deb_repositories, &arguments.rpm_repositories];
    let has_source = [&arguments.roots, &arguments.initrds, &arguments.ima_lists, &arguments.flat_lists]
        .into_iter()
        .chain(packages)
        .any(|sources| !sources.is_empty());
    if !has_source && arguments.base.is_none() {
        return Err(Failure::usage("there is nothing to make a policy from")
            .remedy("give at least one of --root, --initrd, --ima-list, --deb, --rpm, --deb-repository, --rpm-repository, --flat-list or --base"));
    }
    let mut document = base(arguments.base.as_deref())?;
    if let Some(log_hash) = arguments.log_hash {
        document.ima.log_hash_alg = HashAlgorithm::from(log_hash).name().to_owned();
    }
    let algorithm = HashAlgorithm::from(arguments.algorithm);
    let keys = repository_keys(arguments)?;
    let rpm_keys = if arguments.rpm_keys.is_empty() { None } else { Some(trusted(&arguments.rpm_keys)?) };
    let tally = harvest(
        &Sources {
            roots: &arguments.roots,
            skips: &arguments.skips,
            initrds: &arguments.initrds,
            debs: &arguments.debs,
            rpms: &arguments.rpms,
            rpm_keys: rpm_keys.as_ref(),
            deb_repositories: &arguments.deb_repositories,
            rpm_repositories: &arguments.rpm_repositories,
            reading: Reading {
                keys: keys.as_ref(),
                now: (!arguments.danger_expired_repositories).then(clock::now),
                suites: &arguments.suites,
                architectures: &arguments.architectures,
            },
            algorithm,
            usr_merge: !arguments.no_usr_merge,
        },
        &mut document.digests,
    )?;
    let mut listed = ListTally::default();
    for list in &arguments.ima_lists {
        add_measurements(list, arguments, &mut document, &mut listed)?;
    }
    for list in &arguments.flat_lists {
        add_flat_list(list, &mut document)?;
    }
    add_rules(arguments, &mut document)?;
    document.stamp();
    let (json, compiled) = document.compile()?;
    let summary = json!({
        "files": document.digests.len(),
        "keyrings": document.keyrings.len(),
        "buffers": document.ima_buf.len(),
        "excludes": document.excludes.len(),
        "algorithm": algorithm.name(),
        "hashed_or_listed_by_packages": tally.files,
        "packages_and_initrds": tally.packages,
        "names_not_utf8": tally.unlistable + listed.unlistable,
        "measurements": listed.entries,
        "violations_left_out": listed.violations,
        "compiled_id": compiled.id().to_string(),
        "compiled_bytes": compiled.as_bytes().len(),
    });
    deliver(&json, &summary, &arguments.output)
}

/// The keys that must have signed the repositories, if there are any and somebody must.
fn repository_keys(arguments: &CreateRuntimeArguments) -> Result<Option<TrustedKeys>, Failure> {
    let repositories = arguments.deb_repositories.len() + arguments.rpm_repositories.len();
    if repositories == 0 || arguments.danger_unsigned_repositories {
        return Ok(None);
    }
    if arguments.repository_keys.is_empty() {
        return Err(Failure::usage("nobody said whose signature the repositories must have")
            .remedy("give the distributor's key with --repository-key"));
    }
    trusted(&arguments.repository_keys).map(Some)
}

fn trusted(keys: &[PathBuf]) -> Result<TrustedKeys, Failure> {
    TrustedKeys::read(keys).map_err(|error| Failure::system("use the packagers' keys", error))
}

fn base(path: Option<&Path>) -> Result<RuntimeDocument, Failure> {
    let Some(path) = path else { return Ok(RuntimeDocument::new()) };
    match Loaded::read(path)? {
        Loaded::Runtime(document) => Ok(*document),
        other => Err(Failure::new(format!("{} is a {}, expected a runtime policy", path.display(), other.kind()))),
    }
}

/// What measurement lists gave.
#[derive(Default)]
struct ListTally {
    entries: u64,
    unlistable: u64,
    violations: u64,
}

/// Adds what a measurement list shows. The list is believed: it should be of a machine known to be good.
fn add_measurements(
    path: &Path,
    arguments: &CreateRuntimeArguments,
    document: &mut RuntimeDocument,
    tally: &mut ListTally,
) -> Result<(), Failure> {
    let bytes = file::read(path)?;
    let list = MeasurementList::with_detected_log_hash(&bytes);
    let mut entries = list.entries();
    loop {
        let entry = entries.read().map_err(|error| {
            Failure::system(format_args!("read {} as a measurement list", path.display()), error)
                .remedy("expected ascii_runtime_measurements or binary_runtime_measurements as the kernel writes them")
        })?;
        let Some(entry) = entry else { break };
        tally.entries += 1;
        if entry.is_violation(list.log_hash()) {
            tally.violations += 1;
            continue;
        }
        let Some((name, digest)) = name_and_digest(&entry) else {
            tally.unlistable += 1;
            continue;
        };
        if !entry.template.is_buffer() {
            add(&mut document.digests, name, digest);
        } else if is_key(&entry) {
            if arguments.keyrings && !arguments.ignored_keyrings.contains(&name) {
                add(&mut document.keyrings, name, digest);
            }
        } else if arguments.ima_buf {
            add(&mut document.ima_buf, name, digest);
        }
    }
    Ok(())
}

/// What a policy would list for an entry; nothing if its name cannot stand in JSON or there is no digest.
fn name_and_digest(entry: &Entry<'_>) -> Option<(String, String)> {
    let name = std::str::from_utf8(entry.name?).ok()?.to_owned();
    Some((name, hex::encode(entry.digest?.bytes)))
}

/// Whether a buffer is a key that was loaded to the keyring of its name.
fn is_key(entry: &Entry<'_>) -> bool {
    let is_path = entry.name.is_some_and(|name| name.starts_with(b"/"));
    !is_path && FileKey::from_der(entry.buffer).is_ok()
}

/// Adds a flat list by the verifier's own reader.
fn add_flat_list(path: &Path, document: &mut RuntimeDocument) -> Result<(), Failure> {
    let reading = || format!("read {} as a flat list", path.display());
    let mut builder = PolicyBuilder::new();
    builder.add_flat_list(&file::read(path)?).map_err(|error| {
        Failure::system(reading(), error).remedy("expected a digest and a path a line, as sha256sum prints them")
    })?;
    let compiled = builder.compile().map_err(|error| Failure::system(reading(), error))?;
    for (table, path, digests) in compiled.entries() {
        let lists = match table {
            Table::Files => &mut document.digests,
            Table::Keyrings => &mut document.keyrings,
            Table::Buffers => &mut document.ima_buf,
        };
        let path = String::from_utf8(path).map_err(|error| Failure::system(reading(), error))?;
        for digest in digests {
            add(lists, path.clone(), hex::encode(digest));
        }
    }
    Ok(())
}

fn add_rules(arguments: &CreateRuntimeArguments, document: &mut RuntimeDocument) -> Result<(), Failure> {
    for exclude in &arguments.excludes {
        add_text(&mut document.excludes, exclude.clone());
    }
    for list in &arguments.exclude_lists {
        let text = file::read_text(list)?;
        let patterns = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for pattern in patterns {
            add_text(&mut document.excludes, pattern.to_owned());
        }
    }
    for keyring in &arguments.ignored_keyrings {
        add_text(&mut document.ima.ignored_keyrings, keyring.clone());
    }
    if !arguments.verification_keys.is_empty() {
        document.verification_keys = keyring(&document.verification_keys, &arguments.verification_keys)?;
    }
    Ok(())
}

/// Keylime's keyring text with more keys.
fn keyring(text: &str, files: &[PathBuf]) -> Result<String, Failure> {
    let mut keyring =
        Keyring::from_keylime(text).map_err(|error| Failure::system("read the base policy's keys", error))?;
    for path in files {
        let key = file_key(&file::read(path)?, path)?;
        keyring.add(key);
    }
    Ok(keyring_text(&keyring))
}

/// Keylime's text of a keyring.
pub(super) fn keyring_text(keyring: &Keyring) -> String {
    if keyring.is_empty() {
        return String::new();
    }
    let ids: Vec<u32> = keyring.keys().iter().map(|key| key.id().0).collect();
    let keys: Vec<String> = keyring.keys().iter().map(|key| STANDARD.encode(key.der())).collect();
    json!({"meta": {"version": 1}, "keyids": ids, "pubkeys": keys}).to_string()
}

/// A key or certificate in PEM or DER.
fn file_key(bytes: &[u8], path: &Path) -> Result<FileKey, Failure> {
    let der = X509::from_pem(bytes)
        .and_then(|certificate| certificate.to_der())
        .or_else(|_| PKey::public_key_from_pem(bytes).and_then(|key| key.public_key_to_der()))
        .unwrap_or_else(|_| bytes.to_owned());
    FileKey::from_der(&der).map_err(|error| {
        Failure::system(format_args!("read {} as a key of file signatures", path.display()), error)
            .remedy("expected a public key or certificate of RSA or ECDSA, in PEM or DER")
    })
}
