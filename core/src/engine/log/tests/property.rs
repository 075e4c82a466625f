//! The property of the rebase on real SQLite: selective gives the same as full.

use rejoin_log::rebase::properties::selective_rebase_equals_full_replay;
use rejoin_protocol::mutant::{self, Mutant};

use super::LogFile;
use crate::cases::cases;

#[test]
fn selective_rebase_equals_full_replay_in_a_file() {
    let mut file = LogFile::new();
    for seed in 0..cases(2_500) {
        file.engine.run_ours("BEGIN").unwrap();
        selective_rebase_equals_full_replay(seed, file.store()).unwrap();
        file.engine.run_ours("ROLLBACK").unwrap();
    }
}

#[test]
fn each_broken_rule_of_the_rebase_fails_the_property() {
    let mut file = LogFile::new();
    for mutant in [Mutant::NoClosureByRows, Mutant::NotStartedOver] {
        let fails = |seed: u64| {
            file.engine.run_ours("BEGIN").unwrap();
            let store = file.store();
            let result = mutant::with(mutant, || selective_rebase_equals_full_replay(seed, store));
            file.engine.run_ours("ROLLBACK").unwrap();
            result.is_err()
        };
        assert!((0..2_500).any(fails), "{mutant:?} is not noticed");
    }
}
