//! The property of the rebase on real SQLite: selective gives the same as full.

use rejoin_log::rebase::properties::selective_rebase_equals_full_replay;

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
