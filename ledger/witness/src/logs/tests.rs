#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use ledger_tlog::key::KeyName;
use ledger_tlog::signer::{Cosigner, NoteSigner};

use super::*;

const GO: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

fn vkey(name: &str, seed: u8) -> String {
    NoteSigner::from_seed(KeyName::new(name).unwrap(), &[seed; 32]).unwrap().verifier().to_string()
}

#[test]
fn a_log_is_named_by_its_key_or_by_the_origin_after_it() {
    let logs = Logs::parse(&format!("# logs\n\n{}\n{GO} go.sum database tree\n", vkey("log.test", 1))).unwrap();
    assert_eq!(logs.get("log.test").unwrap().keys().len(), 1);
    assert_eq!(logs.get("go.sum database tree").unwrap().origin(), "go.sum database tree");
    assert!(logs.get("sum.golang.org").is_none());
}

#[test]
fn a_log_may_have_several_keys_but_none_twice() {
    let (first, second) = (vkey("log.test", 1), vkey("log.test", 2));
    let logs = Logs::parse(&format!("{first}\n{second}\n")).unwrap();
    assert_eq!(logs.get("log.test").unwrap().keys().len(), 2);
    let error = Logs::parse(&format!("{first}\n{second}\n{first}\n")).unwrap_err();
    assert!(matches!(error, MalformedLogs { number: 3, source: MalformedLog::Twice { .. } }), "{error:?}");
}

#[test]
fn a_witness_key_is_no_log_key() {
    let witness = Cosigner::from_seed(KeyName::new("w.test").unwrap(), &[1; 32]).unwrap();
    let error = Logs::parse(&witness.verifier().to_string()).unwrap_err();
    assert!(matches!(error.source, MalformedLog::Kind { .. }), "{error:?}");
    assert!(Logs::parse("log.test").is_err());
}
