//! Each target with all that is known, and with inputs that follow from it.

#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout)] // The seed, for whoever has to repeat it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rejoin_fuzz::{corpus, mutate, target};

/// Inputs by seed, for each target and run of the tests: some seconds.
const INPUTS: usize = 50_000;

/// For a target that opens a file and changes its tables.
const INPUTS_OF_A_FILE: usize = 1_000;

/// A seed of another run, to repeat it.
const SEED: &str = "REJOIN_FUZZ_SEED";

fn fuzz(name: &str, inputs: usize) {
    let target = target(name).unwrap();
    let known = corpus::of(name).unwrap();
    assert!(known.len() >= 3, "{name}: there is nothing to begin with");
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("{name}: {} inputs are known, {inputs} follow; {SEED}={seed}", known.len());
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
fn requests_of_any_bytes() {
    fuzz("requests", INPUTS);
}

#[test]
fn answers_of_any_bytes() {
    fuzz("answers", INPUTS);
}

#[test]
fn cells_of_any_bytes() {
    fuzz("cells", INPUTS);
}

#[test]
fn sets_of_rows_of_any_bytes() {
    fuzz("rows", INPUTS);
}

#[test]
fn events_of_any_bytes() {
    fuzz("events", INPUTS);
}

#[test]
fn a_queue_of_any_bytes() {
    fuzz("queue", INPUTS);
}

#[test]
fn a_row_buffer_of_any_bytes() {
    fuzz("row-buffer", INPUTS);
}

#[test]
fn what_is_kept_is_read_as_it_was_written() {
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
