//! Deterministic simulation: our server and our clients as they are, on a network and a clock that a seed decides.
//!
//! What must hold for every seed: each call ends by its deadline and a second; it ends well, at its deadline, or with
//! UNAVAILABLE when there were faults; an export is the exact beginning of what was asked for, and all of it when it ends
//! well; an upload is stored whole or not at all, and is there once it was acknowledged; sums are right; a server stops
//! by its drain limit; nothing that ended leaves a task or a handler.
//!
//! - `SIM_SEEDS=N`: the seeds below N instead of the first 200
//! - `SIM_SEED=N`: one seed, and what happens in it
//!
//! Not here: threads, the stores, TLS.

mod caller;
mod chance;
mod network;
mod service;
mod world;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::simulate;

/// Seeds of a usual run.
const SEEDS: u64 = 200;

#[test]
fn every_seed_holds() {
    if let Some(seed) = number("SIM_SEED") {
        let hash = simulate(seed, true).expect("it holds");
        eprintln!("seed {seed} holds: {hash:016x}");
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let work = || {
        let mut broken = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return broken;
            }
            let held = thread::scope(|one| one.spawn(|| simulate(seed, false)).join());
            if let Err(what) = held.unwrap_or_else(|_| Err("a panic, above".to_owned())) {
                broken.push(format!("{what}\n    SIM_SEED={seed} repeats it"));
            }
        }
    };
    let broken: Vec<String> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let broken = workers.into_iter().map(|worker| worker.join());
        broken
            .flat_map(|broken| broken.expect("no panic"))
            .collect()
    });
    println!(
        "simulation: {} of {seeds} seeds hold",
        seeds - broken.len() as u64
    );
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn a_seed_is_the_same_run_twice_and_another_seed_is_another() {
    let hashes: Vec<_> = [1, 1, 2, 2, 4, 4].map(|seed| simulate(seed, false)).into();
    assert_eq!(
        (&hashes[0], &hashes[2], &hashes[4]),
        (&hashes[1], &hashes[3], &hashes[5])
    );
    assert!(hashes[0] != hashes[2] && hashes[2] != hashes[4]);
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
