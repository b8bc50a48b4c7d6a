//! Tokens of three authorities, where they lie beside the workspace.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::io::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger_timestamp::{Authorities, TimestampRequest, TimestampResponse, Token, TokenRejected};
use serde_json::Value;

/// The file `name` of the ledger vectors, or nothing, loudly.
fn vectors(name: &str) -> Option<Value> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../../shared/vectors/ledger", name].iter().collect();
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            // Written past the test harness, which would keep it to itself.
            let skipped = format!("SKIPPED: {}: {error}\n", path.display());
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            None
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).unwrap()
}

fn token(file: &Value, name: &str) -> Token {
    let responses = file["responses"].as_array().unwrap();
    let found = responses.iter().find(|response| response["name"] == name).unwrap();
    TimestampResponse::parse(&base64(&found["der_base64"])).unwrap().into_token().unwrap()
}

/// The chain of a name: its roots are trusted.
fn chain(file: &Value, name: &str) -> Authorities {
    let mut authorities = Authorities::new();
    authorities.trust_pem(text(&file["chains"][name]).as_bytes()).unwrap();
    authorities
}

/// The roots of a chain alone.
fn roots(file: &Value, name: &str) -> Authorities {
    let pem = text(&file["chains"][name]);
    let last = pem.rfind("-----BEGIN").unwrap();
    let mut authorities = Authorities::new();
    authorities.trust_pem(&pem.as_bytes()[last..]).unwrap();
    authorities
}

#[test]
fn every_response_of_the_vectors_has_the_expected_outcome() {
    let Some(file) = vectors("rfc3161.json") else { return };
    let data = text(&file["message_utf8"]).as_bytes();
    let mut seen = 0;
    for response in file["responses"].as_array().unwrap() {
        let name = text(&response["name"]);
        let authorities = chain(&file, text(&response["chain"]));
        let verified = token(&file, name).verify(data, None, &authorities);
        match name {
            "response-invalid-signature.tsr" => {
                assert!(matches!(verified, Err(TokenRejected::Signature)), "{name}: {verified:?}");
            }
            "other_response.tsr" => {
                let refused = matches!(verified, Err(TokenRejected::Chain { .. } | TokenRejected::SignerMissing));
                assert!(refused, "{name}: {verified:?}");
            }
            _ => {
                let verified = verified.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                assert!(verified.not_after > verified.gen_time.seconds(), "{name}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_token_without_its_certificate_needs_it_from_outside() {
    let Some(file) = vectors("rfc3161.json") else { return };
    let token = token(&file, "response-no-embedded-cert.tsr");
    assert!(token.verify(b"hello", None, &chain(&file, "sigstage")).is_ok());
    let refused = token.verify(b"hello", None, &roots(&file, "sigstage"));
    assert!(matches!(refused, Err(TokenRejected::SignerMissing)), "{refused:?}");
}

#[test]
fn a_token_is_over_its_message_only_and_answers_its_request_only() {
    let Some(file) = vectors("rfc3161.json") else { return };
    let token = token(&file, "response.tsr");
    let authorities = chain(&file, "test_tsa");
    assert!(matches!(token.verify(b"hullo", None, &authorities), Err(TokenRejected::Imprint)));
    let request = |name: &str| TimestampRequest::parse(&base64(&file["requests"][name])).unwrap();
    let own = request("test_tsa/request.der");
    assert_eq!(own.to_der(), base64(&file["requests"]["test_tsa/request.der"]));
    token.verify(b"hello", own.nonce(), &authorities).unwrap();
    let other = request("test_tsa/other_request.der");
    assert!(matches!(token.verify(b"hello", other.nonce(), &authorities), Err(TokenRejected::Nonce)));
}

#[test]
fn no_altered_byte_of_a_token_verifies_as_another_statement() {
    let Some(file) = vectors("rfc3161.json") else { return };
    let token = token(&file, "response.tsr");
    let authorities = chain(&file, "test_tsa");
    let genuine = token.verify(b"hello", None, &authorities).unwrap();
    for position in 0..token.to_der().len() {
        let mut altered = token.to_der().to_vec();
        altered[position] ^= 1;
        // Some bytes are signed by nobody, such as the version; none of them changes what is said.
        if let Ok(altered) = Token::parse(&altered)
            && let Ok(verified) = altered.verify(b"hello", None, &authorities)
        {
            assert_eq!(verified.gen_time, genuine.gen_time, "byte {position}");
            assert_eq!(altered.info(), token.info(), "byte {position}");
        }
    }
}

#[test]
fn the_own_logs_token_is_over_its_checkpoint() {
    let Some(file) = vectors("own-log-300.json") else { return };
    let checkpoint = base64(&file["files_base64"]["checkpoint"]);
    let stamp = &file["rfc3161"];
    let request = TimestampRequest::parse(&base64(&stamp["request_base64"])).unwrap();
    let response = TimestampResponse::parse(&base64(&stamp["response_base64"])).unwrap();
    let token = response.into_token().unwrap();
    let mut authorities = Authorities::new();
    authorities.trust_pem(text(&stamp["ca_pem"]).as_bytes()).unwrap();
    let verified = token.verify(&checkpoint, request.nonce(), &authorities).unwrap();
    assert!(verified.gen_time.seconds() > 1_700_000_000);
    assert!(token.verify(&checkpoint[1..], request.nonce(), &authorities).is_err());
}

#[test]
fn the_stamps_of_the_rekor_bundles_are_over_their_signatures_and_the_exchanged_one_is_not() {
    let Some(file) = vectors("rekor2-bundles.json") else { return };
    let mut authorities = Authorities::new();
    for authority in file["trusted_root"]["timestampAuthorities"].as_array().unwrap() {
        for certificate in authority["certChain"]["certificates"].as_array().unwrap() {
            let (body, edge) = (text(&certificate["rawBytes"]), "CERTIFICATE-----");
            authorities.trust_pem(format!("-----BEGIN {edge}\n{body}\n-----END {edge}\n").as_bytes()).unwrap();
        }
    }
    let cases = file["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 13);
    for (name, case) in cases {
        let bundle = &case["bundle"];
        let signature = base64(&bundle["messageSignature"]["signature"]);
        let stamps = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"].as_array();
        let [stamp] = stamps.unwrap().as_slice() else { panic!("{name}: one stamp") };
        let response = TimestampResponse::parse(&base64(&stamp["signedTimestamp"])).unwrap();
        let verified = response.into_token().unwrap().verify(&signature, None, &authorities);
        if name == "rekor2-timestamp-payload-mismatch_fail" {
            assert!(matches!(verified, Err(TokenRejected::Imprint)), "{name}: {verified:?}");
        } else {
            assert_eq!(
                verified.unwrap_or_else(|error| panic!("{name}: {error:?}")).authority(),
                "sigstore.dev, sigstore-tsa"
            );
        }
    }
}
