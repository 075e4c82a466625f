//! A failure at any call of the store: after the rollback nothing has changed, and a retry gives
//! what a run without a failure gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use rejoin_log::effect::Effect;
use rejoin_log::entry::Revision;
use rejoin_log::fixture::{
    Actions, Column, author, buckets, columns, entry, image, intent, plain, row,
};
use rejoin_log::ids::Epoch;
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotPlace, SnapshotPosition,
};
use rejoin_log::message::{
    Cursor, EntryVerdict, EpochStamp, Fetched, Held, Item, Outcome, Page, Published, Verdict,
    ViewedEntry,
};
use rejoin_log::replica::store::ReplicaStore;
use rejoin_log::replica::{LogError, Replica, ReplicaState, check, fetch, publish, snapshot};
use rejoin_log::row::{LogRow, RowName};
use uuid::Uuid;

use super::LogFile;
use super::failing::{Calls, CountedStore};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::log::counts;
use crate::engine::replica::{read_log, write_log};
use crate::engine::reset::{Keep, reset};
use crate::error::Error;
use crate::value::Value;

type Store<'a, 'c> = CountedStore<'c, super::SqliteReplica<'a>>;

/// One operation of a device.
type Operation = fn(&mut Replica<Store<'_, '_>>) -> Result<(), LogError>;

const STAMP: EpochStamp = EpochStamp { epoch: Epoch(Uuid::from_u128(1)), membership: 1 };

fn key(millis: u64, author_number: u128, id: u128) -> Key {
    Key { millis, counter: 1, author: author(author_number), id: entry(id) }
}

/// An update of the text of r0 by another author.
fn theirs(millis: u64, id: u128, text: &str) -> ViewedEntry {
    let effects = plain("r0", Effect::Update(columns("text", text)));
    ViewedEntry { key: key(millis, 2, id), effects, own: None, whole: None }
}

fn page(from: u64, items: Vec<ViewedEntry>, horizon: Option<Key>) -> Fetched {
    let next = Cursor(from + items.len() as u64);
    let items = items.into_iter().map(|seen| Item::Entry(Box::new(seen))).collect();
    Fetched::Page(Page { stamp: STAMP, from: Cursor(from), items, next, more: false, horizon })
}

fn place(until: u64, id: &str) -> SnapshotPosition {
    let at = SnapshotPlace::Row(row(id));
    SnapshotPosition { stamp: STAMP, horizon: Key::end_of(until), at }
}

/// A page of a snapshot at the end of this time.
fn snapshot_page(
    until: u64,
    after: Option<SnapshotPosition>,
    base: Vec<(RowName, LogRow)>,
    items: Vec<ViewedEntry>,
    next: SnapshotNext,
) -> SnapshotAnswer {
    let (horizon, buckets) = (Key::end_of(until), buckets("a").into());
    let items = items.into_iter().map(|seen| Item::Entry(Box::new(seen))).collect();
    let page = SnapshotPage { stamp: STAMP, after, buckets, horizon, base, items, next };
    SnapshotAnswer::Page(Box::new(page))
}

fn take_rows(device: &mut Replica<Store<'_, '_>>, answer: &SnapshotAnswer) -> Result<(), LogError> {
    Ok(snapshot::take_page(device, answer)?)
}

fn take_page(device: &mut Replica<Store<'_, '_>>, page: &Fetched) -> Result<(), LogError> {
    fetch::take_fetched(device, page).map(drop).map_err(LogError::from)
}

/// In order; each must survive a failure at any of its calls.
const OPERATIONS: [(&str, Operation); 15] = [
    ("a page of a first snapshot that begins again", |device| {
        let rows = vec![(row("r0"), image("a", "old")), (row("r1"), image("a", "old"))];
        let next = SnapshotNext::Next(place(5, "r1"));
        take_rows(device, &snapshot_page(5, None, rows, Vec::new(), next))
    }),
    ("its new beginning", |device| take_rows(device, &SnapshotAnswer::Restart)),
    ("the rows of a first snapshot", |device| {
        let rows = vec![(row("k0"), image("a", "k")), (row("r0"), image("a", ""))];
        let next = SnapshotNext::Next(place(5, "r0"));
        take_rows(device, &snapshot_page(5, None, rows, Vec::new(), next))
    }),
    ("its items", |device| {
        let items = vec![theirs(10, 20, "t")];
        let (after, next) = (Some(place(5, "r0")), SnapshotNext::Cursor(Cursor(1)));
        take_rows(device, &snapshot_page(5, after, Vec::new(), items, next))?;
        assert!(device.row(&row("r1"))?.is_none(), "of the pages before the new beginning");
        Ok(())
    }),
    ("an action", |device| device.perform(entry(1), intent("append r0 x"), 100)),
    ("an action on a table", |device| device.perform(entry(2), intent("count a 9"), 110)),
    ("plain SQL", |device| {
        let delete = plain("k0", Effect::Delete);
        device.write(entry(3), delete, 120)
    }),
    ("a page before own actions", |device| {
        take_page(device, &page(1, vec![theirs(50, 21, "late"), theirs(60, 22, "later")], None))
    }),
    ("a publish request", |device| {
        let request =
            publish::publish_request(device, 1, &BTreeSet::new())?.expect("entries are pending");
        assert_eq!(request.offers.len(), 1);
        Ok(())
    }),
    ("a correction of an accepted action", |device| {
        let (revision, key) = (Revision(1), device.key_of(entry(1))?.unwrap());
        let verdict = Verdict::Held { revision, key };
        let verdicts = vec![EntryVerdict { id: entry(1), verdict }];
        let answer = Published { number: 1, outcome: Outcome::Verdicts { verdicts } };
        publish::take_published(device, &answer, 130)?;
        let effects = plain("r0", Effect::Update(columns("text", "laterx")));
        let (write_set, by_authority, is_hidden) = (buckets("a").into(), false, false);
        let own = Some(Held { revision, write_set, by_authority, is_hidden });
        let echo = ViewedEntry { key, effects, own, whole: None };
        take_page(device, &page(3, vec![theirs(70, 23, "last"), echo], None))?;
        assert_eq!(device.row(&row("r0"))?.unwrap().get("text"), Some(&Value::from("lastx")));
        Ok(())
    }),
    ("a horizon", |device| {
        take_page(device, &page(5, Vec::new(), Some(Key::end_of(100))))?;
        assert_eq!(device.store().own_ids()?.len(), 2, "the accepted one is folded");
        let text = device.row(&row("r0"))?.unwrap().get("text").cloned();
        assert_eq!(text, Some(Value::from("laterx")), "as accepted");
        Ok(())
    }),
    ("a page of another snapshot, which begins again", |device| {
        take_page(device, &Fetched::Resync)?;
        let rows = vec![(row("k9"), image("a", "k"))];
        let next = SnapshotNext::Next(place(99, "k9"));
        take_rows(device, &snapshot_page(99, None, rows, Vec::new(), next))
    }),
    ("its new beginning", |device| take_rows(device, &SnapshotAnswer::Restart)),
    ("its rows", |device| {
        let rows = vec![(row("k1"), image("a", "k")), (row("r0"), image("a", "new"))];
        let next = SnapshotNext::Next(place(100, "r0"));
        take_rows(device, &snapshot_page(100, None, rows, Vec::new(), next))?;
        assert!(device.row(&row("k1"))?.is_none(), "not before the last page");
        Ok(())
    }),
    ("its last page", |device| {
        let items = vec![theirs(110, 24, "t")];
        let (after, next) = (Some(place(100, "r0")), SnapshotNext::Cursor(Cursor(6)));
        take_rows(device, &snapshot_page(100, after, Vec::new(), items, next))?;
        assert!(device.row(&row("k9"))?.is_none(), "of the pages before the new beginning");
        assert!(device.row(&row("k1"))?.is_some());
        Ok(())
    }),
];

/// Every row of every table of the file.
fn dump(engine: &mut Engine) -> Vec<String> {
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let names: Vec<String> =
        engine.transaction(|tx| tx.query(names, &[], |row| row.get(0))).unwrap();
    let mut lines = Vec::new();
    for name in names {
        let rows = engine.transaction(|tx| {
            tx.query(&format!("SELECT * FROM \"{name}\""), &[], |row| {
                let width = row.as_ref().column_count();
                let cells = (0..width).map(|at| row.get::<_, Value>(at));
                Ok(format!("{name}: {:?}", cells.collect::<rusqlite::Result<Vec<_>>>()?))
            })
        });
        lines.extend(rows.unwrap());
    }
    lines.sort();
    lines
}

/// Performs an operation; the state changes only with the file.
fn perform(
    engine: &mut Engine,
    state: &mut ReplicaState,
    calls: &Calls,
    operation: Operation,
) -> Result<(), Error> {
    let before = state.clone();
    let after = write_log(engine, Origin::Local, |store| {
        let store = CountedStore { store, calls };
        let mut device = Replica::from_parts(store, before, Arc::new(Actions), Arc::new(Column));
        operation(&mut device)?;
        Ok(device.into_parts().1)
    })?;
    *state = after.expect("no operation is refused");
    Ok(())
}

fn created() -> (LogFile, ReplicaState) {
    let mut file = LogFile::new();
    let state = write_log(&mut file.engine, Origin::Local, |store| {
        let device = Replica::create(store, author(1), Arc::new(Actions), Arc::new(Column))?;
        Ok(device.into_parts().1)
    });
    (file, state.unwrap().unwrap())
}

#[test]
fn failure_at_any_call_changes_nothing_and_a_retry_succeeds() {
    let (mut sound, mut sound_state) = created();
    let (mut failing, mut state) = created();
    for (name, operation) in OPERATIONS {
        perform(&mut sound.engine, &mut sound_state, &Calls::never_failing(), operation).unwrap();
        let before = dump(&mut failing.engine);
        let mut failures = 0;
        while perform(&mut failing.engine, &mut state, &Calls::failing_at(failures), operation)
            .is_err()
        {
            assert_eq!(dump(&mut failing.engine), before, "{name}, call {failures}");
            failures += 1;
        }
        assert!(failures > 1, "{name} makes {failures} calls");
        assert_eq!(dump(&mut failing.engine), dump(&mut sound.engine), "{name}, after a retry");
        assert_ne!(dump(&mut failing.engine), before, "{name} changes something");
        assert_eq!(format!("{state:?}"), format!("{sound_state:?}"), "{name}");
    }
    let rows = read_log(&failing.engine, |store| {
        let device = Replica::open(store, Arc::new(Actions), Arc::new(Column))?;
        let rows: check::RowMap = device.rows()?.into_iter().collect();
        assert_eq!(check::rows_run_again(&device)?, rows);
        assert_eq!(check::fold_over(&device, check::base_rows(&device)?)?, rows);
        assert!(check::stale_steps(&device)?.is_empty());
        Ok(rows)
    });
    let rows = rows.unwrap().unwrap();
    assert_eq!(rows[&row("r0")].get("text"), Some(&Value::from("t")), "of the other snapshot");
    assert_eq!(rows[&row("k1")].get("text"), Some(&Value::from("k")));
}

#[test]
fn refused_action_changes_nothing() {
    let (mut file, state) = created();
    let before = dump(&mut file.engine);
    let refused = write_log(&mut file.engine, Origin::Local, |store| {
        let mut device = Replica::from_parts(store, state, Arc::new(Actions), Arc::new(Column));
        device.write(entry(1), plain("r0", Effect::Insert(image("a", ""))), 100)?;
        device.perform(entry(2), intent("append r9 x"), 110)
    });
    assert_eq!(refused.unwrap(), Err(LogError::Refused(String::from("r9 is gone"))));
    assert_eq!(dump(&mut file.engine), before);
}

#[test]
fn app_cannot_write_the_log_and_a_reset_removes_it() {
    let (mut file, _) = created();
    for sql in ["DELETE FROM rejoin_log_facts", "DROP TABLE rejoin_log_entry"] {
        file.engine.execute(sql, &[]).unwrap_err();
    }
    assert!(counts(file.engine.db.conn()).unwrap().is_some());
    reset(&mut file.engine, Keep::Local, &[]).unwrap();
    assert_eq!(counts(file.engine.db.conn()).unwrap(), None);
}
