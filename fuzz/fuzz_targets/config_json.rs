#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| oxembed_fuzz::run("config_json", data));
