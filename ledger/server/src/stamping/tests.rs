#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn an_authority_has_a_name_that_fits_a_file_and_an_address() {
    let authority: StampingAuthority = "tsa-1=http://tsa.example/a=b".parse().unwrap();
    assert_eq!((authority.name.as_str(), authority.url.as_str()), ("tsa-1", "http://tsa.example/a=b"));
    for text in ["", "=http://x", "tsa", "tsa=ftp://x", "a.b=http://x", "A=http://x", "../a=http://x"] {
        assert!(text.parse::<StampingAuthority>().is_err(), "{text}");
    }
}

#[test]
fn the_same_token_is_logged_under_the_same_key() {
    let body = |token, size| TimestampBody {
        tree_size: size,
        note: Digest::ZERO,
        token: Digest([token; 32]),
        tsa: "t".into(),
        gen_time: UnixMillis(0),
    };
    assert_eq!(request(&body(1, 5)).idempotency_key, request(&body(1, 6)).idempotency_key);
    assert_ne!(request(&body(1, 5)).idempotency_key, request(&body(2, 5)).idempotency_key);
}
