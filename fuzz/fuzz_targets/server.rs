//! `streamway::fuzz::server`
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| streamway::fuzz::server(data));
