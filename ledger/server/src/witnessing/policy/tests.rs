#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use ledger_tlog::key::KeyName;
use ledger_tlog::signer::{Cosigner, NoteSigner};

use super::*;

fn witness(seed: u8) -> String {
    let name = KeyName::new(&format!("w{seed}.test")).unwrap();
    Cosigner::from_seed(name, &[seed; 32]).unwrap().verifier().to_string()
}

fn log(seed: u8) -> NoteVerifier {
    NoteSigner::from_seed(KeyName::new("log.test").unwrap(), &[seed; 32]).unwrap().verifier().clone()
}

#[test]
fn witnesses_with_an_address_are_asked_and_all_count() {
    let (one, two) = (witness(1), witness(2));
    let text = format!("witness a {one} https://w1.test/x/\nwitness\tb {two}\ngroup g any a b\nquorum g\n");
    let policy = WitnessPolicy::parse(text.as_bytes()).unwrap();
    let addresses: Vec<_> = policy.addresses().iter().map(|(key, url)| (key.to_string(), url.as_str())).collect();
    assert_eq!(addresses, [(one, "https://w1.test/x")]);
    assert_eq!(policy.quorum().witnesses().count(), 2);
    assert!(policy.uses_tls() && policy.covers(&log(1)));
}

#[test]
fn a_policy_that_lists_logs_is_for_those_alone() {
    let text = format!("log {}\nwitness a {} http://w1.test\nquorum a\n", log(1), witness(1));
    let policy = WitnessPolicy::parse(text.as_bytes()).unwrap();
    assert!(policy.covers(&log(1)) && !policy.covers(&log(2)) && !policy.uses_tls());
}

#[test]
fn a_policy_without_an_address_to_ask_is_refused() {
    let parse = |text: String| WitnessPolicy::parse(text.as_bytes()).unwrap_err();
    let one = witness(1);
    assert!(matches!(parse(format!("witness a {one}\nquorum a\n")), WitnessPolicyError::NoAddress));
    assert!(matches!(parse("quorum none\n".to_owned()), WitnessPolicyError::NoAddress));
    assert!(matches!(parse(format!("witness a {one} ftp://w\nquorum a\n")), WitnessPolicyError::Url { .. }));
    assert!(matches!(parse(format!("witness a {one} http://w\n")), WitnessPolicyError::Malformed(_)));
}
