//! What an authority answers.
//!
//! ```text
//! TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken ContentInfo OPTIONAL }
//! PKIStatusInfo ::= SEQUENCE { status INTEGER, statusString SEQUENCE OF UTF8String OPTIONAL,
//!                              failInfo BIT STRING OPTIONAL }
//! ```
//!
//! Source: RFC 3161 §2.4.2.

use crate::der::{BIT_STRING, Der, MalformedDer, SEQUENCE, UTF8_STRING};
use crate::token::{MalformedToken, Token};

/// Media type of an answer.
const RESPONSE_MEDIA_TYPE: &str = "application/timestamp-reply";

/// Most bytes of an answer: a token of 1 KiB and some chains of certificates.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// An answer.
#[derive(Clone, Debug)]
pub struct TimestampResponse {
    status: u64,
    text: String,
    token: Option<Token>,
}

/// Why bytes are not an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedResponse {
    /// Not the structure.
    #[error("the time-stamp response is malformed")]
    Der {
        /// Where.
        source: MalformedDer,
    },
    /// The token in it is malformed.
    #[error("the token of the time-stamp response is malformed")]
    Token {
        /// What is wrong.
        source: MalformedToken,
    },
    /// More bytes than any answer needs.
    #[error("the time-stamp response has {found} bytes, at most {RESPONSE_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes given.
        found: usize,
    },
}

/// The authority gave no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authority gave no token: status {status}, {text:?}")]
pub struct TimestampRefused {
    /// PKIStatus; 0 and 1 would have been grants.
    pub status: u64,
    /// What the authority says, for a person.
    pub text: String,
}

impl TimestampResponse {
    /// The media type it is sent as.
    pub const MEDIA_TYPE: &'static str = RESPONSE_MEDIA_TYPE;

    /// Most bytes of an answer.
    pub const BYTES_MAX: usize = RESPONSE_BYTES_MAX;

    /// Reads an answer.
    ///
    /// # Errors
    /// [`MalformedResponse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedResponse> {
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(MalformedResponse::TooLong { found: bytes.len() });
        }
        let malformed = |source| MalformedResponse::Der { source };
        let mut outer = Der::new(bytes);
        let mut response = outer.sequence("response").map_err(malformed)?;
        outer.finish("response").map_err(malformed)?;
        let (status, text) = read_status(&mut response).map_err(malformed)?;
        let token = response.optional("timeStampToken", SEQUENCE).map_err(malformed)?;
        response.finish("response").map_err(malformed)?;
        let token = token.map(|token| Token::parse(token.whole)).transpose();
        let token = token.map_err(|source| MalformedResponse::Token { source })?;
        Ok(Self { status, text, token })
    }

    /// The token, if one was granted.
    ///
    /// # Errors
    /// [`TimestampRefused`].
    pub fn into_token(self) -> Result<Token, TimestampRefused> {
        match self.token {
            // 0 granted, 1 granted with modifications (which the verification will notice).
            Some(token) if self.status <= 1 => Ok(token),
            _ => Err(TimestampRefused { status: self.status, text: self.text }),
        }
    }
}

fn read_status(response: &mut Der<'_>) -> Result<(u64, String), MalformedDer> {
    let mut info = response.sequence("status")?;
    let status = info.number("status")?;
    let mut text = Vec::new();
    if let Some(strings) = info.optional("statusString", SEQUENCE)? {
        let mut strings = strings.inside();
        while !strings.is_empty() {
            let line = strings.expect("statusString", UTF8_STRING)?;
            text.push(String::from_utf8_lossy(line.content).into_owned());
        }
    }
    info.optional("failInfo", BIT_STRING)?;
    info.finish("status")?;
    Ok((status, text.join(" ")))
}
