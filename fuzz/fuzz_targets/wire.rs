//! IKE messages: any bytes end in a value or an error, a value prints, and what it is written as reads the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_tests::harness::run("wire", data));
