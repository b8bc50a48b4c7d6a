//! What passes, round after round, and what each policy rule does.

use super::builder::sha256;
use super::*;
use crate::pcr::PcrValues;

#[test]
fn an_honest_list_passes_and_settles() {
    let list = small_list();
    let appraisal = Round::whole(&list).appraise(&stack(&small_policy()), &state(HashAlgorithm::Sha256));
    assert!(appraisal.passed());
    assert_eq!((appraisal.judged, appraisal.ahead), (3, 0));
    assert_eq!((appraisal.state.next_entry(), appraisal.state.seen()), (3, 3));
    assert_eq!(appraisal.state.register().as_bytes(), list.register(MessageDigest::sha256(), 3));
}

#[test]
fn any_split_into_increments_comes_to_the_same() {
    let list = small_list();
    let stack = stack(&small_policy());
    let whole = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256)).state.encode();
    for middle in 1..=list.entries.len() {
        let first = Round::whole(&list.select(0..middle)).appraise(&stack, &state(HashAlgorithm::Sha256));
        let stored = MeasurementState::decode(&first.state.encode()).unwrap();
        let second = Round { from: middle, ..Round::whole(&list) }.appraise(&stack, &stored);
        assert!(second.passed());
        assert_eq!(second.judged, (list.entries.len() - middle) as u64);
        assert_eq!(second.state.encode(), whole);
        // A machine that sends everything again: the known part is replayed, not judged.
        let again = Round::whole(&list).appraise(&stack, &stored);
        assert!(again.passed());
        assert_eq!((again.judged, again.state.encode()), (second.judged, whole.clone()));
    }
}

#[test]
fn a_list_ahead_of_its_quote_is_judged_as_far_as_the_quote_reaches() {
    let mut list = small_list();
    list.file("/tmp/evil", b"evil");
    let stack = stack(&small_policy());
    let ahead = Round { quoted: 2, ..Round::whole(&list) }.appraise(&stack, &state(HashAlgorithm::Sha256));
    assert!(ahead.passed());
    assert_eq!((ahead.judged, ahead.ahead, ahead.state.next_entry()), (2, 2, 2));
    // The next quote must reach what the list had already.
    let stuck = Round { from: 2, quoted: 3, ..Round::whole(&list) }.appraise(&stack, &ahead.state);
    assert_eq!(events(&stuck), [Event::QuoteProgress]);
    assert_eq!(stuck.state.encode(), ahead.state.encode());
    let reached = Round { from: 2, quoted: 4, ..Round::whole(&list) }.appraise(&stack, &ahead.state);
    assert_eq!(events(&reached), [Event::NotInAllowlist]);
    // A list that ends where the quote does has nothing behind it to catch up with.
    let ended = Round { from: 2, ..Round::whole(&list.select(0..3)) }.appraise(&stack, &ahead.state);
    assert!(ended.passed());
}

#[test]
fn all_findings_are_kept_up_to_the_limit_and_the_rest_is_counted() {
    let mut list = small_list();
    let strange = FINDINGS_MAX + 50;
    for number in 0..strange {
        list.file(&format!("/opt/{number}"), b"x");
    }
    let appraisal = Round::whole(&list).appraise(&stack(&small_policy()), &state(HashAlgorithm::Sha256));
    assert_eq!(appraisal.findings.kept().len(), FINDINGS_MAX);
    assert_eq!((appraisal.findings.cut(), appraisal.findings.failures()), (50, strange as u64));
    assert_eq!(appraisal.findings.kept()[0].entry, Some(3));
    assert!(!appraisal.passed());
}

#[test]
fn a_wrong_digest_names_what_each_layer_allows() {
    let list = small_list();
    let base = policy(&small_policy());
    let site = policy(&serde_json::json!({"digests": {"/usr/bin/sh": listed(b"site's sh")}}));
    let mut other = list.clone();
    other.entries.truncate(2);
    other.file("/usr/bin/sh", b"nobody's sh");
    let stack = stack_of(vec![("base", base), ("site", site)]);
    let appraisal = Round::whole(&other).appraise(&stack, &state(HashAlgorithm::Sha256));
    assert_eq!(events(&appraisal), [Event::RuntimePolicyHash]);
    let finding = &appraisal.findings.kept()[0];
    assert_eq!(finding.event_id(), "ima.validation.ima-ng.runtime_policy_hash");
    assert_eq!(finding.entry, Some(2));
    for (content, layer) in [(b"sh".as_slice(), "base"), (b"site's sh", "site")] {
        let expected = format!("{} (layer {layer})", builder::hex(&sha256(content)));
        assert!(finding.expected.contains(&expected), "{finding}");
    }
    // What any layer allows is allowed.
    other.entries.truncate(2);
    other.file("/usr/bin/sh", b"site's sh");
    assert!(Round::whole(&other).appraise(&stack, &state(HashAlgorithm::Sha256)).passed());
}

#[test]
fn the_policy_in_force_at_first_sight_judges() {
    let old = stack(&small_policy());
    let mut updated = small_policy();
    updated["digests"]["/usr/bin/sh"] = listed(b"new sh");
    let new = stack(&updated);
    let mut list = small_list();
    let first = Round::whole(&list).appraise(&old, &state(HashAlgorithm::Sha256));
    assert!(first.passed());
    // After the update the old digest is gone from the policy; the entry stays in the list.
    list.file("/usr/bin/sh", b"new sh");
    let second = Round { from: 3, ..Round::whole(&list) }.appraise(&new, &first.state);
    assert!(second.passed());
    // Sent again from the start, too.
    assert!(Round::whole(&list).appraise(&new, &first.state).passed());
    // The retired file, run now, is seen now.
    list.signed("/usr/bin/sh", b"sh", b"");
    let retired = Round { from: 4, ..Round::whole(&list) }.appraise(&new, &second.state);
    assert_eq!(events(&retired), [Event::RuntimePolicyHash]);
    // And a verifier that knows nothing of the epochs has no older policy to judge by.
    let fresh = Round::whole(&list.select(0..4)).appraise(&new, &state(HashAlgorithm::Sha256));
    assert_eq!(events(&fresh), [Event::RuntimePolicyHash]);
}

#[test]
fn a_failed_machine_stays_failed_until_the_policy_allows_what_it_ran() {
    let mut list = small_list();
    list.file("/opt/tool", b"tool").file("/usr/bin/sh", b"old sh");
    let mut old = small_policy();
    old["digests"]["/usr/bin/sh"] = serde_json::json!([listed(b"sh")[0], listed(b"old sh")[0]]);
    let old = stack(&old);
    let failed = Round::whole(&list).appraise(&old, &state(HashAlgorithm::Sha256));
    assert_eq!(events(&failed), [Event::NotInAllowlist]);
    assert_eq!((failed.state.next_entry(), failed.state.seen()), (3, 5));
    let stored = MeasurementState::decode(&failed.state.encode()).unwrap();
    assert_eq!(stored.policies().collect::<Vec<_>>(), [old.id()]);
    // The same policy finds the same again; the machine cannot leave the entry behind.
    let again = Round { from: 3, ..Round::whole(&list) }.appraise(&old, &stored);
    assert_eq!(events(&again), [Event::NotInAllowlist]);
    let skipped = Round { from: 4, ..Round::whole(&list) }.appraise(&old, &stored);
    assert_eq!(events(&skipped), [Event::ListGap]);
    // The operator allows the tool, in a policy that no longer has the old shell: that was judged before.
    let mut new = small_policy();
    new["digests"]["/opt/tool"] = listed(b"tool");
    let new = stack(&new);
    let healed = Round { from: 3, ..Round::whole(&list) }.appraise_with(&new, &[&old], &stored);
    assert!(healed.passed(), "{:?}", healed.findings);
    assert_eq!(healed.state.policies().count(), 0);
    // Without the old policy at hand nothing speaks for the old shell.
    let forgotten = Round { from: 3, ..Round::whole(&list) }.appraise(&new, &stored);
    assert_eq!(events(&forgotten), [Event::RuntimePolicyHash]);
}

#[test]
fn violations_are_chosen_for_by_path() {
    let mut list = small_list();
    list.violation("/var/log/journal").violation("/var/log/audit").violation("/etc/shadow");
    let mut members = small_policy();
    members["x-attestry"] = serde_json::json!({"violations": [
        {"path": "/var/log/journal", "choice": "ignore"},
        {"path": "/var/log/.*", "choice": "warn"},
    ]});
    let appraisal = Round::whole(&list).appraise(&stack(&members), &state(HashAlgorithm::Sha256));
    let told: Vec<_> = appraisal.findings.kept().iter().map(|f| (f.event, f.severity, f.entry)).collect();
    let expected = [(Event::Violation, Severity::Warning, Some(4)), (Event::Violation, Severity::Failure, Some(5))];
    assert_eq!((told.as_slice(), appraisal.ignored_violations), (expected.as_slice(), 1));
    assert!(!appraisal.passed());
    let warned = Round::whole(&list.select(0..5)).appraise(&stack(&members), &state(HashAlgorithm::Sha256));
    assert!(warned.passed());
    // Without a rule every violation fails; an exclude is no rule.
    let mut excluding = small_policy();
    excluding["excludes"] = serde_json::json!(["/var/log/.*"]);
    let appraisal = Round::whole(&list).appraise(&stack(&excluding), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&appraisal), [Event::Violation; 3]);
}

#[test]
fn the_highest_layer_with_a_rule_decides_on_violations() {
    let mut list = small_list();
    list.violation("/var/log/journal");
    let rule =
        |choice: &str| serde_json::json!({"x-attestry": {"violations": [{"path": "/var/log/.*", "choice": choice}]}});
    for (lower, upper, passes) in [("ignore", "fail", false), ("fail", "ignore", true)] {
        let layers =
            vec![("base", policy(&small_policy())), ("site", policy(&rule(lower))), ("node", policy(&rule(upper)))];
        let appraisal = Round::whole(&list).appraise(&stack_of(layers), &state(HashAlgorithm::Sha256));
        assert_eq!(appraisal.passed(), passes);
    }
}

#[test]
fn excludes_hide_and_are_counted() {
    let mut list = small_list();
    list.file("/tmp/a", b"a").file("/tmp/b", b"b").file("/opt/c", b"c").file("/srv/tmp/d", b"d");
    let mut members = small_policy();
    members["excludes"] = serde_json::json!(["/tmp/", "/opt/c$", "/usr/.*"]);
    let appraisal = Round::whole(&list).appraise(&stack(&members), &state(HashAlgorithm::Sha256));
    // Anchored at the start: /srv/tmp is not hidden. What the policy lists is not counted as hidden.
    assert_eq!(appraisal.findings.kept().iter().map(|f| f.entry.unwrap()).collect::<Vec<_>>(), [6]);
    let hidden: Vec<_> = appraisal.excluded.iter().map(|hidden| (hidden.pattern.as_str(), hidden.count)).collect();
    assert_eq!(hidden, [("/tmp/", 2), ("/opt/c$", 1)]);
}

#[test]
fn boot_aggregates_are_computed_and_not_looked_up() {
    let mut values = PcrValues::new(PcrBank(HashAlgorithm::Sha256));
    let mut firmware = Vec::new();
    for index in 0..10_u8 {
        let value = sha256(&[index]);
        firmware.extend_from_slice(&value);
        let value = Digest::new(HashAlgorithm::Sha256, &value).unwrap();
        values.insert(PcrIndex::try_from(index).unwrap(), value).unwrap();
    }
    let aggregates = boot_aggregates(&values).unwrap();
    assert_eq!(aggregates.len(), 2);
    let mut list = ListBuilder::default();
    list.file("boot_aggregate", &firmware);
    // No policy lists it, and it passes; what a policy lists does not.
    let nothing = stack(&serde_json::json!({}));
    let with = |list, aggregates, stack: &PolicyStack| {
        events(
            &Round { boot_aggregates: aggregates, ..Round::whole(list) }.appraise(stack, &state(HashAlgorithm::Sha256)),
        )
    };
    assert_eq!(with(&list, &aggregates, &nothing), []);
    assert_eq!(with(&list, &[], &nothing), [Event::NotInAllowlist]);
    let mut seven = ListBuilder::default();
    seven.file("boot_aggregate", &firmware[..8 * 32]);
    assert_eq!(with(&seven, &aggregates, &nothing), []);
    let other = small_list();
    assert_eq!(with(&other, &aggregates, &stack(&small_policy())), [Event::BootAggregate]);
    assert_eq!(with(&other.select([1]), &aggregates, &stack(&small_policy())), [Event::BootAggregate]);
}

#[test]
fn critical_data_and_device_mapper_records_are_judged_by_digest_or_pattern() {
    let mut list = small_list();
    list.buffer("kexec-cmdline", b"ro quiet")
        .buffer("dm_table_load", b"dm_version=4.46.0;name=root;target_name=verity;");
    let mut members = small_policy();
    members["ima-buf"] = serde_json::json!({"kexec-cmdline": listed(b"ro quiet")});
    members["x-attestry"] =
        serde_json::json!({"critical-data": {"dm_table_load": [r"dm_version=[0-9.]+;name=root;target_name=verity;"]}});
    assert!(Round::whole(&list).appraise(&stack(&members), &state(HashAlgorithm::Sha256)).passed());
    let mut changed = small_list();
    changed.buffer("kexec-cmdline", b"rw single");
    changed.buffer("dm_table_load", b"dm_version=4.46.0;name=root;target_name=verity;name=x;target_name=linear;");
    let appraisal = Round::whole(&changed).appraise(&stack(&members), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&appraisal), [Event::RuntimePolicyHash, Event::NotInAllowlist]);
}

#[test]
fn a_machine_that_measures_nothing_fails() {
    let nothing = ListBuilder::default();
    let appraisal = Round::whole(&nothing).appraise(&stack(&small_policy()), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&appraisal), [Event::ListMissing]);
}

#[test]
fn custom_templates_prove_nothing() {
    let mut list = ListBuilder::default();
    list.push("n-ng|d-ng", &[builder::name_field("/usr/bin/sh"), builder::digest_field("", b"sh")]);
    let appraisal = Round::whole(&list).appraise(&stack(&small_policy()), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&appraisal), [Event::NoValidator]);
}

#[test]
fn kernels_before_5_8_need_a_policy_that_says_so() {
    let list = small_list();
    let mut register = Digest::zero(HashAlgorithm::Sha256);
    for entry in &list.entries {
        let mut next = register.as_bytes().to_vec();
        next.extend_from_slice(&entry.recorded);
        next.resize(64, 0);
        register = Digest::new(HashAlgorithm::Sha256, &sha256(&next)).unwrap();
    }
    let bytes = list.ascii();
    let evidence = Evidence { list: &bytes, first_entry: 0, quoted: register, reset_count: 1, boot_aggregates: &[] };
    let mut members = small_policy();
    members["x-attestry"] = serde_json::json!({"pcr-extension": "danger-padded-sha1"});
    for (members, passes) in [(small_policy(), false), (members, true)] {
        let stack = stack(&members);
        let policies = Policies { current: &stack, earlier: &[] };
        assert_eq!(appraise(&evidence, &policies, &state(HashAlgorithm::Sha256)).unwrap().passed(), passes);
    }
}

#[test]
fn every_bank_and_another_register_are_replayed() {
    let mut list = small_list();
    for entry in &mut list.entries {
        entry.pcr = 11;
    }
    let stack = stack(&small_policy());
    for (bank, digest) in [
        (HashAlgorithm::Sha1, MessageDigest::sha1()),
        (HashAlgorithm::Sha384, MessageDigest::sha384()),
        (HashAlgorithm::Sha512, MessageDigest::sha512()),
    ] {
        let quoted = Digest::new(bank, &list.register(digest, 3)).unwrap();
        let bytes = list.binary();
        let evidence = Evidence { list: &bytes, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
        let policies = Policies { current: &stack, earlier: &[] };
        let eleven = MeasurementState::new(PcrIndex::try_from(11).unwrap(), PcrBank(bank));
        assert!(appraise(&evidence, &policies, &eleven).unwrap().passed());
        let ten = appraise(&evidence, &policies, &state(bank)).unwrap();
        assert_eq!(events(&ten), [Event::WrongPcr; 3]);
    }
}

#[test]
fn a_reset_starts_the_list_anew() {
    let list = small_list();
    let stack = stack(&small_policy());
    let known = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256)).state;
    let rebooted = list.select(0..2);
    let after = Round { reset_count: 2, ..Round::whole(&rebooted) }.appraise(&stack, &known);
    assert!(after.passed());
    assert_eq!((after.judged, after.state.next_entry()), (2, 2));
    // The shorter list without a reset is another list.
    assert_eq!(events(&Round::whole(&rebooted).appraise(&stack, &known)), [Event::PrefixRewritten]);
    // And the old list's end after a reset is not where the new one starts.
    let end = Round { from: 3, reset_count: 2, ..Round::whole(&list) }.appraise(&stack, &known);
    assert_eq!(events(&end), [Event::ListGap]);
}

#[test]
fn trimmed_lists_go_on_from_where_the_verifier_is() {
    let list = small_list();
    let stack = stack(&small_policy());
    let known = Round::whole(&list.select(0..2)).appraise(&stack, &state(HashAlgorithm::Sha256)).state;
    assert!(Round { from: 2, ..Round::whole(&list) }.appraise(&stack, &known).passed());
    // A verifier that knows nothing, or less than was trimmed, cannot judge the end alone.
    let fresh = state(HashAlgorithm::Sha256);
    assert_eq!(events(&Round { from: 2, ..Round::whole(&list) }.appraise(&stack, &fresh)), [Event::ListGap]);
    assert_eq!(events(&Round { from: 1, ..Round::whole(&list) }.appraise(&stack, &known)), [Event::ListGap]);
}

#[test]
fn stored_states_are_read_strictly() {
    let list = small_list();
    let state = Round::whole(&list).appraise(&stack(&serde_json::json!({})), &state(HashAlgorithm::Sha256)).state;
    let bytes = state.encode();
    assert_eq!(MeasurementState::decode(&bytes).unwrap().encode(), bytes);
    for end in 0..bytes.len() {
        assert!(MeasurementState::decode(&bytes[..end]).is_err(), "{end}");
    }
    assert!(MeasurementState::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
}
