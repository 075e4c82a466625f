//! Devices that pull while a program writes and the standby stops following at random.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rejoin_postgres::Session;

use super::{Node, Replicated, replicated};
use crate::device::Rows;
use crate::postgres_only::sequencer::Until;
use crate::world::cases;

/// Rows of which each transaction changes two.
const ROWS: u64 = 6;

/// The sum of all scores, which no transaction changes.
const SUM: i64 = 100 * ROWS.cast_signed();

/// Pseudo-random numbers (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn random_pulls_show_whole_transactions_and_never_go_back() {
    let all = replicated();
    let session = all.node.world.database().session();
    for row in 0..ROWS {
        session.run(&format!(
            "INSERT INTO places(id, owner_id, name, score) VALUES('p{row}', 'anna', '0', 100)"
        ));
    }
    let writing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let still_writing = Until(&writing);
        let pullers: Vec<_> = (0..3)
            .map(|seed| {
                let (node, writing) = (&all.node, &writing);
                scope.spawn(move || pull(node, seed, writing))
            })
            .collect();
        let writers: Vec<_> = (0..2)
            .map(|seed| {
                let session = all.node.world.database().session();
                scope.spawn(move || write(&session, seed))
            })
            .collect();
        stop_and_go(&all, || writers.iter().all(std::thread::ScopedJoinHandle::is_finished));
        drop(still_writing);
        let expected: Vec<String> =
            session.lines("SELECT 'places/' || id || ' ' || name FROM places ORDER BY id");
        for puller in pullers {
            assert_eq!(puller.join().unwrap(), expected);
        }
    });
    let [served, declined] = all.node.counts();
    assert!(served > 50 && declined > 50, "{served} served, {declined} sent on");
}

fn stop_and_go(all: &Replicated, is_over: impl Fn() -> bool) {
    let mut random = Random(7);
    while !is_over() {
        all.standby.pause();
        std::thread::sleep(Duration::from_millis(random.below(60)));
        all.standby.resume();
        std::thread::sleep(Duration::from_millis(random.below(200)));
    }
}

/// Moves points between two rows, and counts the changes of each row in its name.
fn write(session: &Session, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..cases(150) {
        let (from, to) = (random.below(ROWS), random.below(ROWS));
        session.run(&format!(
            "UPDATE places SET name = (name::int + 1)::text, score = score + CASE id WHEN 'p{to}' THEN 1 ELSE -1 END
             WHERE id IN ('p{from}', 'p{to}') AND '{from}' <> '{to}'
               AND NOT EXISTS (SELECT FROM places WHERE id = 'p{from}' AND score = 0)"
        ));
        std::thread::sleep(Duration::from_millis(random.below(8)));
    }
}

/// Pulls until the writers end, and then to the end; returns each row and its number of changes.
fn pull(node: &Node, seed: u64, writing: &AtomicBool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut random = Random(seed);
        let mut device = node.world.device("anna", &format!("d{seed}")).await;
        let mut rows = device.snapshot_rows().await;
        loop {
            let is_last = !writing.load(Ordering::Relaxed);
            if is_last {
                node.look();
            }
            let before = rows.clone();
            let limit = i64::try_from(random.below(4)).unwrap() + 1;
            while device.pull_into(&mut rows, limit).await {
                assert_forward(&before, &rows);
            }
            assert_forward(&before, &rows);
            let sum: i64 = numbers(&rows, "score").map(|(_, score)| score).sum();
            assert_eq!(sum, SUM, "half a transaction: {rows:?}");
            if is_last {
                return numbers(&rows, "name").map(|(id, name)| format!("{id} {name}")).collect();
            }
            tokio::time::sleep(Duration::from_millis(random.below(10))).await;
        }
    })
}

fn numbers<'r>(rows: &'r Rows, column: &str) -> impl Iterator<Item = (&'r String, i64)> {
    rows.iter().map(move |(id, row)| {
        let value = &row.as_ref().unwrap()[column];
        let text = value.as_str().map(|text| text.parse().unwrap());
        (id, text.or(value.as_i64()).unwrap())
    })
}

fn assert_forward(before: &Rows, after: &Rows) {
    for ((id, old), (_, new)) in numbers(before, "name").zip(numbers(after, "name")) {
        assert!(new >= old, "{id} went back from {old} to {new}");
    }
}
