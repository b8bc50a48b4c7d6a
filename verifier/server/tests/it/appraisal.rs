//! What booted and what ran, judged round by round: policies given, named, changed; lists that grow and start anew.

use base64::{Engine, engine::general_purpose::STANDARD};
use fixtures_softtpm::{
    KeyKind,
    measured::{boot, boot_policy, ima_ng, runtime_policy},
    shared,
};
use http::{Method, StatusCode};
use messages::keylime::{AddAgent, RuntimeLayer};
use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};

use crate::{
    attester::Attester,
    chain,
    stand::{Stand, until},
};

/// Path and content.
type File<'a> = (&'a str, &'a [u8]);

const KERNEL: &[u8] = b"linux 6.1";
const COMMAND_LINE: &str = "/vmlinuz-6.1 root=/dev/vda1 ro";

fn with_runtime(attester: &Attester, policy: &str) -> AddAgent {
    AddAgent { runtime_policy: Some(STANDARD.encode(policy)), ..attester.add() }
}

fn with_boot(add: AddAgent, policy: &str) -> AddAgent {
    AddAgent { mb_policy: Some(policy.to_string()), ..add }
}

fn good_boot_policy() -> String {
    boot_policy(&[KERNEL], "/vmlinuz-6\\.1 root=/dev/vda1 ro")
}

/// An enrolled machine that booted right and ran one program, not added yet.
async fn machine(stand: &Stand, id: &str) -> Attester {
    let attester = Attester::start(stand, id).await;
    attester.boot(&boot(KERNEL, COMMAND_LINE));
    attester.start_list();
    attester.run("/usr/bin/app", b"app 1");
    stand.enrol(&attester).await;
    attester
}

async fn update(stand: &Stand, attester: &Attester, add: &AddAgent) -> (StatusCode, Value) {
    let body = serde_json::to_string(&AddAgent { v: None, ..add.clone() }).unwrap();
    stand.ask(Method::PUT, &format!("/v2.6/agents/{}", attester.id), Some(body)).await
}

async fn passes_again(stand: &Stand, attester: &Attester) {
    let count = stand.status(&attester.id).await.unwrap().attestation_count;
    stand.until(&attester.id, "more passes", |status| status.attestation_count >= count + 2).await;
}

#[track_caller]
fn only(findings: &[String], event: &str) {
    assert!(!findings.is_empty() && findings.iter().all(|found| found == event), "{findings:?}; expected {event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_booted_and_runs_what_it_should_passes_and_its_list_is_read_once() {
    let stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    let policy = runtime_policy(&[("/usr/bin/app", b"app 1"), ("/usr/bin/tool", b"tool")], &[]);
    stand.add(&attester, &with_boot(with_runtime(&attester, &policy), &good_boot_policy())).await;
    stand.until_passed(&attester.id).await;
    attester.run("/usr/bin/tool", b"tool");
    passes_again(&stand, &attester).await;
    until("nothing is sent twice", || attester.state.lock().unwrap().list_sent == (3, 0)).await;
    let status = stand.status(&attester.id).await.unwrap();
    assert_eq!((status.has_runtime_policy, status.has_mb_refstate), (1, 1));
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    let verdict = chain::last_verdict(&entries);
    assert_eq!(verdict.policies.len(), 3, "tpm, runtime, measured-boot");
    assert_eq!((verdict.ima_state.count, verdict.ima_state.running.len()), (3, 32));
    for digest in &verdict.policies {
        stand.ledger().blob(digest).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_thing_fails_with_its_own_finding() {
    let stand = Stand::start().await;
    let runtime = runtime_policy(&[("/usr/bin/app", b"app 1")], &[]);
    type Change = fn(&Attester);
    let changes: [(&str, Change, &str); 8] = [
        ("changed", |a| a.run("/usr/bin/app", b"trojan"), "ima.validation.ima-ng.runtime_policy_hash"),
        ("unknown", |a| a.run("/tmp/x", b"x"), "ima.validation.ima-ng.not_in_allowlist"),
        ("shortened", |a| drop(a.state.lock().unwrap().ima.pop()), "ima.prefix_rewritten"),
        ("list-gone", |a| a.state.lock().unwrap().ima.clear(), "ima.list_missing"),
        (
            "kernel",
            |a| {
                a.reset();
                a.boot(&boot(b"backdoor", COMMAND_LINE));
                a.start_list();
            },
            "measured_boot.policy_digest_not_accepted",
        ),
        (
            "command-line",
            |a| {
                a.reset();
                a.boot(&boot(KERNEL, "/vmlinuz-6.1 init=/bin/sh"));
                a.start_list();
            },
            "measured_boot.policy_command_line_not_accepted",
        ),
        ("log-gone", |a| a.state.lock().unwrap().boot_log = None, "measured_boot.parser.missing_log"),
        (
            "log-cut",
            |a| a.state.lock().unwrap().boot_log.as_mut().unwrap().truncate(100),
            "measured_boot.parser.tpm2_eventlog.error",
        ),
    ];
    for (id, change, expected) in changes {
        let attester = machine(&stand, id).await;
        stand.add(&attester, &with_boot(with_runtime(&attester, &runtime), &good_boot_policy())).await;
        stand.until_passed(&attester.id).await;
        change(&attester);
        let failed = stand.until_failed(&attester.id).await;
        assert_eq!(failed.last_event_id.as_deref(), Some(expected), "{id}: {failed:?}");
    }
}

/// Programs with names of 3,000 characters, so that few of them make a long list.
fn long_names() -> Vec<String> {
    (0..150).map(|number| format!("/opt/{number:0>3000}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_of_many_agents_wait_their_turn_in_little_room_and_each_is_judged_whole() {
    let mut stand = Stand::without_verifier(None).await;
    // Lists of 450 KiB: two of them do not fit in.
    stand.long_lists_bytes_max = 600 << 10;
    stand.start_verifier().await;
    let other = machine(&stand, "other").await;
    let names = long_names();
    let files: Vec<File<'_>> = names.iter().map(|name| (name.as_str(), b"x".as_slice())).collect();
    let policy = runtime_policy(&[files.as_slice(), &[("/usr/bin/app", b"app 1")]].concat(), &[]);
    let mut attesters = Vec::new();
    for number in 0..6 {
        let attester = machine(&stand, &format!("node-{number}")).await;
        files.iter().for_each(|(path, content)| attester.run(path, content));
        attesters.push(attester);
    }
    // One has a bad file behind everything else.
    let bad = attesters.first().unwrap();
    bad.run("/usr/bin/app", b"trojan");
    stand.add(&other, &with_runtime(&other, &policy)).await;
    for attester in &attesters {
        stand.add(attester, &with_runtime(attester, &policy)).await;
    }
    stand.until_passed(&other.id).await;
    let failed = stand.until_failed(&bad.id).await;
    assert_eq!(failed.last_event_id.as_deref(), Some("ima.validation.ima-ng.runtime_policy_hash"));
    let finding = failed.last_finding.unwrap();
    assert_eq!((finding.place(), finding.layer()), (Some("entry 152 \"/usr/bin/app\""), Some("runtime")));
    for attester in attesters.iter().skip(1) {
        stand.until_passed(&attester.id).await;
        let entries = chain::entries(&stand.ledger(), &attester.id).await;
        assert_eq!(chain::last_verdict(&entries).ima_state.count, 152);
        // And nothing is sent twice once it is recorded.
        passes_again(&stand, attester).await;
        until("no more lines", || attester.state.lock().unwrap().list_sent == (152, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_finding_of_a_round_is_kept() {
    let stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    attester.run("/a", b"a");
    attester.run("/b", b"b");
    stand.add(&attester, &with_runtime(&attester, &runtime_policy(&[("/usr/bin/app", b"app 1")], &[]))).await;
    stand.until_failed(&attester.id).await;
    let findings = chain::first_failure(&chain::entries(&stand.ledger(), &attester.id).await);
    only(&findings, "ima.validation.ima-ng.not_in_allowlist");
    assert_eq!(findings.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_exclude_hides_passes_and_is_told_of() {
    let stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    attester.run("/tmp/one", b"1");
    attester.run("/tmp/two", b"2");
    let policy = runtime_policy(&[("/usr/bin/app", b"app 1")], &["/tmp/.*"]);
    stand.add(&attester, &with_runtime(&attester, &policy)).await;
    stand.until_passed(&attester.id).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    let first = chain::first_verdict(&entries);
    let notice = first.findings.first().unwrap();
    assert_eq!((notice.component.as_str(), notice.event.as_str(), notice.severity), ("ima", "excluded", 0));
    assert_eq!(notice.text, r#"measurement list: 2 entries pass for exclude "/tmp/.*" alone; layer runtime"#);
    assert_eq!(stand.status(&attester.id).await.unwrap().last_event_id, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_update_over_two_policy_epochs_raises_no_alarm() {
    let stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    let upload = |files: &[File<'_>]| {
        let policy = STANDARD.encode(runtime_policy(files, &[]));
        json!({"tpm_policy": "{}", "runtime_policy": policy, "runtime_policy_key": ""}).to_string()
    };
    let (old, new): (File<'_>, File<'_>) = (("/usr/bin/app", b"app 1"), ("/usr/bin/app", b"app 2"));
    let path = "/v2.6/allowlists/site";
    let (status, body) = stand.ask(Method::POST, path, Some(upload(&[old]))).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    stand.add(&attester, &AddAgent { runtime_policy_name: Some("site".into()), ..attester.add() }).await;
    stand.until_passed(&attester.id).await;

    let policies = || async { chain::count(&chain::entries(&stand.ledger(), &attester.id).await, "policy") };
    assert_eq!(stand.ask(Method::PUT, path, Some(upload(&[old, new]))).await.0, StatusCode::CREATED);
    passes_again(&stand, &attester).await;
    assert_eq!(policies().await, 2, "the agent follows the name, on record");
    attester.run(new.0, new.1);
    passes_again(&stand, &attester).await;
    // Retired: what ran before stays judged by what held then.
    assert_eq!(stand.ask(Method::PUT, path, Some(upload(&[new]))).await.0, StatusCode::CREATED);
    passes_again(&stand, &attester).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!((chain::count(&entries, "fail"), chain::count(&entries, "policy")), (0, 3));
    // The old one again, seen for the first time under the new policy only.
    attester.run("/usr/bin/../bin/app", old.1);
    stand.until_failed(&attester.id).await;

    let (status, _) = stand.ask(Method::DELETE, path, None).await;
    assert_eq!(status, StatusCode::CONFLICT, "in use");
    assert!(stand.ask(Method::DELETE, "/v2.6/agents/node-1", None).await.0.is_success());
    assert_eq!(stand.ask(Method::DELETE, path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(stand.ask(Method::GET, path, None).await.0, StatusCode::NOT_FOUND);
    let fleet = stand.ledger().entries(None, 0, 4_096).await.unwrap();
    let named = fleet
        .entries
        .iter()
        .filter(|(_, bytes)| ledger_protocol::Entry::decode(bytes).unwrap().kind == ledger_protocol::Kind::Policy);
    assert_eq!(named.count(), 4, "each change of the name is on the fleet's chain");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_starts_the_list_anew_however_long_it_is_by_then() {
    let stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    let policy = runtime_policy(&[("/usr/bin/app", b"app 1"), ("/b", b"b"), ("/c", b"c")], &[]);
    stand.add(&attester, &with_boot(with_runtime(&attester, &policy), &good_boot_policy())).await;
    stand.until_passed(&attester.id).await;
    for files in [1, 4] {
        attester.set(crate::attester::Manner::Refuse(503));
        attester.reset();
        attester.boot(&boot(KERNEL, COMMAND_LINE));
        attester.start_list();
        for _ in 0..files {
            attester.run("/b", b"b");
        }
        attester.set(crate::attester::Manner::Honest);
        passes_again(&stand, &attester).await;
    }
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::count(&entries, "fail"), 0, "{:?}", chain::kinds(&entries));
    // The same list of before, without a reset of the TPM, is another matter.
    attester.state.lock().unwrap().ima.truncate(2);
    stand.until_failed(&attester.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_another_machine_fails_at_its_first_entry() {
    let stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    attester.boot(&boot(KERNEL, COMMAND_LINE));
    attester.list(ima_ng("boot_aggregate", &[7; 32]));
    stand.enrol(&attester).await;
    stand.add(&attester, &with_runtime(&attester, &runtime_policy(&[("/a", b"a")], &[]))).await;
    let failed = stand.until_failed(&attester.id).await;
    assert_eq!(failed.last_event_id.as_deref(), Some("ima.validation.boot_aggregate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_and_names_survive_a_restart_of_the_verifier() {
    let mut stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    let policy = STANDARD.encode(runtime_policy(&[("/usr/bin/app", b"app 1")], &[]));
    let add = AddAgent {
        runtime_policy: Some(policy),
        runtime_policy_name: Some("site".into()),
        mb_policy: Some(good_boot_policy()),
        mb_policy_name: Some("boot".into()),
        ..attester.add()
    };
    stand.add(&attester, &add).await;
    stand.until_passed(&attester.id).await;
    stand.stop_verifier().await;
    attester.state.lock().unwrap().list_sent = (99, 99);
    stand.start_verifier().await;
    stand.until_passed(&attester.id).await;
    assert_eq!(attester.state.lock().unwrap().list_sent, (2, 0), "it is not read again");
    let (_, names) = stand.ask(Method::GET, "/v2.6/allowlists/", None).await;
    assert_eq!(names["results"]["runtimepolicy names"], json!(["site"]));
    let (_, shown) = stand.ask(Method::GET, "/v2.6/mbpolicies/boot", None).await;
    assert_eq!(shown["results"]["mb_policy"], json!(good_boot_policy()));
    attester.run("/x", b"x");
    stand.until_failed(&attester.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_cannot_be_kept_to_are_refused_and_nothing_is_recorded() {
    let stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    let runtime = |policy: &str| AddAgent { runtime_policy: Some(STANDARD.encode(policy)), ..attester.add() };
    let with_boot = |policy: &str| AddAgent { mb_policy: Some(policy.into()), ..attester.add() };
    let good = runtime_policy(&[("/a", b"a")], &[]);
    let bad_regex = runtime_policy(&[], &["("]);
    let key = STANDARD.encode(crate::attester::public_pem());
    for (add, expected) in [
        (runtime("{}"), StatusCode::BAD_REQUEST),
        (runtime("no json"), StatusCode::BAD_REQUEST),
        (runtime(&bad_regex), StatusCode::BAD_REQUEST),
        (with_boot("{\"version\": 1}"), StatusCode::BAD_REQUEST),
        (with_boot("{\"keylime-policy\": \"mine\"}"), StatusCode::BAD_REQUEST),
        (with_boot("[]"), StatusCode::BAD_REQUEST),
        (AddAgent { runtime_policy_key: Some(key), ..runtime(&good) }, StatusCode::UNAUTHORIZED),
        (AddAgent { runtime_policy_name: Some("none".into()), ..attester.add() }, StatusCode::NOT_FOUND),
        (AddAgent { mb_policy_name: Some("none".into()), ..attester.add() }, StatusCode::NOT_FOUND),
    ] {
        let (status, body) = stand.post(&attester.id, &add).await;
        assert_eq!(status, expected, "{body}");
    }
    assert_eq!(chain::kinds(&chain::entries(&stand.ledger(), &attester.id).await), ["enrol"]);
    stand.add(&attester, &AddAgent { runtime_policy_name: Some("site".into()), ..runtime(&good) }).await;
    let (status, _) =
        update(&stand, &attester, &AddAgent { runtime_policy_name: Some("site".into()), ..runtime(&good) }).await;
    assert_eq!(status, StatusCode::CONFLICT, "the name exists");
    for (method, path, code) in [
        (Method::PUT, "/v2.6/allowlists/none", StatusCode::NOT_FOUND),
        (Method::PUT, "/v2.6/mbpolicies/none", StatusCode::CONFLICT),
    ] {
        let body = json!({"runtime_policy": STANDARD.encode(&good), "mb_policy": good_boot_policy()});
        assert_eq!(stand.ask(method, path, Some(body.to_string())).await.0, code, "{path}");
    }
}

/// The names that verdicts of an agent give the layers of its findings.
async fn texts(stand: &Stand, attester: &Attester) -> String {
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    let verdict = chain::last_verdict(&entries);
    verdict.findings.iter().map(|finding| finding.text.clone()).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_allow_together_and_findings_name_them() {
    let stand = Stand::start().await;
    let keep = async |name: &str, policy: String| {
        let body = json!({"tpm_policy": "{}", "runtime_policy": STANDARD.encode(policy), "runtime_policy_key": ""})
            .to_string();
        let (status, _) = stand.ask(Method::POST, &format!("/v2.6/allowlists/{name}"), Some(body)).await;
        assert_eq!(status, StatusCode::CREATED);
    };
    keep("distribution", runtime_policy(&[("/usr/bin/app", b"app 1")], &[])).await;
    keep("acme", runtime_policy(&[("/usr/bin/tool", b"tool")], &[])).await;
    let mut attesters = Vec::new();
    for id in ["node-1", "node-2"] {
        let attester = machine(&stand, id).await;
        attester.run("/usr/bin/tool", b"tool");
        attester.run("/opt/own", b"own");
        let mut add = with_runtime(&attester, &runtime_policy(&[("/opt/own", b"own")], &[]));
        let layer = |layer: &str, policy: &str| RuntimeLayer { layer: layer.into(), policy: policy.into() };
        add.attestry.as_mut().unwrap().runtime_layers = vec![layer("base", "distribution"), layer("site", "acme")];
        stand.add(&attester, &add).await;
        stand.until_passed(&attester.id).await;
        attesters.push(attester);
    }
    let entries = chain::entries(&stand.ledger(), &attesters[0].id).await;
    for digest in &chain::last_verdict(&entries).policies {
        stand.ledger().blob(digest).await.unwrap();
    }
    // In use by a layer's name.
    let (status, _) = stand.ask(Method::DELETE, "/v2.6/allowlists/acme", None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    attesters[0].run("/usr/bin/tool", b"trojan");
    stand.until_failed(&attesters[0].id).await;
    assert!(texts(&stand, &attesters[0]).await.contains("; layer site"), "{}", texts(&stand, &attesters[0]).await);
    attesters[0].run("/tmp/x", b"x");
    passes_again(&stand, &attesters[1]).await;
    // The site's policy learns of another tool, and the agents follow.
    let policy = STANDARD.encode(runtime_policy(&[("/usr/bin/tool", b"tool"), ("/usr/bin/other", b"other")], &[]));
    let body = json!({"tpm_policy": "{}", "runtime_policy": policy, "runtime_policy_key": ""});
    let (status, _) = stand.ask(Method::PUT, "/v2.6/allowlists/acme", Some(body.to_string())).await;
    assert_eq!(status, StatusCode::CREATED);
    passes_again(&stand, &attesters[1]).await;
    attesters[1].run("/usr/bin/other", b"other");
    passes_again(&stand, &attesters[1]).await;
    attesters[1].run("/nowhere", b"x");
    stand.until_failed(&attesters[1].id).await;
    let told = texts(&stand, &attesters[1]).await;
    assert!(told.contains("; layer base + site + node"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_unknown_and_keys_without_a_policy_are_refused() {
    let stand = Stand::start().await;
    let attester = machine(&stand, "node-1").await;
    let mut add = with_runtime(&attester, &runtime_policy(&[("/usr/bin/app", b"app 1")], &[]));
    add.attestry.as_mut().unwrap().runtime_layers =
        vec![RuntimeLayer { layer: "base".into(), policy: "nobody's".into() }];
    let path = format!("/v2.6/agents/{}", attester.id);
    let (status, _) = stand.ask(Method::POST, &path, Some(serde_json::to_string(&add).unwrap())).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let keys = Some(keyring(&shared(KeyKind::P256, 60)));
    let add = AddAgent { ima_sign_verification_keys: keys, ..attester.add() };
    let (status, answer) = stand.ask(Method::POST, &path, Some(serde_json::to_string(&add).unwrap())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer.to_string().contains("ima_sign_verification_keys"), "{answer}");
}

fn keyring(key: &PKey<Private>) -> String {
    let der = STANDARD.encode(key.public_key_to_der().unwrap());
    json!({"meta": {"version": 1}, "keyids": [], "pubkeys": [der]}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_keylimes_tenant_gives_count_in_place_of_the_policys() {
    let stand = Stand::start().await;
    let (given, other) = (shared(KeyKind::P256, 60), shared(KeyKind::P256, 61));
    let policy = runtime_policy(&[("/usr/bin/app", b"app 1")], &[]);
    let policy =
        policy.replace("\"verification-keys\": \"\"", &format!("\"verification-keys\": {}", json!(keyring(&other))));
    assert!(policy.contains("pubkeys"), "{policy}");
    for (id, signer, passes) in [("node-1", &given, true), ("node-2", &other, false)] {
        let attester = machine(&stand, id).await;
        attester.run_signed("/usr/bin/signed", b"signed", signer);
        let keys = Some(keyring(&given));
        let add = AddAgent { ima_sign_verification_keys: keys, ..with_runtime(&attester, &policy) };
        stand.add(&attester, &add).await;
        if passes {
            stand.until_passed(&attester.id).await;
        } else {
            let failed = stand.until_failed(&attester.id).await;
            let event = failed.last_event_id.as_deref();
            assert_eq!(event, Some("ima.validator.ima-sig.invalid_signature"), "{failed:?}");
        }
    }
}
