//! What survives: kills, races, damage, a second process.

use std::collections::BTreeMap;

use http::StatusCode;

use crate::rig::{Log, ORIGIN, Rig, open, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_killed_after_any_answer_remembers_what_it_cosigned() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let mut old = 0;
    for new in [3, 4, 9, 20, 21] {
        let witness = rig.spawn();
        log.opened(new, &witness.ask(log.request(old, new)).await, &rig.vkey);
        witness.kill();
        old = new;
    }
    let witness = rig.spawn();
    let rolled_back = witness.ask(log.request(9, 20)).await;
    assert_eq!((rolled_back.status, text(&rolled_back).as_str()), (StatusCode::CONFLICT, "21\n"));
    assert_eq!(witness.ask(Log::new("b").request(21, 30)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(open(&text(&witness.latest(ORIGIN).await), &rig.vkey).tree_head().tree_size, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_killed_amid_requests_never_goes_back_behind_an_answer() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let mut size = 0;
    for round in 0..6 {
        let witness = rig.spawn();
        let url = witness.url.clone();
        let (answers, mut answered) = tokio::sync::watch::channel(0);
        let asking = tokio::spawn(async move {
            let (client, log, mut size) = (crate::rig::client(), Log::new("a"), size);
            loop {
                let outgoing = transport::client::Outgoing::new(http::Method::POST, format!("{url}/add-checkpoint"));
                let body = log.request(size, size + 1);
                match client.request(outgoing.with_body("text/plain", body)).await {
                    Ok(answer) if answer.status == StatusCode::OK => {
                        size += 1;
                        answers.send_modify(|answers| *answers += 1);
                    }
                    Ok(answer) => panic!("{}", text(&answer)),
                    Err(_) => return size,
                }
            }
        });
        answered.wait_for(|answers| *answers > round).await.unwrap();
        // Somewhere in the next request.
        tokio::time::sleep(std::time::Duration::from_micros(300 * round)).await;
        witness.kill();
        let reached = asking.await.unwrap();
        // Perhaps one more was recorded than answered, never one less.
        let recorded = std::fs::read_to_string(rig.record()).map(|note| open(&note, &rig.vkey).tree_head().tree_size);
        let recorded = recorded.unwrap_or(0);
        assert!(recorded == reached || recorded == reached + 1, "answered {reached}, recorded {recorded}");
        size = recorded;
    }
    let witness = rig.spawn();
    log.opened(size + 1, &witness.ask(log.request(size, size + 1)).await, &rig.vkey);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_requests_from_one_size_exactly_one_is_cosigned() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let witness = std::sync::Arc::new(rig.spawn());
    let mut size = 1;
    log.opened(size, &witness.ask(log.request(0, size)).await, &rig.vkey);
    for _ in 0..10 {
        // Both histories and several sizes at once, all from the size recorded.
        let mut racing = tokio::task::JoinSet::new();
        for step in 1..=6 {
            let (witness, body) = (std::sync::Arc::clone(&witness), log.request(size, size + step));
            racing.spawn(async move { (size + step, witness.ask(body).await) });
        }
        let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
        let mut won = 0;
        while let Some(raced) = racing.join_next().await {
            let (new, answer) = raced.unwrap();
            *statuses.entry(answer.status.as_u16()).or_default() += 1;
            if answer.status == StatusCode::OK {
                won = new;
                log.opened(new, &answer, &rig.vkey);
            }
        }
        assert_eq!(statuses, BTreeMap::from([(200, 1), (409, 5)]));
        assert_eq!(open(&text(&witness.latest(ORIGIN).await), &rig.vkey).tree_head().tree_size, won);
        size = won;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_refused_with_what_to_do() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let witness = rig.spawn();
    log.opened(5, &witness.ask(log.request(0, 5)).await, &rig.vkey);
    witness.kill();
    let record = std::fs::read_to_string(rig.record()).unwrap();
    std::fs::write(rig.record(), record.replacen("\n5\n", "\n4\n", 1)).unwrap();
    let ended = rig.run();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && told.contains("damaged") && told.contains("retire"), "{told}");
    std::fs::write(rig.record(), record).unwrap();
    assert_eq!(open(&text(&rig.spawn().latest(ORIGIN).await), &rig.vkey).tree_head().tree_size, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_and_a_lost_folder_of_records_are_refused() {
    let rig = Rig::new();
    let witness = rig.spawn();
    let told = String::from_utf8_lossy(&rig.run().stderr).into_owned();
    assert!(told.contains("in use"), "{told}");
    witness.kill();
    std::fs::remove_dir_all(rig.data().join("checkpoints")).unwrap();
    let told = String::from_utf8_lossy(&rig.run().stderr).into_owned();
    assert!(told.contains("missing") && told.contains("retire"), "{told}");
}

#[test]
fn a_key_is_never_replaced_and_never_open_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::new();
    let again =
        ledger_witness::identity::create(&rig.data(), "witness.test/w1", ledger_keys::KeyType::Ed25519).unwrap_err();
    assert!(again.to_string().contains("already"), "{again}");
    let key = rig.data().join("witness.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = String::from_utf8_lossy(&rig.run().stderr).into_owned();
    assert!(told.contains("chmod 600"), "{told}");
}

#[test]
fn keygen_prints_the_verifier_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_attestry-witness"))
        .args(["keygen", "--name", "witness.test/w2", "--data"])
        .arg(folder.path().join("w2"))
        .output()
        .unwrap();
    let printed = String::from_utf8(made.stdout).unwrap();
    let loaded = ledger_witness::identity::load(&folder.path().join("w2")).unwrap();
    assert_eq!(printed, format!("{}\n", loaded.verifier()));
    assert!(printed.starts_with("witness.test/w2+"));
}

#[test]
fn an_ml_dsa_witness_cosigns_where_openssl_can_and_is_refused_with_the_reason_where_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("w");
    let made = ledger_witness::identity::create(&data, "witness.test/pq", ledger_keys::KeyType::MlDsa44);
    if !ledger_tlog::signer::ml_dsa_is_available() {
        let error = made.unwrap_err();
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert!(reason.contains("OpenSSL 3.5"), "{reason}");
        return;
    }
    let (vkey, log) = (made.unwrap(), Log::new("a"));
    let mut logs = ledger_witness::logs::Logs::default();
    logs.add(&log.signer.verifier().to_string()).unwrap();
    let load = || ledger_witness::identity::load(&data).unwrap();
    let witness = ledger_witness::Witness::open(&data, load(), logs.clone()).unwrap();
    for (old, new) in [(0, 3), (3, 8)] {
        let request = log.request(old, new);
        let line = witness.add_checkpoint(request.as_bytes()).unwrap();
        let (_, note) = request.split_once("\n\n").unwrap();
        let cosigned = ledger_tlog::note::Note::parse(format!("{note}{line}").as_bytes()).unwrap();
        assert!(cosigned.verify(std::slice::from_ref(&vkey)).unwrap().is_signed_by(&vkey));
    }
    drop(witness);
    // Its record is read back by its own cosignature.
    ledger_witness::Witness::open(&data, load(), logs).unwrap();
}

#[test]
fn a_witness_has_no_p256_key() {
    let folder = tempfile::tempdir().unwrap();
    let made = ledger_witness::identity::create(folder.path(), "witness.test/w", ledger_keys::KeyType::P256);
    assert!(matches!(made, Err(ledger_witness::identity::IdentityError::Kind { .. })));
}
