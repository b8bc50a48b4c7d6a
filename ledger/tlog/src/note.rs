//! Signed notes: a text and the signature lines below it.
//!
//! ```text
//! ledger.example/log1
//! 300
//! eM/fDElhfwnT1+t4+N2GofVonLBikMPs5VGix1PICkY=
//!
//! — ledger.example/log1 Do9rDPQX…
//! — witness.example/w1 JML9yg…
//! ```
//!
//! Source: C2SP signed-note.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
use crate::key::{KeyId, KeyName, NoteVerifier, PosixSeconds, SignatureCheck};
use crate::signer::{Cosigner, NoteSigner, SigningFailed};

/// Most bytes of a note: what other readers accept too (Go's `sumdb/note`, Rust's `signed_note`).
pub const NOTE_BYTES_MAX: usize = 1_000_000;

/// Most signature lines, those of strangers included: six times the 16 that readers must accept,
/// and the number other readers stop at.
pub const NOTE_SIGNATURES_MAX: usize = 100;

/// Em dash and space, in front of each signature.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A well-formed note; whether anyone signed it is [`Note::verify`]'s to say.
///
/// Reading and writing are exact inverses, so a note's bytes need not be kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature line, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Whose it claims to be.
    pub name: KeyName,
    /// Which of the key's it claims to be.
    pub key_id: KeyId,
    /// The signature; for cosignatures the time in 8 bytes stands before it. Not empty.
    pub signature: Vec<u8>,
}

/// A note with at least one genuine signature by a key the caller gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNote {
    note: Note,
    signatures: Vec<VerifiedSignature>,
    /// Keys the caller gave whose lines cannot be verified here.
    unverifiable: Vec<(KeyName, KeyId)>,
}

/// Whose genuine signature a note bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// Name of the key.
    pub name: KeyName,
    /// ID of the key.
    pub key_id: KeyId,
    /// For a cosignature, when the witness says it was made; none if it says nothing of the time.
    pub time: Option<PosixSeconds>,
}

impl VerifiedSignature {
    /// True if `verifier` is the key that made it.
    #[must_use]
    pub fn is_by(&self, verifier: &NoteVerifier) -> bool {
        self.key_id == verifier.id() && self.name == *verifier.name()
    }
}

impl Note {
    /// A note of `text` without signatures, to be signed.
    ///
    /// # Errors
    /// [`MalformedNote::Control`] or [`MalformedNote::TextEnd`] if no note can hold the text;
    /// [`MalformedNote::TooLong`].
    pub fn new(text: String) -> Result<Self, MalformedNote> {
        check_size_and_controls(&text)?;
        if !text.ends_with('\n') {
            return Err(MalformedNote::TextEnd);
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note with at least one signature line.
    ///
    /// The text ends before the *last* empty line; it may contain empty lines itself.
    ///
    /// # Errors
    /// [`MalformedNote`] for anything but a note, whole and alone.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedNote> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(MalformedNote::TooLong { found: bytes.len() });
        }
        let note = str::from_utf8(bytes).map_err(|source| MalformedNote::Utf8 { source })?;
        check_size_and_controls(note)?;
        let split = note.rfind("\n\n").ok_or(MalformedNote::NoSignatures)?;
        let (text, lines) = note.split_at(split + 1);
        let lines = lines.strip_prefix('\n').unwrap_or_default();
        let lines = lines.strip_suffix('\n').ok_or(if lines.is_empty() {
            MalformedNote::NoSignatures
        } else {
            MalformedNote::SignatureEnd
        })?;
        // Counted before anything is decoded: a note full of lines costs no more than a look.
        let count = lines.split('\n').count();
        if count > NOTE_SIGNATURES_MAX {
            return Err(MalformedNote::TooManySignatures { found: count });
        }
        let signatures = (1..)
            .zip(lines.split('\n'))
            .map(|(line, text)| NoteSignature::parse(text).map_err(|source| MalformedNote::Signature { line, source }))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The signed text with its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signature lines in their order, unchecked.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note as it is stored and sent; equal to the bytes it was read from.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// SHA-256 of the note's bytes with all its signature lines: what names this note elsewhere.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Hash::digest(&self.to_bytes())
    }

    /// Adds a signature line by the log.
    ///
    /// # Errors
    /// [`SigningFailed`] if openssl refuses.
    pub fn sign(&mut self, signer: &NoteSigner) -> Result<(), SigningFailed> {
        let signature = signer.sign(&self.text)?;
        self.add(signer.verifier(), signature);
        Ok(())
    }

    /// Adds a signature line by a witness, who says it saw the note at `time`.
    ///
    /// # Errors
    /// [`SigningFailed`] if openssl refuses.
    pub fn cosign(&mut self, cosigner: &Cosigner, time: PosixSeconds) -> Result<(), SigningFailed> {
        let signature = cosigner.cosign(&self.text, time)?;
        self.add(cosigner.verifier(), signature);
        Ok(())
    }

    /// Adds signature lines received from elsewhere, such as a witness's answer, unchecked.
    pub fn add_signatures(&mut self, signatures: impl IntoIterator<Item = NoteSignature>) {
        self.signatures.extend(signatures);
    }

    /// Checks the signature lines of known keys, in this order:
    ///
    /// 1. lines whose name and key ID match no verifier, or one of unknown kind, are passed over;
    /// 2. lines of a key that openssl is too old for are noted and do not count;
    /// 3. every other line must be genuine, also a second one by the same key;
    /// 4. at least one line must be left. A key counts once, with its first line.
    ///
    /// # Errors
    /// [`NoteRejected`] by rules 3 and 4, or if two verifiers share a name and a key ID.
    pub fn verify(self, verifiers: &[NoteVerifier]) -> Result<VerifiedNote, NoteRejected> {
        let mut verified: Vec<VerifiedSignature> = Vec::new();
        let mut unverifiable: Vec<(KeyName, KeyId)> = Vec::new();
        for line in &self.signatures {
            let mut known =
                verifiers.iter().filter(|verifier| verifier.id() == line.key_id && *verifier.name() == line.name);
            let Some(verifier) = known.next() else {
                continue;
            };
            let (name, key_id) = (line.name.clone(), line.key_id);
            // Two keys under one name and ID: which of them signed could not be said afterwards.
            if known.next().is_some() {
                return Err(NoteRejected::Ambiguous { name, key_id });
            }
            let time = match verifier.check(&self.text, &line.signature) {
                SignatureCheck::Genuine(time) => time,
                SignatureCheck::Forged => return Err(NoteRejected::Forged { name, key_id }),
                SignatureCheck::Unknown => continue,
                SignatureCheck::Unverifiable => {
                    unverifiable.push((name, key_id));
                    continue;
                }
            };
            if !verified.iter().any(|signature| signature.is_by(verifier)) {
                verified.push(VerifiedSignature { name, key_id, time });
            }
        }
        match unverifiable.first() {
            _ if !verified.is_empty() => Ok(VerifiedNote { note: self, signatures: verified, unverifiable }),
            None => Err(NoteRejected::NoKnownSignature { lines: self.signatures.len() }),
            Some((name, key_id)) => Err(NoteRejected::Unverifiable { name: name.clone(), key_id: *key_id }),
        }
    }

    fn add(&mut self, verifier: &NoteVerifier, signature: Vec<u8>) {
        let (name, key_id) = (verifier.name().clone(), verifier.id());
        self.signatures.push(NoteSignature { name, key_id, signature });
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// Reads one signature line without its newline.
    ///
    /// # Errors
    /// [`MalformedSignature`].
    pub fn parse(line: &str) -> Result<Self, MalformedSignature> {
        let rest = line.strip_prefix(SIGNATURE_PREFIX).ok_or(MalformedSignature::Prefix)?;
        let (name, encoded) = rest.split_once(' ').ok_or(MalformedSignature::Parts)?;
        let name = KeyName::new(name).map_err(|_| MalformedSignature::Name)?;
        let bytes = STANDARD.decode(encoded).map_err(|source| MalformedSignature::Base64 { source })?;
        match bytes.split_first_chunk() {
            Some((id, signature)) if !signature.is_empty() => {
                Ok(Self { name, key_id: KeyId::from_bytes(*id), signature: signature.to_vec() })
            }
            _ => Err(MalformedSignature::TooShort { found: bytes.len() }),
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([self.key_id.as_bytes().as_slice(), &self.signature].concat());
        write!(f, "{SIGNATURE_PREFIX}{} {encoded}", self.name)
    }
}

impl VerifiedNote {
    /// The note, with unknown signature lines too.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The genuine signatures, one for each key.
    #[must_use]
    pub fn signatures(&self) -> &[VerifiedSignature] {
        &self.signatures
    }

    /// True if `verifier` is among those that signed.
    #[must_use]
    pub fn is_signed_by(&self, verifier: &NoteVerifier) -> bool {
        self.signatures.iter().any(|signature| signature.is_by(verifier))
    }

    /// True if there is a line of `verifier` that cannot be verified here: it may be genuine or not.
    #[must_use]
    pub fn has_unverifiable(&self, verifier: &NoteVerifier) -> bool {
        self.unverifiable.iter().any(|(name, key_id)| *key_id == verifier.id() && name == verifier.name())
    }
}

/// Why bytes are not a signed note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedNote {
    /// A control character other than newline.
    #[error("a note has the control character 0x{found:02x} at byte {offset}")]
    Control {
        /// The character.
        found: u8,
        /// Where it stands.
        offset: usize,
    },
    /// No empty line, or nothing after it.
    #[error("a note has no signature lines after an empty line")]
    NoSignatures,
    /// A signature line is not one.
    #[error("signature line {line} of a note is malformed")]
    Signature {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        source: MalformedSignature,
    },
    /// The last signature line is cut.
    #[error("the last signature line of a note does not end with a newline")]
    SignatureEnd,
    /// The text cannot be signed.
    #[error("the text of a note does not end with a newline")]
    TextEnd,
    /// More bytes than anyone accepts.
    #[error("a note has {found} bytes, at most {NOTE_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes given.
        found: usize,
    },
    /// More signature lines than anyone accepts.
    #[error("a note has {found} signature lines, at most {NOTE_SIGNATURES_MAX} are allowed")]
    TooManySignatures {
        /// Lines given.
        found: usize,
    },
    /// Not UTF-8.
    #[error("a note is not UTF-8")]
    Utf8 {
        /// Where it stops being UTF-8.
        source: std::str::Utf8Error,
    },
}

/// Why text is not a signature line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedSignature {
    /// The signature is not base64.
    #[error("the signature is not standard base64 with padding")]
    Base64 {
        /// What the decoder saw.
        source: base64::DecodeError,
    },
    /// The key name has a space or a plus, or is empty.
    #[error("the key name is empty or has a space, a control character or +")]
    Name,
    /// No space between name and signature.
    #[error("the line is not a key name, a space and a signature")]
    Parts,
    /// The line does not begin with em dash and space.
    #[error("the line does not begin with an em dash and a space")]
    Prefix,
    /// No room for a key ID and a signature.
    #[error("key ID and signature have {found} bytes, at least 5 are needed")]
    TooShort {
        /// Bytes given.
        found: usize,
    },
}

/// Why a well-formed note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteRejected {
    /// The caller gave two verifiers of one name and key ID.
    #[error("two known keys are both named {name} with ID {key_id}")]
    Ambiguous {
        /// The common name.
        name: KeyName,
        /// The common ID.
        key_id: KeyId,
    },
    /// A signature under a known key is not by that key.
    #[error("the signature of {name} with key ID {key_id} does not verify")]
    Forged {
        /// Name of the known key.
        name: KeyName,
        /// ID of the known key.
        key_id: KeyId,
    },
    /// None of the signature lines is by a known key.
    #[error("none of the {lines} signature lines is by a known key")]
    NoKnownSignature {
        /// Lines in the note.
        lines: usize,
    },
    /// The only lines by known keys are of a kind that needs a newer openssl.
    #[error(
        "the signature of {name} with key ID {key_id} is there, but cannot be verified here: ML-DSA-44 needs OpenSSL \
         3.5 or later"
    )]
    Unverifiable {
        /// Name of the known key.
        name: KeyName,
        /// ID of the known key.
        key_id: KeyId,
    },
}

fn check_size_and_controls(text: &str) -> Result<(), MalformedNote> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(MalformedNote::TooLong { found: text.len() });
    }
    match text.bytes().enumerate().find(|(_, byte)| *byte < 0x20 && *byte != b'\n') {
        Some((offset, found)) => Err(MalformedNote::Control { found, offset }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
