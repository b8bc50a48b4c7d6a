#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use openssl::sha::{sha1, sha256};

use super::inspect;

/// One `ima-ng` line and the data its template digest is of.
fn line() -> (String, Vec<u8>) {
    let digest = sha256(b"content");
    let mut data = 40_u32.to_le_bytes().to_vec();
    data.extend_from_slice(b"sha256:\0");
    data.extend_from_slice(&digest);
    data.extend_from_slice(&8_u32.to_le_bytes());
    data.extend_from_slice(b"/bin/sh\0");
    (format!("10 {} ima-ng sha256:{} /bin/sh\n", hex::encode(sha1(&data)), hex::encode(digest)), data)
}

#[test]
fn a_list_is_counted_and_replayed_for_each_bank() {
    let (line, data) = line();
    let violation = format!("10 {} ima-ng sha256:{} /var/log/x\n", "0".repeat(40), "0".repeat(64));
    let value = inspect(format!("{line}{violation}").as_bytes()).unwrap();
    let first = sha256(&[[0; 32], sha256(&data)].concat());
    let second = sha256(&[first, [0xff; 32]].concat());
    assert_eq!(value["pcrs"]["recomputed"]["sha256"]["10"], hex::encode(second));
    assert_eq!(value["pcrs"]["recorded"]["sha1"], value["pcrs"]["recomputed"]["sha1"]);
    assert_eq!((value["entries"].as_u64(), value["violations"].as_u64()), (Some(2), Some(1)));
    assert_eq!(value["templates"]["ima-ng"], 2);
    assert_eq!(value["first_violations"][0]["name"], "/var/log/x");
}

#[test]
fn a_malformed_list_is_an_error_with_its_place() {
    let (line, _) = line();
    let failure = inspect(format!("{line}10 nonsense\n").as_bytes()).unwrap_err().to_string();
    assert!(failure.contains("entry 1") && failure.contains(&format!("byte {}", line.len())), "{failure}");
}
