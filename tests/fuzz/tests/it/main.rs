//! Runs each target with all known inputs, and with derived ones.

#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout)] // Prints the seed, to repeat a failure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rejoin_fuzz::{corpus, mutate, target};

/// Derived inputs for each target and test run: some seconds.
const INPUTS: usize = 50_000;

/// For a target that opens a file and changes its tables.
const INPUTS_OF_A_FILE: usize = 1_000;

/// The seed of another run, to repeat it.
const SEED: &str = "REJOIN_FUZZ_SEED";

fn fuzz(name: &str, inputs: usize) {
    let target = target(name).unwrap();
    let known = corpus::of(name).unwrap();
    assert!(known.len() >= 3, "{name}: too few known inputs");
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("{name}: {} known inputs, {inputs} derived; {SEED}={seed}", known.len());
    let meet = |input: &[u8]| {
        let met = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        assert!(met.is_ok(), "{name}, {SEED}={seed}: {}", input.escape_ascii());
    };
    for input in &known {
        meet(input);
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..inputs {
        meet(&mutate::mutated(&mut rng, &known));
    }
}

#[test]
fn request_parser_accepts_any_bytes() {
    fuzz("requests", INPUTS);
}

#[test]
fn response_parser_accepts_any_bytes() {
    fuzz("answers", INPUTS);
}

#[test]
fn parser_of_log_requests_accepts_any_bytes() {
    fuzz("log", INPUTS);
}

#[test]
fn cell_parser_accepts_any_bytes() {
    fuzz("cells", INPUTS);
}

#[test]
fn row_set_parser_accepts_any_bytes() {
    fuzz("rows", INPUTS);
}

#[test]
fn event_parser_accepts_any_bytes() {
    fuzz("events", INPUTS);
}

#[test]
fn queue_parser_accepts_any_bytes() {
    fuzz("queue", INPUTS);
}

#[test]
fn row_buffer_parser_accepts_any_bytes() {
    fuzz("row-buffer", INPUTS);
}

#[test]
fn kept_inputs_round_trip() {
    let all: Vec<u8> = (0..=255).collect();
    let line = all.escape_ascii().to_string();
    assert!(!line.contains('\n'));
    assert_eq!(corpus::unescaped(&line), Some(all));
    assert_eq!(corpus::unescaped("\\"), None);
}

#[test]
fn manifest_of_any_text_changes_declared_tables_only() {
    fuzz("manifests", INPUTS_OF_A_FILE);
}
