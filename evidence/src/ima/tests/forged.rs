//! Lists that were tampered with: each fails, and says why.

use super::*;

/// Appraises a tampered list against the register of the honest one.
fn forged(honest: &ListBuilder, tampered: &ListBuilder) -> Vec<Event> {
    let quoted = Digest::new(HashAlgorithm::Sha256, &honest.register(MessageDigest::sha256(), honest.entries.len()));
    let stack = stack(&small_policy());
    let policies = Policies { current: &stack, earlier: &[] };
    let [ascii, binary] = [tampered.ascii(), tampered.binary()].map(|list| {
        let evidence =
            Evidence { list: &list, first_entry: 0, quoted: quoted.unwrap(), reset_count: 1, boot_aggregates: &[] };
        let appraisal = appraise(&evidence, &policies, &state(HashAlgorithm::Sha256)).unwrap();
        assert!(!appraisal.passed());
        // Nothing of it is kept.
        assert_eq!((appraisal.state.next_entry(), appraisal.authentic), (0, appraisal.state.seen() > 0));
        events(&appraisal)
    });
    assert_eq!(ascii, binary);
    ascii
}

/// The honest list has run something bad.
fn honest() -> ListBuilder {
    let mut list = small_list();
    list.file("/tmp/evil", b"evil").file("/usr/bin/init", b"init");
    list
}

#[test]
fn the_honest_list_fails_for_what_it_ran() {
    let honest = honest();
    let appraisal = Round::whole(&honest).appraise(&stack(&small_policy()), &state(HashAlgorithm::Sha256));
    assert_eq!((events(&appraisal), appraisal.state.next_entry()), (vec![Event::NotInAllowlist], 3));
}

#[test]
fn removed_reordered_repeated_and_foreign_entries_miss_the_register() {
    let honest = honest();
    let mut other = ListBuilder::default();
    other.file("boot_aggregate", b"boot").file("/usr/bin/sh", b"sh");
    let mut spliced = honest.select([0, 1, 2]);
    spliced.entries.extend(other.entries.clone());
    let cases: [(&str, ListBuilder); 9] = [
        ("removed", honest.select([0, 1, 2, 4])),
        ("truncated in front of it", honest.select([0, 1, 2])),
        ("empty", ListBuilder::default()),
        ("reordered", honest.select([0, 2, 1, 4])),
        ("repeated", honest.select([0, 1, 2, 2, 4])),
        ("first missing", honest.select([1, 2, 4])),
        ("inserted", honest.select([0, 1, 2, 1, 4])),
        ("spliced with another machine's", spliced),
        ("another machine's", other),
    ];
    for (name, tampered) in cases {
        assert_eq!(forged(&honest, &tampered), [Event::PcrMismatch], "{name}");
    }
}

#[test]
fn rewritten_entries_miss_the_register_whatever_their_digest_column_says() {
    let honest = honest();
    for (path, content) in [("/usr/bin/sh", b"sh".as_slice()), ("/tmp/evil", b"sh")] {
        let mut replacement = ListBuilder::default();
        replacement.file(path, content);
        let mut tampered = honest.clone();
        tampered.entries[3] = replacement.entries[0].clone();
        assert_eq!(forged(&honest, &tampered)[0], Event::PcrMismatch, "{path}");
        // With the true entry's template digest in the column.
        tampered.entries[3].recorded.clone_from(&honest.entries[3].recorded);
        let told = forged(&honest, &tampered);
        assert_eq!((told[0], told[1]), (Event::PcrMismatch, Event::TemplateHash), "{path}");
    }
}

#[test]
fn an_entry_passed_off_as_a_violation_misses_the_register() {
    let honest = honest();
    let mut tampered = honest.clone();
    tampered.entries[3].recorded = vec![0; 20];
    assert_eq!(forged(&honest, &tampered), [Event::PcrMismatch, Event::Violation]);
}

#[test]
fn a_violation_passed_off_as_an_entry_misses_the_register() {
    let mut honest = small_list();
    honest.violation("/etc/shadow");
    let mut tampered = small_list();
    tampered.file("/usr/bin/sh", b"sh");
    assert_eq!(forged(&honest, &tampered), [Event::PcrMismatch]);
}

#[test]
fn a_changed_template_digest_alone_is_told() {
    let mut tampered = small_list();
    tampered.entries[1].recorded[19] ^= 1;
    let told = Round::whole(&tampered).appraise(&stack(&small_policy()), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&told), [Event::TemplateHash]);
}

#[test]
fn a_changed_template_name_does_not_parse_or_is_told() {
    let honest = honest();
    for template in ["ima-sig", "ima-buf", "ima-ngv2", "ima-modsig", "evm-sig", "d-ng", "sig|sig"] {
        let mut tampered = honest.clone();
        tampered.entries[3].template = template;
        let list = tampered.binary();
        let stack = stack(&small_policy());
        let quoted = Digest::new(HashAlgorithm::Sha256, &honest.register(MessageDigest::sha256(), 5)).unwrap();
        let evidence = Evidence { list: &list, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
        let policies = Policies { current: &stack, earlier: &[] };
        let told = appraise(&evidence, &policies, &state(HashAlgorithm::Sha256)).unwrap();
        assert!(matches!(events(&told)[..], [Event::ParserEntry] | [Event::NoValidator]), "{template} {told:?}");
        assert_eq!(told.findings.kept()[0].entry, Some(3));
    }
}

#[test]
fn a_rewritten_prefix_is_told_as_such() {
    let list = small_list();
    let stack = stack(&small_policy());
    let known = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256)).state;
    let mut rewritten = ListBuilder::default();
    rewritten.file("boot_aggregate", b"boot").file("/usr/bin/sh", b"sh").file("/usr/bin/init", b"init");
    let told = Round::whole(&rewritten).appraise(&stack, &known);
    assert_eq!(events(&told), [Event::PrefixRewritten]);
    assert_eq!(told.state.encode(), known.encode());
    // Shorter than what was known, although its own register matches.
    let told = Round::whole(&list.select(0..2)).appraise(&stack, &known);
    assert_eq!(events(&told), [Event::PrefixRewritten]);
}

#[test]
fn an_older_round_replayed_adds_nothing() {
    let mut list = small_list();
    let stack = stack(&small_policy());
    let known = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256)).state;
    list.file("/tmp/evil", b"evil");
    // The new register with the old end of the list, or with the old increment once more.
    for entries in [vec![], vec![2]] {
        let bytes = list.select(entries).ascii();
        let quoted = Digest::new(HashAlgorithm::Sha256, &list.register(MessageDigest::sha256(), 4)).unwrap();
        let evidence = Evidence { list: &bytes, first_entry: 3, quoted, reset_count: 1, boot_aggregates: &[] };
        let told = appraise(&evidence, &Policies { current: &stack, earlier: &[] }, &known).unwrap();
        assert_eq!(events(&told), [Event::PcrMismatch]);
    }
}

#[test]
fn a_failed_machines_register_does_not_go_back() {
    let mut list = small_list();
    list.file("/tmp/evil", b"evil");
    let stack = stack(&small_policy());
    let failed = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256)).state;
    assert_eq!((failed.next_entry(), failed.seen()), (3, 4));
    let told = Round { from: 3, quoted: 3, ..Round::whole(&list) }.appraise(&stack, &failed);
    assert_eq!(events(&told)[0], Event::PcrMismatch);
    assert!(!told.passed());
}

#[test]
fn bytes_behind_the_list_are_told_although_the_register_matches() {
    let list = small_list();
    let mut bytes = list.binary();
    bytes.push(10);
    let quoted = Digest::new(HashAlgorithm::Sha256, &list.register(MessageDigest::sha256(), 3)).unwrap();
    let evidence = Evidence { list: &bytes, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
    let stack = stack(&small_policy());
    let policies = Policies { current: &stack, earlier: &[] };
    let told = appraise(&evidence, &policies, &state(HashAlgorithm::Sha256)).unwrap();
    assert_eq!(events(&told), [Event::ParserEntry]);
    assert!(!told.passed());
}
