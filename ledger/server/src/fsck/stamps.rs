//! Time-stamps: whether each is over a note that is there, whole, and named by an entry. Whom to
//! trust is not for this check: a stamp is compared with the chain that is kept beside it.

use std::collections::BTreeSet;

use ledger_timestamp::{Authorities, TimestampRequest};
use messages::Digest;
use openssl::x509::{X509, X509Crl};

use super::FsckReport;
use crate::blobs::Blobs;
use crate::engine::chain;
use crate::folder::Folder;
use crate::stamps::{CHAIN, LIST, LOGGED, REQUEST, RESPONSE, STAMPS_FOLDER, Stamps, logged, token};

/// Why a file is not what was kept.
type Flaw = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn check(root: &Folder, blobs: &Blobs, (named, pruned): (&BTreeSet<Digest>, u64), report: &mut FsckReport) {
    if !root.file(STAMPS_FOLDER).exists() {
        return;
    }
    let listed = Stamps::look(root).and_then(|stamps| Ok((stamps.sizes()?, stamps)));
    let (sizes, stamps) = match listed {
        Ok(listed) => listed,
        Err(error) => return report.damage(STAMPS_FOLDER, format!("cannot be listed: {error}")),
    };
    for size in sizes {
        let names = stamps.names(size).unwrap_or_else(|error| {
            report.damage(format!("{STAMPS_FOLDER}/{size}"), format!("cannot be listed: {error}"));
            Vec::new()
        });
        for name in &names {
            let file = format!("{STAMPS_FOLDER}/{size}/{name}");
            let stamp = OneStamp { authority: authority(name), blobs, named, pruned, size, stamps: &stamps };
            match stamp.check(name) {
                Ok(None) => {}
                Ok(Some(notice)) => report.notice(file, notice),
                Err(flaw) => report.damage(file, chain(&*flaw)),
            }
        }
    }
}

/// The part of a file's name before the first dot.
fn authority(name: &str) -> &str {
    name.split_once('.').map_or(name, |(authority, _)| authority)
}

struct OneStamp<'a> {
    authority: &'a str,
    blobs: &'a Blobs,
    named: &'a BTreeSet<Digest>,
    /// Entries whose bodies were pruned.
    pruned: u64,
    size: u64,
    stamps: &'a Stamps,
}

impl OneStamp<'_> {
    /// What is remarkable about a file, if anything.
    fn check(&self, name: &str) -> Result<Option<&'static str>, Flaw> {
        let bytes = self.stamps.read(self.size, name)?.unwrap_or_default();
        if !self.stamps.names(self.size)?.contains(&format!("{}{RESPONSE}", self.authority)) {
            return Ok(Some("belongs to a stamp that was not finished; the next one replaces it"));
        }
        match name.strip_prefix(self.authority).unwrap_or_default() {
            CHAIN => check_chain(&bytes).map(|()| None),
            LOGGED => self.check_logged(&bytes).map(|()| None),
            REQUEST => self.check_request(&bytes).map(|()| None),
            RESPONSE => self.check_response(&bytes),
            list if list.ends_with(LIST) => self.check_list(&bytes).map(|()| None),
            _ => Ok(Some("is no file of a stamp")),
        }
    }

    fn file(&self, end: &str) -> Result<Vec<u8>, Flaw> {
        let name = format!("{}{end}", self.authority);
        Ok(self.stamps.read(self.size, &name)?.ok_or_else(|| format!("{name} is missing"))?)
    }

    /// The digest of the token, once it is known to be the answer to the request, over its note.
    fn verified(&self) -> Result<Digest, Flaw> {
        let request = TimestampRequest::parse(&self.file(REQUEST)?)?;
        let token = token(&self.file(RESPONSE)?)?;
        let digest = Digest::try_from(request.digest()).map_err(|_| "the request is not over SHA-256")?;
        let note = self.blobs.get(&digest)?.ok_or("the note that was stamped is missing among the blobs")?;
        let mut kept = Authorities::new();
        kept.help_pem(&self.file(CHAIN)?)?;
        token.verify_integrity(&note, request.nonce(), &kept)?;
        Ok(Digest(openssl::sha::sha256(token.to_der())))
    }

    /// Whether an entry names the token, or may have before it was pruned.
    fn is_named(&self, token: &Digest) -> bool {
        self.size < self.pruned || self.named.contains(token)
    }

    fn check_request(&self, bytes: &[u8]) -> Result<(), Flaw> {
        if TimestampRequest::parse(bytes)?.to_der() != bytes {
            return Err("is not the request that was sent".into());
        }
        self.verified().map(drop)
    }

    fn check_response(&self, bytes: &[u8]) -> Result<Option<&'static str>, Flaw> {
        let digest = self.verified()?;
        if token(bytes)?.to_response() != bytes {
            return Err("is not the answer that was kept".into());
        }
        let is_named = self.is_named(&digest);
        Ok((!is_named).then_some("is not named by an entry yet; the next start of its authority sees to it"))
    }

    fn check_logged(&self, bytes: &[u8]) -> Result<(), Flaw> {
        let digest = self.verified()?;
        if bytes != logged(&digest).as_bytes() || !self.is_named(&digest) {
            return Err("does not say what the log's entries say".into());
        }
        Ok(())
    }

    /// A list that one of the chain's certificates has signed.
    fn check_list(&self, bytes: &[u8]) -> Result<(), Flaw> {
        let list = X509Crl::from_der(bytes)?;
        if list.to_der()? != bytes {
            return Err("is not the list that was kept".into());
        }
        let mut signed = false;
        for certificate in X509::stack_from_pem(&self.file(CHAIN)?)? {
            signed |= list.verify(&*certificate.public_key()?).unwrap_or(false);
        }
        if signed { Ok(()) } else { Err("is not signed by a certificate of the chain".into()) }
    }
}

/// Each certificate is signed by the next, the last by itself, and written as it was.
fn check_chain(bytes: &[u8]) -> Result<(), Flaw> {
    let certificates = X509::stack_from_pem(bytes)?;
    let mut written = Vec::new();
    for (position, certificate) in certificates.iter().enumerate() {
        written.extend(certificate.to_pem()?);
        let issuer = certificates.get(position + 1).unwrap_or(certificate);
        if !certificate.verify(&*issuer.public_key()?)? {
            return Err(format!("certificate {position} is not signed by the one after it").into());
        }
    }
    if written == bytes { Ok(()) } else { Err("is not the chain that was kept".into()) }
}
