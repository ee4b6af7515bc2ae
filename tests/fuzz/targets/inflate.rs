#![no_main]

#[path = "../websocket.rs"]
#[expect(dead_code, reason = "each target holds one of them")]
mod websocket;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websocket::inflate(bytes));
