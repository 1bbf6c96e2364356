//! What the crypto backends refuse, and that they agree with each other on everything.
// The allowances for tests do not reach the helper functions of an integration test.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicU8, Ordering};

use proptest::prelude::*;
use support::{BACKENDS, UNENCODABLE};
use xbr_core::crypto::{
    Entropy, KeyError, OpenError, RecoverError, SealError, SignError, UserspaceEntropy, keccak256,
};
use xbr_core::{BuyerKey, DataKey, DelegateKey, Signature, Signer, Value, cbor};

const N: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
const N_MINUS_1: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140";
const HALF_N: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";
const HALF_N_PLUS_1: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1";
const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const ONE: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const MAX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

fn word(hex_digits: &str) -> [u8; 32] {
    hex::decode(hex_digits).unwrap().try_into().unwrap()
}

fn signature(r: &str, s: &str, v: u8) -> Signature {
    Signature::from_slice(&[&word(r)[..], &word(s), &[v]].concat()).unwrap()
}

/// Counts up from a number: what comes out is known.
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
    }
}

fn counting() -> Counting {
    Counting(AtomicU8::new(1))
}

#[test]
fn both_backends_are_checked_when_both_are_built() {
    let expected = usize::from(cfg!(feature = "native")) + usize::from(cfg!(feature = "portable"));
    assert_eq!(BACKENDS.len(), expected);
}

#[test]
fn a_signature_that_breaks_a_rule_is_refused_for_the_first_rule_it_breaks() {
    let digest = keccak256(b"a state");
    let good = (BACKENDS[0].sign)(&[7; 32], &digest).unwrap();
    let (r, s) = (hex::encode(&good.as_ref()[..32]), hex::encode(&good.as_ref()[32..64]));
    for (r, s, v, expected) in [
        (r.as_str(), s.as_str(), 0, RecoverError::V { actual: 0 }),
        (&r, &s, 1, RecoverError::V { actual: 1 }),
        (&r, &s, 26, RecoverError::V { actual: 26 }),
        (&r, &s, 29, RecoverError::V { actual: 29 }),
        (&r, &s, 255, RecoverError::V { actual: 255 }),
        (ZERO, ZERO, 0, RecoverError::V { actual: 0 }),
        (ZERO, &s, 27, RecoverError::R),
        (N, &s, 27, RecoverError::R),
        (MAX, &s, 28, RecoverError::R),
        (ZERO, ZERO, 28, RecoverError::R),
        (&r, ZERO, 27, RecoverError::S),
        (&r, N, 27, RecoverError::S),
        (&r, MAX, 28, RecoverError::S),
        (&r, HALF_N_PLUS_1, 27, RecoverError::HighS),
        (&r, N_MINUS_1, 28, RecoverError::HighS),
        // 5 is no x of the curve.
        (
            "0000000000000000000000000000000000000000000000000000000000000005",
            &s,
            27,
            RecoverError::NoPublicKey,
        ),
    ] {
        for backend in BACKENDS {
            let result = (backend.recover_public_key)(&digest, &signature(r, s, v));
            assert_eq!(result, Err(expected), "{r} {s} {v} {}", backend.name);
        }
    }
    for s in [ONE, HALF_N] {
        for backend in BACKENDS {
            let result = (backend.recover_public_key)(&digest, &signature(&r, s, 27));
            assert!(result.is_ok(), "the edge of the range: {s} {}", backend.name);
        }
    }
}

/// Negating s and flipping v gives the other signature of the same signer, which must not pass as a second
/// one.
#[test]
fn the_high_twin_of_a_good_signature_is_refused() {
    let digest = keccak256(b"a state");
    let good = *(BACKENDS[0].sign)(&[7; 32], &digest).unwrap().as_bytes();
    let mut twin = good;
    let mut borrow = 0;
    for i in (0..32).rev() {
        let difference = i16::from(word(N)[i]) - i16::from(good[32 + i]) - borrow;
        borrow = i16::from(difference < 0);
        twin[32 + i] = u8::try_from(difference & 0xff).unwrap();
    }
    twin[64] = 27 + 28 - good[64];
    for backend in BACKENDS {
        let result = (backend.recover_public_key)(&digest, &Signature::new(twin));
        assert_eq!(result, Err(RecoverError::HighS), "{}", backend.name);
    }
}

#[test]
fn a_number_out_of_range_is_no_secret_key() {
    for secret in [ZERO, N, MAX] {
        assert_eq!(DelegateKey::from_bytes(&word(secret)).unwrap_err(), KeyError::Range);
        for backend in BACKENDS {
            assert_eq!((backend.public_key)(&word(secret)), Err(KeyError::Range), "{}", backend.name);
            let result = (backend.sign)(&word(secret), &[1; 32]);
            assert_eq!(result, Err(SignError::Key(KeyError::Range)), "{}", backend.name);
        }
    }
    for secret in [ONE, N_MINUS_1] {
        let keys: Vec<_> =
            BACKENDS.iter().map(|backend| (backend.public_key)(&word(secret)).unwrap()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}

#[test]
fn a_delegate_key_is_read_from_hex_and_never_printed() {
    let plain: DelegateKey =
        "4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d".parse().unwrap();
    let prefixed: DelegateKey =
        "0x4F3EDF983AC636A65A842CE7C78D9AA706D3B113BCE9C46F30D7D21715B23B1D".parse().unwrap();
    assert_eq!(plain.public_key(), prefixed.public_key());
    assert_eq!(plain.address().to_string(), "0x90f8bf6a479f320ead074411a4b0e7944ea8c9c1");
    assert_eq!(
        format!("{plain:?}"),
        "DelegateKey { address: Address(0x90f8bf6a479f320ead074411a4b0e7944ea8c9c1), .. }"
    );
    for bad in ["", "0x", "4f3e", &"g".repeat(64), &"1".repeat(63), &"1".repeat(66)] {
        assert_eq!(bad.parse::<DelegateKey>().unwrap_err(), KeyError::Hex, "{bad}");
    }
    assert_eq!(DelegateKey::from_slice(&[1; 31]).unwrap_err(), KeyError::Length { actual: 31 });

    let (generated, secret) = DelegateKey::generate(&UserspaceEntropy);
    assert_eq!(DelegateKey::from_bytes(&secret).unwrap().address(), generated.address());
}

/// Every encoding of the points of order 1, 2, 4 and 8: 0, 1, the two of order 8, p - 1, p, p + 1; each with
/// the top bit, which is ignored, clear and set.
fn low_order_keys() -> Vec<BuyerKey> {
    [
        ZERO,
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .into_iter()
    .flat_map(|clear| {
        let mut set = word(clear);
        set[31] |= 0x80;
        [BuyerKey::new(word(clear)), BuyerKey::new(set)]
    })
    .collect()
}

#[test]
fn nothing_is_sealed_to_a_key_of_low_order_in_any_encoding() {
    let keys = low_order_keys();
    assert_eq!(keys.len(), 14);
    for key in keys {
        for backend in BACKENDS {
            let at = format!("{key} {}", backend.name);
            assert_eq!((backend.sealed_box_seal)(&key, &[1; 32]), Err(SealError::LowOrder), "{at}");
            let with = (backend.sealed_box_seal_with)(&[9; 32], &key, &[1; 32]);
            assert_eq!(with, Err(SealError::LowOrder), "{at}");
            // An ephemeral key of low order opens for nobody either.
            let sealed = [key.as_ref(), &[0; 48]].concat();
            assert_eq!((backend.sealed_box_open)(&[9; 32], &sealed), Err(OpenError::Forged), "{at}");
        }
        assert_eq!(DataKey::from_bytes([1; 32]).seal_to(&key), Err(SealError::LowOrder), "{key}");
    }
}

/// 2 to 18 above p: not reduced, but not of low order. Being strict here would refuse keys that the reference
/// takes.
#[test]
fn an_unreduced_key_that_is_not_of_low_order_is_sealed_to() {
    for last in 0xef..=0xff {
        let mut key = [0xff; 32];
        key[0] = last;
        key[31] = 0x7f;
        for backend in BACKENDS {
            let result = (backend.sealed_box_seal)(&BuyerKey::new(key), &[1; 32]);
            assert!(result.is_ok(), "{last:x} {}", backend.name);
        }
    }
}

/// Cuts a box to every length and flips a bit of every byte.
fn damage_is_noticed(sealed: &[u8], shortest: usize, open: impl Fn(&[u8]) -> Result<Vec<u8>, OpenError>) {
    for actual in 0..sealed.len() {
        let expected = match actual {
            _ if actual < shortest => OpenError::TooShort { expected: shortest, actual },
            _ => OpenError::Forged,
        };
        assert_eq!(open(&sealed[..actual]), Err(expected), "cut to {actual}");
        let mut changed = sealed.to_vec();
        changed[actual] ^= 0x40;
        assert_eq!(open(&changed), Err(OpenError::Forged), "changed at {actual}");
    }
    assert_eq!(open(&[sealed, &[0]].concat()), Err(OpenError::Forged), "one byte more");
}

#[test]
fn a_damaged_box_does_not_open() {
    for backend in BACKENDS {
        let sealed = (backend.secretbox_seal)(&[1; 32], &[2; 24], b"a payload");
        damage_is_noticed(&sealed, 40, |bytes| (backend.secretbox_open)(&[1; 32], bytes));
        assert_eq!((backend.secretbox_open)(&[9; 32], &sealed), Err(OpenError::Forged), "another key");
        let buyer = (backend.sealed_box_public_key)(&[3; 32]);
        let sealed = (backend.sealed_box_seal)(&buyer, &[4; 32]).unwrap();
        assert_eq!(sealed.len(), 80);
        damage_is_noticed(&sealed, 48, |bytes| (backend.sealed_box_open)(&[3; 32], bytes));
        assert_eq!((backend.sealed_box_open)(&[5; 32], &sealed), Err(OpenError::Forged), "another key");
        damage_is_noticed(&sealed, 48, |bytes| (backend.sealed_box_open_with)(&[3; 32], &buyer, bytes));
        assert_eq!((backend.sealed_box_open_with)(&[3; 32], &buyer, &sealed), Ok(vec![4; 32]));
        let other = (backend.sealed_box_public_key)(&[5; 32]);
        let opened = (backend.sealed_box_open_with)(&[3; 32], &other, &sealed);
        assert_eq!(opened, Err(OpenError::Forged), "another public key");
    }
}

#[test]
fn a_data_key_encrypts_what_it_decrypts_and_is_never_printed() {
    let key = DataKey::generate(&counting());
    let payload: Value =
        [("price", Value::from(1u64)), ("data", Value::Bytes(vec![0; 2000]))].into_iter().collect();
    let encoded = cbor::encode(&payload);

    let ciphertext = key.encrypt(&counting(), &encoded);
    assert_eq!(ciphertext.len(), 40 + encoded.len());
    assert_eq!(key.encrypt_dynamic(&counting(), &payload), ciphertext);
    assert_eq!(key.decrypt(&ciphertext).unwrap(), encoded);
    assert_eq!(key.decrypt(&ciphertext[1..]), Err(OpenError::Forged));
    assert_eq!(key.decrypt(&[0; 39]), Err(OpenError::TooShort { expected: 40, actual: 39 }));

    let texts = vec!["a text"; 300];
    let of_texts = key.encrypt_value(&counting(), &texts).unwrap();
    assert_eq!(key.decrypt(&of_texts).unwrap(), cbor::to_vec(&texts).unwrap());
    assert_eq!(format!("{key:?}"), "DataKey(..)");
}

#[test]
fn a_nonce_or_key_never_repeats() {
    let key = DataKey::generate(&UserspaceEntropy);
    assert_ne!(key.expose_secret(), DataKey::generate(&UserspaceEntropy).expose_secret());
    let first = key.encrypt(&UserspaceEntropy, b"");
    let second = key.encrypt(&UserspaceEntropy, b"");
    assert_ne!(first[..24], second[..24]);
    let buyer = (BACKENDS[0].sealed_box_public_key)(&[3; 32]);
    assert_ne!(key.seal_to(&buyer).unwrap(), key.seal_to(&buyer).unwrap());
    let entropy = counting();
    assert_eq!(key.seal_to_with(&entropy, &buyer).unwrap(), key.seal_to_with(&counting(), &buyer).unwrap());
    assert_ne!(key.seal_to_with(&entropy, &buyer).unwrap(), key.seal_to_with(&counting(), &buyer).unwrap());
}

#[test]
fn a_plaintext_of_any_size_is_encrypted_the_same_whichever_way_it_comes() {
    for size in [0, 1, 31, 32, 33, 32_751, 32_752, 100_000, 3_000_000, 5] {
        let plaintext = vec![7; size];
        let sealed = (BACKENDS[0].secretbox_seal)(&[1; 32], &[2; 24], &plaintext);
        for backend in BACKENDS {
            let encoded = (backend.secretbox_seal_encoded)(&[1; 32], &[2; 24], &plaintext);
            assert!(encoded.as_ref() == Ok(&sealed), "{size} {}", backend.name);
            assert!(
                (backend.secretbox_seal)(&[1; 32], &[2; 24], &plaintext) == sealed,
                "{size} {}",
                backend.name
            );
            let failed = (backend.secretbox_seal_encoded)(&[1; 32], &[2; 24], UNENCODABLE);
            assert_eq!(failed, Err(()), "and what a failed encoder left behind is forgotten");
        }
    }
}

fn secret_key() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>().prop_filter("out of range", |secret| DelegateKey::from_bytes(secret).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn backends_encrypt_alike_and_open_each_other(
        key: [u8; 32],
        nonce: [u8; 24],
        plaintext in proptest::collection::vec(any::<u8>(), 0..3000),
    ) {
        let sealed = (BACKENDS[0].secretbox_seal)(&key, &nonce, &plaintext);
        for backend in BACKENDS {
            prop_assert_eq!(&(backend.secretbox_seal)(&key, &nonce, &plaintext), &sealed);
            prop_assert_eq!((backend.secretbox_open)(&key, &sealed), Ok(plaintext.clone()));
            prop_assert_eq!((backend.secretbox_seal_encoded)(&key, &nonce, &plaintext), Ok(sealed.clone()));
        }
    }

    #[test]
    fn backends_seal_alike_and_open_each_other(secret: [u8; 32], ephemeral: [u8; 32], plaintext: [u8; 32]) {
        let buyer = (BACKENDS[0].sealed_box_public_key)(&secret);
        let sealed = (BACKENDS[0].sealed_box_seal_with)(&ephemeral, &buyer, &plaintext);
        for backend in BACKENDS {
            prop_assert_eq!((backend.sealed_box_public_key)(&secret), buyer);
            prop_assert_eq!(&(backend.sealed_box_seal_with)(&ephemeral, &buyer, &plaintext), &sealed);
            let random = (backend.sealed_box_seal)(&buyer, &plaintext).unwrap();
            for other in BACKENDS {
                prop_assert_eq!((other.sealed_box_open)(&secret, &random), Ok(plaintext.to_vec()));
            }
        }
    }

    #[test]
    fn backends_refuse_no_key_but_those_of_low_order(key: [u8; 32]) {
        let expected = !low_order_keys().contains(&BuyerKey::new(key));
        for backend in BACKENDS {
            prop_assert_eq!((backend.sealed_box_seal)(&BuyerKey::new(key), &[1; 32]).is_ok(), expected);
        }
    }

    #[test]
    fn backends_sign_alike_and_recover_each_other(secret in secret_key(), digest: [u8; 32]) {
        let signature = (BACKENDS[0].sign)(&secret, &digest).unwrap();
        let public_key = (BACKENDS[0].public_key)(&secret).unwrap();
        prop_assert!(matches!(signature.as_bytes()[64], 27 | 28));
        prop_assert!(signature.as_bytes()[32..64] <= word(HALF_N)[..]);
        for backend in BACKENDS {
            prop_assert_eq!((backend.sign)(&secret, &digest), Ok(signature));
            prop_assert_eq!((backend.recover_public_key)(&digest, &signature), Ok(public_key));
        }
    }

    #[test]
    fn backends_judge_any_signature_alike(digest: [u8; 32], r: [u8; 32], s: [u8; 32], v in 26u8..30) {
        let signature = Signature::from_slice(&[&r[..], &s, &[v]].concat()).unwrap();
        let expected = (BACKENDS[0].recover_public_key)(&digest, &signature);
        for backend in BACKENDS {
            prop_assert_eq!((backend.recover_public_key)(&digest, &signature), expected);
        }
    }
}
