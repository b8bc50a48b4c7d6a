//! COSE receipts as a reader gets them.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use ledger_server::{Ledger, OpenError, ReceiptKeyError};
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::cose::{Algorithm, Receipt, ReceiptVerifier};
use ledger_tlog::hash::leaf_hash;
use ledger_tlog::tree::TreeHead;
use messages::ledger::Info;
use openssl::pkey::PKey;

use crate::entries::{action, fleet};
use crate::rig::{Caller, Rig, body, get, header};

async fn checkpoint(rig: &Rig, url: &str, size: u64) -> TreeHead {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let note = body(&rig.http(Caller::Auditor), url, "/checkpoint").await;
        let head = *Checkpoint::open(&note, "ledger.test/log", &rig.key(), &[]).unwrap().tree_head();
        if head.tree_size >= size {
            return head;
        }
        assert!(std::time::Instant::now() < deadline, "a checkpoint of {size} comes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_has_a_receipt_that_verifies_with_the_published_key_and_for_it_alone() {
    let rig = Rig::new();
    let served = rig.serve().await;
    rig.ledger_client(&served.url).append(fleet(vec![action("x"); 21])).await.unwrap();
    let head = checkpoint(&rig, &served.url, 23).await;
    let http = rig.http(Caller::Auditor);
    let info: Info = serde_json::from_slice(&body(&http, &served.url, "/ledger/v1/info").await).unwrap();
    let key = ReceiptVerifier::from_pem(info.receipt_key.unwrap().as_bytes()).unwrap();
    assert_eq!(key.algorithm(), Algorithm::Es256);
    for index in 0..head.tree_size {
        let answer = get(&http, &served.url, &format!("/ledger/v1/receipts/{index}")).await;
        assert_eq!(header(&answer.headers, "content-type"), "application/cose");
        let receipt = Receipt::parse(&answer.body).unwrap();
        assert_eq!(receipt.issuer(), Some("https://ledger.test/log"));
        let entry = body(&http, &served.url, &format!("/ledger/v1/entries/{index}")).await;
        assert_eq!(receipt.verify_inclusion(&leaf_hash(&entry), &key).unwrap(), head.root);
        assert!(receipt.verify_inclusion(&leaf_hash(b"another"), &key).is_err());
    }
    let old = TreeHead { tree_size: 1, root: leaf_hash(&body(&http, &served.url, "/ledger/v1/entries/0").await) };
    let receipt = body(&http, &served.url, "/ledger/v1/consistency-receipts/1").await;
    let receipt = Receipt::parse(&receipt).unwrap();
    assert_eq!(receipt.verify_consistency(&old, &key).unwrap(), head.root);
    let forged = TreeHead { root: leaf_hash(b"another"), ..old };
    assert!(receipt.verify_consistency(&forged, &key).is_err());
    served.stop().await;
}

#[test]
fn the_receipts_key_stays_and_a_lost_or_exchanged_one_is_noticed() {
    let rig = Rig::new();
    let public = || std::fs::read(rig.data().join("receipt.pub")).unwrap();
    drop(Ledger::open(&rig.log_config()).unwrap());
    let first = public();
    drop(Ledger::open(&rig.log_config()).unwrap());
    assert_eq!(public(), first);

    let key = rig.data().join("receipt.key");
    let own = std::fs::read(&key).unwrap();
    let other = PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
    // Written over, so that it stays readable by its owner alone.
    std::fs::write(&key, other).unwrap();
    let refused = Ledger::open(&rig.log_config()).unwrap_err();
    assert!(matches!(refused, OpenError::Receipts(ReceiptKeyError::Mismatch)), "{refused:?}");
    std::fs::remove_file(&key).unwrap();
    let refused = Ledger::open(&rig.log_config()).unwrap_err();
    assert!(matches!(refused, OpenError::Receipts(ReceiptKeyError::Read(_))), "{refused:?}");
    transport::secret_file::write(&key, &own).unwrap();
    drop(Ledger::open(&rig.log_config()).unwrap());
}

#[test]
fn an_operators_ed25519_key_signs_receipts() {
    let rig = Rig::new();
    drop(Ledger::open(&rig.log_config()).unwrap());
    let key = PKey::generate_ed25519().unwrap();
    std::fs::write(rig.data().join("receipt.key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    std::fs::write(rig.data().join("receipt.pub"), key.public_key_to_pem().unwrap()).unwrap();
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    let receipt = ledger.inclusion_receipt(1).unwrap();
    assert_eq!(receipt.algorithm(), Algorithm::EdDsa);
    assert!(ledger.inclusion_receipt(99).is_err());
}
