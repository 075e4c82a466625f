//! Tests of the simulated disk with plain SQLite: synced data survives every power cut, unsynced
//! data does not survive all of them.

use fastrand::Rng;
use rejoin_vfs::{Disk, Fault, Style};
use rusqlite::Connection;

use crate::points::seed;

/// How many of three commits remain after a power cut, for several images; `None` if the file is
/// damaged.
#[allow(clippy::disallowed_methods)] // Uses SQLite directly.
fn remaining_commits(pragmas: &str, rng: &mut Rng) -> Vec<Option<i64>> {
    let image = |rng: &mut Rng| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain.db");
        let disk = Disk::watch(folder.path());
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(&format!("{pragmas}; CREATE TABLE t (x)")).unwrap();
        disk.sync_all();
        for _ in 0..3 {
            conn.execute("INSERT INTO t VALUES (hex(randomblob(4000)))", []).unwrap();
        }
        disk.fail(Fault::PowerCut, 1, 1);
        assert!(conn.execute("INSERT INTO t VALUES (1)", []).is_err(), "the power is cut");
        disk.restore_power(Style::choose(rng), rng);
        drop(conn);
        let conn = Connection::open(&path).unwrap();
        let well: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).ok()?;
        if well != "ok" {
            return None;
        }
        conn.query_row("SELECT count(*) FROM t WHERE x <> 1", [], |row| row.get(0)).ok()
    };
    (0..60).map(|_| image(rng)).collect()
}

#[test]
fn synced_commits_survive_and_others_may_not() {
    let mut rng = Rng::with_seed(seed());
    for (pragmas, survive, is_whole) in [
        ("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", true, true),
        ("PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA", true, true),
        ("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", false, true),
        ("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF", false, false),
    ] {
        let remaining_commits = remaining_commits(pragmas, &mut rng);
        assert_eq!(
            remaining_commits.iter().all(|count| *count == Some(3)),
            survive,
            "{pragmas}: {remaining_commits:?}"
        );
        assert_eq!(
            remaining_commits.iter().all(Option::is_some),
            is_whole,
            "{pragmas}: {remaining_commits:?}"
        );
    }
}
