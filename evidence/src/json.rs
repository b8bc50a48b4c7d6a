//! JSON objects with every member once.
//!
//! JSON readers differ on which of two members of one name counts. Who writes, reviews, signs and enforces a policy may
//! use different readers, so that a doubled member could drop a requirement that others have seen in the text.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

#[cfg(test)]
mod tests;

/// An object whose member names may be anything, but each only once; in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueMap<V>(Vec<(String, V)>);

impl<V> UniqueMap<V> {
    /// The members in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &(String, V)> {
        self.0.iter()
    }

    /// Whether there is no member.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for UniqueMap<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> IntoIterator for UniqueMap<V> {
    type Item = (String, V);
    type IntoIter = std::vec::IntoIter<(String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

struct MapVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for MapVisitor<V> {
    type Value = UniqueMap<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UniqueMap<V>, A::Error> {
        members(map).map(UniqueMap)
    }
}

/// Reads an object whose members, and those of all objects in it, are there once each.
///
/// # Errors
/// What the JSON has wrong, a doubled member among it, with line and column.
pub(crate) fn object(document: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let members: UniqueMap<UniqueValue> = serde_json::from_slice(document)?;
    Ok(members.into_iter().map(|(name, value)| (name, value.0)).collect())
}

/// Any JSON value, with every member of its objects once.
struct UniqueValue(Value);

impl<'de> Deserialize<'de> for UniqueValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(UniqueValue(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        let members: Vec<(String, UniqueValue)> = members(map)?;
        Ok(Value::Object(members.into_iter().map(|(name, value)| (name, value.0)).collect()))
    }
}

fn members<'de, V: Deserialize<'de>, A: MapAccess<'de>>(mut map: A) -> Result<Vec<(String, V)>, A::Error> {
    let mut members: Vec<(String, V)> = Vec::new();
    let mut names = BTreeSet::new();
    while let Some((name, value)) = map.next_entry::<String, V>()? {
        if !names.insert(name.clone()) {
            let shown: String = name.chars().take(NAME_CHARACTERS_SHOWN).collect();
            return Err(de::Error::custom(format_args!("duplicate member {shown:?}")));
        }
        members.push((name, value));
    }
    Ok(members)
}

/// Enough to find the member in the text.
const NAME_CHARACTERS_SHOWN: usize = 64;
