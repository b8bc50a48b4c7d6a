//! Quotes of real TPMs: hardware, swtpm, Azure and Google Cloud.

use std::path::Path;

use evidence::algorithm::{Digest, HashAlgorithm, SignatureScheme};
use evidence::keylime::{KeylimeQuote, MalformedKeylimeQuote, encode_pcr_blob, parse_pcr_blob};
use evidence::pcr::{PcrBank, PcrIndex, PcrSelection, PcrValues};
use evidence::public::{Ak, AkRejected, Ek, Public};
use evidence::quote::{Expected, Quote, QuoteRejected};
use fixtures_softtpm::{Hash, Scheme, SoftAk};
use openssl::pkey::PKey;
use serde_json::Value;

use crate::{base64, data, hex, json};

/// The recorded quotes and what is expected of each, by the README beside them and our floor.
const QUOTES: [(&str, Verdict); 11] = [
    ("azure_az-snp-vtpm", Verdict::Authentic),
    // Signed with SHA-256, over the SHA-1 bank.
    ("gce-cos-85-no-nonce_sha1", Verdict::WeakBank),
    ("gce-cos-85-no-nonce_sha256", Verdict::Authentic),
    ("gce-cos-85-no-nonce_sha384", Verdict::Authentic),
    // Signed with SHA-1.
    ("goattest_windows_gcp", Verdict::WeakHash),
    ("guard_dell_notebook", Verdict::Authentic),
    ("guard_latitude-7520", Verdict::Authentic),
    ("guard_supermicro_wbcl", Verdict::TwoBanks),
    ("guard_x1carbon", Verdict::Authentic),
    ("keylime_checkquote", Verdict::Authentic),
    ("keylime_files_quote", Verdict::Authentic),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Authentic,
    TwoBanks,
    WeakBank,
    WeakHash,
}

struct Recorded {
    json: Value,
    quote: Quote,
}

impl Recorded {
    fn read(folder: &Path, name: &str) -> Self {
        let json = json(&folder.join(format!("{name}.json")));
        let quote = Quote::parse(&base64(&json["attest_b64"]), &base64(&json["signature_tpmt_b64"])).unwrap();
        Self { json, quote }
    }

    fn expected(&self) -> &Value {
        &self.json["expected"]["decoded_attest"]
    }

    /// The AK of the recording, or a public area an AK with its PEM key would have.
    fn ak(&self) -> Ak {
        let key = PKey::public_key_from_pem(self.json["ak_public_pem"].as_str().unwrap().as_bytes()).unwrap();
        let scheme = if key.rsa().is_ok() { Scheme::RsaSsa } else { Scheme::Ecdsa };
        let made = Public::from_tpmt(&SoftAk::tpmt_public_of(&key, scheme, Hash::Sha256)).unwrap();
        Ak::new(self.public().unwrap_or(made.clone())).unwrap_or_else(|_| Ak::new(made).unwrap())
    }

    fn public(&self) -> Option<Public> {
        let expected = &self.json["expected"];
        if expected["ak_tpmt_public_b64"].is_string() {
            return Some(Public::from_tpmt(&base64(&expected["ak_tpmt_public_b64"])).unwrap());
        }
        expected["ak_tpm2b_public_b64"]
            .is_string()
            .then(|| Public::from_tpm2b(&base64(&expected["ak_tpm2b_public_b64"])).unwrap())
    }

    fn bank(&self, name: &str) -> PcrBank {
        PcrBank(name.parse().unwrap())
    }

    /// The selection the README gives for one bank.
    fn selection(&self, entry: &Value) -> PcrSelection {
        let indices = entry["pcrs"].as_array().unwrap().iter().map(|index| pcr_index(index.as_u64().unwrap()));
        PcrSelection::from_indices(self.bank(entry["bank"].as_str().unwrap()), indices)
    }

    fn values(&self, bank: PcrBank) -> PcrValues {
        let mut values = PcrValues::new(bank);
        for (index, value) in self.json["pcr_banks"][bank.to_string()].as_object().unwrap() {
            let digest = Digest::new(bank.algorithm(), &hex(value)).unwrap();
            values.insert(pcr_index(index.parse().unwrap()), digest).unwrap();
        }
        values
    }
}

fn pcr_index(number: u64) -> PcrIndex {
    PcrIndex::try_from(u8::try_from(number).unwrap()).unwrap()
}

#[test]
fn recorded_quotes_have_the_fields_and_the_verdict_the_readme_gives() {
    let Some(data) = data() else { return };
    for (name, verdict) in QUOTES {
        let recorded = Recorded::read(&data.join("quotes"), name);
        let (quote, expected) = (&recorded.quote, recorded.expected());
        assert_eq!(quote.qualified_signer().as_bytes(), hex(&expected["qualifiedSigner"]), "{name}");
        assert_eq!(quote.extra_data(), hex(&expected["extraData"]), "{name}");
        assert_eq!(Some(quote.clock_info().clock_ms), expected["clock"].as_u64(), "{name}");
        assert_eq!(Some(u64::from(quote.clock_info().reset_count)), expected["resetCount"].as_u64(), "{name}");
        assert_eq!(Some(u64::from(quote.clock_info().restart_count)), expected["restartCount"].as_u64(), "{name}");
        assert!(quote.clock_info().safe, "{name}");
        assert_eq!(format!("{:#x}", quote.firmware_version()), expected["firmwareVersion"].as_str().unwrap(), "{name}");
        assert_eq!(quote.pcr_digest(), hex(&expected["pcrDigest"]), "{name}");
        let selections = expected["pcrSelect"].as_array().unwrap();
        let selections: Vec<_> = selections.iter().map(|entry| recorded.selection(entry)).collect();
        assert_eq!(quote.selections(), selections, "{name}");

        let ak = recorded.ak();
        let selection = selections.last().unwrap();
        let values = recorded.values(selection.bank());
        let nonce = hex(&expected["extraData"]);
        let asked = Expected { nonce: &nonce, selection, values: &values };
        let judged = quote.clone().verify(&ak, &asked);
        let as_expected = match verdict {
            Verdict::Authentic => judged.is_ok(),
            Verdict::TwoBanks => {
                matches!(&judged, Err(QuoteRejected::SelectionCount { found, .. }) if found.len() == 2)
            }
            Verdict::WeakBank => matches!(judged, Err(QuoteRejected::WeakBank { .. })),
            Verdict::WeakHash => matches!(judged, Err(QuoteRejected::WeakHash { found: HashAlgorithm::Sha1 })),
        };
        assert!(as_expected, "{name}: {judged:?}");
        // The README says that all signatures verify; SHA-1 we do not try.
        assert_eq!(quote.verify_signature(&ak).is_ok(), verdict != Verdict::WeakHash, "{name}");

        let mut other = nonce.clone();
        other.push(0);
        let judged = quote.clone().verify(&ak, &Expected { nonce: &other, ..asked });
        assert!(
            matches!(judged, Err(QuoteRejected::Nonce { .. } | QuoteRejected::WeakHash { .. })),
            "{name}: {judged:?}"
        );
    }
}

#[test]
fn the_trustee_quote_over_all_registers_is_authentic() {
    let Some(data) = data() else { return };
    let recorded = Recorded::read(&data.join("quotes"), "trustee_tpm_evidence");
    let bank = PcrBank(HashAlgorithm::Sha256);
    let (selection, values) = (PcrSelection::from_mask(bank, 0x00ff_ffff).unwrap(), recorded.values(bank));
    let nonce = hex(&recorded.expected()["extraData"]);
    let expected = Expected { nonce: &nonce, selection: &selection, values: &values };
    let authentic = recorded.quote.clone().verify(&recorded.ak(), &expected).unwrap();
    assert_eq!(authentic.values().len(), 24);
    let fewer = PcrSelection::from_mask(bank, 0x007f_ffff).unwrap();
    let judged = recorded.quote.clone().verify(&recorded.ak(), &Expected { selection: &fewer, ..expected });
    assert!(matches!(judged, Err(QuoteRejected::Selection { .. })), "{judged:?}");
}

#[test]
fn recorded_public_areas_have_the_key_of_their_pem() {
    let Some(data) = data() else { return };
    let mut read = 0;
    for (name, _) in QUOTES {
        let recorded = Recorded::read(&data.join("quotes"), name);
        let Some(public) = recorded.public() else { continue };
        let pem = recorded.json["ak_public_pem"].as_str().unwrap().trim();
        assert_eq!(public.public_key_pem().unwrap().trim(), pem, "{name}");
        read += 1;
    }
    assert_eq!(read, 5);
}

#[test]
fn a_recorded_ak_that_signs_with_sha1_is_rejected() {
    let Some(data) = data() else { return };
    let public = Recorded::read(&data.join("quotes"), "goattest_windows_gcp").public().unwrap();
    assert_eq!(Ak::new(public).unwrap_err(), AkRejected::WeakHash { found: HashAlgorithm::Sha1 });
    let public = Recorded::read(&data.join("quotes"), "gce-cos-85-no-nonce_sha256").public().unwrap();
    assert_eq!(Ak::new(public).unwrap().scheme().scheme, SignatureScheme::RsaSsa);
}

#[test]
fn the_recorded_ak_has_the_recorded_name_and_lives_under_the_recorded_ek() {
    let Some(data) = data() else { return };
    let file = |name: &str| std::fs::read(data.join("quotes").join(name)).unwrap();
    let ak = Ak::new(Public::from_tpm2b(&file("keylime_files_ak.pub")).unwrap()).unwrap();
    assert_eq!(ak.name().as_bytes(), file("keylime_files_ak.name"));
    assert!(Ek::new(Public::from_tpm2b(&file("keylime_files_ek.pub")).unwrap()).is_ok());
}

#[test]
fn the_recorded_pcr_blobs_are_read_and_written_back() {
    let Some(data) = data() else { return };
    let blob = std::fs::read(data.join("quotes/keylime_files_quotepcr.out")).unwrap();
    let values = parse_pcr_blob(&blob).unwrap();
    assert_eq!(values, Recorded::read(&data.join("quotes"), "keylime_files_quote").values(values.bank()));
    assert_eq!(encode_pcr_blob(&values), blob);

    let recorded = Recorded::read(&data.join("quotes"), "keylime_checkquote");
    let blob = base64(&recorded.json["expected"]["pcrblob_b64"]);
    let values = parse_pcr_blob(&blob).unwrap();
    assert_eq!(values, recorded.values(values.bank()));
    assert_eq!(encode_pcr_blob(&values), blob);
}

#[test]
fn keylimes_own_case_passes_and_its_four_changes_fail() {
    let Some(data) = data() else { return };
    let recorded = Recorded::read(&data.join("quotes"), "keylime_checkquote");
    let ak = recorded.ak();
    let (attest, signature) = (base64(&recorded.json["attest_b64"]), base64(&recorded.json["signature_tpmt_b64"]));
    let blob = base64(&recorded.json["expected"]["pcrblob_b64"]);
    let judge = |attest: &[u8], nonce: &str, blob: &[u8], bank: HashAlgorithm| {
        let text = fixtures_softtpm::encode_keylime_quote(attest, &signature, blob);
        let Ok(parts) = KeylimeQuote::parse(&text) else { return false };
        let Ok(quote) = parts.quote() else { return false };
        let selection = PcrSelection::from_mask(PcrBank(bank), 1 << 16).unwrap();
        let expected = Expected { nonce: nonce.as_bytes(), selection: &selection, values: &parts.values };
        quote.verify(&ak, &expected).is_ok()
    };
    let nonce = recorded.json["expected"]["nonce_ascii"].as_str().unwrap();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[5] ^= 1;
        bytes
    };
    assert!(judge(&attest, nonce, &blob, HashAlgorithm::Sha256));
    assert!(!judge(&flipped(&attest), nonce, &blob, HashAlgorithm::Sha256));
    assert!(!judge(&attest, &format!("B{}", &nonce[1..]), &blob, HashAlgorithm::Sha256));
    assert!(!judge(&attest, nonce, &flipped(&blob), HashAlgorithm::Sha256));
    assert!(!judge(&attest, nonce, &blob, HashAlgorithm::Sha1));
}

#[test]
fn quotes_of_a_real_agent_are_read() {
    let Some(data) = data() else { return };
    let samples = data.join("../samples/keylime");
    let mut read = 0;
    for entry in std::fs::read_dir(&samples).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for quote in text.split('"').filter(|part| part.starts_with("r/1RDR4AY")) {
            match KeylimeQuote::parse(quote) {
                Ok(parts) => assert!(parts.quote().is_ok(), "{}", path.display()),
                Err(MalformedKeylimeQuote::Base64 { .. }) if quote.contains('.') => continue,
                Err(error) => panic!("{}: {error:?}", path.display()),
            }
            read += 1;
        }
    }
    eprintln!("{read} quotes of a real agent read");
    assert!(read > 0);
}
