#![no_main]

#[path = "../proxy.rs"]
mod proxy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::proxy(bytes));
