//! EVM's portable signature over a file's attributes, as `evm-sig` entries carry it with all that is signed.
//!
//! ```text
//! signed: hash(values of the protected attributes, one behind the other | h_misc)
//! h_misc: inode u64 = 0 | generation u32 = 0 | uid u32 | gid u32 | mode u16 | padding u16 = 0
//! ```
//!
//! Little endian and with the sizes of 64-bit machines. The signature says nothing of the content by itself: what does
//! is the digest, or the signature of one, in `security.ima`, which therefore must be among the attributes.
//!
//! Source: Linux, `hmac_add_misc` and `evm_calc_hmac_or_hash` in `security/integrity/evm/evm_crypto.c`,
//! `evm_read_protected_xattrs` in `evm_main.c`.

use super::entry::{DigestKind, Entry, FileDigest};
use super::register::hash;
use super::signature::{DIGSIG, EVM_PORTABLE_DIGSIG, SignedAttribute, UnusableSignature, hash_of};
use super::template::Field;
use crate::algorithm::Digest;
use crate::crypto::CryptoUnavailable;

/// What an `evm-sig` entry says of a file, read from its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileAttributes<'a> {
    signature: SignedAttribute<'a>,
    values: &'a [u8],
    /// The value of `security.ima`.
    ima: &'a [u8],
    uid: u32,
    gid: u32,
    mode: u16,
}

/// How `security.ima` stands for the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// It is the content's digest.
    Digest,
    /// It is a signature, to be checked as a file's own.
    Signature(&'a [u8]),
}

/// Why an entry has no portable signature that could be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableAttributes {
    /// `security.ima` is of another content, or of a kind that names none.
    #[error("security.ima in it does not stand for the measured content")]
    Content,
    /// The signature's own form.
    #[error(transparent)]
    Header(UnusableSignature),
    /// Names, lengths and values are not of each other.
    #[error("its attributes' names, lengths and values do not fit each other")]
    Lengths,
    /// The file's content would be free.
    #[error("security.ima is not among its attributes, so it says nothing of the content")]
    NoContent,
    /// Owner, group or mode is missing.
    #[error("owner, group or mode is missing")]
    NoInode,
}

impl<'a> FileAttributes<'a> {
    /// Reads the fields of an entry whose signature is not empty.
    pub(super) fn of(entry: &Entry<'a>) -> Result<Self, UnusableAttributes> {
        let field = |wanted| entry.fields().find(|(field, _)| *field == wanted).map(|(_, content)| content);
        let text = |wanted| field(wanted).unwrap_or_default();
        let signature = SignedAttribute::parse(entry.signature).map_err(UnusableAttributes::Header)?;
        if signature.kind != EVM_PORTABLE_DIGSIG {
            return Err(UnusableAttributes::Header(UnusableSignature::Kind { found: signature.kind }));
        }
        let values = text(Field::XattrValues);
        let ima = security_ima(text(Field::XattrNames), text(Field::XattrLengths), values)?;
        let number = |wanted| text(wanted).first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        let mode = text(Field::InodeMode).first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes));
        let (Some(uid), Some(gid), Some(mode)) = (number(Field::InodeUid), number(Field::InodeGid), mode) else {
            return Err(UnusableAttributes::NoInode);
        };
        Ok(Self { signature, values, ima, uid, gid, mode })
    }

    /// The signature, which is to be good over [`digest`](Self::digest).
    pub(super) const fn signature(&self) -> &SignedAttribute<'a> {
        &self.signature
    }

    /// What is signed.
    pub(super) fn digest(&self) -> Result<Digest, CryptoUnavailable> {
        let mut signed = Vec::with_capacity(self.values.len() + MISC_BYTES);
        signed.extend_from_slice(self.values);
        signed.extend_from_slice(&[0; 12 /* inode, generation */]);
        signed.extend_from_slice(&self.uid.to_le_bytes());
        signed.extend_from_slice(&self.gid.to_le_bytes());
        signed.extend_from_slice(&self.mode.to_le_bytes());
        signed.extend_from_slice(&[0; 2 /* padding */]);
        hash(self.signature.hash, &signed)
    }

    /// How `security.ima` stands for a content of this digest.
    pub(super) fn content(&self, digest: &FileDigest<'_>) -> Result<Content<'a>, UnusableAttributes> {
        let same = |algorithm, found: &[u8]| {
            digest.kind == DigestKind::Content && digest.hash_algorithm() == algorithm && digest.bytes == found
        };
        let stands = match self.ima {
            [DIGSIG, ..] => return Ok(Content::Signature(self.ima)),
            [DIGEST, found @ ..] => same(Some(crate::algorithm::HashAlgorithm::Sha1), found),
            [DIGEST_NG, algorithm, found @ ..] => hash_of(*algorithm).is_some_and(|hash| same(Some(hash), found)),
            _ => false,
        };
        if stands { Ok(Content::Digest) } else { Err(UnusableAttributes::Content) }
    }
}

/// The value of `security.ima`, after names, lengths and values were held against each other.
fn security_ima<'a>(names: &[u8], lengths: &[u8], values: &'a [u8]) -> Result<&'a [u8], UnusableAttributes> {
    let names = names.strip_suffix(b"\0").ok_or(UnusableAttributes::Lengths)?;
    let (lengths, odd) = lengths.as_chunks::<4>();
    let names: Vec<&[u8]> = names.split(|byte| *byte == b'|').collect();
    if !odd.is_empty() || names.len() != lengths.len() {
        return Err(UnusableAttributes::Lengths);
    }
    let (mut rest, mut ima) = (values, None);
    for (name, length) in names.iter().zip(lengths) {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (value, behind) = rest.split_at_checked(length).ok_or(UnusableAttributes::Lengths)?;
        rest = behind;
        if *name == SECURITY_IMA && ima.replace(value).is_some() {
            return Err(UnusableAttributes::Lengths);
        }
    }
    if !rest.is_empty() {
        return Err(UnusableAttributes::Lengths);
    }
    ima.ok_or(UnusableAttributes::NoContent)
}

/// `XATTR_NAME_IMA`.
const SECURITY_IMA: &[u8] = b"security.ima";
/// `IMA_XATTR_DIGEST`: SHA-1 of the content.
const DIGEST: u8 = 1;
/// `IMA_XATTR_DIGEST_NG`: the algorithm's number and the content's digest.
const DIGEST_NG: u8 = 4;
/// `struct h_misc` on 64-bit machines.
const MISC_BYTES: usize = 24;
