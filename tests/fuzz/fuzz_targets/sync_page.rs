//! Fuzzes `targets/sync_page.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kfbind_fuzz::targets::sync_page::run(data));
