//! IMA lists in their binary form: see the law in `shared/ima_list.rs`.
#![no_main]

#[path = "shared/ima_list.rs"]
mod ima_list;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ima_list::check(bytes, evidence::ima::ListForm::Binary);
});
