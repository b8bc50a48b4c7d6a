//! Tokens and answers of a time-stamping authority: a token is kept as it was, and answers carry it.
#![no_main]

use ledger_timestamp::{Authorities, TimestampRequest, TimestampResponse, Token};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(token) = Token::parse(bytes) {
        assert_eq!(token.to_der(), bytes);
        assert!(TimestampResponse::parse(&token.to_response()).is_ok());
        let judged = token.verify_integrity(b"none of the seeds is over this", None, &Authorities::new());
        assert!(judged.is_err());
    }
    let _ = TimestampResponse::parse(bytes);
    if let Ok(request) = TimestampRequest::parse(bytes) {
        assert_eq!(TimestampRequest::parse(&request.to_der()), Ok(request));
    }
});
