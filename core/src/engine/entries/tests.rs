//! Actions of the log that exceed their time when they run again, and their place in the history.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rejoin_log::effect::Effect;
use rejoin_log::ids::{AuthorId, Buckets, EntryId, Epoch};
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotNext, SnapshotPage};
use rejoin_log::message::{
    Cursor, EntryVerdict, EpochStamp, Fetched, Item, Outcome, Page, Published, Verdict, ViewedEntry,
};
use rejoin_log::row::{LogRow, RowName};
use rejoin_protocol::Manifest;
use serde_json::Value as Json;
use tempfile::TempDir;
use uuid::Uuid;

use super::exchange::{self, LogRequest};
use super::list;
use crate::engine::action::perform;
use crate::engine::action::{ActionBudget, Actions};
use crate::engine::queue::mutation::ParkReason;
use crate::engine::rebase::decide;
use crate::engine::tests::{Ticking, in_log, table};
use crate::engine::{Engine, OpenOptions};
use crate::host::TestHost;
use crate::value::Value;

const STAMP: EpochStamp = EpochStamp { epoch: Epoch(Uuid::from_u128(1)), membership: 1 };

/// Counts to the number of nails, and adds one.
const COUNT: &str = concat!(
    r#"{"name": "count", "statements": ["UPDATE stock SET n = (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL "#,
    r#"SELECT i + 1 FROM c WHERE i < (SELECT n FROM stock WHERE id = 'nails')) SELECT max(i) FROM c) + 1 "#,
    r#"WHERE id = 'nails'"]}"#
);

fn nails() -> RowName {
    RowName::new("stock", "nails")
}

/// A shop with five nails.
fn shop() -> (TempDir, Engine) {
    let columns = [("id", "string"), ("n", "int64"), ("bucket", "string")];
    let mut stock = in_log(table("stock", &columns, Vec::new()));
    stock.bucket_by_column = Some(String::from("bucket"));
    let folder = tempfile::tempdir().unwrap();
    let manifest = Some(Manifest::new(1, vec![stock]));
    let options = OpenOptions { path: folder.path().join("app.db"), manifest };
    let mut engine = Engine::open(&options, Arc::new(Ticking(TestHost::new(1)))).unwrap();
    let run = Duration::from_millis(100);
    perform::set_action_budget(&mut engine, ActionBudget { run, ..ActionBudget::default() });
    perform::set_actions(&mut engine, Arc::new(Actions::new().declare(COUNT)), true).unwrap();
    let image = LogRow::from([("n", Value::Integer(5)), ("bucket", Value::from("a"))]);
    let page = SnapshotPage {
        stamp: STAMP,
        after: None,
        buckets: Buckets::from_iter(["a"]).into(),
        horizon: Key::FIRST,
        base: vec![(nails(), image)],
        items: Vec::new(),
        next: SnapshotNext::Cursor(Cursor(0)),
    };
    let answer = SnapshotAnswer::Page(Box::new(page));
    exchange::take_snapshot_page(&mut engine, &answer).unwrap();
    (folder, engine)
}

/// A page with an entry from before all own ones, which sets the number of nails.
fn number(from: u64, to: i64) -> Fetched {
    let id = EntryId(Uuid::from_u128(u128::from(from) + 1));
    let author = AuthorId(Uuid::from_u128(7));
    let key = Key { millis: 1_000 + from, counter: 1, author, id };
    let columns = [("n".into(), Value::Integer(to))].into();
    let effects = [(nails(), Effect::Update(columns))].into_iter().collect();
    let item = Item::Entry(Box::new(ViewedEntry { key, effects, own: None, whole: None }));
    let next = Cursor(from + 1);
    let (from, items) = (Cursor(from), vec![item]);
    Fetched::Page(Page { stamp: STAMP, from, items, next, more: false, horizon: None })
}

/// The server takes what the device offers.
#[track_caller]
fn publish(engine: &mut Engine) {
    let next = exchange::next(engine, true, (10, 10, 10), &BTreeSet::new()).unwrap();
    let Some(LogRequest::Publish(request)) = next else { panic!("{next:?}") };
    let verdicts = request.offers.iter().map(|offer| {
        let verdict = Verdict::Held { revision: offer.revision, key: offer.key };
        EntryVerdict { id: offer.key.id, verdict }
    });
    let outcome = Outcome::Verdicts { verdicts: verdicts.collect() };
    let answer = Published { number: request.number, outcome };
    let offered: Vec<EntryId> = request.offers.iter().map(|offer| offer.key.id).collect();
    exchange::take_published(engine, &offered, &answer).unwrap();
}

fn left(engine: &mut Engine) -> i64 {
    let sql = "SELECT n FROM stock";
    engine.transaction(|tx| tx.query(sql, &[], |row| row.get(0))).unwrap()[0]
}

#[test]
fn action_that_takes_too_long_in_a_rebase_of_the_log_rejects_until_retry() {
    let (_folder, mut engine) = shop();
    let counted = perform::perform(&mut engine, "count", &Json::Null).unwrap().id.unwrap();
    assert_eq!(left(&mut engine), 6);
    let many = 1_000_000_000_000;
    // SQLite rolls back the whole transaction with the interrupted write, so the page comes again.
    let interrupted = exchange::take_fetched(&mut engine, &number(0, many)).unwrap_err();
    assert!(interrupted.to_string().contains("took longer than 100ms"), "{interrupted}");
    assert_eq!(left(&mut engine), 6, "nothing has changed");
    exchange::take_fetched(&mut engine, &number(0, many)).unwrap();
    assert_eq!(left(&mut engine), many, "it rejects, and holds up no page");
    exchange::take_fetched(&mut engine, &number(1, 7)).unwrap();
    assert_eq!(left(&mut engine), 7, "not run again, although it could finish now");
    publish(&mut engine);
    let pending = engine.pending().unwrap();
    assert_eq!(pending.iter().map(|one| one.id).collect::<Vec<_>>(), [counted]);
    assert_eq!(pending[0].reason, Some(ParkReason::Unreplayable), "{pending:?}");
    assert!(pending[0].detail.as_ref().unwrap().contains("took too long"), "{pending:?}");
    decide::retry(&mut engine, counted).unwrap();
    assert_eq!(left(&mut engine), 8);
}

/// Apps call `retry_chain` after each edit, whose entry waits or is with the server already.
#[test]
fn retry_chain_of_an_entry_that_is_not_parked_retries_nothing() {
    let (_folder, mut engine) = shop();
    let counted = perform::perform(&mut engine, "count", &Json::Null).unwrap().id.unwrap();
    assert_eq!(decide::retry_chain(&mut engine, counted).unwrap(), []);
    publish(&mut engine);
    assert_eq!(decide::retry_chain(&mut engine, counted).unwrap(), []);
    assert_eq!(left(&mut engine), 6);
}

/// A page without entries, after `from` others: nothing is left to fetch.
fn nothing(from: u64) -> Fetched {
    let (from, items) = (Cursor(from), Vec::new());
    Fetched::Page(Page { stamp: STAMP, from, items, next: from, more: false, horizon: None })
}

#[test]
fn actions_that_were_ended_take_no_place_in_the_history() {
    let (_folder, mut engine) = shop();
    engine.execute("INSERT INTO stock VALUES ('screws', 1, 'a')", &[]).unwrap();
    publish(&mut engine);
    let counted = perform::perform(&mut engine, "count", &Json::Null).unwrap().id.unwrap();
    exchange::take_fetched(&mut engine, &nothing(0)).unwrap();
    publish(&mut engine);
    assert_eq!(list::accepted(&engine, 1).unwrap()[0].id, counted);
    for _ in 0..2 {
        let _ = exchange::take_fetched(&mut engine, &number(0, 1_000_000_000_000));
    }
    decide::discard(&mut engine, counted).unwrap();
    while super::are_unpublished(&engine).unwrap() {
        exchange::take_fetched(&mut engine, &nothing(1)).unwrap();
        publish(&mut engine);
    }
    let newest = list::accepted(&engine, 1).unwrap();
    let [newest] = &newest[..] else { panic!("{} entries", newest.len()) };
    assert_ne!(newest.id, counted);
}
