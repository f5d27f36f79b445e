//! `streamway::fuzz::status`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| streamway::fuzz::status(data));
