//! JSON whose objects keep the order of their members.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// A JSON value, read and written member by member as it came. Numbers are whole and not negative.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ordered {
    /// `[…]`.
    List(Vec<Self>),
    /// `{…}`.
    Object(Vec<(String, Self)>),
    /// Null, a yes or no, a number, a text.
    Plain(Value),
}

impl Ordered {
    /// As a value that compares by order as well: members of the object `rules` say at which place they stand, and
    /// lists are objects of numbers.
    pub(super) fn placed(&self) -> Value {
        match self {
            Self::List(items) => {
                items.iter().enumerate().map(|(number, item)| (number.to_string(), item.placed())).collect()
            }
            Self::Object(members) => members
                .iter()
                .map(|(name, member)| {
                    let value = if name == "rules" { member.numbered() } else { member.placed() };
                    (name.clone(), value)
                })
                .collect(),
            Self::Plain(value) => value.clone(),
        }
    }

    fn numbered(&self) -> Value {
        let Self::Object(members) = self else { return self.placed() };
        let numbered = members.iter().enumerate().map(|(number, (name, member))| {
            let mut value = member.placed();
            if let Value::Object(members) = &mut value {
                members.insert("(place)".to_owned(), number.into());
            }
            (name.clone(), value)
        });
        numbered.collect()
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, a list, a text, a whole number, a yes or no, or null")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Ordered, E> {
                Ok(Ordered::Plain(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Ordered, E> {
                Ok(Ordered::Plain(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Ordered, E> {
                Ok(Ordered::Plain(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Ordered, E> {
                Ok(Ordered::Plain(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Ordered, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Ordered::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, member)| (name, member))),
            Self::Plain(value) => value.serialize(serializer),
        }
    }
}
