//! What cargo-fuzz runs, without it: the entry functions over the corpus that was kept, and over seeded
//! chance.
//!
//! `XBR_FUZZ_ACTIONS` says how many actions of the state machine there are to be (100,000 by default),
//! `XBR_FUZZ_SEED` with which seed to begin.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a failure is a panic here, figures are to be seen, the entry functions are another crate's"
)]

#[path = "support/chance.rs"]
mod chance;
#[path = "../fuzz/src/channel.rs"]
mod channel;
#[path = "../fuzz/src/decoders.rs"]
mod decoders;
#[path = "support/guard.rs"]
mod guard;
#[path = "../fuzz/src/rules.rs"]
mod rules;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use chance::Chance;

/// How many inputs of chance each decoder gets.
const INPUTS: u64 = 20_000;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// The inputs of a target that were kept, each of which once showed something new.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {target} is gone");
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Half of the inputs are of chance, half of the corpus with some bytes changed.
fn input(chance: &mut Chance, corpus: &[Vec<u8>]) -> Vec<u8> {
    let byte = |chance: &mut Chance| u8::try_from(chance.below(256)).unwrap();
    if chance.below(2) == 0 {
        return (0..1 + chance.below(200)).map(|_| byte(chance)).collect();
    }
    let mut input = chance.pick(corpus).unwrap().clone();
    for _ in 0..1 + chance.below(8) {
        let position = usize::try_from(chance.below(input.len() as u64 + 1)).unwrap();
        match chance.below(3) {
            0 => input.insert(position, byte(chance)),
            1 if position < input.len() => drop(input.remove(position)),
            _ if position < input.len() => input[position] = byte(chance),
            _ => {}
        }
    }
    input
}

/// Runs one input, and says which it was when it fails.
fn run<T>(input: &[u8], entry: impl Fn(&[u8]) -> T) -> T {
    catch_unwind(AssertUnwindSafe(|| entry(input))).unwrap_or_else(|panic| {
        println!("the input was {}", hex::encode(input));
        resume_unwind(panic)
    })
}

#[test]
fn no_sequence_of_actions_breaks_a_rule_of_the_channel() {
    let (wanted, seed) = (number("XBR_FUZZ_ACTIONS", 100_000), number("XBR_FUZZ_SEED", 0));
    let corpus = corpus("channel");
    let mut actions: u64 = corpus.iter().map(|input| run(input, channel::run) as u64).sum();
    let (mut inputs, mut chance) = (corpus.len(), Chance(seed));
    while actions < wanted {
        actions += run(&input(&mut chance, &corpus), channel::run) as u64;
        inputs += 1;
    }
    println!("{actions} actions in {inputs} sequences, seed {seed}: no rule broken");
}

#[test]
fn no_bytes_break_a_decoder() {
    type Target = (&'static str, fn(&[u8]));
    let targets: [Target; 5] = [
        ("cbor", decoders::cbor),
        ("msgpack", decoders::msgpack),
        ("json", decoders::json),
        ("requests", decoders::requests),
        ("frames", decoders::frames),
    ];
    for (target, entry) in targets {
        let corpus = corpus(target);
        corpus.iter().for_each(|input| run(input, entry));
        let mut chance = Chance(number("XBR_FUZZ_SEED", 0));
        for _ in 0..INPUTS {
            run(&input(&mut chance, &corpus), entry);
        }
    }
}
