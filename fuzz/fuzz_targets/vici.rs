//! VICI: messages, packets, and the stream that carries them, however it is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_tests::harness::run("vici", data));
