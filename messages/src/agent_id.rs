//! Names of attesters.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest agent id in bytes: the column Keylime keeps it in holds 80 characters.
pub const AGENT_ID_BYTES_MAX: usize = 80;

/// The id under which an attester registers: 1 to 80 characters of `[A-Za-z0-9_.-]`.
///
/// Ids are parsed at the edge, so that no id can carry a path separator, a line
/// break or a terminal escape into a log, a file name or a URL.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(String);

impl AgentId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An [`AgentId`] in somebody else's text.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AgentIdRef<'a>(&'a str);

impl<'a> AgentIdRef<'a> {
    /// Reads a text as [`AgentId`]'s `parse` does, and keeps nothing.
    ///
    /// # Errors
    /// [`AgentIdError`] if it is no id.
    pub fn parse(text: &'a str) -> Result<Self, AgentIdError> {
        if text.is_empty() || text.len() > AGENT_ID_BYTES_MAX {
            return Err(AgentIdError::Length { found: text.len() });
        }
        let bad = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        // All before the first bad byte is ASCII, so it is where a character begins.
        if let Some(offset) = text.as_bytes().iter().position(bad) {
            let found = text.get(offset..).and_then(|rest| rest.chars().next()).unwrap_or_default();
            return Err(AgentIdError::Character { offset, found });
        }
        if text.bytes().all(|byte| byte == b'.') {
            return Err(AgentIdError::Dots(text.to_owned()));
        }
        Ok(Self(text))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The id by itself.
    #[must_use]
    pub fn to_id(self) -> AgentId {
        AgentId(self.0.to_owned())
    }
}

impl<'a> From<&'a AgentId> for AgentIdRef<'a> {
    fn from(id: &'a AgentId) -> Self {
        Self(&id.0)
    }
}

/// Maps by id are asked with a text: both hash and compare as the text does.
impl Borrow<str> for AgentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why a text is not an agent id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AgentIdError {
    /// A character outside `[A-Za-z0-9_.-]`.
    #[error("agent id has {found:?} at byte {offset}; expected only letters, digits, '_', '.' and '-'")]
    Character {
        /// Byte offset of the character.
        offset: usize,
        /// The character.
        found: char,
    },
    /// The id would name a directory (`.` or `..`).
    #[error("agent id {0:?} is a directory name; expected at least one letter or digit")]
    Dots(String),
    /// No character, or more than 80 bytes.
    #[error("agent id has {found} bytes; expected 1 to {AGENT_ID_BYTES_MAX}")]
    Length {
        /// Bytes found.
        found: usize,
    },
}

impl FromStr for AgentId {
    type Err = AgentIdError;

    fn from_str(text: &str) -> Result<Self, AgentIdError> {
        AgentIdRef::parse(text).map(AgentIdRef::to_id)
    }
}

impl TryFrom<String> for AgentId {
    type Error = AgentIdError;

    fn try_from(text: String) -> Result<Self, AgentIdError> {
        text.parse()
    }
}

impl From<AgentId> for String {
    fn from(id: AgentId) -> Self {
        id.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
