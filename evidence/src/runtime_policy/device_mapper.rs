//! Keylime's structured policy over device-mapper records: `ima.dm_policy`.
//!
//! Devices are found by name or UUID. A device must be loaded with the metadata and targets of a rule, resumed with the
//! table that was loaded, and is renamed, cleared and removed only if the rule says so.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::patterns::{Anchor, InvalidPattern, Patterns};

/// The policy as its JSON has it; members Keylime does not have are errors.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceMapperText {
    version: u32,
    match_on: MatchOn,
    rules: Ordered<RuleText>,
}

/// What a device is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MatchOn {
    /// Its name.
    Name,
    /// Its UUID.
    Uuid,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    required: bool,
    device_resume_required: bool,
    device_rename: RenameText,
    device_remove: RemoveText,
    allow_clear: bool,
    table_load: LoadText,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameText {
    valid_name: Value,
    valid_uuid: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveText {
    allow_removal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadText {
    allow_multiple_loads: bool,
    name: Value,
    uuid: Value,
    major: Value,
    minor: Value,
    minor_count: Value,
    num_targets: u64,
    targets: Vec<Ordered<Value>>,
}

/// What an attribute must be: anything, a yes or no, a number, or a pattern that fits all of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Value {
    Anything(()),
    Flag(bool),
    Number(u64),
    Pattern(String),
}

/// An object whose members' order counts: of several rules that fit a device the first is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ordered<T>(Vec<(String, T)>);

/// The policy ready for use.
#[derive(Clone, Debug)]
pub(crate) struct DeviceMapperPolicy {
    pub(crate) match_on: MatchOn,
    /// By name, in the order given.
    pub(crate) rules: Vec<(String, DeviceRule)>,
}

/// What one device may be.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRule {
    /// Whether some device must be as the rule says.
    pub(crate) required: bool,
    /// Whether the device counts as valid only once it was resumed with its table.
    pub(crate) resume_required: bool,
    pub(crate) may_be_renamed_to: Expectation,
    pub(crate) may_take_uuid: Expectation,
    pub(crate) may_be_removed: bool,
    pub(crate) may_be_cleared: bool,
    pub(crate) may_be_loaded_again: bool,
    /// Name, UUID, major, minor, minor count, by their names in records.
    pub(crate) metadata: Vec<(&'static str, Expectation)>,
    pub(crate) targets_count: u64,
    /// Each target's attributes, by their names in records.
    pub(crate) targets: Vec<Vec<(String, Expectation)>>,
}

/// What an attribute must be.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    value: Value,
    pattern: Option<Patterns>,
}

/// Why a policy over device-mapper records cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceMapperError {
    /// A device could not be told from another.
    #[error("rule {rule:?}: {field} is no pattern, and devices are found by it")]
    MatchOn {
        /// The rule.
        rule: String,
        /// `name` or `uuid`.
        field: &'static str,
    },
    /// A pattern.
    #[error("rule {rule:?}: {field}")]
    Pattern {
        /// The rule.
        rule: String,
        /// The attribute.
        field: String,
        /// What is wrong.
        source: InvalidPattern,
    },
    /// The rule can fit no device.
    #[error("rule {rule:?} has {found} targets, its num_targets is {expected}")]
    Targets {
        /// The rule.
        rule: String,
        /// What `num_targets` says.
        expected: u64,
        /// Targets listed.
        found: usize,
    },
    /// There are more rules, targets of one, or bytes of a rule's name than the limit.
    #[error("{found} rules, targets or bytes of a name, at most {max} are allowed")]
    TooMany {
        /// The number found.
        found: usize,
        /// The named limit.
        max: usize,
    },
    /// Another version than 1.
    #[error("its version is {found}, expected 1")]
    Version {
        /// The version found.
        found: u32,
    },
}

impl DeviceMapperPolicy {
    pub(super) fn compile(text: &DeviceMapperText) -> Result<Self, DeviceMapperError> {
        if text.version != 1 {
            return Err(DeviceMapperError::Version { found: text.version });
        }
        if text.rules.0.len() > RULES_MAX {
            return Err(DeviceMapperError::TooMany { found: text.rules.0.len(), max: RULES_MAX });
        }
        if let Some((name, _)) = text.rules.0.iter().find(|(name, _)| name.len() > NAME_BYTES_MAX) {
            return Err(DeviceMapperError::TooMany { found: name.len(), max: NAME_BYTES_MAX });
        }
        let rules = text.rules.0.iter().map(|(name, rule)| {
            let compiled = DeviceRule::compile(name, rule)?;
            let key = match text.match_on {
                MatchOn::Name => ("name", &rule.table_load.name),
                MatchOn::Uuid => ("uuid", &rule.table_load.uuid),
            };
            match key {
                (_, Value::Pattern(_)) => Ok((name.clone(), compiled)),
                (field, _) => Err(DeviceMapperError::MatchOn { rule: name.clone(), field }),
            }
        });
        Ok(Self { match_on: text.match_on, rules: rules.collect::<Result<_, _>>()? })
    }

    pub(crate) fn rule(&self, name: &str) -> Option<&DeviceRule> {
        self.rules.iter().find(|(known, _)| known == name).map(|(_, rule)| rule)
    }
}

impl DeviceRule {
    fn compile(name: &str, text: &RuleText) -> Result<Self, DeviceMapperError> {
        let expect = |field: &str, value: &Value| {
            Expectation::compile(value).map_err(|source| DeviceMapperError::Pattern {
                rule: name.to_owned(),
                field: field.to_owned(),
                source,
            })
        };
        let load = &text.table_load;
        if load.targets.len() > TARGETS_MAX {
            return Err(DeviceMapperError::TooMany { found: load.targets.len(), max: TARGETS_MAX });
        }
        if load.targets.len() as u64 != load.num_targets {
            let (expected, found) = (load.num_targets, load.targets.len());
            return Err(DeviceMapperError::Targets { rule: name.to_owned(), expected, found });
        }
        let metadata = [
            ("name", &load.name),
            ("uuid", &load.uuid),
            ("major", &load.major),
            ("minor", &load.minor),
            ("minor_count", &load.minor_count),
        ];
        let metadata = metadata.into_iter().map(|(field, value)| Ok((field, expect(field, value)?)));
        let target = |target: &Ordered<Value>| {
            let attributes = target.0.iter().map(|(field, value)| Ok((field.clone(), expect(field, value)?)));
            attributes.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            required: text.required,
            resume_required: text.device_resume_required,
            may_be_renamed_to: expect("valid_name", &text.device_rename.valid_name)?,
            may_take_uuid: expect("valid_uuid", &text.device_rename.valid_uuid)?,
            may_be_removed: text.device_remove.allow_removal,
            may_be_cleared: text.allow_clear,
            may_be_loaded_again: load.allow_multiple_loads,
            metadata: metadata.collect::<Result<_, _>>()?,
            targets_count: load.num_targets,
            targets: load.targets.iter().map(target).collect::<Result<_, _>>()?,
        })
    }
}

impl Expectation {
    fn compile(value: &Value) -> Result<Self, InvalidPattern> {
        let pattern = match value {
            // An empty pattern fits the empty text alone.
            Value::Pattern(pattern) if !pattern.is_empty() => {
                Some(Patterns::compile(std::slice::from_ref(pattern), Anchor::Whole)?)
            }
            _ => None,
        };
        Ok(Self { value: value.clone(), pattern })
    }

    /// Whether an attribute is as expected; one that the record does not have is nothing.
    ///
    /// Numbers and yes or no are compared as such, whatever their spelling.
    pub(crate) fn fits(&self, found: Option<&str>) -> bool {
        let Some(found) = found else { return self.value == Value::Anything(()) };
        match &self.value {
            Value::Anything(()) => true,
            Value::Flag(expected) => flag(found) == Some(*expected),
            Value::Number(expected) => found.parse() == Ok(*expected),
            Value::Pattern(_) => match &self.pattern {
                Some(pattern) => pattern.first_match(found.as_bytes()).is_some(),
                None => found.is_empty(),
            },
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Anything(()) => f.write_str("anything"),
            Value::Flag(true) => f.write_str("yes"),
            Value::Flag(false) => f.write_str("no"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Pattern(pattern) => write!(f, "{pattern:?}"),
        }
    }
}

/// Yes and no as Keylime spells them.
fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedVisitor(PhantomData))
    }
}

struct OrderedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrderedVisitor<T> {
    type Value = Ordered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
        let mut members: Vec<(String, T)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if members.len() >= RULES_MAX {
                return Err(A::Error::custom(format_args!("more than {RULES_MAX} members")));
            }
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format_args!("member {name:?} is there twice")));
            }
            members.push((name, value));
        }
        Ok(Ordered(members))
    }
}

/// A machine has a few dozen mapped devices.
const RULES_MAX: usize = 1024;
/// A name to find the rule by.
const NAME_BYTES_MAX: usize = 256;
/// A volume of a thousand extents.
const TARGETS_MAX: usize = 1024;
