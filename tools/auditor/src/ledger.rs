//! A ledger as its readers see it: HTTP over mutual TLS, one request at a time.

mod tiles;
mod tls;

use std::{fmt, io, time::Duration};

use ledger_history::fleet::Selection;
use messages::{
    AgentId, Digest, UnixMillis,
    cbor::{self, CborError},
    ledger::{BLOB_BYTES_MAX, ENTRY_BYTES_MAX, EntryPage, FLEET_PATH},
};
use ureq::{Agent, http::Uri};

pub use tiles::{Tiles, TilesError};
pub use tls::{TlsFiles, TlsUnusable};

/// Entries asked for in one page. A page is kept in memory; full entries of 65,535 bytes make it 33 MiB.
const PAGE_ENTRIES: u64 = 512;
/// Bytes of a page at most: [`PAGE_ENTRIES`] full entries and their CBOR frame.
const PAGE_BYTES_MAX: usize = 512 * (ENTRY_BYTES_MAX + 32) + 64;
/// Bytes of a checkpoint's note or a tile at most: notes are limited to 1,000,000 bytes.
const NOTE_BYTES_MAX: usize = 1_000_000;
/// Bytes of a bundle of entries at most: 256 of them with their lengths.
const BUNDLE_BYTES_MAX: usize = 256 * (ENTRY_BYTES_MAX + 2);
/// Bytes of a proof at most: 100,000 entries of about 500 bytes in a full one, 2 KB for each machine of a fleet.
const PROOF_BYTES_MAX: usize = 256 << 20;
/// Bytes of a number in a CBOR array at most.
const SEQ_BYTES_MAX: usize = 16;
/// Longest wait for one answer, its body included: 32 MiB of blob at 1 MB/s.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A ledger's address and how to talk to it.
#[derive(Clone)]
pub struct Ledger {
    agent: Agent,
    url: String,
}

/// Why the ledger could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerUnavailable {
    /// No connection, no answer, or one that is too long.
    #[error("{url} did not answer")]
    Http {
        /// What was asked for.
        url: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// The answer is not what the API says.
    #[error("{url} did not answer with {expected}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What the answer should be.
        expected: &'static str,
        /// What is wrong with it.
        source: CborError,
    },
    /// An answer that refuses.
    #[error("{url} answered {status}{}", hint(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The TLS files cannot be used.
    #[error("the TLS files cannot be used")]
    Tls(#[source] TlsUnusable),
    /// The address is none.
    #[error("{url:?} is not the https address of a ledger; expected https://HOST:PORT")]
    Url {
        /// The address.
        url: String,
    },
}

/// As part of a query.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; use a client certificate with the auditor's role",
        410 => "; it was pruned",
        404 => "; is the id right, and is this the ledger's address?",
        503 => "; it is not ready, try again in a minute",
        _ => "",
    }
}

/// The address alone: the client holds a private key.
impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.url)
    }
}

impl Ledger {
    /// The ledger at `url`, `https://HOST:PORT`, spoken to with the certificate in `files`.
    ///
    /// # Errors
    /// [`LedgerUnavailable::Url`] or [`LedgerUnavailable::Tls`]. Nothing is sent yet.
    pub fn new(url: &str, files: &TlsFiles) -> Result<Self, LedgerUnavailable> {
        Self::answering(url, files, TIMEOUT)
    }

    /// As [`Self::new`], with the longest wait for one answer, its body included.
    ///
    /// # Errors
    /// [`LedgerUnavailable::Url`] or [`LedgerUnavailable::Tls`]. Nothing is sent yet.
    pub fn answering(url: &str, files: &TlsFiles, within: Duration) -> Result<Self, LedgerUnavailable> {
        let malformed = || LedgerUnavailable::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        // Without TLS anyone on the way could withhold entries, and the client would not be known.
        if uri.scheme_str() != Some("https") || uri.host().is_none() || !matches!(uri.path(), "" | "/") {
            return Err(malformed());
        }
        let tls = files.config().map_err(LedgerUnavailable::Tls)?;
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(within))
            .max_redirects(0)
            .proxy(None)
            .http_status_as_error(false)
            .user_agent(concat!("attestry-audit/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: Agent::new_with_config(config), url: url.trim_end_matches('/').to_owned() })
    }

    /// The latest checkpoint's note.
    ///
    /// # Errors
    /// [`LedgerUnavailable`].
    pub fn checkpoint(&self) -> Result<Vec<u8>, LedgerUnavailable> {
        self.get("/checkpoint", NOTE_BYTES_MAX)
    }

    /// The note of the kept checkpoint of that size.
    ///
    /// # Errors
    /// [`LedgerUnavailable`].
    pub fn kept_checkpoint(&self, size: u64) -> Result<Vec<u8>, LedgerUnavailable> {
        self.get(&format!("/ledger/v1/checkpoints/{size}"), NOTE_BYTES_MAX)
    }

    /// Entries of an agent's chain from a number on, as many as the ledger gives at once.
    ///
    /// # Errors
    /// [`LedgerUnavailable`].
    pub fn entries(&self, agent: &AgentId, from_seq: u64) -> Result<EntryPage, LedgerUnavailable> {
        self.chain_entries(agent.as_str(), from_seq)
    }

    /// Entries of the fleet's chain, likewise.
    ///
    /// # Errors
    /// [`LedgerUnavailable`].
    pub fn fleet_entries(&self, from_seq: u64) -> Result<EntryPage, LedgerUnavailable> {
        self.chain_entries(FLEET_PATH, from_seq)
    }

    /// Number of the first entry of the fleet's chain recorded at or after `time`; `None` if there is none.
    ///
    /// # Errors
    /// [`LedgerUnavailable`].
    pub fn fleet_seq_at(&self, time: UnixMillis) -> Result<Option<u64>, LedgerUnavailable> {
        let path = format!("/ledger/v1/agents/{FLEET_PATH}/seq-at?ms={}", time.0);
        let bytes = match self.get(&path, SEQ_BYTES_MAX) {
            Err(LedgerUnavailable::Status { status: 404, .. }) => return Ok(None),
            answer => answer?,
        };
        let [seq]: [u64; 1] = cbor::decode(&bytes).map_err(|source| LedgerUnavailable::Malformed {
            url: self.at(&path),
            expected: "a number of an entry",
            source,
        })?;
        Ok(Some(seq))
    }

    fn chain_entries(&self, chain: &str, from_seq: u64) -> Result<EntryPage, LedgerUnavailable> {
        let path = format!("/ledger/v1/agents/{chain}/entries?from_seq={from_seq}&limit={PAGE_ENTRIES}");
        let bytes = self.get(&path, PAGE_BYTES_MAX)?;
        let expected = "a page of entries";
        cbor::decode(&bytes).map_err(|source| LedgerUnavailable::Malformed { url: self.at(&path), expected, source })
    }

    /// A blob, `None` if the ledger does not keep it.
    ///
    /// # Errors
    /// [`LedgerUnavailable`].
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerUnavailable> {
        match self.get(&format!("/ledger/v1/blobs/{digest}"), BLOB_BYTES_MAX) {
            Err(LedgerUnavailable::Status { status: 404 | 410, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// A proof of all that is on record about an agent from one second to another, as bytes; unverified.
    ///
    /// # Errors
    /// [`LedgerUnavailable`]; with status 503 while no census has the agent.
    pub fn interval_proof(
        &self,
        agent: &AgentId,
        (from, to): (u64, u64),
        gap: u64,
        (boots, full): (bool, bool),
    ) -> Result<Vec<u8>, LedgerUnavailable> {
        let (boots, full) = (u8::from(boots), u8::from(full));
        let query = format!("from={from}&to={to}&gap={gap}&boots={boots}&full={full}");
        self.get(&format!("/ledger/v1/agents/{agent}/interval-proof?{query}"), PROOF_BYTES_MAX)
    }

    /// A proof of what all machines did, as bytes; unverified.
    ///
    /// # Errors
    /// [`LedgerUnavailable`]; with status 503 while there is no census.
    pub fn fleet_proof(&self, (from, to): (u64, u64), shown: &Selection) -> Result<Vec<u8>, LedgerUnavailable> {
        let shown = match shown {
            Selection::All => "&all=1".to_owned(),
            Selection::Exceptions => String::new(),
            Selection::Label(name, value) => format!("&label={}", escaped(&format!("{name}={value}"))),
        };
        self.get(&format!("/ledger/v1/fleet/interval-proof?from={from}&to={to}{shown}"), PROOF_BYTES_MAX)
    }

    /// A tile or a bundle of entries by its path, `None` if the ledger does not serve it.
    ///
    /// # Errors
    /// [`LedgerUnavailable`]; with status 410 if its entries were pruned.
    pub fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerUnavailable> {
        match self.get(&format!("/{path}"), BUNDLE_BYTES_MAX) {
            Err(LedgerUnavailable::Status { status: 404, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// What the API answers under a path with its query, `None` if there is no such thing or it was pruned.
    ///
    /// # Errors
    /// [`LedgerUnavailable`].
    pub(crate) fn api(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, LedgerUnavailable> {
        match self.get(path, bytes_max) {
            Err(LedgerUnavailable::Status { status: 404 | 410, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// A tile, `None` if the ledger does not serve it in that width.
    fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerUnavailable> {
        match self.get(&format!("/{path}"), NOTE_BYTES_MAX) {
            Err(LedgerUnavailable::Status { status: 404, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn get(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, LedgerUnavailable> {
        let url = self.at(path);
        let failed = |source| LedgerUnavailable::Http { url: url.clone(), source: Box::new(source) };
        let mut response = self.agent.get(&url).call().map_err(failed)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(LedgerUnavailable::Status { url, status });
        }
        // One byte more than allowed is needed to notice that there is more.
        let bytes = response.body_mut().with_config().limit(bytes_max as u64 + 1).read_to_vec().map_err(failed)?;
        if bytes.len() > bytes_max {
            let error = io::Error::other(format!("the answer has more than {bytes_max} bytes"));
            return Err(failed(ureq::Error::Io(error)));
        }
        Ok(bytes)
    }
}
