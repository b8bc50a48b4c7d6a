//! Quote verification per core, beside the bare openssl signature check of the same bytes with a prepared key.
//!
//! Both run in turns in one process, so that whatever else the machine does falls on both.

#![expect(clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Instant;

use evidence::algorithm::{Digest, HashAlgorithm};
use evidence::pcr::{PcrBank, PcrIndex, PcrSelection, PcrValues};
use evidence::public::{Ak, Public};
use evidence::quote::{Expected, Quote};
use fixtures_bench::Report;
use fixtures_softtpm::{Hash, KeyKind, SoftQuote, SoftTpm};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public as PublicHalf};
use openssl::sign::Verifier;

/// Turns taken; each is one sample of both.
const SAMPLES: usize = 25;
/// Checks in a turn: some 5 to 20 ms, far above the clock's grain and below the scheduler's patience.
const CHECKS: u32 = 400;
/// PCRs 0 to 7, 10 and 16: what a Keylime policy over firmware, IMA and the transport key asks for.
const MASK: u32 = 0x0001_04ff;
/// A nonce of the length we send.
const NONCE: &[u8] = b"0123456789abcdef0123456789abcdef";

fn main() {
    let mut report = Report::new("quote_verify");
    for (name, kind) in [("rsa2048", KeyKind::RSA_2048), ("p256", KeyKind::P256)] {
        measure(&mut report, name, kind);
    }
    report.write().expect("the target folder can be written");
}

fn measure(report: &mut Report, name: &str, kind: KeyKind) {
    let mut tpm = SoftTpm::new(kind, 0);
    for index in 0..11 {
        tpm.measure(index, b"firmware");
    }
    let quote = tpm.quote(NONCE, Hash::Sha256, MASK);
    let ak = Ak::new(Public::from_tpm2b(&tpm.ak.tpm2b_public()).expect("well-formed")).expect("an honest AK");
    let values = values(&quote);
    let selection = PcrSelection::from_mask(PcrBank(HashAlgorithm::Sha256), MASK).expect("24 bits");
    let bare = Bare::new(&tpm, &quote);

    let whole = || {
        let parsed = Quote::parse(&quote.attest, &quote.signature).expect("well-formed");
        let expected = Expected { nonce: NONCE, selection: &selection, values: &values };
        drop(black_box(parsed.verify(&ak, &expected).expect("authentic")));
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    time(&whole);
    time(&|| bare.check());
    for _ in 0..SAMPLES {
        ours.push(time(&whole));
        theirs.push(time(&|| bare.check()));
    }
    let per_second = ours.iter().map(|seconds| 1.0 / seconds).collect();
    // Turn by turn, so that each sample compares two measurements made within milliseconds of each other.
    let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    report.add(&format!("quote_verify_{name}_per_s"), "1/s", per_second);
    let bare_per_second = theirs.iter().map(|seconds| 1.0 / seconds).collect();
    report.add(&format!("bare_verify_{name}_per_s"), "1/s", bare_per_second);
    report.add(&format!("quote_verify_{name}_ratio"), "1", ratios);
}

/// Seconds for one check.
fn time(check: &impl Fn()) -> f64 {
    let start = Instant::now();
    for _ in 0..CHECKS {
        check();
    }
    start.elapsed().as_secs_f64() / f64::from(CHECKS)
}

/// The signature check alone: key parsed, signature in openssl's form.
struct Bare {
    key: PKey<PublicHalf>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Bare {
    fn new(tpm: &SoftTpm, quote: &SoftQuote) -> Self {
        let der = tpm.ak.key.public_key_to_der().expect("openssl encodes");
        let key = PKey::public_key_from_der(&der).expect("openssl's own DER");
        let body = quote.signature.get(4..).expect("algorithms and a TPM2B");
        let size = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let first = &body[2..2 + size(body)];
        let signature = if key.rsa().is_ok() {
            first.to_vec()
        } else {
            let number = |bytes| openssl::bn::BigNum::from_slice(bytes).expect("memory");
            let second = &body[4 + first.len()..];
            let signature = openssl::ecdsa::EcdsaSig::from_private_components(number(first), number(second));
            signature.and_then(|signature| signature.to_der()).expect("openssl encodes")
        };
        Self { key, message: quote.attest.clone(), signature }
    }

    fn check(&self) {
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.key).expect("openssl verifies");
        assert!(black_box(verifier.verify_oneshot(&self.signature, &self.message)).expect("openssl verifies"));
    }
}

fn values(quote: &SoftQuote) -> PcrValues {
    let mut values = PcrValues::new(PcrBank(HashAlgorithm::Sha256));
    for (index, value) in &quote.values {
        let index = PcrIndex::try_from(*index).expect("below 24");
        values.insert(index, Digest::new(HashAlgorithm::Sha256, value).expect("32 bytes")).expect("the same bank");
    }
    values
}
