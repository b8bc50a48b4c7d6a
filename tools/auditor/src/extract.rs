//! A quote's parts as files for other people's tools: openssl and tpm2-tools.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use evidence::{
    algorithm::SignatureScheme,
    crypto::CryptoUnavailable,
    keylime::encode_pcr_blob,
    public::{MalformedPublic, Public},
    quote::{MalformedQuote, Quote},
};
use ledger_protocol::{
    Entry, EntryError, NonceInputs,
    body::{Binding, Body, Enrol, QuoteBody},
};
use messages::{Digest, cbor::CborError, ledger::Head};

use crate::{
    bundle::{Bundle, BundleUnreadable, FileProblem, blob_path, entry_path},
    verify::values_of,
};

/// Which quotes.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    /// Every quote, each into a folder of its index.
    All,
    /// The quote at that index of the log.
    Index(u64),
    /// The bundle's last quote.
    Last,
}

/// Files of one quote, and the commands that check them.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// Index of the quote's entry.
    pub index: u64,
    /// Where the files are.
    pub folder: PathBuf,
    /// Each a shell command that exits 0 if the signature is genuine.
    pub commands: Vec<String>,
}

/// Why nothing was extracted.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The quote's binding cannot be read.
    #[error("the binding blob {digest} of the enrolment is malformed")]
    Binding {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        source: CborError,
    },
    /// The body of an entry is not what its kind says.
    #[error("the body of entry {index} is malformed")]
    Body {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        source: CborError,
    },
    /// The bundle cannot be read.
    #[error("the bundle cannot be read")]
    Bundle(#[source] BundleUnreadable),
    /// openssl failed.
    #[error("the AK could not be written as PEM")]
    Crypto(#[source] CryptoUnavailable),
    /// An entry is none.
    #[error("{path} is not an entry")]
    Entry {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: EntryError,
    },
    /// A file of the bundle cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: String,
        /// Why not.
        source: FileProblem,
    },
    /// The AK in the binding is none.
    #[error("the AK in binding {digest} is malformed")]
    Key {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        source: MalformedPublic,
    },
    /// The bundle has no such quote.
    #[error("the bundle has no quote at index {index}; its quotes are listed in manifest.json")]
    NoQuote {
        /// The index asked for.
        index: u64,
    },
    /// The bundle has no quote at all.
    #[error("the bundle has no quote")]
    NoQuotes,
    /// The quote is none.
    #[error("the quote of entry {index} is malformed")]
    Quote {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        source: MalformedQuote,
    },
    /// No enrolment stands before the quote.
    #[error("the bundle has no enrolment before entry {index}")]
    Unenrolled {
        /// The entry.
        index: u64,
    },
    /// The register values are not those of one bank.
    #[error("the register values of entry {index} are malformed: {problem}")]
    Values {
        /// The entry.
        index: u64,
        /// What is wrong with them.
        problem: String,
    },
    /// A file could not be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Writes the parts of the chosen quotes below `out`. Nothing is verified here: that is for the tools.
///
/// # Errors
/// [`ExtractError`].
pub fn extract(folder: &Path, choice: Choice, out: &Path) -> Result<Vec<Extracted>, ExtractError> {
    let bundle = Bundle::open(folder).map_err(ExtractError::Bundle)?;
    let quotes: Vec<u64> = listed(&bundle, "quote").collect();
    let enrolments: Vec<u64> = listed(&bundle, "enrol").collect();
    let chosen: Vec<(u64, PathBuf)> = match choice {
        Choice::All => quotes.iter().map(|index| (*index, out.join(index.to_string()))).collect(),
        Choice::Index(index) if quotes.contains(&index) => vec![(index, out.to_owned())],
        Choice::Index(index) => return Err(ExtractError::NoQuote { index }),
        Choice::Last => quotes.last().map(|index| (*index, out.to_owned())).into_iter().collect(),
    };
    if chosen.is_empty() {
        return Err(ExtractError::NoQuotes);
    }
    chosen.into_iter().map(|(index, folder)| extract_one(&bundle, &enrolments, index, folder)).collect()
}

fn extract_one(bundle: &Bundle, enrolments: &[u64], index: u64, folder: PathBuf) -> Result<Extracted, ExtractError> {
    let entry = read_entry(bundle, index)?;
    let body = QuoteBody::decode(&entry.body).map_err(|source| ExtractError::Body { index, source })?;
    let quote = Quote::parse(&body.attest, &body.signature).map_err(|source| ExtractError::Quote { index, source })?;
    let values = values_of(&body.pcrs).map_err(|problem| ExtractError::Values { index, problem })?;
    let head = Head { seq: entry.seq, prev: entry.prev };
    let agent = &bundle.manifest().agent;
    let nonce = hex::encode(NonceInputs { beacon: body.beacon, agent, head, salt: body.salt }.derive().as_str());
    let ak = ak_before(bundle, enrolments, index)?;
    let pem = ak.public_key_pem().map_err(ExtractError::Crypto)?;
    fs::create_dir_all(&folder).map_err(|source| ExtractError::Write { path: folder.clone(), source })?;
    let files: [(&str, &[u8]); 6] = [
        ("attest.bin", &body.attest),
        ("signature.tpmt", &body.signature),
        ("signature.bin", quote.signature().encoded()),
        ("ak.pem", pem.as_bytes()),
        ("pcrs.bin", &encode_pcr_blob(&values)),
        ("nonce.hex", nonce.as_bytes()),
    ];
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|source| ExtractError::Write { path, source })?;
    }
    let commands = commands(&folder, &quote, &nonce);
    Ok(Extracted { index, folder, commands })
}

fn commands(folder: &Path, quote: &Quote, nonce: &str) -> Vec<String> {
    let hash = quote.signature().hash();
    let file = |name: &str| quoted(&folder.join(name).display().to_string());
    let pss = match quote.signature().scheme().scheme {
        SignatureScheme::RsaPss => " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-2",
        SignatureScheme::RsaSsa | SignatureScheme::Ecdsa => "",
    };
    let (ak, attest) = (file("ak.pem"), file("attest.bin"));
    vec![
        format!("openssl dgst -{hash} -verify {ak}{pss} -signature {} {attest}", file("signature.bin")),
        format!(
            "tpm2_checkquote -u {ak} -m {attest} -s {} -f {} -g {hash} -q {nonce}",
            file("signature.tpmt"),
            file("pcrs.bin")
        ),
    ]
}

/// A path as one word of a shell.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// The AK of the last enrolment before an entry.
fn ak_before(bundle: &Bundle, enrolments: &[u64], index: u64) -> Result<Public, ExtractError> {
    let earlier = enrolments.iter().copied().rfind(|enrol| *enrol < index);
    let enrolled = earlier.ok_or(ExtractError::Unenrolled { index })?;
    let entry = read_entry(bundle, enrolled)?;
    let enrol = Enrol::decode(&entry.body).map_err(|source| ExtractError::Body { index: enrolled, source })?;
    let digest = enrol.binding;
    let binding = Binding::decode(&read(bundle, &blob_path(&digest))?)
        .map_err(|source| ExtractError::Binding { digest, source })?;
    Public::from_tpm2b(&binding.ak).map_err(|source| ExtractError::Key { digest, source })
}

fn listed(bundle: &Bundle, kind: &'static str) -> impl Iterator<Item = u64> {
    bundle.manifest().entries.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.index)
}

fn read_entry(bundle: &Bundle, index: u64) -> Result<Entry, ExtractError> {
    let path = entry_path(index);
    let entry = Entry::decode(&read(bundle, &path)?);
    entry.map_err(|source| ExtractError::Entry { path, source })
}

fn read(bundle: &Bundle, path: &str) -> Result<Vec<u8>, ExtractError> {
    bundle.read(path).map_err(|source| ExtractError::File { path: path.to_owned(), source })
}
