//! The whole market in simulation: the actors of the seller, the market maker and three buyers, on their
//! stores in memory, joined by a network that delivers, drops, delays, reorders and duplicates, while any of
//! them is disconnected, crashes or is stopped, and disks fail. Then everything is well again, everybody
//! finds out where things stand, and the accounts are compared: no coin is made or lost, no key was delivered
//! unpaid, no paid key is missing, both ends of every channel agree, nothing that was signed contradicts what
//! was signed before, and nobody waits for ever.
//!
//! Everything happens on one thread, on virtual time, in an order that comes from a seed. A seed that fails
//! is told, and runs alone, with everything that happens in it, by
//!
//!     SIMULATION_SEED=17 cargo test --test simulation -- --nocapture
//!
//! `RUST_LOG` adds what the parties log, and `SIMULATION_SEEDS` says how many seeds there are, instead of
//! 1,000.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failure is a panic here"
)]

#[path = "simulation/accounts.rs"]
mod accounts;
#[path = "simulation/audit.rs"]
mod audit;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/sessions.rs"]
mod sessions;
#[path = "simulation/stores.rs"]
mod stores;
mod support;
#[path = "simulation/world.rs"]
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use accounts::Outcome;
use world::World;
use xbr_compute::here;

/// How many seeds there are, if nobody says otherwise.
const SEEDS: u64 = 1000;
/// How many threads share them.
const THREADS: usize = 2;
/// How many things happen in each.
const STEPS: u32 = 80;

thread_local! {
    /// How many panics there were on this thread: actors are tasks, and a task swallows its own.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

async fn simulate(seed: u64, verbose: bool) -> Result<Outcome, String> {
    let mut world = World::new(seed, verbose);
    for _ in 0..STEPS {
        world.step().await;
        if let Some(problem) = world.network.audit.borrow().problems.first() {
            return Err(problem.clone());
        }
    }
    let wanted = world.heal().await?;
    accounts::compare(&world, &wanted).await
}

/// Runs a seed: what the parties would compute on other threads, this one computes whenever it has nothing else to do,
/// before time goes on.
fn run(seed: u64, verbose: bool) -> Outcome {
    PANICS.set(0);
    here::begin();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .on_thread_park(here::compute)
            .build()
            .unwrap()
    };
    let run = || actix_rt::System::with_tokio_rt(runtime).block_on(simulate(seed, verbose));
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outcome)) if PANICS.get() == 0 => outcome,
        Ok(Ok(_)) => panic!("seed {seed}: somebody panicked, see above"),
        Ok(Err(problem)) => panic!("seed {seed}: {problem}"),
        Err(_) => panic!("seed {seed} panicked, see above"),
    }
}

/// A thread of this scope with room for the world.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work).unwrap()
}

fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.set(PANICS.get() + 1);
        before(info);
    }));
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn whatever_goes_wrong_the_accounts_agree_in_the_end() {
    count_panics();
    if let Some(seed) = variable("SIMULATION_SEED") {
        let log = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr).init();
        let outcome = std::thread::scope(|scope| spawn(scope, || run(seed, true)).join().unwrap());
        return eprintln!("{outcome:#?}");
    }
    let seeds = variable("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                spawn(scope, || {
                    let mut outcomes = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return outcomes;
                        }
                        outcomes.push(run(seed, false));
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let all = |number: fn(&Outcome) -> u64| outcomes.iter().map(number).sum::<u64>();
    let counts = [
        ("sold", all(|it| it.sold), 5),
        ("of them free", all(|it| it.free), 1),
        ("refused, and given back", all(|it| it.refused), 0),
        ("wishes without a key", all(|it| it.failed), 5),
        ("sales asked for again", all(|it| it.tally.repeated), 1),
        ("sequence numbers signed anew", all(|it| it.tally.reused), 0),
        ("channels closed", all(|it| it.tally.closed), 0),
        ("channels in which something was conceded", all(|it| it.conceded), 0),
    ];
    // Few seeds need not bring everything about.
    let missing = |(_, count, of_each): &(&str, u64, u64)| seeds == SEEDS && *count <= of_each * seeds;
    assert!(!counts.iter().any(missing), "too little happens: {counts:?}");
}

#[test]
fn a_seed_brings_the_same_each_time() {
    std::thread::scope(|scope| {
        let twice = || {
            (0..3).for_each(|seed| {
                let [first, second] = [(); 2].map(|()| run(seed, false).trace);
                assert_eq!(first, second, "seed {seed}");
            })
        };
        spawn(scope, twice).join().unwrap();
    });
}
