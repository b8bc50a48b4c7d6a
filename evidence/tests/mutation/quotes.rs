//! Quotes: judged with their own key, nonce and registers, and with another TPM's key.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::{
    algorithm::Digest,
    keylime::{KeylimeQuote, encode_pcr_blob, parse_pcr_blob},
    pcr::{PcrBank, PcrIndex, PcrSelection, PcrValues},
    public::{Ak, Public},
    quote::{Expected, Quote},
};
use fixtures_softtpm::{Hash, KeyKind, Scheme, SoftAk, SoftTpm};
use openssl::pkey::PKey;
use serde_json::Value;

use crate::{Judge, Outcome, Subject, data};

/// A challenge and the answer that was given to it.
#[derive(Clone)]
struct Challenge {
    attest: Vec<u8>,
    signature: Vec<u8>,
    values: PcrValues,
    selection: PcrSelection,
    nonce: Vec<u8>,
    ak: Ak,
    /// Another TPM's.
    other: Ak,
}

impl Challenge {
    /// Attest, signature and registers, one behind the other.
    fn bytes(&self) -> Vec<u8> {
        [self.attest.as_slice(), &self.signature, &encode_pcr_blob(&self.values)].concat()
    }

    fn judge(&self, bytes: &[u8], ak: &Ak) -> Outcome {
        let (attest, rest) = bytes.split_at(self.attest.len());
        let (signature, blob) = rest.split_at(self.signature.len());
        let (Ok(quote), Ok(values)) = (Quote::parse(attest, signature), parse_pcr_blob(blob)) else {
            return Outcome::Malformed;
        };
        let expected = Expected { nonce: &self.nonce, selection: &self.selection, values: &values };
        let unchanged = attest == self.attest && signature == self.signature && values == self.values;
        if quote.verify(ak, &expected).is_ok() && !unchanged { Outcome::Passes } else { Outcome::Fails }
    }

    fn is_authentic(&self) -> bool {
        let expected = Expected { nonce: &self.nonce, selection: &self.selection, values: &self.values };
        Quote::parse(&self.attest, &self.signature).unwrap().verify(&self.ak, &expected).is_ok()
    }

    /// As the three parts, and as the text that Keylime's agents send.
    fn subjects(self, name: &str) -> [Subject; 2] {
        assert!(self.is_authentic(), "{name}: only what is altered makes it fail");
        let blob = encode_pcr_blob(&self.values);
        let text = fixtures_softtpm::encode_keylime_quote(&self.attest, &self.signature, &blob).into_bytes();
        [Subject::whole(name, self.bytes(), self.clone()), Subject::whole(name, text, Text(self))]
    }
}

impl Judge for Challenge {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        self.judge(bytes, if lacking { &self.ak } else { &self.other })
    }
}

struct Text(Challenge);

impl Judge for Text {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        let parsed = std::str::from_utf8(bytes).ok().and_then(|text| KeylimeQuote::parse(text).ok());
        let Some(parsed) = parsed else { return Outcome::Malformed };
        let parts = [parsed.attest.as_slice(), &parsed.signature, &encode_pcr_blob(&parsed.values)].concat();
        if parsed.attest.len() != self.0.attest.len() || parsed.signature.len() != self.0.signature.len() {
            return Outcome::Malformed;
        }
        self.0.outcome(&parts, lacking)
    }
}

pub(crate) fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (name, kind) in [("own RSA", KeyKind::RSA_2048), ("own P-256", KeyKind::P256)] {
        subjects.extend(own(kind).subjects(name));
    }
    let Some(folder) = data("quotes") else { return subjects };
    let mut authentic = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(challenge) = recorded(&path).filter(Challenge::is_authentic) else { continue };
        subjects.extend(challenge.subjects(&path.file_name().unwrap().to_string_lossy()));
        authentic += 1;
    }
    assert!(authentic >= 7, "{authentic} recorded quotes are authentic");
    subjects
}

fn own(kind: KeyKind) -> Challenge {
    let (mut tpm, mask) = (SoftTpm::new(kind, 0), 0x0000_05ff);
    for index in 0..11 {
        tpm.measure(index, &[index]);
    }
    let quote = tpm.quote(b"nonce", Hash::Sha256, mask);
    let values = fixtures_softtpm::encode_pcr_blob(quote.bank, &quote.values);
    let bank: PcrBank = PcrBank(evidence::algorithm::HashAlgorithm::Sha256);
    Challenge {
        attest: quote.attest,
        signature: quote.signature,
        values: parse_pcr_blob(&values).unwrap(),
        selection: PcrSelection::from_mask(bank, mask).unwrap(),
        nonce: b"nonce".to_vec(),
        ak: ak(&tpm),
        other: ak(&SoftTpm::new(kind, 1)),
    }
}

fn ak(tpm: &SoftTpm) -> Ak {
    Ak::new(Public::from_tpmt(&tpm.ak.tpmt_public()).unwrap()).unwrap()
}

/// A recorded quote over one bank, with an attestation key that has its public key.
fn recorded(path: &Path) -> Option<Challenge> {
    let json: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let bytes = |value: &Value| STANDARD.decode(value.as_str()?).ok();
    let decoded = json.pointer("/expected/decoded_attest")?;
    let [selected] = decoded["pcrSelect"].as_array()?.as_slice() else { return None };
    let bank = PcrBank(selected["bank"].as_str()?.parse().ok()?);
    let index = |number: u64| PcrIndex::try_from(u8::try_from(number).unwrap()).unwrap();
    let mut values = PcrValues::new(bank);
    for (number, value) in json["pcr_banks"][bank.to_string()].as_object()? {
        let value = Digest::new(bank.algorithm(), &hex::decode(value.as_str()?).ok()?).ok()?;
        values.insert(index(number.parse().ok()?), value).ok()?;
    }
    let key = PKey::public_key_from_pem(json["ak_public_pem"].as_str()?.as_bytes()).ok()?;
    let (scheme, kind) =
        if key.rsa().is_ok() { (Scheme::RsaSsa, KeyKind::RSA_2048) } else { (Scheme::Ecdsa, KeyKind::P256) };
    let public = Public::from_tpmt(&SoftAk::tpmt_public_of(&key, scheme, Hash::Sha256)).ok()?;
    Some(Challenge {
        attest: bytes(&json["attest_b64"])?,
        signature: bytes(&json["signature_tpmt_b64"])?,
        values,
        selection: PcrSelection::from_indices(
            bank,
            selected["pcrs"].as_array()?.iter().filter_map(Value::as_u64).map(index),
        ),
        nonce: hex::decode(decoded["extraData"].as_str()?).ok()?,
        ak: Ak::new(public).ok()?,
        other: ak(&SoftTpm::new(kind, 1)),
    })
}
