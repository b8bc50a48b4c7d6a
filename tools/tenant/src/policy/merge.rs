//! `attestry policy merge`: what any of the policies allows is allowed.

use evidence::ima::Keyring;
use serde_json::{Map, Value, json};

use super::{
    arguments::MergeArguments,
    create::keyring_text,
    deliver,
    document::{Lists, RuntimeDocument, add, add_text},
    loaded::Loaded,
    ordered::Ordered,
};
use crate::failure::Failure;

pub(super) fn run(arguments: &MergeArguments) -> Result<(), Failure> {
    let mut merged: Option<Loaded> = None;
    for path in &arguments.policies {
        let next = Loaded::read(path)?;
        merged = Some(match merged {
            None => next,
            Some(before) => merge(before, next).map_err(|failure| failure.at(path))?,
        });
    }
    let Some(merged) = merged else { return Err(Failure::usage("there is nothing to merge")) };
    let (policy, summary) = match merged {
        Loaded::Runtime(mut document) => {
            document.stamp();
            let (policy, compiled) = document.compile()?;
            let (files, excludes) = (document.digests.len(), document.excludes.len());
            let id = compiled.id().to_string();
            (policy, json!({"kind": "runtime policy", "files": files, "excludes": excludes, "compiled_id": id}))
        }
        other @ (Loaded::MeasuredBoot(_) | Loaded::ReferenceState(_)) => {
            let policy = text(&other.to_value()?)?;
            // Read once more, for the merged document's limits.
            let again = Loaded::parse(&policy, "the merged policy".as_ref())?;
            (policy, json!({"kind": again.kind()}))
        }
    };
    deliver(&policy, &summary, &arguments.output)
}

/// A document's text.
pub(super) fn text(value: &Value) -> Result<Vec<u8>, Failure> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Failure::system("write the policy", error))?;
    text.push(b'\n');
    Ok(text)
}

fn merge(before: Loaded, next: Loaded) -> Result<Loaded, Failure> {
    Ok(match (before, next) {
        (Loaded::Runtime(before), Loaded::Runtime(next)) => Loaded::Runtime(Box::new(merge_runtime(*before, *next)?)),
        (Loaded::MeasuredBoot(before), Loaded::MeasuredBoot(next)) => {
            Loaded::MeasuredBoot(merge_alternatives(before, next)?)
        }
        (Loaded::ReferenceState(before), Loaded::ReferenceState(next)) => {
            Loaded::ReferenceState(merge_states(before, next)?)
        }
        (before, next) => {
            let what = format!("a {} and a {} cannot be merged", before.kind(), next.kind());
            return Err(Failure::usage(what).remedy("merge policies of one kind"));
        }
    })
}

fn merge_runtime(mut before: RuntimeDocument, next: RuntimeDocument) -> Result<RuntimeDocument, Failure> {
    let same = [
        ("ima.log_hash_alg", before.ima.log_hash_alg == next.ima.log_hash_alg),
        ("x-attestry.pcr-extension", before.own.pcr_extension == next.own.pcr_extension),
    ];
    if let Some((what, _)) = same.into_iter().find(|(_, is_same)| !is_same) {
        return Err(Failure::new(format!("the policies differ in {what}"))
            .remedy("a list has one kind of template digests: decide which, and change the other policy"));
    }
    before.ima.dm_policy = device_rules(&before, &next)?.cloned();
    for violation in next.own.violations {
        match before.own.violations.iter().find(|known| known.path == violation.path) {
            Some(known) if known.choice != violation.choice => {
                return Err(Failure::new(format!(
                    "the policies choose differently for violations on {:?}",
                    known.path
                ))
                .remedy("take the rule out of one of them"));
            }
            Some(_) => (),
            None => before.own.violations.push(violation),
        }
    }
    before.release = before.release.max(next.release);
    append(&mut before.digests, next.digests);
    append(&mut before.keyrings, next.keyrings);
    append(&mut before.ima_buf, next.ima_buf);
    append(&mut before.own.critical_data, next.own.critical_data);
    next.excludes.into_iter().for_each(|exclude| add_text(&mut before.excludes, exclude));
    next.ima.ignored_keyrings.into_iter().for_each(|name| add_text(&mut before.ima.ignored_keyrings, name));
    let keyring = |text: &str| Keyring::from_keylime(text).map_err(|error| Failure::system("read the keys", error));
    let mut keys = keyring(&before.verification_keys)?;
    for key in keyring(&next.verification_keys)?.keys() {
        keys.add(key.clone());
    }
    before.verification_keys = keyring_text(&keys);
    Ok(before)
}

/// The one set of rules over device-mapper records that both policies go by.
///
/// Rules count in their order, and required ones forbid: two sets do not add up. Nor does a set with digests of
/// such records, which count only where no set is.
fn device_rules<'a>(before: &'a RuntimeDocument, next: &'a RuntimeDocument) -> Result<Option<&'a Ordered>, Failure> {
    let lists_devices = |document: &RuntimeDocument| {
        let lists = [&document.ima_buf, &document.own.critical_data];
        lists.into_iter().flat_map(|lists| lists.keys()).any(|name| name.starts_with("dm_"))
    };
    let (rules, other) = match (&before.ima.dm_policy, &next.ima.dm_policy) {
        (None, None) => return Ok(None),
        (Some(one), Some(two)) if one == two => return Ok(Some(one)),
        (Some(_), Some(_)) => {
            return Err(Failure::new("the policies differ in ima.dm_policy")
                .remedy("its rules count in their order: write one set of rules, and put it into one of them"));
        }
        (Some(rules), None) => (rules, next),
        (None, Some(rules)) => (rules, before),
    };
    if lists_devices(other) {
        return Err(Failure::new("one policy has ima.dm_policy, the other digests of device-mapper records")
            .remedy("beside ima.dm_policy such digests allow nothing: decide which, and take the other out"));
    }
    Ok(Some(rules))
}

fn append(lists: &mut Lists, more: Lists) {
    for (path, digests) in more {
        for digest in digests {
            add(lists, path.clone(), digest);
        }
    }
}

/// All alternatives; those that are the same but for their names stay apart, since findings go by names.
fn merge_alternatives(mut before: Map<String, Value>, next: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    let name = |alternative: &Value| alternative.get("name").and_then(Value::as_str).map(str::to_owned);
    let Some(Value::Array(alternatives)) = before.get_mut("accept") else { return Ok(next) };
    for alternative in next.get("accept").and_then(Value::as_array).into_iter().flatten() {
        match alternatives.iter().find(|known| name(known) == name(alternative)) {
            Some(known) if known == alternative => (),
            Some(_) => {
                let name = name(alternative).unwrap_or_default();
                return Err(Failure::new(format!("two different alternatives are named {name:?}"))
                    .remedy("rename one of them: findings go by the name"));
            }
            None => alternatives.push(alternative.clone()),
        }
    }
    Ok(before)
}

pub(super) fn merge_states(
    mut before: Map<String, Value>,
    next: Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    for (member, value) in next {
        match (before.get_mut(&member), value) {
            (Some(Value::Array(items)), Value::Array(more)) => {
                for item in more {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
            }
            (Some(known), value) if *known == value => (),
            (Some(_), _) => {
                return Err(Failure::new(format!("the reference states differ in {member}"))
                    .remedy("machines with and without Secure Boot need two policies"));
            }
            (None, value) => drop(before.insert(member, value)),
        }
    }
    Ok(before)
}
