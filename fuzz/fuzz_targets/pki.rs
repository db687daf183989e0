//! Certificates, private keys and names: from any bytes to a value that can be shown and asked, or to an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_tests::harness::run("pki", data));
