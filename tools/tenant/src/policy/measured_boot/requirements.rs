//! Groups of requirements of the declarative format, as a log suggests them.

use evidence::{
    algorithm::HashAlgorithm,
    boot_log::{EventDetails, ExaminedEvent, Ipl, SignatureKind, SignatureList, Tag, VariableValue},
};
use serde_json::{Map, Value, json};

use super::Source;

/// Requirements that rely on the same registers.
pub(super) struct Group {
    pub(super) what: &'static str,
    pub(super) members: Map<String, Value>,
    pub(super) registers: &'static [u8],
}

/// The groups that a log has something for.
pub(super) fn of(source: &Source<'_, '_>) -> Vec<Group> {
    let group = |what, members: Option<Value>, registers| match members {
        Some(Value::Object(members)) => Some(Group { what, members, registers }),
        _ => None,
    };
    let groups = [
        group("Secure Boot", secure_boot(source), &[7][..]),
        group("the images loaded", images(source), &[4]),
        group("the command line", command_line(source), &[8, 12]),
        group("what boot loaders read", files(source), &[9]),
        group("the unified kernel image", uki(source), &[11]),
        group("shim's lists", mok(source), &[14]),
        group("the firmware", firmware(source), &[0, 2]),
    ];
    groups.into_iter().flatten().collect()
}

fn secure_boot(source: &Source<'_, '_>) -> Option<Value> {
    let mut required = Map::new();
    let mut actions: Vec<String> = Vec::new();
    for event in source.measured(7).filter(|event| event.is_covered_whole()) {
        match &event.details {
            EventDetails::Action(action) => push(&mut actions, action.clone()),
            EventDetails::Variable(variable) => match (&variable.value, variable.name.as_str()) {
                (VariableValue::Switch(is_on), "SecureBoot") => {
                    drop(required.insert("enabled".into(), (*is_on).into()))
                }
                (VariableValue::SignatureDatabase(lists), "dbx") => {
                    // What must be there at least: an entry policies have no name for cannot be asked for.
                    let named: Vec<String> = keys(lists).into_iter().filter(|key| key.contains(':')).collect();
                    required.insert("dbx_required".into(), named.into());
                }
                (VariableValue::SignatureDatabase(lists), name @ ("PK" | "KEK" | "db")) => {
                    required.insert(name.to_ascii_lowercase(), keys(lists).into());
                }
                _ => (),
            },
            _ => (),
        }
    }
    required.get("enabled")?;
    if !actions.is_empty() {
        required.insert("actions".into(), actions.into());
    }
    Some(json!({"secure_boot": required}))
}

/// A database's entries as policies name them. One of another kind gets a name that no policy can have, so that the
/// register is pinned.
fn keys(lists: &[SignatureList<'_>]) -> Vec<String> {
    let mut keys = Vec::new();
    for list in lists {
        for signature in &list.signatures {
            let digest = || HashAlgorithm::Sha256.digest(signature.data);
            let key = match (list.kind, digest()) {
                (SignatureKind::ImageSha256, _) => format!("sha256:{}", hex::encode(signature.data)),
                (SignatureKind::X509, Ok(digest)) => format!("x509:{digest}"),
                (SignatureKind::Other(kind), _) => format!("an entry of kind {kind}"),
                (SignatureKind::X509, Err(error)) => error.to_string(),
            };
            push(&mut keys, key);
        }
    }
    keys
}

fn images(source: &Source<'_, '_>) -> Option<Value> {
    let images = source.measured(4).filter(|event| matches!(event.details, EventDetails::Image(_)));
    let digests = digests(source, images);
    (!digests.is_empty()).then(|| json!({"images": {"digests": digests}}))
}

fn command_line(source: &Source<'_, '_>) -> Option<Value> {
    let (mut patterns, mut commands) = (Vec::new(), Vec::new());
    for event in source.measured(8).chain(source.measured(12)) {
        match &event.details {
            EventDetails::Ipl(Ipl::CommandLine { text, .. }) => push(&mut patterns, regex::escape(text)),
            EventDetails::Ipl(Ipl::GrubCommand(text) | Ipl::ModuleCommandLine(text)) => {
                push(&mut commands, regex::escape(text));
            }
            _ => (),
        }
    }
    let options = digests(source, source.measured(9).filter(|event| is_tagged(event, Tag::LinuxLoadOptions)));
    if patterns.is_empty() && options.is_empty() {
        return None;
    }
    let members = [("patterns", patterns), ("digests", options), ("grub_commands", commands)];
    let members: Map<String, Value> = members
        .into_iter()
        .filter(|(_, texts)| !texts.is_empty())
        .map(|(name, texts)| (name.to_owned(), texts.into()))
        .collect();
    Some(json!({"command_line": members}))
}

/// Names decide which set a digest is put into here; when judging, only the digest counts.
fn files(source: &Source<'_, '_>) -> Option<Value> {
    let (mut kernels, mut initrds, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for event in source.measured(9) {
        let Some(digest) = source.digest(event) else { continue };
        let name = match &event.details {
            EventDetails::Ipl(Ipl::File(name)) => name.as_str(),
            EventDetails::Tagged(_) if is_tagged(event, Tag::LinuxLoadOptions) => continue,
            EventDetails::Tagged(_) if is_tagged(event, Tag::LinuxInitrd) => "initrd",
            _ => "",
        };
        let file = name.rsplit('/').next().unwrap_or_default();
        if file.contains("vmlinuz") || file.contains("bzImage") {
            push(&mut kernels, digest);
        } else if file.contains("initrd") || file.contains("initramfs") {
            push(&mut initrds, digest);
        } else {
            push(&mut others, digest);
        }
    }
    let sets = [("kernels", kernels), ("initrds", initrds), ("boot_files", others)];
    let members: Map<String, Value> = sets
        .into_iter()
        .filter(|(_, digests)| !digests.is_empty())
        .map(|(name, digests)| (name.to_owned(), digests.into()))
        .collect();
    (!members.is_empty()).then_some(Value::Object(members))
}

fn is_tagged(event: &ExaminedEvent<'_, '_>, tag: Tag) -> bool {
    matches!(&event.details, EventDetails::Tagged(tagged) if tagged.tag == tag)
}

/// Each section is measured twice: its name, then its contents.
fn uki(source: &Source<'_, '_>) -> Option<Value> {
    let mut sections: Map<String, Value> = Map::new();
    let mut announced: Option<&str> = None;
    for event in source.measured(11) {
        let EventDetails::Ipl(Ipl::UkiSection(name)) = &event.details else { continue };
        if event.verified == Some(true) {
            announced = Some(name);
        } else if let (Some(name), Some(digest)) = (announced.take(), source.digest(event)) {
            let digests = sections.entry(name).or_insert_with(|| json!([]));
            digests.as_array_mut()?.push(digest.into());
        }
    }
    (!sections.is_empty()).then(|| json!({"uki": sections}))
}

fn mok(source: &Source<'_, '_>) -> Option<Value> {
    let digests = digests(source, source.measured(14));
    (!digests.is_empty()).then(|| json!({"mok": digests}))
}

fn firmware(source: &Source<'_, '_>) -> Option<Value> {
    let registers: Map<String, Value> = [0, 2]
        .into_iter()
        .filter(|register| source.measured(*register).next().is_some())
        .filter_map(|register| Some((format!("pcr{register}"), json!([source.value(register)?]))))
        .collect();
    (!registers.is_empty()).then(|| json!({"firmware": registers}))
}

fn digests<'e, 's: 'e, 'a: 's>(
    source: &Source<'s, 'a>,
    events: impl Iterator<Item = &'e ExaminedEvent<'s, 'a>>,
) -> Vec<String> {
    let mut digests = Vec::new();
    for digest in events.filter_map(|event| source.digest(event)) {
        push(&mut digests, digest);
    }
    digests
}

fn push(texts: &mut Vec<String>, text: String) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}
