//! What a caller may put into a query.

#[cfg(test)]
mod tests;

/// A challenger's nonce: 1 to 64 letters and digits. Its ASCII bytes become the quote's qualifying data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QuoteNonce(String);

impl QuoteNonce {
    /// Reads the parameter `nonce`.
    ///
    /// # Errors
    /// [`ParameterError`] if it is missing, empty, too long or not alphanumeric.
    pub fn parse(value: Option<&str>) -> Result<Self, ParameterError> {
        alphanumeric("nonce", value, NONCE_BYTES_MAX).map(Self)
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A challenge to prove possession of the bootstrap key: 1 to 1,024 letters and digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyChallenge(String);

impl KeyChallenge {
    /// Reads the parameter `challenge`.
    ///
    /// # Errors
    /// [`ParameterError`] if it is missing, empty, too long or not alphanumeric.
    pub fn parse(value: Option<&str>) -> Result<Self, ParameterError> {
        alphanumeric("challenge", value, CHALLENGE_BYTES_MAX).map(Self)
    }

    /// The bytes that are tagged.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What `GET /quotes/integrity` asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IntegrityRequest {
    /// Qualifying data.
    pub nonce: QuoteNonce,
    /// Registers wanted, bit 0 being PCR 0; below 2^24. PCR 16 comes in addition.
    pub mask: u32,
    /// Whether the payload key is wanted as well (`partial=0`).
    pub with_public_key: bool,
    /// First entry of the IMA list wanted. A value that is no number asks for entry 0, as on the Keylime wire.
    pub ima_entry: u64,
}

impl IntegrityRequest {
    /// Reads the parameters; `get` gives the value of each by its name.
    ///
    /// # Errors
    /// [`ParameterError`] naming the parameter.
    pub fn parse<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ParameterError> {
        let nonce = QuoteNonce::parse(get("nonce"))?;
        let mask = parse_mask(get("mask"))?;
        let with_public_key = match get("partial") {
            Some("0") => true,
            Some("1") => false,
            Some(_) => return Err(ParameterError::Partial),
            None => return Err(ParameterError::Missing { name: "partial" }),
        };
        let ima_entry = get("ima_ml_entry").and_then(|value| value.parse().ok()).unwrap_or(0);
        Ok(Self { nonce, mask, with_public_key, ima_entry })
    }
}

/// Why a request's parameters are refused; the text is fit for the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// A character that is neither letter nor digit, or none at all.
    #[error("{name} must be made of letters and digits, and not be empty")]
    Alphanumeric {
        /// The parameter.
        name: &'static str,
    },
    /// Too many characters.
    #[error("{name} has {found} characters, at most {max} are accepted")]
    Length {
        /// The parameter.
        name: &'static str,
        /// The limit.
        max: usize,
        /// Characters found.
        found: usize,
    },
    /// Not a number, or one with bits above PCR 23.
    #[error("mask must be hexadecimal, with or without 0x, and select no PCR above 23")]
    Mask,
    /// Left out.
    #[error("the parameter {name} is missing")]
    Missing {
        /// The parameter.
        name: &'static str,
    },
    /// Neither 0 nor 1.
    #[error("partial must be 0 or 1")]
    Partial,
}

fn alphanumeric(name: &'static str, value: Option<&str>, max: usize) -> Result<String, ParameterError> {
    let value = value.ok_or(ParameterError::Missing { name })?;
    if value.len() > max {
        return Err(ParameterError::Length { name, max, found: value.chars().count() });
    }
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ParameterError::Alphanumeric { name });
    }
    Ok(value.to_owned())
}

fn parse_mask(value: Option<&str>) -> Result<u32, ParameterError> {
    // Bounds the text before it is looked at; a mask is at most "0x" and 8 digits.
    let text = alphanumeric("mask", value, 10)?;
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(&text);
    let mask = u32::from_str_radix(digits, 16).map_err(|_| ParameterError::Mask)?;
    if mask >> PCR_COUNT == 0 { Ok(mask) } else { Err(ParameterError::Mask) }
}

/// `TPM2B_DATA` takes 66 bytes in a TPM with SHA-512; Keylime allows 64.
const NONCE_BYTES_MAX: usize = 64;
/// Keylime's tenant sends 20 characters; the limit only bounds the work.
const CHALLENGE_BYTES_MAX: usize = 1024;
/// Registers of a PC Client TPM: 0 to 23.
const PCR_COUNT: u32 = 24;
