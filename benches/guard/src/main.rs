//! Runs the hot paths of a sale, each so many times, for a tool that counts instructions: `scripts/guard`
//! runs it under one, and compares the counts with those that are committed. By itself it tells nothing.
//!
//! Inputs, keys and nonces are the same each time. Each path first runs a little, so that what happens once
//! only does not count.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a failure is a panic here")]

mod market;
mod sale;
mod store;
mod wrap;

use xbr_core::crypto::Entropy;

/// How often a path runs before it counts.
const WARM_UP: u32 = 20;

/// Something to be counted.
struct Path {
    name: &'static str,
    /// How often it runs while it counts.
    rounds: u32,
    run: Box<dyn FnMut()>,
}

impl Path {
    fn new(name: &'static str, rounds: u32, run: impl FnMut() + 'static) -> Self {
        Self { name, rounds, run: Box::new(run) }
    }
}

fn main() {
    // Those first that involve neither threads nor hash tables: what these leave on the heap differs a little.
    for paths in [sale::paths, market::paths, wrap::paths, store::paths] {
        for Path { name, rounds, mut run } in paths() {
            for _ in 0..WARM_UP {
                run();
            }
            measured(rounds, &mut *run);
            tell(rounds, name);
        }
    }
}

/// From here on it counts: the tool knows this function by its name, and the next one.
#[inline(never)]
fn measured(rounds: u32, run: &mut dyn FnMut()) {
    for _ in 0..rounds {
        run();
    }
}

/// Up to here. The lines are in the order of the counts.
#[inline(never)]
fn tell(rounds: u32, name: &str) {
    println!("{rounds} {name}");
}

/// The same bytes each time.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}
