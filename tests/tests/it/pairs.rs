//! Pairs of rows that sum to 100, while a writer constantly moves amounts between the two. In every
//! state that a device commits, each visible pair is complete and sums to 100.
//!
//! Its pages are of different moments, and the halves of a pair are on pages that are far apart. So
//! the device shows nothing of a snapshot before it has the changes since the first page. A first
//! snapshot is applied directly (ADR 0056), and reports that it is partial: it is checked from its
//! end on.

#![allow(clippy::disallowed_methods)] // Another reader opens the file directly.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::yield_now;

use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Moment, Store};

use crate::{apply, each_store};
use rejoin_core::sync::rows::digest;
use rusqlite::Connection;

const PAIRS: usize = 120;

/// Pages of a snapshot.
const PAGES: usize = 50;

const PAGE: &str = "/sync/snapshot";

/// Pairs that are incomplete, or have another sum.
const BROKEN: &str = "SELECT pair, sum(part), count(*) FROM halves GROUP BY pair HAVING sum(part) <> 100 OR count(*) <> 2";

/// A server with complete pairs, whose halves are at the two ends of the keys.
fn server(store: Store) -> Backend {
    let rows: Vec<String> = (0..PAIRS)
        .map(|pair| format!("('a{pair:03}', {pair}, 50, 'ana'), ('b{pair:03}', {pair}, 50, 'ana')"))
        .collect();
    let sql = format!(
        "CREATE TABLE halves (id TEXT PRIMARY KEY, pair INTEGER, part INTEGER, user_id TEXT NOT NULL, updated_at TEXT);
         INSERT INTO halves (id, pair, part, user_id) VALUES {}",
        rows.join(", ")
    );
    Backend::made(store, &sql, vec![TableConfig::owned("halves", "user_id")], Limits::default())
}

/// A writer that runs a few commits at a time, so that a device can finish.
#[derive(Debug, Default)]
struct Writer {
    is_over: AtomicBool,
    allowed: AtomicUsize,
    commits: AtomicUsize,
}

impl Writer {
    /// Allows this many more commits; the last of them is running when this returns.
    fn on(&self, commits: usize) {
        let goal = self.allowed.fetch_add(commits, Ordering::Relaxed) + commits - 1;
        while self.commits.load(Ordering::Relaxed) < goal {
            assert!(!self.is_over.load(Ordering::Relaxed), "the writer has ended");
            yield_now();
        }
    }

    fn end(&self) -> StopGuard<'_> {
        StopGuard(&self.is_over)
    }
}

/// Ends the writer at the end of a scope.
struct StopGuard<'a>(&'a AtomicBool);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Moves amounts from one half to the other, and deletes or inserts a whole pair.
fn write(server: &Backend, writer: &Writer) {
    let _ends = writer.end();
    let mut random = fastrand::Rng::with_seed(7);
    let execute = server.outside_writer();
    while !writer.is_over.load(Ordering::Relaxed) {
        if writer.commits.load(Ordering::Relaxed) >= writer.allowed.load(Ordering::Relaxed) {
            yield_now();
            continue;
        }
        let (pair, part) = (random.usize(..PAIRS), random.i64(-30..30));
        let (one, other) = (format!("a{pair:03}"), format!("b{pair:03}"));
        let moved = if server.is_in_a_file() {
            // A page does not end within a statement. It may end within a transaction, which
            // SQLite's triggers do not see.
            format!(
                "UPDATE halves SET part = part + CASE id WHEN '{one}' THEN {part} ELSE -({part}) END WHERE pair = {pair}"
            )
        } else {
            format!(
                "UPDATE halves SET part = part + {part} WHERE id = '{other}';
                 UPDATE halves SET part = part - {part} WHERE id = '{one}'"
            )
        };
        let gone = format!("DELETE FROM halves WHERE pair = {pair}");
        let sql = match random.u8(..8) {
            0 => gone,
            1 => format!(
                "{gone}; INSERT INTO halves (id, pair, part, user_id)
                 VALUES ('{other}', {pair}, {part}, 'ana'), ('{one}', {pair}, 100 - {part}, 'ana')"
            ),
            _ => moved,
        };
        execute(&format!("BEGIN; {sql}; COMMIT"));
        writer.commits.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads the file after each commit of the device, as any other reader may, and records broken
/// pairs.
fn watch(device: &mut Device) -> Arc<Mutex<(usize, Vec<String>)>> {
    let seen = Arc::new(Mutex::new((0, Vec::new())));
    let (path, observed) = (device.path().to_owned(), seen.clone());
    device.engine().on_commit(Box::new(move |_| {
        let conn = Connection::open(&path).unwrap();
        let mut rows = conn.prepare(BROKEN).unwrap();
        let broken = rows
            .query_map([], |row| {
                let (pair, sum, count): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(format!("pair {pair}: {sum} in {count}"))
            })
            .unwrap();
        let mut observed = observed.lock().unwrap();
        observed.0 += 1;
        observed.1.extend(broken.map(Result::unwrap));
    }));
    seen
}

/// Runs one pass in which commits happen before and during each request; returns the number of its
/// pages.
fn pass(device: &mut Device, server: &Backend, writer: &Writer) -> usize {
    let before = device.sent.len();
    for _ in 0..100 {
        loop {
            // Fewer than a page holds, once the pages are there: the tail has an end.
            let in_pages = device.sent.last().is_none_or(|sent| sent.path == PAGE);
            writer.on(if in_pages { 2 } else { 1 });
            match device.step(server) {
                Ok(Moment::Finished(_)) => {
                    return device.sent[before..].iter().filter(|sent| sent.path == PAGE).count();
                }
                Ok(Moment::Leaving(_)) => {}
                Err(_) => break,
            }
        }
    }
    panic!("no pass succeeds");
}

/// Runs `body` while the writer is active.
fn while_writer_runs(server: &Backend, body: impl FnOnce(&Writer)) {
    let writer = Writer::default();
    std::thread::scope(|scope| {
        let _ends = writer.end();
        scope.spawn(|| write(server, &writer));
        body(&writer);
    });
}

/// Compacts the server's log past the device's cursor.
fn compact_past_cursor(server: &Backend) {
    server.outside("UPDATE halves SET part = 50");
    server.clock.advance(400 * 86_400_000_000);
    Device::new("ana", 99).sync(server);
    server.compact();
}

/// A synced device that must rebuild by pages of four rows, with these faults, while the writer is
/// active. Returns the broken pairs that it has shown, and whether it ends with the server's rows.
fn rebuild(store: Store, faults: impl IntoIterator<Item = Fault>) -> (Vec<String>, bool) {
    let server = server(store);
    let mut device = Device::with("ana", 1, None, |config| config.page_size = 4);
    device.sync(&server);
    compact_past_cursor(&server);
    let seen = watch(&mut device);
    device.faults.extend(faults);
    while_writer_runs(&server, |writer| {
        let pages = pass(&mut device, &server, writer);
        assert!(pages >= PAGES, "{pages} pages");
        pass(&mut device, &server, writer);
    });
    device.sync(&server);
    let check_in_sync =
        digest::digest(device.engine(), "halves").unwrap() == server.digest("ana", "halves");
    let seen = seen.lock().unwrap();
    assert!(seen.0 > 0, "it has committed something");
    (seen.1.clone(), check_in_sync)
}

#[apply(each_store)]
fn rebuild_by_fifty_pages_shows_only_consistent_pairs(store: Store) {
    assert_eq!(rebuild(store, []), (Vec::new(), true));
}

/// A connection that fails, before and after the server's work, in the middle of the pages; the
/// snapshot resumes.
#[apply(each_store)]
fn rebuild_with_faults_shows_only_consistent_pairs(store: Store) {
    let fault = [Fault::AnswerLost, Fault::CutBody, Fault::RequestLost, Fault::Doubled];
    assert_eq!(rebuild(store, fault.into_iter().cycle().take(40)), (Vec::new(), true));
}

/// A first snapshot shows its pages as they arrive, and reports that; from its end on every pair is
/// complete.
#[apply(each_store)]
fn first_snapshot_is_consistent_once_reported_complete(store: Store) {
    let server = server(store);
    let mut device = Device::with("ana", 1, None, |config| config.page_size = 4);
    while_writer_runs(&server, |writer| {
        let pages = pass(&mut device, &server, writer);
        assert!(pages >= PAGES, "{pages} pages");
        assert_eq!(device.see(BROKEN), "");
        let seen = watch(&mut device);
        for _ in 0..5 {
            pass(&mut device, &server, writer);
        }
        let seen = seen.lock().unwrap();
        assert!(seen.0 > 0, "something has come");
        assert_eq!(seen.1, Vec::<String>::new());
    });
}
