#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pushroll_fuzz::reference(bytes));
