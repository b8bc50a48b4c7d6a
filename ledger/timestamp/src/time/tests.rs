#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn times_are_those_of_the_calendar() {
    for (text, expected) in [
        ("19700101000000Z", 0),
        ("20000229235959Z", 951_868_799_000),
        ("20240101000000.25Z", 1_704_067_200_250),
        ("21000301000000.0009Z", 4_107_542_400_000),
        ("20380119031408Z", 2_147_483_648_000),
    ] {
        assert_eq!(GenTime::parse(text.as_bytes()).unwrap(), GenTime(expected), "{text}");
    }
}

#[test]
fn what_is_no_time_in_der_is_malformed() {
    for text in [
        "",
        "Z",
        "20240101000000",
        "20240101000000+0100",
        "20240101000000.Z",
        "20240101000000.10Z",
        "202401010000Z",
        "20230229000000Z",
        "21000229000000Z",
        "20240001000000Z",
        "20241301000000Z",
        "20240100000000Z",
        "20240101240000Z",
        "20240101006000Z",
        "20240101000060Z",
        "19691231235959Z",
        "2024010100000xZ",
    ] {
        assert!(GenTime::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn certificates_times_count_from_the_epoch() {
    assert_eq!(unix_seconds(&Asn1Time::from_str("20000229235959Z").unwrap()).unwrap(), 951_868_799);
    assert_eq!(unix_seconds(&Asn1Time::from_str("19600101000000Z").unwrap()).unwrap(), 0);
}
