//! libFuzzer's way in: actions on a paying channel.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    xbr_seller_fuzz::channel::run(input);
});
