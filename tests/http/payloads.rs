//! Encrypting and publishing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use xbr_core::cbor;

use crate::client::post;
use crate::programs::{API, wait_for};
use crate::world::World;

#[test]
fn payloads_are_encrypted_in_every_form() {
    let world = World::new();
    let seller = world.seller(&[]);
    let wrap = post(&format!("/v1/apis/{API}/wrap"));
    let length = |answer: &Value| STANDARD.decode(answer["ciphertext"].as_str().unwrap()).unwrap().len() - 40;

    let json = seller.send(&wrap.clone().json(r#"{"a": 100000000000000000000}"#)).json(200);
    // The integer is exact: a CBOR big integer of nine bytes.
    assert_eq!((json["serializer"].as_str(), length(&json)), (Some("cbor"), 1 + 2 + 1 + 1 + 9));
    // As it is, a float of eight bytes included that could be shorter.
    let cbor = wrap.clone().body("application/cbor", [0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
    assert_eq!(length(&seller.send(&cbor).json(200)), 9);
    let octets = wrap.clone().body("application/octet-stream; x=y", [0; 30]);
    assert_eq!(length(&seller.send(&octets).json(200)), 2 + 30);
    let below = post(&format!("/v1/apis/{API}/wrap?uri=io.crossbar.example.below")).json("null");
    assert_eq!(seller.send(&below).json(200)["key_id"], json["key_id"]);

    let answer = seller.send(&wrap.json("1").header("accept", "text/html, application/cbor"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/cbor")));
    let xbr_core::Value::Map(wrapped) = cbor::decode(&answer.body, &cbor::Limits::default()).unwrap() else {
        panic!("no map")
    };
    let lengths: Vec<_> = wrapped.iter().map(|(_, value)| value.as_bytes().map(<[u8]>::len)).collect();
    assert_eq!(lengths, [Some(16), None, Some(41)]);

    let batch = post(&format!("/v1/apis/{API}/wrap-batch")).json(r#"[1, "two", [3]]"#);
    let batch = seller.send(&batch).json(200);
    assert_eq!(batch.as_array().unwrap().iter().map(length).collect::<Vec<_>>(), [1, 4, 2]);
    seller.stop();
}

#[test]
fn a_publication_is_acknowledged_and_its_repeat_is_the_same() {
    let mut world = World::new();
    let seller = world.seller(&[]);
    let publish = post(&format!("/v1/apis/{API}/publish")).json(r#"{"a": 1}"#);
    let published = seller.send(&publish).json(200);
    assert_eq!(
        (published["uri"].as_str(), published["api_id"].as_str()),
        (Some("io.crossbar.example"), Some(API))
    );

    // Each publication rotates: the same key id is the same publication.
    let api = "00000000-0000-4000-8000-000000000001";
    let new = format!(r#"{{"id":"{api}","prefix":"io.crossbar.example","price":"0","count":1}}"#);
    seller.send(&post("/v1/apis").json(&new)).json(201);
    let publish = post(&format!("/v1/apis/{api}/publish")).header("idempotency-key", "first");
    let once = publish.clone().json("1");
    let key_ids: Vec<_> = std::thread::scope(|scope| {
        let (once, address) = (&once, seller.address);
        let repeats: Vec<_> = (0..8).map(|_| scope.spawn(move || once.send(address).json(200))).collect();
        repeats.into_iter().map(|repeat| repeat.join().unwrap()["key_id"].clone()).collect()
    });
    assert!(key_ids.iter().all(|key_id| *key_id == key_ids[0]), "{key_ids:?}");
    assert_eq!(seller.send(&once).json(200)["key_id"], key_ids[0]);
    let other = seller.send(&publish.clone().json("2"));
    assert_eq!(other.problem(422), "xbr_seller.error.idempotency_key_reused");
    let other_key = publish.without("idempotency-key").header("idempotency-key", "second").json("1");
    assert_ne!(seller.send(&other_key).json(200)["key_id"], key_ids[0]);

    // What failed is no answer to a repeat.
    let third = post(&format!("/v1/apis/{api}/publish")).header("idempotency-key", "third").json("1");
    world.stop_market();
    let failed = seller.send(&third);
    assert!(matches!(failed.status, 503 | 504), "{}", failed.text());
    failed.problem(failed.status);
    world.start_market();
    wait_for("the publication", || (seller.send(&third).status == 200).then_some(()));
    seller.stop();
}

#[test]
fn no_more_idempotency_keys_are_remembered_than_are_allowed() {
    let world = World::new();
    let seller = world.seller(&[
        ("XBR_SELLER__HTTP__IDEMPOTENCY_KEYS", "2"),
        // The same key id is the same publication.
        ("XBR_SELLER__API__0__COUNT", "1"),
    ]);
    let published = |key: &str| {
        let publish = post(&format!("/v1/apis/{API}/publish")).header("idempotency-key", key).json("1");
        seller.send(&publish).json(200)["key_id"].clone()
    };
    let (first, second) = (published("first"), published("second"));
    assert_eq!(published("first"), first);
    published("third");
    assert_eq!(published("first"), first, "it was used after the second one");
    assert_ne!(published("second"), second, "it is forgotten");
    seller.stop();
}
