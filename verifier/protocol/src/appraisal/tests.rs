#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod forged;
mod measured;
mod tpm;

use evidence::public::Public;
use fixtures_softtpm::{Hash, KeyKind, SoftAk, SoftQuote, SoftTpm, encode_keylime_quote, shared};
use messages::keylime::IntegrityQuote;

use super::*;

const NONCE: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const NK: &str = "-----BEGIN PUBLIC KEY-----\nsome key\n-----END PUBLIC KEY-----\n";
/// PCR 15, and PCR 16 which is always added.
const MASK: u32 = 0x1_8000;

struct Bench {
    accepted: AlgorithmsAccepted,
    ak: Ak,
    policy: TpmPolicy,
    previous_clock: Option<ClockInfo>,
    tpm: SoftTpm,
}

impl Bench {
    fn of(kind: KeyKind, number: usize) -> Self {
        let mut tpm = SoftTpm::new(kind, number);
        tpm.measure(16, NK.as_bytes());
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let accepted = AlgorithmsAccepted::from_names(
            &names(&["sha256", "sha384"]),
            &names(&["rsa", "ecc"]),
            &names(&["rsassa", "ecdsa"]),
        )
        .unwrap();
        let policy = format!(r#"{{"15": ["{}"]}}"#, hex::encode(tpm.read(Hash::Sha256, 15)));
        Self {
            ak: Ak::new(Public::from_tpm2b(&tpm.ak.tpm2b_public()).unwrap()).unwrap(),
            policy: TpmPolicy::parse(&policy, accepted.hash()).unwrap(),
            accepted,
            previous_clock: None,
            tpm,
        }
    }

    fn new() -> Self {
        Self::of(KeyKind::P256, 0)
    }

    fn appraise(&self, answer: &IntegrityQuote) -> Appraisal {
        let Self { accepted, ak, policy, previous_clock, .. } = self;
        let reference =
            Reference { ak, accepted, previous_clock: *previous_clock, policy, measured_boot: None, runtime: None };
        let lists = Lists::from_answer(answer.clone());
        appraise(&reference, NONCE, &Evidence::from_answer(answer).unwrap(), &lists)
    }

    fn honest(&mut self) -> IntegrityQuote {
        answer(&self.tpm.quote(NONCE, Hash::Sha256, MASK))
    }
}

fn answer(quote: &SoftQuote) -> IntegrityQuote {
    IntegrityQuote {
        quote: quote.keylime_string(),
        hash_alg: "sha256".into(),
        enc_alg: "ecc256".into(),
        sign_alg: "ecdsa".into(),
        pubkey: Some(NK.into()),
        ima_measurement_list: None,
        ima_measurement_list_entry: None,
        mb_measurement_list: None,
    }
}

fn events(appraisal: &Appraisal) -> Vec<String> {
    appraisal.findings().iter().map(Finding::event_id).collect()
}

#[track_caller]
fn fails_with(appraisal: &Appraisal, expected: &[&str]) {
    assert_eq!(appraisal.outcome(), Outcome::Fail, "{:?}", appraisal.findings());
    assert_eq!(events(appraisal), expected, "{:?}", appraisal.findings());
    appraisal.findings().iter().for_each(names_all);
}

/// Every finding says where, what and what else was expected; the ledger's text gives all of it back.
#[track_caller]
fn names_all(finding: &Finding) {
    let text = &finding.text;
    assert!(text.place().is_some() && text.expected().is_some(), "{finding:?}");
    assert_eq!(FindingText::parse(&text.to_string()), *text);
}

#[test]
fn an_honest_quote_passes() {
    let mut bench = Bench::new();
    let answer = bench.honest();
    let appraisal = bench.appraise(&answer);
    assert_eq!(appraisal.outcome(), Outcome::Pass, "{:?}", appraisal.findings());
    assert!(appraisal.findings().is_empty());
    assert!(appraisal.quote().is_some() && appraisal.clock().is_some());
}

#[test]
fn an_honest_rsa_quote_passes() {
    let mut bench = Bench::of(KeyKind::RSA_2048, 0);
    let answer = IntegrityQuote { enc_alg: "rsa".into(), sign_alg: "rsassa".into(), ..bench.honest() };
    assert_eq!(bench.appraise(&answer).outcome(), Outcome::Pass);
}

#[test]
fn a_register_with_another_value_fails_with_both_values_in_the_text() {
    let mut bench = Bench::new();
    bench.tpm.measure(15, b"unexpected");
    let found = hex::encode(bench.tpm.read(Hash::Sha256, 15));
    let answer = bench.honest();
    let appraisal = bench.appraise(&answer);
    fails_with(&appraisal, &["pcr_validation.invalid_pcr_15"]);
    let text = appraisal.findings().first().unwrap().text.to_string();
    assert!(text.contains(&found) && text.contains(&"00".repeat(32)), "{text}");
}

#[test]
fn every_wrong_register_is_found() {
    let mut bench = Bench::new();
    let zero = "00".repeat(32);
    let policy = format!(r#"{{"0": "{zero}", "14": "{zero}", "15": "{zero}"}}"#);
    bench.policy = TpmPolicy::parse(&policy, bench.accepted.hash()).unwrap();
    for index in [0, 14, 15] {
        bench.tpm.measure(index, b"x");
    }
    let quote = bench.tpm.quote(NONCE, Hash::Sha256, 0x1_c001);
    let appraisal = bench.appraise(&IntegrityQuote { pubkey: None, ..answer(&quote) });
    let expected = ["qoute_validation.no_pubkey", "pcr_validation.invalid_pcr_0"];
    fails_with(
        &appraisal,
        &[expected.as_slice(), &["pcr_validation.invalid_pcr_14", "pcr_validation.invalid_pcr_15"]].concat(),
    );
}

#[test]
fn another_nonce_fails() {
    let mut bench = Bench::new();
    let older = answer(&bench.tpm.quote(b"yesterday", Hash::Sha256, MASK));
    fails_with(&bench.appraise(&older), &["qoute_validation.quote_validation"]);
}

#[test]
fn other_registers_labelled_as_those_asked_for_fail() {
    let mut bench = Bench::new();
    let fields = bench.tpm.attest(NONCE, Hash::Sha256, 0x1_0001);
    let labelled = bench.tpm.sign_quote(&fields, Hash::Sha256, MASK);
    fails_with(&bench.appraise(&answer(&labelled)), &["qoute_validation.quote_validation"]);
    let fewer = bench.tpm.quote(NONCE, Hash::Sha256, 1 << 16);
    fails_with(&bench.appraise(&answer(&fewer)), &["qoute_validation.quote_validation"]);
    let more = bench.tpm.quote(NONCE, Hash::Sha256, MASK | 1);
    fails_with(&bench.appraise(&answer(&more)), &["qoute_validation.quote_validation"]);
}

#[test]
fn another_attestation_key_fails() {
    let mut bench = Bench::new();
    bench.tpm.ak = SoftAk::new(shared(KeyKind::P256, 77), Hash::Sha256);
    let answer = bench.honest();
    fails_with(&bench.appraise(&answer), &["qoute_validation.quote_validation"]);
}

#[test]
fn another_payload_key_than_the_registers_fails() {
    let mut bench = Bench::new();
    let answer = IntegrityQuote { pubkey: Some(NK.replace("some", "evil")), ..bench.honest() };
    fails_with(&bench.appraise(&answer), &["pcr_validation.invalid_pcr_16"]);
    let over_long = IntegrityQuote { pubkey: Some("x".repeat(PAYLOAD_KEY_BYTES_MAX + 1)), ..bench.honest() };
    fails_with(&bench.appraise(&over_long), &["qoute_validation.no_pubkey"]);
}

#[test]
fn algorithms_that_were_not_accepted_fail_by_name() {
    let mut bench = Bench::new();
    let honest = bench.honest();
    let hash = IntegrityQuote { hash_alg: "sha512".into(), ..honest.clone() };
    fails_with(&bench.appraise(&hash), &["qoute_validation.invalid_hash_alg"]);
    let enc = IntegrityQuote { enc_alg: "ecc384".into(), ..honest.clone() };
    fails_with(&bench.appraise(&enc), &["qoute_validation.invalid_enc_alg"]);
    let sign = IntegrityQuote { sign_alg: "rsassa".into(), ..honest };
    fails_with(&bench.appraise(&sign), &["qoute_validation.invalid_sign_alg"]);
}

#[test]
fn a_key_whose_scheme_is_not_accepted_fails_whatever_the_agent_says() {
    let mut bench = Bench::new();
    let names = |name: &str| vec![name.to_owned()];
    bench.accepted = AlgorithmsAccepted::from_names(&names("sha256"), &names("ecc"), &names("rsassa")).unwrap();
    for claim in ["rsassa", "ecdsa"] {
        let answer = IntegrityQuote { sign_alg: claim.into(), ..bench.honest() };
        fails_with(&bench.appraise(&answer), &["qoute_validation.invalid_sign_alg"]);
    }
}

#[test]
fn a_bank_other_than_the_signatures_hash_fails() {
    let mut bench = Bench::new();
    bench.policy = TpmPolicy::parse("{}", bench.accepted.hash()).unwrap();
    let quote = bench.tpm.quote(NONCE, Hash::Sha384, 1 << 16);
    let labelled = IntegrityQuote { hash_alg: "sha384".into(), ..answer(&quote) };
    fails_with(&bench.appraise(&labelled), &["qoute_validation.quote_validation"]);
}

#[test]
fn clocks_that_do_not_follow_fail_and_are_not_taken_over() {
    let mut bench = Bench::new();
    let first = bench.honest();
    bench.previous_clock = bench.appraise(&first).clock();
    let appraisal = bench.appraise(&first);
    fails_with(&appraisal, &["qoute_validation.quote_validation"]);
    assert_eq!(appraisal.clock(), None);
    let next = bench.honest();
    assert_eq!(bench.appraise(&next).outcome(), Outcome::Pass);
    bench.tpm.clock.safe = false;
    let not_safe = bench.honest();
    fails_with(&bench.appraise(&not_safe), &["qoute_validation.quote_validation"]);
    bench.previous_clock = None;
    fails_with(&bench.appraise(&not_safe), &["qoute_validation.quote_validation"]);
}

#[test]
fn a_reboot_is_no_failure_by_itself() {
    let mut bench = Bench::new();
    bench.tpm.suspend();
    let first = bench.honest();
    bench.previous_clock = bench.appraise(&first).clock();
    bench.tpm.reboot();
    bench.tpm.clock.clock_ms = 5;
    bench.tpm.measure(16, NK.as_bytes());
    let after = bench.honest();
    assert_eq!(bench.appraise(&after).outcome(), Outcome::Pass);
}

#[test]
fn malformed_quotes_fail_and_their_bytes_are_kept() {
    let mut bench = Bench::new();
    let quote = bench.tpm.quote(NONCE, Hash::Sha256, MASK);
    let with = |text: String| IntegrityQuote { quote: text, ..answer(&quote) };
    let blob_broken = with(encode_keylime_quote(&quote.attest, &quote.signature, b"blob"));
    let attest_broken = with(encode_keylime_quote(b"attest", &quote.signature, b"blob"));
    for (broken, kept) in [(blob_broken, quote.attest.as_slice()), (attest_broken, b"attest".as_slice())] {
        fails_with(&bench.appraise(&broken), &["qoute_validation.invalid_data"]);
        assert_eq!(Evidence::from_answer(&broken).unwrap().attest(), kept);
    }
}

#[test]
fn text_without_a_quotes_bytes_is_no_quote() {
    let mut bench = Bench::new();
    let honest = bench.honest();
    for text in ["", "r", "garbage", "r::", "r!:!:!", "rAAAA", &format!("r{}:AA==:AA==", "A".repeat(4_000))] {
        let answer = IntegrityQuote { quote: text.to_owned(), ..honest.clone() };
        assert!(Evidence::from_answer(&answer).is_err(), "{text}");
    }
}

#[test]
fn no_flipped_bit_passes() {
    let mut bench = Bench::new();
    let quote = bench.tpm.quote(NONCE, Hash::Sha256, MASK);
    let pcrs = fixtures_softtpm::encode_pcr_blob(Hash::Sha256, &quote.values);
    let parts = [quote.attest.clone(), quote.signature.clone(), pcrs];
    for (part, bytes) in parts.iter().enumerate() {
        for byte in 0..bytes.len() {
            let mut changed = parts.clone();
            *changed.get_mut(part).and_then(|part| part.get_mut(byte)).unwrap() ^= 1 << (byte % 8);
            let [attest, signature, pcrs] = &changed;
            let text = encode_keylime_quote(attest, signature, pcrs);
            let answer = IntegrityQuote { quote: text, ..answer(&quote) };
            assert_ne!(bench.appraise(&answer).outcome(), Outcome::Pass, "part {part}, byte {byte}");
        }
    }
}

#[test]
fn a_key_of_an_algorithm_that_is_not_accepted_fails_whatever_it_is_called() {
    let mut bench = Bench::new();
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let strong = names(&["ecc384", "rsa4096"]);
    bench.accepted = AlgorithmsAccepted::from_names(&names(&["sha256"]), &strong, &names(&["ecdsa"])).unwrap();
    for claim in ["ecc384", "rsa4096", "ecc256"] {
        let answer = IntegrityQuote { enc_alg: claim.into(), ..bench.honest() };
        fails_with(&bench.appraise(&answer), &["qoute_validation.invalid_enc_alg"]);
    }
}
