//! A request to a witness that is read is made of just its parts.
#![no_main]
#![allow(dead_code)]

use request::AddCheckpoint;

// The file alone: the crate would bring a runtime and a server along.
#[path = "../../ledger/witness/src/request.rs"]
mod request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(AddCheckpoint { old_size, proof, note }) = AddCheckpoint::parse(bytes) {
        let mut again = format!("old {old_size}\n");
        proof.hashes().iter().for_each(|hash| again.push_str(&format!("{}\n", hash.to_base64())));
        again.push('\n');
        assert_eq!([again.as_bytes(), &note.to_bytes()].concat(), bytes);
    }
});
