use super::*;

fn accepts(field: &'static str) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(field));
    accepts_gzip(&headers)
}

#[test]
fn gzip_is_sent_to_those_who_take_it_and_to_no_others() {
    for field in ["gzip", "br, gzip;q=0.5", "GZIP", "*", "identity;q=0.1, *;q=0.9"] {
        assert!(accepts(field), "{field}");
    }
    for field in ["", "br", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *", "xgzip"] {
        assert!(!accepts(field), "{field}");
    }
    assert!(!accepts_gzip(&HeaderMap::new()));
}
