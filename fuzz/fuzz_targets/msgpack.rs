//! libFuzzer's way in: bytes at a decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    xbr_seller_fuzz::decoders::msgpack(input);
});
