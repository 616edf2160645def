#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tortie_ordeal::named("flows")(bytes));
