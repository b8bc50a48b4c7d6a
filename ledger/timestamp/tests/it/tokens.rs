//! What is believed of an authority, and what not. `openssl ts` is asked beside us.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_tsa::{Authority, Certificate, Dated, Stated};
use ledger_timestamp::{
    Accuracy, Authorities, MalformedToken, Nonce, Revocation, TimestampRequest, TimestampResponse, Token, TokenRejected,
};

use openssl::x509::X509;

const DATA: &[u8] = b"ledger.test/log\n2\n...\n";

fn request(random: u8) -> TimestampRequest {
    TimestampRequest::new(&openssl::sha::sha256(DATA), Nonce::new(&[random; 16]))
}

fn token(authority: &Authority) -> Token {
    TimestampResponse::parse(&authority.reply(&request(0x80).to_der())).unwrap().into_token().unwrap()
}

fn trusting(authority: &Authority) -> Authorities {
    let mut authorities = Authorities::new();
    authorities.trust_pem(&authority.read("ca.pem")).unwrap();
    authorities
}

#[test]
fn a_token_of_a_trusted_authority_is_believed_over_its_data_only() {
    let authority = Authority::new(&Certificate::default());
    let token = token(&authority);
    let trust = trusting(&authority);
    let verified = token.verify(DATA, request(0x80).nonce(), &trust).unwrap();
    assert_eq!((verified.chain.len(), verified.revocation), (2, Revocation::Unknown));
    assert_eq!(token.info().accuracy, Some(Accuracy(1_500_000)));
    let days_left = (verified.not_after - verified.gen_time.seconds()) / 86_400;
    assert!((29..=30).contains(&days_left), "{days_left}");
    assert!(authority.openssl_believes(&token.to_response(), DATA));
    let again = TimestampResponse::parse(&token.to_response()).unwrap().into_token().unwrap();
    assert_eq!(again, token);
    assert_eq!(authority.read("response.tsr"), token.to_response());

    assert!(matches!(token.verify(b"other", None, &trust), Err(TokenRejected::Imprint)));
    assert!(!authority.openssl_believes(&token.to_response(), b"other"));
    let nonce = request(1);
    assert!(matches!(token.verify(DATA, nonce.nonce(), &trust), Err(TokenRejected::Nonce)));
}

#[test]
fn an_authority_nobody_trusts_is_not_believed() {
    let (authority, other) = (Authority::new(&Certificate::default()), Authority::new(&Certificate::default()));
    let token = token(&authority);
    let refused = token.verify(DATA, None, &trusting(&other));
    assert!(matches!(refused, Err(TokenRejected::Chain { .. })), "{refused:?}");
    // Help is not trust.
    let mut helped = trusting(&other);
    helped.help_pem(&authority.read("ca.pem")).unwrap();
    assert!(matches!(token.verify(DATA, None, &helped), Err(TokenRejected::Chain { .. })));
    assert!(token.verify_integrity(DATA, None, &helped).is_ok());
}

/// A token of `authority` over the statement of a genuine token, in which `from` becomes `to`.
fn signed_again(authority: &Authority, from: &[u8], to: &[u8]) -> Token {
    let genuine = Authority::new(&Certificate::default());
    let mut statement = genuine.statement(token(&genuine).to_der());
    if !from.is_empty() {
        let at = statement.windows(from.len()).position(|window| window == from).unwrap();
        statement[at..at + to.len()].copy_from_slice(to);
    }
    Token::parse(&authority.sign(&statement)).unwrap()
}

#[test]
fn a_certificate_that_was_not_made_for_stamping_alone_is_not_believed() {
    let verify = |usage| {
        let authority = Authority::new(&Certificate { usage, ..Certificate::default() });
        signed_again(&authority, b"", b"").verify(DATA, None, &trusting(&authority))
    };
    verify("critical,timeStamping").unwrap();
    for usage in ["critical,codeSigning", "timeStamping", "critical,timeStamping,codeSigning"] {
        let refused = verify(usage);
        assert!(matches!(refused, Err(TokenRejected::Chain { .. })), "{usage}: {refused:?}");
    }
}

#[test]
fn the_certificate_must_be_valid_at_the_tokens_time() {
    let authority = Authority::new(&Certificate::default());
    // Both are certificates of today: the one token is of this century's past, the other of its future.
    for year in [b"2001", b"2051"] {
        let refused = signed_again(&authority, b"20", year).verify(DATA, None, &trusting(&authority));
        assert!(matches!(refused, Err(TokenRejected::Chain { .. })), "{refused:?}");
    }
}

#[test]
fn another_certificate_of_the_same_name_is_not_the_signer() {
    let authority = Authority::new(&Certificate::default());
    let token = token(&authority);
    let certificate = |of: &Authority| X509::from_pem(&of.read("tsa.pem")).unwrap().to_der().unwrap();
    let own = certificate(&authority);
    // Another with the same issuer name, subject and serial number; signatures differ in length.
    let (other, foreign) = loop {
        let other = Authority::new(&Certificate::default());
        let foreign = certificate(&other);
        if foreign.len() == own.len() {
            break (other, foreign);
        }
    };
    let at = token.to_der().windows(own.len()).position(|window| window == own).unwrap();
    let mut swapped = token.to_der().to_vec();
    swapped[at..at + own.len()].copy_from_slice(&foreign);
    let swapped = Token::parse(&swapped).unwrap();
    assert!(matches!(swapped.verify(DATA, None, &trusting(&other)), Err(TokenRejected::SignerMissing)));
    // From outside it is found by its digest, among others of its name.
    let mut helped = trusting(&authority);
    helped.help_pem(&other.read("tsa.pem")).unwrap();
    assert!(token.verify(DATA, None, &helped).is_ok());
}

#[test]
fn a_revocation_counts_unless_it_came_later_and_for_a_harmless_reason() {
    let verify = |reason: Option<&str>| {
        let authority = Authority::new(&Certificate::default());
        let token = token(&authority);
        // The next second, since revocation at the token's own second counts.
        let next = token.info().gen_time.seconds() + 1;
        while std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() <= next {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let mut trust = trusting(&authority);
        trust.add_revocation_list(&authority.revocation_list(reason)).unwrap();
        token.verify(DATA, None, &trust).map(|verified| verified.revocation)
    };
    assert_eq!(verify(None).unwrap(), Revocation::Checked);
    assert_eq!(verify(Some("superseded")).unwrap(), Revocation::Checked);
    assert!(matches!(verify(Some("keyCompromise")), Err(TokenRejected::Revoked { .. })));
}

#[test]
fn a_revocation_list_that_the_issuer_did_not_sign_counts_for_nothing() {
    let (authority, other) = (Authority::new(&Certificate::default()), Authority::new(&Certificate::default()));
    let token = token(&authority);
    let mut trust = trusting(&authority);
    // Same name, another key.
    trust.add_revocation_list(&other.revocation_list(Some("keyCompromise"))).unwrap();
    assert_eq!(token.verify(DATA, None, &trust).unwrap().revocation, Revocation::Unknown);
}

#[test]
fn a_refusal_is_no_token() {
    // A policy that the authority does not have: status 2.
    let refused = [0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02];
    let refused = TimestampResponse::parse(&refused).unwrap().into_token().unwrap_err();
    assert_eq!(refused.status, 2);
}

#[test]
fn a_token_cut_short_or_followed_by_something_is_malformed() {
    let authority = Authority::new(&Certificate::default());
    let token = token(&authority);
    let der = token.to_der();
    for end in (0..der.len()).step_by(7) {
        assert!(Token::parse(&der[..end]).is_err(), "{end}");
    }
    let long = [der, &[0]].concat();
    assert!(matches!(Token::parse(&long), Err(MalformedToken::Der { .. })));
}

#[test]
fn requests_survive_a_round_trip_and_are_asked_with_a_certificate() {
    for random in [0, 1, 0x7f, 0x80, 0xff] {
        let request = request(random);
        let parsed = TimestampRequest::parse(&request.to_der()).unwrap();
        assert_eq!(parsed, request);
        assert_eq!(parsed.digest(), openssl::sha::sha256(DATA));
    }
    let authority = Authority::new(&Certificate::default());
    // openssl reads the request, and puts the certificate in.
    let token = token(&authority);
    assert!(token.verify_integrity(DATA, None, &Authorities::new()).is_ok());
}

#[test]
fn a_token_of_any_time_that_a_test_makes_is_one_to_openssl_as_well() {
    let (authority, other) = (Dated::new(1), Dated::new(2));
    let mut trust = Authorities::new();
    trust.trust_pem(&authority.root_pem()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), authority.root_pem()).unwrap();
    std::fs::write(path("data"), DATA).unwrap();
    for (gen_time_ms, accuracy_ms) in
        [(978_307_200_000, None), (1_767_225_600_120, Some(1_500)), (4_000_000_000_999, Some(0))]
    {
        let stated = Stated { gen_time_ms, accuracy_ms };
        let token = Token::parse(&authority.stamp(DATA, stated)).unwrap();
        assert_eq!(token.verify(DATA, None, &trust).unwrap().gen_time.0, gen_time_ms);
        assert_eq!(token.info().accuracy, accuracy_ms.map(|ms| Accuracy(ms * 1_000)));
        std::fs::write(path("token"), token.to_der()).unwrap();
        let time = (gen_time_ms / 1_000).to_string();
        let verified = std::process::Command::new("openssl")
            .args([
                "ts",
                "-verify",
                "-data",
                "data",
                "-in",
                "token",
                "-token_in",
                "-CAfile",
                "ca.pem",
                "-attime",
                &time,
            ])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        let stranger = Token::parse(&other.stamp(DATA, stated)).unwrap().verify(DATA, None, &trust);
        assert!(matches!(stranger, Err(TokenRejected::Chain { .. })), "{stranger:?}");
    }
}
