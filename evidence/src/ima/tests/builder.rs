//! Builds measurement lists as the kernel writes them, for tests and benchmarks.

use std::fmt::Write as _;

use openssl::hash::{MessageDigest, hash};

/// One entry in both forms.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) pcr: u32,
    pub(crate) template: &'static str,
    /// The template digest as the list has it.
    pub(crate) recorded: Vec<u8>,
    /// What is hashed.
    pub(crate) data: Vec<u8>,
    /// The fields as the ASCII list has them.
    pub(crate) text: String,
}

/// A list being built; template digests are SHA-1.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListBuilder {
    pub(crate) entries: Vec<Built>,
}

impl ListBuilder {
    /// An entry of any template, from its fields' bytes and texts.
    pub(crate) fn push(&mut self, template: &'static str, fields: &[(Vec<u8>, String)]) -> &mut Self {
        let mut data = Vec::new();
        for (bytes, _) in fields {
            data.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
            data.extend_from_slice(bytes);
        }
        let texts: Vec<&str> = fields.iter().map(|(_, text)| text.as_str()).collect();
        self.push_data(template, data, texts.join(" "))
    }

    pub(crate) fn push_data(&mut self, template: &'static str, data: Vec<u8>, text: String) -> &mut Self {
        let recorded = digest(MessageDigest::sha1(), &data);
        self.entries.push(Built { pcr: 10, template, recorded, data, text });
        self
    }

    /// `ima-ng` with the SHA-256 of `content`.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> &mut Self {
        self.push("ima-ng", &[digest_field("", content), name_field(path)])
    }

    /// `ima-sig` with the SHA-256 of `content`.
    pub(crate) fn signed(&mut self, path: &str, content: &[u8], signature: &[u8]) -> &mut Self {
        self.push("ima-sig", &[digest_field("", content), name_field(path), bytes_field(signature)])
    }

    /// `ima-sigv2` with a digest of the kind `ima` or `verity`.
    pub(crate) fn signed_v2(&mut self, kind: &str, path: &str, content: &[u8], signature: &[u8]) -> &mut Self {
        let digest = digest_field(&format!("{kind}:"), content);
        self.push("ima-sigv2", &[digest, name_field(path), bytes_field(signature)])
    }

    /// `ima-buf` with the SHA-256 of `buffer`.
    pub(crate) fn buffer(&mut self, name: &str, buffer: &[u8]) -> &mut Self {
        self.push("ima-buf", &[digest_field("", buffer), name_field(name), bytes_field(buffer)])
    }

    /// `ima` with the SHA-1 of `content`.
    pub(crate) fn original(&mut self, path: &str, content: &[u8]) -> &mut Self {
        let mut data = digest(MessageDigest::sha1(), content);
        let text = format!("{} {path}", hex(&data));
        data.extend_from_slice(path.as_bytes());
        data.resize(276, 0);
        self.push_data("ima", data, text)
    }

    /// A violation on `path`, as `ima-ng` has it.
    pub(crate) fn violation(&mut self, path: &str) -> &mut Self {
        self.push(
            "ima-ng",
            &[
                (b"sha256:\0".iter().copied().chain([0; 32]).collect(), format!("sha256:{}", "0".repeat(64))),
                name_field(path),
            ],
        );
        self.entries.last_mut().unwrap().recorded = vec![0; 20];
        self
    }

    /// The list with only some entries, in the order given.
    pub(crate) fn select(&self, entries: impl IntoIterator<Item = usize>) -> Self {
        Self { entries: entries.into_iter().map(|entry| self.entries[entry].clone()).collect() }
    }

    pub(crate) fn ascii(&self) -> Vec<u8> {
        let mut out = String::new();
        for entry in &self.entries {
            writeln!(out, "{:2} {} {} {}", entry.pcr, hex(&entry.recorded), entry.template, entry.text).unwrap();
        }
        out.into_bytes()
    }

    pub(crate) fn binary(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let sized = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
            out.extend_from_slice(bytes);
        };
        for entry in &self.entries {
            out.extend_from_slice(&entry.pcr.to_le_bytes());
            out.extend_from_slice(&entry.recorded);
            sized(&mut out, entry.template.as_bytes());
            if entry.template == "ima" {
                out.extend_from_slice(&entry.data[..20]);
                let end = 20 + entry.data[20..].iter().position(|byte| *byte == 0).unwrap();
                sized(&mut out, &entry.data[20..end]);
            } else {
                sized(&mut out, &entry.data);
            }
        }
        out
    }

    /// The register after the first `count` entries, as a kernel from 5.8 on extends it.
    pub(crate) fn register(&self, bank: MessageDigest, count: usize) -> Vec<u8> {
        let mut register = vec![0; bank.size()];
        for entry in &self.entries[..count] {
            let extension = if entry.recorded.iter().all(|byte| *byte == 0) {
                vec![0xff; bank.size()]
            } else {
                digest(bank, &entry.data)
            };
            register.extend_from_slice(&extension);
            register = digest(bank, &register);
        }
        register
    }
}

/// A signature's header and the signature.
pub(crate) fn attribute(kind: u8, version: u8, hash: u8, key_id: u32, signature: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, version, hash];
    out.extend_from_slice(&key_id.to_be_bytes());
    out.extend_from_slice(&u16::try_from(signature.len()).unwrap().to_be_bytes());
    out.extend_from_slice(signature);
    out
}

pub(crate) fn digest_field(kind: &str, content: &[u8]) -> (Vec<u8>, String) {
    let digest = sha256(content);
    let mut bytes = format!("{kind}sha256:\0").into_bytes();
    bytes.extend_from_slice(&digest);
    (bytes, format!("{kind}sha256:{}", hex(&digest)))
}

pub(crate) fn name_field(name: &str) -> (Vec<u8>, String) {
    (format!("{name}\0").into_bytes(), name.to_owned())
}

pub(crate) fn bytes_field(bytes: &[u8]) -> (Vec<u8>, String) {
    (bytes.to_vec(), hex(bytes))
}

pub(crate) fn sha256(content: &[u8]) -> Vec<u8> {
    digest(MessageDigest::sha256(), content)
}

pub(crate) fn digest(algorithm: MessageDigest, content: &[u8]) -> Vec<u8> {
    hash(algorithm, content).unwrap().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
