//! Where time-stamps are kept: `timestamps/<size>/`, files that never change.
//!
//! For each authority `<name>.tsq` (the request), `<name>.tsr` (the answer), `<name>.chain.pem` (from
//! the signer to the root, as it was verified), `<name>.<n>.crl` (revocation lists of the time) and
//! `<name>.logged` (the token's digest, once an entry of the log names it). `<size>` is that of the
//! checkpoint that was stamped.

use std::fs;
use std::io;

use ledger_timestamp::{TimestampResponse, Token};
use messages::Digest;

use crate::folder::Folder;

/// The folder of all stamps.
#[derive(Debug)]
pub(crate) struct Stamps(Folder);

/// One authority's stamp on one checkpoint.
#[derive(Debug)]
pub(crate) struct Stamp {
    /// Certificates in PEM, from the signer to the root.
    pub(crate) chain: String,
    /// Revocation lists in DER.
    pub(crate) lists: Vec<Vec<u8>>,
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
}

impl Stamps {
    /// Opens the folder, made if it is not there, and clears away what a crash has left.
    pub(crate) fn open(root: &Folder) -> io::Result<Self> {
        let stamps = Self(root.make(STAMPS_FOLDER)?);
        stamps.0.remove_temporary()?;
        for size in stamps.sizes()? {
            stamps.folder(size)?.remove_temporary()?;
        }
        Ok(stamps)
    }

    /// Opens the folder as it is.
    pub(crate) fn look(root: &Folder) -> io::Result<Self> {
        Folder::open(root.file(STAMPS_FOLDER)).map(Self)
    }

    /// Keeps a stamp. The answer comes last: where it is, everything is.
    pub(crate) fn keep(&self, size: u64, authority: &str, stamp: &Stamp) -> io::Result<()> {
        let folder = self.0.make(&size.to_string())?;
        for (number, list) in stamp.lists.iter().enumerate() {
            folder.replace(&format!("{authority}.{number}{LIST}"), list)?;
        }
        folder.replace(&format!("{authority}{CHAIN}"), stamp.chain.as_bytes())?;
        folder.replace(&format!("{authority}{REQUEST}"), &stamp.request)?;
        folder.keep(&format!("{authority}{RESPONSE}"), &stamp.response)
    }

    /// Notes that an entry of the log names the token.
    pub(crate) fn mark_logged(&self, size: u64, authority: &str, token: &Digest) -> io::Result<()> {
        self.folder(size)?.keep(&format!("{authority}{LOGGED}"), logged(token).as_bytes())
    }

    /// Size and token of the latest stamp of an authority, and whether it is logged.
    pub(crate) fn latest(&self, authority: &str) -> io::Result<Option<(u64, Token, bool)>> {
        for size in self.sizes()?.into_iter().rev() {
            let Some(bytes) = self.read(size, &format!("{authority}{RESPONSE}"))? else {
                continue;
            };
            let token = token(&bytes)?;
            let logged = self.read(size, &format!("{authority}{LOGGED}"))?.is_some();
            return Ok(Some((size, token, logged)));
        }
        Ok(None)
    }

    /// Sizes of stamped checkpoints, ascending.
    pub(crate) fn sizes(&self) -> io::Result<Vec<u64>> {
        let names = self.0.names()?;
        let mut sizes: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        sizes.sort_unstable();
        Ok(sizes)
    }

    /// Names of the files of the stamps on a checkpoint; none if it was not stamped.
    pub(crate) fn names(&self, size: u64) -> io::Result<Vec<String>> {
        match self.folder(size) {
            Ok(folder) => folder.names(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// A file of that folder, and of no other.
    pub(crate) fn read(&self, size: u64, name: &str) -> io::Result<Option<Vec<u8>>> {
        if !self.names(size)?.iter().any(|known| known == name) {
            return Ok(None);
        }
        fs::read(self.0.file(&size.to_string()).join(name)).map(Some)
    }

    fn folder(&self, size: u64) -> io::Result<Folder> {
        Folder::open(self.0.file(&size.to_string()))
    }
}

/// The token of an answer that was kept.
pub(crate) fn token(response: &[u8]) -> io::Result<Token> {
    let parsed = TimestampResponse::parse(response).map_err(io::Error::other)?;
    parsed.into_token().map_err(io::Error::other)
}

/// Content of the file that says that a token is logged.
pub(crate) fn logged(token: &Digest) -> String {
    format!("{token}\n")
}

/// The folder's name in the data directory.
pub(crate) const STAMPS_FOLDER: &str = "timestamps";

/// Ends of the files' names.
pub(crate) const CHAIN: &str = ".chain.pem";
/// See [`CHAIN`].
pub(crate) const LIST: &str = ".crl";
/// See [`CHAIN`].
pub(crate) const LOGGED: &str = ".logged";
/// See [`CHAIN`].
pub(crate) const REQUEST: &str = ".tsq";
/// See [`CHAIN`].
pub(crate) const RESPONSE: &str = ".tsr";
