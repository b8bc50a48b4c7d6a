//! Under which id an agent registers.

use messages::{AgentId, AgentIdError};

#[cfg(test)]
mod tests;

/// The setting `uuid`: how the id is found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IdOption {
    /// A random UUID (version 4), made once and kept.
    Generate,
    /// The hex SHA-256 of the EK's public key in PEM.
    HashEk,
    /// This one.
    Literal(AgentId),
}

impl IdOption {
    /// Reads `generate`, `hash_ek`, or an id; an id that is a UUID is taken in lower case.
    ///
    /// # Errors
    /// [`AgentIdError`] for a text that is none of them.
    pub fn parse(text: &str) -> Result<Self, AgentIdError> {
        match text {
            "generate" => Ok(Self::Generate),
            "hash_ek" => Ok(Self::HashEk),
            literal if is_uuid(literal) => literal.to_ascii_lowercase().parse().map(Self::Literal),
            literal => literal.parse().map(Self::Literal),
        }
    }
}

/// The UUID of version 4 and RFC variant with these random bits; six of the 128 are overwritten.
///
/// # Errors
/// Never in practice: a UUID is a well-formed id.
///
/// Source: RFC 9562 §5.4.
pub fn random_uuid(random: [u8; 16]) -> Result<AgentId, AgentIdError> {
    let bits = u128::from_be_bytes(random);
    let bits = bits & !(0xf << 76) | (4 << 76/* version */);
    let bits = bits & !(0x3 << 62) | (2 << 62/* variant */);
    let digits = format!("{bits:032x}");
    let mut text = String::with_capacity(36);
    for (position, digit) in digits.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text.parse()
}

/// The id named by the EK: hex SHA-256 of its `SubjectPublicKeyInfo` in PEM, trailing newline included.
///
/// # Errors
/// Never in practice: 64 hex digits are a well-formed id.
pub fn hash_of_ek(public_key_pem: &str) -> Result<AgentId, AgentIdError> {
    hex::encode(openssl::sha::sha256(public_key_pem.as_bytes())).parse()
}

fn is_uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    let sized = |group: Option<&str>, digits: usize| {
        group.is_some_and(|group| group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    [8, 4, 4, 4, 12].into_iter().all(|digits| sized(groups.next(), digits)) && groups.next().is_none()
}
