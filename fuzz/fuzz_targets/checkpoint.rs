//! A checkpoint's text that is read is written as it was, and no key's signature is found that is not there.
#![no_main]

use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::key::NoteVerifier;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(checkpoint) = Checkpoint::parse(text)
    {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(opened) = Checkpoint::open(bytes, ORIGIN, &KEY.parse::<NoteVerifier>().expect("a key"), &[]) {
        assert!(SIGNED.contains(&opened.tree_head().tree_size), "a signature that was not made");
    }
});

const ORIGIN: &str = "strangers.example/log";
const KEY: &str = "strangers.example/log+ad270a94+ATzHZopD4DLWHZdkGRQnuKCpLeSIjf4DxSuoQIAkXiOU";
/// The key is gone; it signed the seeds and nothing else.
const SIGNED: &[u64] = &[2, 603];
