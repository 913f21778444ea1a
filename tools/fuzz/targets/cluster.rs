//! The fuzz target of the same name.

#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| encke_fuzz::cluster(bytes));
