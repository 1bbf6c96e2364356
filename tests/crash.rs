//! The real program, killed at every step of a sale and at random moments under load, and started again on
//! the same store, over and over. The market maker in the test keeps an independent record of what was
//! acknowledged and repeats what was not; nothing may be missing, counted twice, answered otherwise or signed
//! in contradiction.
//!
//! `XBR_CRASH_RUNS` says how often to kill (200 by default), `XBR_CRASH_SEED` with which seed to begin.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failure is a panic here, and the figures are to be seen"
)]

#[path = "support/chance.rs"]
mod chance;
#[path = "crash/figures.rs"]
mod figures;
#[path = "support/guard.rs"]
mod guard;
#[path = "support/market_peer.rs"]
mod market_peer;
#[path = "crash/program.rs"]
mod program;
#[path = "crash/record.rs"]
mod record;
#[path = "support/wamp_stub.rs"]
mod wamp_stub;
#[path = "crash/world.rs"]
mod world;

use figures::Figures;
use world::World;

/// How often the program is killed on one store.
const KILLS: u32 = 10;
/// How many worlds there are at a time.
const ABREAST: u64 = 2;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_seller_has_lost_nothing_and_counts_nothing_twice() {
    let (runs, first) = (number("XBR_CRASH_RUNS", 200), number("XBR_CRASH_SEED", 0));
    let worlds = runs.div_ceil(u64::from(KILLS));
    println!("{runs} kills in {worlds} worlds, seeds from {first}");
    let lanes = (0..ABREAST).map(|lane| {
        tokio::spawn(async move {
            let mut figures = Figures::default();
            for seed in (first..first + worlds).skip(usize::try_from(lane).unwrap()).step_by(ABREAST as usize)
            {
                figures.add(World::new(seed).await.run(KILLS).await);
            }
            figures
        })
    });
    let mut figures = Figures::default();
    for lane in lanes.collect::<Vec<_>>() {
        figures.add(lane.await.unwrap());
    }
    println!("{figures}");
    assert!(figures.is_complete(), "a step was never reached, or nothing had to be repeated");
}
