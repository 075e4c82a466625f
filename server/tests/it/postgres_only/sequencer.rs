//! Positions in the log of PostgreSQL: in any order of commits, every puller gets all changes, and
//! an open transaction delays only itself.
//!
//! The same scenario runs with sequencers that contain typical mistakes, and must fail there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::json;

use crate::world::{TABLES, World, named, standard};
use rejoin_postgres::Session;

/// Mistake: positions are the entries' ids at write time; the cursor is the highest one seen.
const BY_HIGHEST_ID: &str = "
    CREATE OR REPLACE FUNCTION rejoin.sequence() RETURNS bigint LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock(1380600394, 0);
      WITH taken AS (DELETE FROM rejoin.inbox RETURNING *), put AS (
        INSERT INTO rejoin.changelog(position, tx, bucket, table_number, record_id)
        SELECT id + 1000, tx, bucket, table_number, record_id FROM taken RETURNING position)
      UPDATE rejoin.head SET position = greatest(position, (SELECT max(position) FROM put))
      WHERE EXISTS (SELECT FROM put);
      RETURN (SELECT position FROM rejoin.head);
    END $$";

/// The same, only for transactions older than every open one.
const BY_HORIZON: &str = "
    CREATE OR REPLACE FUNCTION rejoin.sequence() RETURNS bigint LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock(1380600394, 0);
      WITH taken AS (
        DELETE FROM rejoin.inbox WHERE tx < pg_snapshot_xmin(pg_current_snapshot()) RETURNING *), put AS (
        INSERT INTO rejoin.changelog(position, tx, bucket, table_number, record_id)
        SELECT id + 1000, tx, bucket, table_number, record_id FROM taken RETURNING position)
      UPDATE rejoin.head SET position = greatest(position, (SELECT max(position) FROM put))
      WHERE EXISTS (SELECT FROM put);
      RETURN (SELECT position FROM rejoin.head);
    END $$";

/// Our sequencer, forgetting which transactions were open when it last ran.
const FORGETFUL: &str = "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('rejoin.sequence'::regproc),
    'ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot()) UNION SELECT pg_current_xact_id())', '''{}'''); END $$";

/// Our sequencer, numbering by row order instead of by transaction.
const BY_ROW: &str = "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('rejoin.sequence'::regproc),
    'ORDER BY t.tx, t.id', 'ORDER BY t.id'); END $$";

/// What went on.
#[derive(Debug, Default)]
struct Covered {
    commits: AtomicUsize,
    rollbacks: AtomicUsize,
    pulls: AtomicUsize,
}

/// The rows of a puller: while two transactions were open, and after all ended.
type Found = [BTreeSet<String>; 2];

/// True until dropped.
pub(super) struct Until<'a>(pub(super) &'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

pub(super) fn insert(id: &str) -> String {
    format!("INSERT INTO places(id, owner_id, name) VALUES('{id}', 'anna', 'x')")
}

/// Eight writers sleep before commit, one transaction stays open, one is prepared, four devices
/// pull.
fn run_scenario(world: &World, lasts: Duration) -> Result<Covered, String> {
    let database = world.database.as_ref().unwrap();
    let covered = Covered::default();
    let all = || -> BTreeSet<String> {
        database.session().lines("SELECT 'places/' || id FROM places").into_iter().collect()
    };
    let (long, left) = (database.session(), database.session());
    let name = database.url.rsplit('/').next().unwrap();
    long.run(&format!("BEGIN; {}", insert("long")));
    left.run(&format!("BEGIN; {}; PREPARE TRANSACTION '{name}'", insert("left")));
    let (writing, pulling) = (AtomicBool::new(true), AtomicBool::new(true));
    let (others, found) = std::thread::scope(|scope| {
        // A failure here ends the threads as well.
        let (writing, pulling) = (Until(&writing), Until(&pulling));
        let (drained, all_drained) = channel();
        let mut go_on = Vec::new();
        let pullers: Vec<_> = (0..4)
            .map(|number| {
                let (sender, over) = channel();
                go_on.push(sender);
                let (pulling, drained, covered) = (pulling.0, drained.clone(), &covered);
                scope.spawn(move || puller(world, number, pulling, &drained, &over, covered))
            })
            .collect();
        // Each puller reports its snapshot, and later that it has pulled to the end.
        assert_eq!(all_drained.iter().take(4).count(), 4);
        let writers: Vec<_> = (0..8)
            .map(|number| {
                let (writing, covered) = (writing.0, &covered);
                scope.spawn(move || writer(&database.session(), number, writing, covered))
            })
            .collect();
        std::thread::sleep(lasts);
        drop(writing);
        for writer in writers {
            writer.join().unwrap();
        }
        let others = all();
        drop((pulling, drained));
        // Each pulls to the end; only then the two open transactions end.
        assert_eq!(all_drained.iter().take(4).count(), 4);
        long.run("COMMIT");
        left.run(&format!("COMMIT PREPARED '{name}'"));
        drop(go_on);
        let found: Vec<Found> = pullers.into_iter().map(|puller| puller.join().unwrap()).collect();
        (others, found)
    });
    for (number, [early, late]) in found.iter().enumerate() {
        let lacks = |has: &BTreeSet<String>, wants: &BTreeSet<String>, when: &str| {
            let missing = wants.difference(has).count();
            let of = wants.len();
            if missing == 0 {
                Ok(())
            } else {
                Err(format!("{number} lacks {missing} of {of} {when}"))
            }
        };
        lacks(early, &others, "while two transactions are open")?;
        lacks(late, &all(), "when all are over")?;
        lacks(&all(), late, "that were never written")?;
    }
    Ok(covered)
}

fn writer(session: &Session, number: usize, writing: &AtomicBool, covered: &Covered) {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut turn = 0;
    while writing.load(Ordering::Relaxed) {
        turn += 1;
        let rows: Vec<String> = (0..random.usize(1..4))
            .map(|row| {
                format!(
                    "{}; SELECT pg_sleep({})",
                    insert(&format!("w{number}-{turn}-{row}")),
                    random.f64() / 50.0
                )
            })
            .collect();
        let (end, count) = if random.u8(0..8) == 0 {
            ("ROLLBACK", &covered.rollbacks)
        } else {
            ("COMMIT", &covered.commits)
        };
        session.run(&format!("BEGIN; {}; {end}", rows.join("; ")));
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn puller(
    world: &World,
    number: usize,
    pulling: &AtomicBool,
    drained: &Sender<()>,
    over: &Receiver<()>,
    covered: &Covered,
) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut device = world.device("anna", &format!("puller {number}")).await;
        let mut found: BTreeSet<String> = device.snapshot(1_000).await.into_iter().collect();
        let _ = drained.send(());
        while pulling.load(Ordering::Relaxed) {
            found.extend(named(&device.pull_page(1_000).await));
            covered.pulls.fetch_add(1, Ordering::Relaxed);
        }
        found.extend(device.pull().await);
        let early = found.clone();
        let _ = drained.send(());
        // Nothing is ever sent: `recv` returns when the sender is dropped.
        let _ = over.recv();
        found.extend(device.pull().await);
        [early, found]
    })
}

/// Five seconds, or as many as `REJOIN_SEQUENCER_SECONDS` says.
fn lasts() -> Duration {
    let seconds = std::env::var("REJOIN_SEQUENCER_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

#[test]
fn pullers_get_all_and_open_transactions_delay_only_themselves() {
    let world = World::postgres(TABLES, standard);
    let covered = run_scenario(&world, lasts()).unwrap();
    let count = |counted: &AtomicUsize| counted.load(Ordering::Relaxed);
    assert!(count(&covered.commits) > 50 && count(&covered.rollbacks) > 5, "{covered:?}");
    assert!(count(&covered.pulls) > 8, "{covered:?}");
}

#[test]
fn scenario_fails_if_positions_are_ids() {
    fails_with(&[(BY_HIGHEST_ID, "lacks"), (BY_HORIZON, "while two transactions are open")]);
}

#[test]
fn scenario_fails_if_open_transactions_are_forgotten() {
    fails_with(&[(FORGETFUL, "lacks")]);
}

fn fails_with(sequencers: &[(&str, &str)]) {
    for (broken, why) in sequencers {
        let world = World::postgres(TABLES, standard);
        world.database.as_ref().unwrap().session().run(broken);
        let error = run_scenario(&world, Duration::from_secs(2)).expect_err(broken);
        assert!(error.contains(*why), "{error}");
    }
}

/// A sequencer that fails shows whether a request runs it.
#[tokio::test]
async fn pull_runs_the_sequencer_only_if_a_change_has_no_position() {
    const BEGIN: &str = "BEGIN\n  SELECT";
    const FAILING: &str = "BEGIN RAISE 'away';\n  SELECT";
    let world = World::postgres(TABLES, standard);
    let session = world.database().session();
    let exchange = |of: &str, by: &str| {
        session.run(&format!(
            "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('rejoin.sequence'::regproc), $of${of}$of$, $by${by}$by$); END $$"
        ));
    };
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    exchange(BEGIN, FAILING);
    assert!(anna.pull().await.is_empty());
    session.run(&insert("p1"));
    let (status, answer) =
        anna.post("/sync/pull", json!({"rejoin": {"cursor": anna.cursor}})).await;
    assert_eq!(status, 500, "{answer}");
    exchange(FAILING, BEGIN);
    assert_eq!(anna.pull().await, ["places/p1"]);
}

/// x10 writes 1, x11 writes 2, x10 writes 3 and commits; a reader reads; x11 commits.
#[tokio::test]
async fn late_commit_gets_a_later_position() {
    for (sequencer, arrives) in [("", true), (BY_HIGHEST_ID, false)] {
        let world = World::postgres(TABLES, standard);
        let database = world.database.as_ref().unwrap();
        database.session().run(sequencer);
        let mut anna = world.device("anna", "a1").await;
        anna.snapshot(100).await;
        let (early, late) = (database.session(), database.session());
        early.run(&format!("BEGIN; {}", insert("e1")));
        late.run(&format!("BEGIN; {}", insert("l1")));
        early.run(&format!("{}; COMMIT", insert("e2")));
        assert_eq!(anna.pull().await, ["places/e1", "places/e2"]);
        late.run("COMMIT");
        let found = anna.pull().await;
        assert_eq!(found == ["places/l1"], arrives, "{found:?}");
    }
}

/// Two transactions write alternately; a page with room for one row has all rows of the first
/// transaction, and no others.
#[tokio::test]
async fn page_of_one_holds_a_whole_transaction_of_two_interleaved() {
    for (sequencer, is_whole) in [("", true), (BY_ROW, false)] {
        let world = World::postgres(TABLES, standard);
        let database = world.database();
        database.session().run(sequencer);
        let mut anna = world.device("anna", "a1").await;
        anna.snapshot(100).await;
        let (one, two) = (database.session(), database.session());
        one.run(&format!("BEGIN; {}", insert("a1")));
        two.run(&format!("BEGIN; {}", insert("b1")));
        one.run(&insert("a2"));
        two.run(&insert("b2"));
        two.run("COMMIT");
        one.run("COMMIT");
        let mut pages = Vec::new();
        while pages.len() < 10 {
            let page = anna.pull_page(1).await;
            pages.push(named(&page));
            if !page.has_more {
                break;
            }
        }
        pages.sort();
        let whole = [["places/a1", "places/a2"], ["places/b1", "places/b2"]];
        assert_eq!(pages == whole, is_whole, "{pages:?}");
    }
}

/// A parent moves while another session writes below it: one of them waits and sees the other's
/// change.
#[tokio::test]
async fn child_written_during_a_parent_move_moves_along() {
    for child_first in [true, false] {
        let world = World::postgres(TABLES, standard);
        let database = world.database.as_ref().unwrap();
        database.session().run(&insert("p1"));
        let mut anna = world.device("anna", "a1").await;
        let mut ben = world.device("ben", "b1").await;
        anna.snapshot(100).await;
        ben.snapshot(100).await;
        let child = "INSERT INTO visits(id, place_id) VALUES('v1', 'p1')";
        let moved = "UPDATE places SET owner_id = 'ben' WHERE id = 'p1'";
        let (first, second) = if child_first { (child, moved) } else { (moved, child) };
        let (one, two) = (database.session(), database.session());
        one.run(&format!("BEGIN; {first}"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| two.run(second));
            let is_waiting =
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
            while database.session().one(is_waiting) == "0" {
                std::thread::sleep(Duration::from_millis(10));
            }
            one.run("COMMIT");
            waiting.join().unwrap();
        });
        assert_eq!(ben.pull().await, ["places/p1", "visits/v1"], "the child first: {child_first}");
        assert!(anna.pull().await.contains(&String::from("-places/p1")));
    }
}
