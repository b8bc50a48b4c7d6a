//! The query part of a request's address.

use super::percent;

/// The name-value pairs of a query, decoded, each name at most once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query(Vec<(String, String)>);

/// Why a query is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum QueryFlaw {
    /// An escape that decodes to no text.
    #[error("query is not well percent-encoded UTF-8")]
    Encoding,
    /// A pair with an empty name, or two `&` in a row.
    #[error("query has a parameter without a name")]
    NoName,
    /// Two readers would pick two different values.
    #[error("query names the parameter {0:?} twice")]
    Twice(String),
}

impl Query {
    /// Splits at `&` and the first `=`; `+` is a space, as forms have it. No `=` is an empty value.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryFlaw> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        if text.is_empty() {
            return Ok(Self(pairs));
        }
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |part: &str| percent::decode(&part.replace('+', " "));
            let name = decode(name).ok_or(QueryFlaw::Encoding)?;
            let value = decode(value).ok_or(QueryFlaw::Encoding)?;
            if name.is_empty() {
                return Err(QueryFlaw::NoName);
            }
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(QueryFlaw::Twice(name));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value given for `name`; empty when it was named without one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All pairs in the order sent, so that a handler can refuse names it does not know.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
