//! Tables of the log through the engine and its session, against the server, beside tables of rows.

use std::sync::Arc;
use std::time::Duration;

use rejoin_core::engine::action::perform::{perform, set_actions};
use rejoin_core::engine::action::{Actions, Performed};
use rejoin_core::engine::queue::mutation::ParkReason;
use rejoin_core::engine::queue::verdict::VerdictKind;
use rejoin_core::engine::rebase::decide;
use rejoin_core::engine::reset::{Keep, reset};
use rejoin_core::{Correction, Error, FirstSync, InputFault, Inspection, MutationId, QueueFault};
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Moment, Store};
use serde_json::json;

use crate::client::{PATIENCE, Phone, Served};
use crate::doctor::check;
use crate::{apply, each_store};

mod authority;
mod chaos;
mod decisions;
mod existing_rows;
mod faults;
mod first_snapshot;
mod handlers;
mod hostile;
mod metered;
mod programs;
mod row_state;

const TABLES: &str =
    "CREATE TABLE seats(id TEXT PRIMARY KEY, event TEXT, owner TEXT, note TEXT, number BIGINT);
    CREATE TABLE halls(id TEXT PRIMARY KEY, owner_id TEXT, name TEXT, updated_at TEXT NOT NULL,
                        deleted_at TEXT)";
const SEATS: &str = "SELECT id, event, owner, note, number FROM seats ORDER BY id";
const HALLS: &str = "SELECT id, name FROM halls ORDER BY id";

fn server(store: Store) -> Backend {
    let tables =
        vec![TableConfig::log("seats", "event", "event:"), TableConfig::owned("halls", "owner_id")];
    let server = Backend::made(store, TABLES, tables, Limits::default());
    for user in ["ana", "ben"] {
        server.server().grant(user, "event:e1").unwrap();
    }
    server
}

/// Devices of these users, after a first sync.
fn devices<const COUNT: usize>(server: &Backend, users: [&str; COUNT]) -> [Device; COUNT] {
    let mut seed = 0;
    users.map(|user| {
        seed += 1;
        let mut device = Device::with(user, seed, None, |config| config.page_size = 3);
        device.sync(server);
        device
    })
}

/// Syncs all until a round changes nothing.
#[track_caller]
fn rounds(server: &Backend, devices: &mut [Device]) {
    for _ in 0..30 {
        let mut moved = false;
        for device in &mut *devices {
            moved |= device.sync(server).has_moved();
        }
        if !moved {
            return;
        }
    }
    panic!("devices still correct each other");
}

/// Syncs all until nothing waits, and compares them with the server.
#[track_caller]
fn settle(server: &Backend, devices: &mut [Device]) {
    rounds(server, devices);
    for device in devices {
        assert_eq!(device.waiting(), "", "{}", device.user);
        assert_eq!(device.see(SEATS), server.see(SEATS), "{}", device.user);
        let damaged = check(device, server).tables.into_iter().find(|table| table.differing > 0);
        assert_eq!(damaged, None, "{}", device.user);
    }
}

/// Time passes everywhere.
fn later(server: &Backend, devices: &[&Device], seconds: i64) {
    server.clock.advance(seconds * 1_000_000);
    let seconds = seconds.unsigned_abs();
    for device in devices {
        device.host.advance(Duration::from_secs(seconds));
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::InvalidInput(InputFault::Refused { what, reason }) => format!("{what}: {reason}"),
        other => panic!("{other}"),
    }
}

#[apply(each_store)]
fn edits_count_in_the_order_in_which_users_made_them(store: Store) {
    let server = server(store);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1), ('s2', 'e1', NULL, '', 2)");
    phone.write("INSERT INTO halls (id, name) VALUES ('p1', 'Hall')");
    assert_eq!(phone.waiting(), "Pending/1 Pending/0");
    let report = phone.sync(&server);
    assert_eq!((report.accepted, report.still_pending), (2, 0));
    tablet.sync(&server);
    assert_eq!(tablet.see(SEATS), "s1|e1|-||1 s2|e1|-||2");
    later(&server, &[&phone, &tablet], 60);
    phone.write("UPDATE seats SET note = 'phone', owner = 'ana' WHERE id = 's1'");
    later(&server, &[&phone, &tablet], 60);
    tablet.write("UPDATE seats SET note = 'tablet' WHERE id = 's1'");
    tablet.write("DELETE FROM seats WHERE id = 's2'");
    tablet.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-|tablet|1");
    phone.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|ana|tablet|1", "the earlier edit arrived later");
    assert_eq!(phone.see(SEATS), "s1|e1|ana|tablet|1");
    assert_eq!((phone.see(HALLS), tablet.see(HALLS)), ("p1|Hall".into(), String::new()));
    settle(&server, &mut [phone, tablet]);
}

#[test]
fn transaction_of_both_models_is_refused_whole() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    let error = phone
        .engine()
        .execute_batch(
            "INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1);
             INSERT INTO halls (id, name) VALUES ('p1', 'Hall')",
        )
        .unwrap_err();
    assert!(reason(&error).contains("use a transaction for each"), "{error}");
    assert_eq!((phone.see(SEATS), phone.see(HALLS), phone.waiting()), Default::default());
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    settle(&server, &mut [phone]);
}

#[test]
fn row_of_a_foreign_bucket_is_refused_at_once_and_accepted_before_the_first_sync() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    for event in ["'e2'", "NULL", "''"] {
        let sql = format!("INSERT INTO seats VALUES ('s1', {event}, NULL, '', 1)");
        let error = phone.engine().execute_batch(&sql).unwrap_err();
        assert!(reason(&error).contains("a bucket of which the user is not a member"), "{error}");
    }
    assert_eq!((phone.see(SEATS), phone.waiting()), Default::default());

    // Membership is unknown offline: the server denies the entry, and it is parked.
    let mut new = Device::bundled("ana", 9, server.manifest());
    new.write("INSERT INTO seats VALUES ('s2', 'e2', NULL, '', 1)");
    new.write("INSERT INTO seats VALUES ('s3', 'e1', NULL, '', 1)");
    new.sync(&server);
    assert_eq!(new.waiting(), "Parked:Refused/0");
    assert_eq!((new.see(SEATS), server.see(SEATS)), ("s3|e1|-||1".into(), "s3|e1|-||1".into()));
    let verdicts = new.engine().verdicts(0, 10).unwrap().entries;
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
}

#[apply(each_store)]
fn entry_of_a_member_who_has_left_is_parked_and_can_be_retried_or_discarded(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(&server);
    phone.write("INSERT INTO seats VALUES ('s2', 'e1', NULL, 'one', 2)");
    phone.write("INSERT INTO seats VALUES ('s3', 'e1', NULL, 'two', 3)");
    server.server().revoke("ana", "event:e1").unwrap();
    phone.sync(&server);
    assert_eq!(phone.see(SEATS), "");
    assert_eq!(phone.waiting(), "Parked:Refused/0 Parked:Refused/0");
    assert_eq!(server.see(SEATS), "s1|e1|-||1");
    let parked = phone.queue();
    assert!(parked[0].detail.as_deref().unwrap().contains("outside of the user's buckets"));
    let written = parked.iter().map(|one| one.effect.rows[0].columns.len());
    assert_eq!(written.collect::<Vec<_>>(), [4, 4], "what was written is shown");
    server.server().grant("ana", "event:e1").unwrap();
    phone.crash().sync(&server);
    assert_eq!(phone.see(SEATS), "s1|e1|-||1", "parked entries are left out");
    decide::retry(phone.engine(), parked[0].id).unwrap();
    assert_eq!(phone.see(SEATS), "s1|e1|-||1 s2|e1|-|one|2");
    decide::discard(phone.engine(), parked[1].id).unwrap();
    let again = decide::discard(phone.engine(), parked[1].id);
    assert!(matches!(again, Err(Error::Queue(QueueFault::Unknown(_)))), "{again:?}");
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e1|-||1 s2|e1|-|one|2");
}

#[test]
fn pending_entry_is_not_discarded_because_the_server_may_have_it() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    let id = phone.queue()[0].id;
    let error = decide::discard(phone.engine(), id).unwrap_err();
    assert!(reason(&error).contains("it is not parked"), "{error}");
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e1|-||1");
}

#[test]
fn reset_keeps_unpublished_entries_or_requires_their_names() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(&server);
    phone.write("UPDATE seats SET note = 'kept' WHERE id = 's1'");
    let error = reset(phone.engine(), Keep::Nothing, &[]).unwrap_err();
    assert!(matches!(error, Error::Queue(QueueFault::Unsent { waiting: 1 })), "{error}");
    reset(phone.engine(), Keep::Pending, &[]).unwrap();
    assert_eq!(phone.waiting(), "Pending/0");
    settle(&server, std::slice::from_mut(&mut phone));
    assert_eq!(server.see(SEATS), "s1|e1|-|kept|1");
    phone.write("UPDATE seats SET note = 'given up' WHERE id = 's1'");
    let waiting = phone.queue();
    let emptied = reset(phone.engine(), Keep::Nothing, &[waiting[0].id]).unwrap();
    assert_eq!((emptied.given_up, emptied.rows), (waiting, 1));
    assert_eq!((phone.see(SEATS), phone.waiting()), Default::default());
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e1|-|kept|1");
}

#[test]
fn copied_file_gets_its_own_author_and_loses_nothing() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(&server);
    phone.write("UPDATE seats SET note = 'in both' WHERE id = 's1'");
    let mut copy = phone.copy(7);
    later(&server, &[&phone, &copy], 60);
    copy.write("UPDATE seats SET owner = 'copy' WHERE id = 's1'");
    phone.write("UPDATE seats SET number = 5 WHERE id = 's1'");
    settle(&server, &mut [phone, copy]);
    assert_eq!(server.see(SEATS), "s1|e1|copy|in both|5");
}

#[apply(each_store)]
fn new_epoch_after_a_restored_backup_sends_again_what_the_server_lost(store: Store) {
    let mut server = server(store);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(&server);
    let backup = server.backup();
    tablet.sync(&server);
    tablet.write("UPDATE seats SET note = 'after the backup' WHERE id = 's1'");
    tablet.sync(&server);
    server.restore(&backup);
    server.server().begin_epoch().unwrap();
    tablet.write("UPDATE seats SET number = 3 WHERE id = 's1'");
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|-|after the backup|3");
}

#[test]
fn added_column_is_filled_and_a_table_keeps_its_model() {
    let mut server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(&server);
    phone.write("UPDATE seats SET number = 2 WHERE id = 's1'");
    server.alter("ALTER TABLE seats ADD COLUMN price BIGINT DEFAULT 7");
    phone.sync(&server);
    assert_eq!(phone.see("SELECT number, price FROM seats"), "2|7");
    phone.write("UPDATE seats SET price = 8");
    phone.sync(&server);
    assert_eq!(server.see("SELECT number, price FROM seats"), "2|8");
    let mut manifest = server.manifest();
    for table in &mut manifest.tables {
        table.rejoin = None;
    }
    let error = rejoin_core::engine::adopt::adopt(phone.engine(), &manifest).unwrap_err();
    assert!(error.to_string().contains("changes between rows and log"), "{error}");
}

#[test]
fn crash_before_the_response_of_a_publish_sends_it_again_without_effect() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    loop {
        match phone.prepare().unwrap() {
            Moment::Leaving(phase) if format!("{phase:?}") == "Pushing" => break,
            Moment::Leaving(_) => drop(phone.step(&server).unwrap()),
            Moment::Finished(report) => panic!("{report:?}"),
        }
    }
    phone.faults.push_back(Fault::AnswerLost);
    let _ = phone.step(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||1");
    assert_eq!(phone.crash().waiting(), "Pending/0");
    settle(&server, &mut [phone]);
}

/// Sells a seat once, and counts.
fn actions() -> Arc<Actions> {
    let sell = r#"{"name": "sell", "parameters": [{"name": "id", "type": "text"}, {"name": "to", "type": "text"}],
        "preconditions": [{"sql": "SELECT owner IS NULL FROM seats WHERE id = :id", "message": "the seat is sold"}],
        "statements": ["UPDATE seats SET owner = :to WHERE id = :id"]}"#;
    let count = r#"{"name": "count", "parameters": [{"name": "id", "type": "text"}],
        "statements": ["UPDATE seats SET number = number + 1 WHERE id = :id"]}"#;
    let tally = r#"{"name": "tally", "parameters": [{"name": "id", "type": "text"}],
        "statements": ["UPDATE seats SET note = trim(note || ' ' || (SELECT count(*) FROM seats)) WHERE id = :id"]}"#;
    Arc::new(Actions::new().declare(sell).declare(count).declare(tally))
}

fn with_actions(device: &mut Device) {
    set_actions(device.engine(), actions(), true).unwrap();
}

fn sell(device: &mut Device, to: &str) -> rejoin_core::Result<Performed> {
    perform(device.engine(), "sell", &json!({"id": "s1", "to": to}))
}

/// Devices of ana and ben, and their sales of one seat: hers, and a minute later his, both offline.
fn sold_twice(server: &Backend) -> ([Device; 2], [MutationId; 2]) {
    let [mut phone, mut tablet] = devices(server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(server);
    tablet.sync(server);
    for device in [&mut phone, &mut tablet] {
        with_actions(device);
    }
    let first = sell(&mut phone, "ana").unwrap().id.unwrap();
    later(server, &[&phone, &tablet], 60);
    let second = sell(&mut tablet, "ben").unwrap().id.unwrap();
    ([phone, tablet], [first, second])
}

#[apply(each_store)]
fn seat_sold_twice_offline_goes_to_the_first_buyer(store: Store) {
    let server = server(store);
    let ([mut phone, mut tablet], [first, second]) = sold_twice(&server);
    let error = sell(&mut tablet, "cleo").unwrap_err();
    assert!(error.to_string().contains("the seat is sold"), "{error}");
    tablet.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|ben||1", "the sale that arrived");
    phone.sync(&server);
    assert_eq!(phone.queue().len(), 0);
    tablet.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|ana||1", "the sale that was made first");
    phone.sync(&server);
    for device in [&mut phone, &mut tablet] {
        assert_eq!(device.see(SEATS), "s1|e1|ana||1", "{}", device.user);
    }
    assert_eq!(tablet.waiting(), "Parked:Unreplayable/1");
    let detail = tablet.queue()[0].detail.clone();
    assert!(detail.unwrap().contains("the seat is sold"), "why it is parked");
    let verdicts = tablet.engine().verdicts(0, 10).unwrap().entries;
    let outcomes: Vec<_> = verdicts.iter().map(|one| (one.id, one.attempt, one.kind)).collect();
    let parked = VerdictKind::Parked(ParkReason::Unreplayable);
    assert_eq!(outcomes, [(second, 0, VerdictKind::Accepted), (second, 1, parked)], "nothing else");
    let detail = verdicts[1].detail.clone().unwrap();
    assert!(detail.message.unwrap().contains("the seat is sold"));
    let Correction { before, after } = detail.correction.unwrap();
    assert_eq!(before[0].columns, [("owner".to_owned(), "ben".into())].into());
    assert_eq!(after, []);
    let accepted = phone.engine().verdicts(0, 10).unwrap().entries;
    assert!(accepted.iter().any(|one| one.id == first && one.kind == VerdictKind::Accepted));

    // It may succeed again, until the app gives it up.
    phone.write("UPDATE seats SET owner = NULL WHERE id = 's1'");
    decide::retry(tablet.engine(), second).unwrap();
    assert_eq!(tablet.waiting(), "Parked:Unreplayable/1");
    decide::discard(tablet.engine(), second).unwrap();
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|-||1");
}

#[test]
fn increments_made_offline_all_count_and_a_missing_handler_keeps_the_effect() {
    let server = server(Store::Sqlite);
    let mut devices = devices(&server, ["ana", "ben", "ana"]);
    devices[0].write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 0)");
    for device in &mut devices {
        device.sync(&server);
        with_actions(device);
    }
    for round in 0..3 {
        for device in &mut devices {
            device.host.advance(Duration::from_secs(round));
            perform(device.engine(), "count", &json!({"id": "s1"})).unwrap();
        }
    }
    settle(&server, &mut devices);
    assert_eq!(server.see("SELECT number FROM seats"), "9");

    later(&server, &devices.each_ref(), 60);
    let [phone, tablet, _] = &mut devices;
    phone.write("UPDATE seats SET number = 100");
    tablet.host.advance(Duration::from_secs(1));
    perform(tablet.engine(), "count", &json!({"id": "s1"})).unwrap();
    tablet.crash();
    settle(&server, &mut devices);
    assert_eq!(server.see("SELECT number FROM seats"), "10", "the recorded effect");
}

#[test]
fn first_sync_is_complete_when_the_log_has_its_rows_too() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.write("INSERT INTO halls (id, name) VALUES ('h1', 'Hall')");
    phone.sync(&server);
    server.outside("ALTER TABLE rejoin_log_link RENAME TO aside");
    let network = Served::new(&server);
    let new = Phone::new("ana", Some(&network.url));
    let seen = |sql: &str| new.client.query(sql, ()).wait().unwrap().len();
    new.client.sync().run(Some(PATIENCE)).wait().unwrap_err();
    assert_eq!((seen("SELECT 1 FROM halls"), seen("SELECT 1 FROM seats")), (1, 0));
    assert_eq!(new.client.status().first_sync, FirstSync::Partial);
    assert_eq!(
        Inspection::of(new.folder.path().join("app.db")).unwrap().first_sync,
        FirstSync::Partial
    );
    server.outside("ALTER TABLE aside RENAME TO rejoin_log_link");
    new.sync();
    assert_eq!(seen("SELECT 1 FROM seats"), 1);
    assert_eq!(new.client.status().first_sync, FirstSync::Done);

    new.client.execute("INSERT INTO seats VALUES ('s2', 'e1', NULL, '', 2)", ()).wait().unwrap();
    new.sync();
    let bundle = new.client.storage().diagnose().wait().unwrap();
    assert_eq!(bundle["counters"]["acknowledged"], 1, "an entry of the log counts");
}
