//! `attestry policy diff`: what was added, removed and changed. Order never counts, nor when a policy was made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{arguments::DiffArguments, loaded::Loaded};
use crate::{failure::Failure, output::outln};

pub(super) fn run(arguments: &DiffArguments) -> Result<(), Failure> {
    let (old, new) = (Loaded::read(&arguments.old)?, Loaded::read(&arguments.new)?);
    if old.kind() != new.kind() {
        let what = format!("a {} and a {} cannot be compared", old.kind(), new.kind());
        return Err(Failure::usage(what).remedy("compare policies of one kind"));
    }
    let difference = Difference::between(&old.to_value()?, &new.to_value()?);
    if arguments.json.json {
        outln!("{}", difference.to_value());
    } else {
        difference.print();
    }
    if difference.is_empty() { Ok(()) } else { Err(Failure::new("the policies differ")) }
}

/// A place in a policy, from the top, and what stands there.
type Places = BTreeMap<Vec<String>, BTreeSet<String>>;

/// How two policies differ.
pub(super) struct Difference {
    added: Places,
    removed: Places,
    /// What came and what went.
    changed: BTreeMap<Vec<String>, [BTreeSet<String>; 2]>,
}

impl Difference {
    pub(super) fn between(old: &Value, new: &Value) -> Self {
        let (mut before, mut after) = (Places::new(), Places::new());
        gather(old, &mut Vec::new(), &mut before);
        gather(new, &mut Vec::new(), &mut after);
        let mut changed = BTreeMap::new();
        after.retain(|place, now| {
            let Some(then) = before.remove(place) else { return true };
            if then != *now {
                let [came, went] = [&*now - &then, &then - &*now];
                changed.insert(place.clone(), [came, went]);
            }
            false
        });
        Self { added: after, removed: before, changed }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    pub(super) fn to_value(&self) -> Value {
        let places = |places: &Places| -> Vec<Value> {
            places.iter().map(|(place, values)| json!({"place": place, "values": values})).collect()
        };
        let changed: Vec<Value> = self
            .changed
            .iter()
            .map(|(place, [came, went])| json!({"place": place, "added": came, "removed": went}))
            .collect();
        json!({"added": places(&self.added), "removed": places(&self.removed), "changed": changed})
    }

    fn print(&self) {
        let shown = |place: &[String]| -> String {
            place.join(" ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        };
        let texts = |values: &BTreeSet<String>| -> String {
            let texts: Vec<String> = values.iter().map(|value| shown(std::slice::from_ref(value))).collect();
            texts.join(", ")
        };
        for (place, values) in &self.added {
            outln!("+ {}: {}", shown(place), texts(values));
        }
        for (place, values) in &self.removed {
            outln!("- {}: {}", shown(place), texts(values));
        }
        for (place, [came, went]) in &self.changed {
            let mut parts = Vec::new();
            if !came.is_empty() {
                parts.push(format!("+ {}", texts(came)));
            }
            if !went.is_empty() {
                parts.push(format!("- {}", texts(went)));
            }
            outln!("~ {}: {}", shown(place), parts.join("; "));
        }
        let [added, removed, changed] = [self.added.len(), self.removed.len(), self.changed.len()];
        eprintln!("{added} added, {removed} removed, {changed} changed");
    }
}

/// Gathers what stands at each place. Lists are sets; their objects go by name, where they have one.
fn gather(value: &Value, place: &mut Vec<String>, places: &mut Places) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if place.is_empty() && name == "meta" {
                    continue;
                }
                // The older name of the same member.
                let name = if place.is_empty() && name == "hashes" { "digests" } else { name };
                place.push(name.to_owned());
                gather(member, place, places);
                place.pop();
            }
        }
        Value::Array(items) => {
            for item in items {
                match item.as_object().and_then(named) {
                    Some((name, rest)) => {
                        place.push(name);
                        gather(&Value::Object(rest), place, places);
                        place.pop();
                    }
                    None => drop(places.entry(place.clone()).or_default().insert(normal(item))),
                }
            }
        }
        other => drop(places.entry(place.clone()).or_default().insert(normal(other))),
    }
}

/// An object's name or path, and its other members.
fn named(object: &Map<String, Value>) -> Option<(String, Map<String, Value>)> {
    let key = ["name", "path"].into_iter().find(|key| object.contains_key(*key))?;
    let name = object.get(key)?.as_str()?.to_owned();
    let rest = object.iter().filter(|(member, _)| *member != key);
    Some((name, rest.map(|(member, value)| (member.clone(), value.clone())).collect()))
}

/// A value's text; a digest without its algorithm in front, which its length tells.
fn normal(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let digits = text.split_once(':').map_or(text.as_str(), |(_, digits)| digits);
    let is_digest = digits.len() >= 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_plain = text.starts_with("sha") || !text.contains(':');
    if is_digest && is_plain { digits.to_ascii_lowercase() } else { text.clone() }
}
