//! Fuzzes `targets/envelope.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kfbind_fuzz::targets::envelope::run(data));
