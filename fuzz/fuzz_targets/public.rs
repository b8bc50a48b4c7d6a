//! A TPM's public area that is read is written as it was, and means the same in both its forms.
#![no_main]

use evidence::public::{Ak, Ek, Public};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(public) = Public::from_tpm2b(bytes) {
        assert_eq!(public.to_tpm2b(), bytes);
        assert_eq!(Public::from_tpmt(public.tpmt()).expect("the same").to_tpm2b(), bytes);
        let _ = public.public_key_pem().expect("a key that was read is a key");
        let _ = (Ak::new(public.clone()).is_ok(), Ek::new(public).is_ok());
    }
    if let Ok(public) = Public::from_tpmt(bytes) {
        assert_eq!(public.tpmt(), bytes);
    }
});
