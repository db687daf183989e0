//! EAP: noise to either role never authenticates, and a bent conversation never ends in two different keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_tests::harness::run("eap", data));
