//! OpenPGP signatures, checked by `gpgv`: the program that `apt` and distributions' tools check them with.
//!
//! Not a library: those in Rust bring some eighty crates and a second set of cryptography with them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;

/// The keys whose signatures count, in a folder of their own.
#[derive(Debug)]
pub(in super::super) struct TrustedKeys(TempDir);

/// Why a signature does not count.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum SignatureRejected {
    /// The program did not run.
    #[error("gpgv did not run; install it: apt-get install gpgv, or dnf install gnupg2")]
    Gpgv(#[source] io::Error),
    /// A key file is none.
    #[error("{} has no OpenPGP public key, armored or not", path.display())]
    Key { path: PathBuf },
    /// There is no signature where one has to be.
    #[error("there is none")]
    Missing,
    /// None of the keys made a good one.
    #[error("no trusted key made a good signature over it: {status}")]
    NotGood { status: String },
    /// Files between us and the program.
    #[error("what gpgv reads and writes cannot be written or read")]
    Scratch(#[source] io::Error),
}

impl TrustedKeys {
    /// Takes all keys of these files.
    pub(in super::super) fn read(paths: &[PathBuf]) -> Result<Self, SignatureRejected> {
        let mut keys = Vec::new();
        for path in paths {
            let key = || SignatureRejected::Key { path: path.clone() };
            let bytes = fs::read(path).map_err(|_| key())?;
            let binary = if bytes.trim_ascii_start().starts_with(ARMOR) { dearmored(&bytes) } else { Some(bytes) };
            // A public key packet, in the old form of its header or the new.
            let binary = binary.filter(|bytes| matches!(bytes.first(), Some(0x98..=0x9b | 0xc6))).ok_or_else(key)?;
            keys.extend(binary);
        }
        let folder = TempDir::new().map_err(SignatureRejected::Scratch)?;
        fs::write(folder.path().join(KEYS), keys).map_err(SignatureRejected::Scratch)?;
        Ok(Self(folder))
    }

    /// Checks a detached signature.
    pub(in super::super) fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), SignatureRejected> {
        let scratch = TempDir::new().map_err(SignatureRejected::Scratch)?;
        let (data, signature_file) = (scratch.path().join("data"), scratch.path().join("signature"));
        fs::write(&data, signed)
            .and_then(|()| fs::write(&signature_file, signature))
            .map_err(SignatureRejected::Scratch)?;
        self.run(&[&signature_file, &data])
    }

    /// Checks a text with its signature in one, and gives the text that was signed and nothing around it.
    pub(super) fn open(&self, clear_signed: &[u8]) -> Result<Vec<u8>, SignatureRejected> {
        let scratch = TempDir::new().map_err(SignatureRejected::Scratch)?;
        let (whole, text) = (scratch.path().join("whole"), scratch.path().join("text"));
        fs::write(&whole, clear_signed).map_err(SignatureRejected::Scratch)?;
        self.run(&[Path::new("--output"), &text, &whole])?;
        fs::read(&text).map_err(SignatureRejected::Scratch)
    }

    fn run(&self, arguments: &[&Path]) -> Result<(), SignatureRejected> {
        let output = Command::new("gpgv")
            .args(["--status-fd", "1", "--weak-digest", "SHA1", "--homedir"])
            .arg(self.0.path())
            .arg("--keyring")
            .arg(self.0.path().join(KEYS))
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(SignatureRejected::Gpgv)?;
        let status = String::from_utf8_lossy(&output.stdout);
        if is_good(&status) { Ok(()) } else { Err(SignatureRejected::NotGood { status: told(&status) }) }
    }
}

/// Whether one signature is good and none is bad. Others may be of keys nobody gave: archives sign with several.
///
/// `VALIDSIG` follows `EXPKEYSIG` and `REVKEYSIG` too, so that only one right behind `GOODSIG` counts.
fn is_good(status: &str) -> bool {
    let lines: Vec<&str> = keywords(status).collect();
    lines.windows(2).any(|pair| pair == ["GOODSIG", "VALIDSIG"]) && !lines.contains(&"BADSIG")
}

/// The keywords about signatures, in order.
fn keywords(status: &str) -> impl Iterator<Item = &str> {
    let lines = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")?.split(' ').next());
    lines.filter(|word| word.ends_with("SIG") || *word == "NO_PUBKEY" || *word == "NODATA")
}

fn told(status: &str) -> String {
    let words: Vec<&str> = keywords(status).take(16).collect();
    if words.is_empty() { "gpgv found no signature".to_owned() } else { words.join(" ") }
}

/// All blocks of an armored file, one behind the other.
///
/// Source: RFC 9580 §6.
fn dearmored(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut bytes = Vec::new();
    for block in text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----").skip(1) {
        let (block, _) = block.split_once("-----END PGP PUBLIC KEY BLOCK-----")?;
        // Headers, an empty line, the data, a checksum behind an equals sign.
        let lines = block.trim_start_matches([' ', '\t', '\r']).trim_start_matches('\n').lines().map(str::trim);
        let lines = lines.skip_while(|line| line.contains(": ")).filter(|line| !line.is_empty());
        let data: String = lines.take_while(|line| !line.starts_with('=')).collect();
        bytes.extend(STANDARD.decode(data).ok()?);
    }
    Some(bytes)
}

const ARMOR: &[u8] = b"-----BEGIN PGP";
const KEYS: &str = "keys.gpg";
