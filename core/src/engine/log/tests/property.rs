//! The property of the rebase on real SQLite: selective gives the same as full.

use rejoin_log::rebase::properties::selective_rebase_equals_full_replay;
use rejoin_protocol::mutant::{self, Mutant};

use super::LogFile;
use crate::cases::cases;

#[test]
fn selective_rebase_equals_full_replay_in_a_file() {
    let mut file = LogFile::new();
    for seed in 0..cases(1_250) {
        holds(&mut file, seed).unwrap();
    }
}

fn holds(file: &mut LogFile, seed: u64) -> Result<(), String> {
    file.engine.run_ours("BEGIN").unwrap();
    let result = selective_rebase_equals_full_replay(seed, file.store());
    file.engine.run_ours("ROLLBACK").unwrap();
    result
}

#[test]
fn each_broken_rule_of_the_rebase_fails_the_property() {
    let mut file = LogFile::new();
    for mutant in [Mutant::NoClosureByRows, Mutant::NotStartedOver] {
        let found =
            (0..2_500).find(|seed| mutant::with(mutant, || holds(&mut file, *seed)).is_err());
        let seed = found.unwrap_or_else(|| panic!("{mutant:?} is not noticed"));
        holds(&mut file, seed).unwrap();
    }
}
