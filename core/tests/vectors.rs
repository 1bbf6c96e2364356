//! Known answers made by the reference implementations: EIP-712 hashes and signatures, ciphertexts, sealed
//! keys and amounts, byte for byte, in every backend that is built in. (The CBOR of the same file has a test
//! of its own.)
// The allowances for tests do not reach the helper functions of an integration test.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use serde_json::Value as Json;
use support::BACKENDS;
use xbr_core::crypto::address_of;
use xbr_core::eip712::{ChannelClose, ChannelOpen, Consent, MarketMemberLogin, Offer, domain_separator};
use xbr_core::{
    Address, Amount, ApiId, BuyerKey, ChannelSeq, DelegateKey, Eip712, KeyId, MarketId, ProviderId,
};
use xbr_core::{Signature, Signer};

fn vectors() -> Json {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The cases of a list, whose number is asserted so that none is lost unnoticed.
fn cases(vectors: &Json, list: &str, count: usize) -> Vec<Json> {
    let cases = vectors[list].as_array().unwrap().clone();
    assert_eq!(cases.len(), count, "{list}");
    cases
}

fn bytes(json: &Json) -> Vec<u8> {
    hex::decode(json.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(json: &Json) -> [u8; N] {
    bytes(json).try_into().unwrap()
}

fn uint256(json: &Json) -> Amount {
    Amount::parse_units(json.as_str().unwrap()).unwrap()
}

fn small<T: std::str::FromStr<Err: std::fmt::Debug>>(json: &Json) -> T {
    json.as_str().unwrap().parse().unwrap()
}

fn address(json: &Json) -> Address {
    Address::new(array(json))
}

#[test]
fn the_domain_separator_is_the_references() {
    assert_eq!(domain_separator(), array(&vectors()["eip712"]["domain_separator"]));
}

fn type_is_the_references<T: Eip712>(name: &str) {
    let ty = &vectors()["eip712"]["types"][name];
    assert_eq!(T::ENCODE_TYPE, ty["encode_type"].as_str().unwrap());
    assert_eq!(T::type_hash(), array(&ty["type_hash"]), "{name}");
}

#[test]
fn every_type_hash_is_the_references() {
    assert_eq!(vectors()["eip712"]["types"].as_object().unwrap().len(), 4);
    type_is_the_references::<ChannelClose>("channel_close");
    type_is_the_references::<ChannelOpen>("channel_open");
    type_is_the_references::<Consent>("consent");
    type_is_the_references::<MarketMemberLogin>("market_member_login");
}

/// Checks hash, digest, signature and recovery of every case of a list.
fn messages_match<T: Eip712>(list: &str, count: usize, message: impl Fn(&Json) -> T) {
    let vectors = vectors();
    for (i, case) in cases(&vectors, list, count).iter().enumerate() {
        let at = format!("{list} {i}");
        let message = message(&case["inputs"]);
        assert_eq!(message.struct_hash(), array(&case["struct_hash"]), "{at}");
        assert_eq!(message.digest(), array(&case["digest"]), "{at}");

        let (secret, digest) = (array(&case["eth_privkey"]), message.digest());
        let (signature, signer) = (Signature::new(array(&case["signature"])), address(&case["eth_address"]));
        let key = DelegateKey::from_bytes(&secret).unwrap();
        assert_eq!(key.address(), signer, "{at}");
        assert_eq!(message.sign(&key).unwrap(), signature, "{at}");
        assert_eq!(message.recover(&signature).unwrap(), signer, "{at}");
        for backend in BACKENDS {
            assert_eq!((backend.sign)(&secret, &digest).unwrap(), signature, "{at} {}", backend.name);
            let public_key = (backend.recover_public_key)(&digest, &signature).unwrap();
            assert_eq!(address_of(&public_key), signer, "{at} {}", backend.name);
            assert_eq!((backend.public_key)(&secret).unwrap(), public_key, "{at} {}", backend.name);
        }
    }
}

#[test]
fn every_channel_close_is_hashed_signed_and_recovered_like_the_reference() {
    messages_match("channel_close", 48, |inputs| ChannelClose {
        chain_id: uint256(&inputs["chainId"]),
        verifying_contract: address(&inputs["verifyingContract"]),
        close_at: uint256(&inputs["closeAt"]),
        market_id: array(&inputs["marketId"]).into(),
        channel_id: array(&inputs["channelId"]).into(),
        channel_seq: ChannelSeq::new(small(&inputs["channelSeq"])),
        balance: uint256(&inputs["balance"]),
        is_final: inputs["isFinal"].as_bool().unwrap(),
    });
}

#[test]
fn every_channel_open_is_hashed_signed_and_recovered_like_the_reference() {
    messages_match("channel_open", 2, |inputs| ChannelOpen {
        chain_id: uint256(&inputs["chainId"]),
        verifying_contract: address(&inputs["verifyingContract"]),
        ctype: small(&inputs["ctype"]),
        opened_at: uint256(&inputs["openedAt"]),
        market_id: array(&inputs["marketId"]).into(),
        channel_id: array(&inputs["channelId"]).into(),
        actor: address(&inputs["actor"]),
        delegate: address(&inputs["delegate"]),
        marketmaker: address(&inputs["marketmaker"]),
        recipient: address(&inputs["recipient"]),
        amount: uint256(&inputs["amount"]),
    });
}

#[test]
fn every_consent_is_hashed_signed_and_recovered_like_the_reference() {
    messages_match("consent", 2, |inputs| Consent {
        chain_id: uint256(&inputs["chainId"]),
        verifying_contract: address(&inputs["verifyingContract"]),
        member: address(&inputs["member"]),
        updated: uint256(&inputs["updated"]),
        market_id: array(&inputs["marketId"]).into(),
        delegate: address(&inputs["delegate"]),
        delegate_type: small(&inputs["delegateType"]),
        api_catalog: array(&inputs["apiCatalog"]).into(),
        consent: inputs["consent"].as_bool().unwrap(),
        service_prefix: inputs["servicePrefix"].as_str().unwrap_or_default().to_owned(),
    });
}

#[test]
fn every_market_member_login_is_hashed_signed_and_recovered_like_the_reference() {
    messages_match("market_member_login", 2, |inputs| MarketMemberLogin {
        member: address(&inputs["member"]),
        client_pubkey: array(&inputs["client_pubkey"]),
    });
}

/// The reference has no such struct; the answer comes from the EIP-712 library that it uses.
#[test]
fn an_offer_is_hashed_and_signed_like_the_references_library_does() {
    let key: DelegateKey =
        "4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d".parse().unwrap();
    let offer = Offer {
        chain_id: Amount::from_units(4),
        verifying_contract: "0x5f61f4c611501c1084738c0c8c5ebb5d3d8f2b6e".parse().unwrap(),
        market_id: MarketId::new([0xa1; 16]),
        key_id: KeyId::new([0xb2; 16]),
        api_id: ApiId::new([0xc3; 16]),
        uri: "io.crossbar.example".to_owned(),
        valid_from: 1_700_000_000_000_000_000,
        delegate: key.address(),
        price: Amount::from_xbr(35),
        expires: 1_700_000_300_000_000_000,
        copies: 7,
        provider_id: ProviderId::new("provider_1").unwrap(),
    };
    assert_eq!(
        hex::encode(offer.digest()),
        "17c688f80d39b6f014227afb855a1555697468538963a721cc48b29f2e6aa495"
    );
    let signature = offer.sign(&key).unwrap();
    assert_eq!(
        hex::encode(signature),
        "e98ec55c420aab8a06ff5f171b5ae76bce5783593d17b4417072caa30288a773\
         209353eec297dc0a35287d63e477f8610de78d1962bfa9e4d9d6a60c8d2aa6011b"
    );
    assert_eq!(offer.recover(&signature).unwrap(), key.address());
}

#[test]
fn every_ciphertext_opens_to_its_cbor_and_is_made_again_byte_for_byte() {
    for case in cases(&vectors(), "secretbox", 64) {
        let (cbor, ciphertext) = (bytes(&case["cbor"]), bytes(&case["ciphertext"]));
        let (key, nonce) = (array(&case["key"]), array(&case["nonce"]));
        for backend in BACKENDS {
            let at = format!("{} {}", case["name"], backend.name);
            assert_eq!((backend.secretbox_open)(&key, &ciphertext).as_ref(), Ok(&cbor), "{at}");
            assert_eq!((backend.secretbox_seal)(&key, &nonce, &cbor), ciphertext, "{at}");
        }
    }
}

#[test]
fn every_sealed_key_opens_and_where_the_ephemeral_key_is_known_is_made_again_byte_for_byte() {
    let mut sealed_again = 0;
    for (i, case) in cases(&vectors(), "sealedbox", 9).iter().enumerate() {
        let (secret, public) =
            (array(&case["recipient_privkey"]), BuyerKey::new(array(&case["recipient_pubkey"])));
        let (plaintext, sealed) = (bytes(&case["plaintext"]), bytes(&case["sealed"]));
        for backend in BACKENDS {
            let at = format!("{i} {}", backend.name);
            assert_eq!((backend.sealed_box_public_key)(&secret), public, "{at}");
            assert_eq!((backend.sealed_box_open)(&secret, &sealed).as_ref(), Ok(&plaintext), "{at}");
            if case["ephemeral_privkey"].is_string() {
                let ephemeral = array(&case["ephemeral_privkey"]);
                let again = (backend.sealed_box_seal_with)(&ephemeral, &public, &plaintext);
                assert_eq!(again.as_ref(), Ok(&sealed), "{at}");
                sealed_again += 1;
            }
        }
    }
    assert_eq!(sealed_again, 3 * BACKENDS.len());
}

#[test]
fn every_uint256_is_packed_like_the_reference() {
    for case in cases(&vectors(), "uint256", 11) {
        let amount = uint256(&case["value"]);
        assert_eq!(amount.to_be_bytes(), array(&case["packed"]), "{case}");
        assert_eq!(Amount::from_slice(&bytes(&case["packed"])), Ok(amount), "{case}");
        assert_eq!(amount.units(), case["value"].as_str().unwrap());
    }
}
