#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_softtpm::AttestFields;
use proptest::prelude::*;

use super::*;
use crate::algorithm::HashAlgorithm;
use crate::pcr::PcrBank;

fn fields() -> AttestFields {
    AttestFields {
        magic: 0xff54_4347,
        kind: 0x8018,
        qualified_signer: [&[0x00, 0x0b], &[7; 32][..]].concat(),
        extra_data: b"nonce".to_vec(),
        clock: 42,
        reset_count: 3,
        restart_count: 1,
        safe: 1,
        firmware_version: 9,
        selections: vec![(0x000b, vec![0x01, 0x00, 0x80])],
        pcr_digest: vec![5; 32],
    }
}

#[test]
fn a_quote_has_the_fields_that_were_written() {
    let attest = Attest::parse(&fields().encode()).unwrap();
    assert_eq!(attest.qualified_signer.as_bytes(), fields().qualified_signer);
    assert_eq!(attest.extra_data, b"nonce");
    assert_eq!(attest.clock_info, ClockInfo { clock_ms: 42, reset_count: 3, restart_count: 1, safe: true });
    assert_eq!(attest.firmware_version, 9);
    let Attested::Quote { selections, pcr_digest } = attest.attested else { panic!("a quote") };
    let selection = PcrSelection::from_mask(PcrBank(HashAlgorithm::Sha256), 0x0080_0001).unwrap();
    assert_eq!((selections, pcr_digest), (vec![selection], vec![5; 32]));
}

#[test]
fn a_certification_names_the_object_and_ends_there() {
    let (name, qualified) = ([&[0x00, 0x0c], &[1; 48][..]].concat(), [&[0x00, 0x0b], &[2; 32][..]].concat());
    let bytes = AttestFields { kind: 0x8017, ..fields() }.encode_certify(&name, &qualified);
    let Attested::Certify { name: found, qualified_name } = Attest::parse(&bytes).unwrap().attested else {
        panic!("a certification")
    };
    assert_eq!((found.as_bytes(), qualified_name.as_bytes()), (name.as_slice(), qualified.as_slice()));
    assert!(matches!(Attest::parse(&[&bytes[..], &[0]].concat()), Err(MalformedStructure::TrailingBytes { .. })));
    assert!(matches!(Attest::parse(&bytes[..bytes.len() - 1]), Err(MalformedStructure::Truncated { .. })));
}

#[test]
fn numbers_out_of_range_are_malformed() {
    let value = |fields: AttestFields, wanted: &str| {
        let parsed = Attest::parse(&fields.encode());
        assert!(matches!(parsed, Err(MalformedStructure::Value { field, .. }) if field == wanted), "{parsed:?}");
    };
    value(AttestFields { safe: 2, ..fields() }, "safe");
    value(AttestFields { magic: 0, ..fields() }, "magic");
    value(AttestFields { kind: 0x801a, ..fields() }, "type");
    value(AttestFields { selections: vec![(0x0001, vec![0; 3])], ..fields() }, "PCR bank");
    value(AttestFields { selections: vec![(0x000b, vec![0; 4])], ..fields() }, "sizeofSelect");
    value(AttestFields { selections: vec![(0x000b, vec![])], ..fields() }, "sizeofSelect");
    value(AttestFields { qualified_signer: vec![0xff; 34], ..fields() }, "qualifiedSigner");
}

#[test]
fn lengths_past_the_limits_are_malformed_before_anything_is_allocated() {
    let size = |fields: AttestFields, wanted: &str| {
        let parsed = Attest::parse(&fields.encode());
        assert!(matches!(parsed, Err(MalformedStructure::Size { field, .. }) if field == wanted), "{parsed:?}");
    };
    size(AttestFields { extra_data: vec![0; 67], ..fields() }, "extraData");
    size(AttestFields { pcr_digest: vec![0; 65], ..fields() }, "pcrDigest");
    size(AttestFields { qualified_signer: [&[0x00, 0x0b], &[7; 33][..]].concat(), ..fields() }, "qualifiedSigner");
    let many = AttestFields { selections: vec![(0x000b, vec![0; 3]); 17], ..fields() }.encode();
    assert!(matches!(Attest::parse(&many), Err(MalformedStructure::Count { max: 16, found: 17, .. })));

    let mut endless = fields().encode();
    let count = endless.len() - 2 - 32 - 6 - 4;
    endless[count..count + 4].fill(0xff);
    assert!(matches!(Attest::parse(&endless), Err(MalformedStructure::Count { .. })));
}

const BEFORE: ClockInfo = ClockInfo { clock_ms: 1_000, reset_count: 5, restart_count: 2, safe: true };

#[test]
fn a_later_clock_of_the_same_boot_follows() {
    let now = ClockInfo { clock_ms: 1_001, ..BEFORE };
    assert_eq!(now.follows(&BEFORE), Ok(ClockStep::SameBoot { resumes: 0 }));
    let resumed = ClockInfo { restart_count: 3, ..now };
    assert_eq!(resumed.follows(&BEFORE), Ok(ClockStep::SameBoot { resumes: 1 }));
}

#[test]
fn a_clock_that_stands_still_or_goes_back_is_rejected() {
    for clock_ms in [1_000, 999, 0] {
        let now = ClockInfo { clock_ms, ..BEFORE };
        let reason = ClockRejected::ClockNotForward { previous_ms: 1_000, found_ms: clock_ms };
        assert_eq!(now.follows(&BEFORE), Err(reason));
        assert_eq!(ClockInfo { restart_count: 3, ..now }.follows(&BEFORE), Err(reason));
    }
}

#[test]
fn a_reset_may_set_restarts_and_clock_back() {
    let now = ClockInfo { clock_ms: 10, reset_count: 7, restart_count: 0, safe: true };
    assert_eq!(now.follows(&BEFORE), Ok(ClockStep::Rebooted { resets: 2 }));
}

#[test]
fn counters_that_fall_are_rejected() {
    let fewer_resets = ClockInfo { clock_ms: 2_000, reset_count: 4, ..BEFORE };
    assert_eq!(fewer_resets.follows(&BEFORE), Err(ClockRejected::ResetCountFell { previous: 5, found: 4 }));
    let fewer_restarts = ClockInfo { clock_ms: 2_000, restart_count: 1, ..BEFORE };
    assert_eq!(fewer_restarts.follows(&BEFORE), Err(ClockRejected::RestartCountFell { previous: 2, found: 1 }));
}

#[test]
fn an_unsafe_clock_is_rejected_even_after_a_reset() {
    let now = ClockInfo { clock_ms: 2_000, safe: false, ..BEFORE };
    assert_eq!(now.follows(&BEFORE), Err(ClockRejected::Unsafe));
    assert_eq!(ClockInfo { reset_count: 6, ..now }.follows(&BEFORE), Err(ClockRejected::Unsafe));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        extra_data in prop::collection::vec(any::<u8>(), 0..=66),
        clock in any::<u64>(),
        (reset_count, restart_count) in any::<(u32, u32)>(),
        safe in any::<bool>(),
        firmware_version in any::<u64>(),
        masks in prop::collection::vec(0_u32..1 << 24, 0..=16),
        pcr_digest in prop::collection::vec(any::<u8>(), 0..=64),
    ) {
        let selections = masks.iter().map(|mask| (0x000c, mask.to_le_bytes()[..3].to_vec())).collect();
        let written = AttestFields {
            extra_data, clock, reset_count, restart_count, safe: u8::from(safe), firmware_version, selections, pcr_digest,
            ..fields()
        };
        let read = Attest::parse(&written.encode()).unwrap();
        prop_assert_eq!(read.extra_data, written.extra_data);
        prop_assert_eq!(read.clock_info, ClockInfo { clock_ms: clock, reset_count, restart_count, safe });
        prop_assert_eq!(read.firmware_version, firmware_version);
        let Attested::Quote { selections, pcr_digest } = read.attested else { panic!("a quote") };
        prop_assert_eq!(selections.iter().map(PcrSelection::mask).collect::<Vec<_>>(), masks);
        prop_assert_eq!(pcr_digest, written.pcr_digest);
    }

    #[test]
    fn random_bytes_behind_a_good_head_never_panic(tail in prop::collection::vec(any::<u8>(), 0..200), kept in 0_usize..100) {
        let mut bytes = fields().encode();
        bytes.truncate(kept);
        bytes.extend(tail);
        drop(Attest::parse(&bytes));
    }
}
