//! ESP: any key and any packets, first as they are, then one of our own that was bent at one place.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_tests::harness::run("esp", data));
