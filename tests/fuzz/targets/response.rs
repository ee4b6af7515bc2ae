#![no_main]

#[path = "../properties.rs"]
#[expect(dead_code, reason = "each target holds one of them")]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::response(bytes));
