//! EK certificates: traced by the authorities that issued them, and by others.

use std::{fs, rc::Rc};

use evidence::ek_certificate::{EkCertificate, TrustStore};
use fixtures_softtpm::{KeyKind, SoftCa, Validity, shared};

use crate::{Judge, Outcome, Subject, data};

/// A certificate's authorities, strangers, and a time at which it is valid.
struct Authorities {
    issuers: Rc<TrustStore>,
    strangers: Rc<TrustStore>,
    original: Vec<u8>,
    at: i64,
}

impl Judge for Authorities {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        let Ok(certificate) = EkCertificate::parse(bytes) else { return Outcome::Malformed };
        let store = if lacking { &self.issuers } else { &self.strangers };
        let traced = store.verify_chain(&certificate, &[], self.at).is_ok();
        // What stands around the certificate, such as a TPM's header, is not of it.
        if traced && !(lacking && certificate.der() == self.original) { Outcome::Passes } else { Outcome::Fails }
    }
}

pub(crate) fn subjects() -> Vec<Subject> {
    let root = SoftCa::root("Root");
    let intermediate = root.intermediate("Intermediate", Validity::USUAL);
    let store = |authorities: &[&SoftCa]| {
        let mut store = TrustStore::new();
        for authority in authorities {
            store.add("own", &authority.der()).unwrap();
        }
        Rc::new(store)
    };
    let (issuers, strangers) = (store(&[&root, &intermediate]), store(&[&SoftCa::root("Root")]));
    let mut subjects = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, issuers: &Rc<TrustStore>| {
        let certificate = EkCertificate::parse(&bytes).unwrap();
        let at = if certificate.not_after() > NOW {
            NOW.max(certificate.not_before() + 1)
        } else {
            certificate.not_after() - 1
        };
        let traced = issuers.verify_chain(&certificate, &[], at).is_ok();
        let original = certificate.der().to_vec();
        let judge = Authorities { issuers: Rc::clone(issuers), strangers: Rc::clone(&strangers), original, at };
        subjects.push(Subject::whole(name, bytes, judge));
        usize::from(traced)
    };
    for (name, kind) in [("own RSA", KeyKind::RSA_2048), ("own P-256", KeyKind::P256)] {
        let der = intermediate.certify_ek(&shared(kind, 0), Validity::USUAL);
        assert_eq!(add(name, der, &issuers), 1, "only what is altered makes it fail");
    }
    let (Some(folder), Some(vendors)) = (data("ekcerts"), data("vendor-ca")) else { return subjects };
    let mut store = TrustStore::new();
    for entry in fs::read_dir(vendors).unwrap() {
        let path = entry.unwrap().path();
        store.add(&path.display().to_string(), &fs::read(path).unwrap()).unwrap();
    }
    let vendors = Rc::new(store);
    let mut traced = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        traced += add(&path.file_name().unwrap().to_string_lossy(), fs::read(&path).unwrap(), &vendors);
    }
    assert!(traced >= 12, "{traced} recorded certificates lead to a root");
    subjects
}

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;
