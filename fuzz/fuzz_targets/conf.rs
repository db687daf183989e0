//! swanctl.conf and strongswan.conf: any text gives a configuration, or diagnostics that can be shown. No file is touched.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_tests::harness::run("conf", data));
