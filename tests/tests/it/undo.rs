//! Undo and redo of accepted mutations, and the history that they are built from.

use std::sync::Arc;
use std::time::Duration;

use rejoin_core::Actions;
use rejoin_core::engine::action::perform;
use rejoin_core::engine::queue::history::HistoryBounds;
use rejoin_core::engine::rebase::decide;
use rejoin_core::ids::MutationId;
use rejoin_core::sync::session::Phase;
use rejoin_core::{Error, InputFault, PatchKind, QueueFault, Undone, Value};
use rejoin_protocol::wire::path;
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Store};

use crate::client::served_phone;
use crate::places::{PLACES, one_place};
use crate::{apply, each_store};
use serde_json::json;

const LIVE: &str = "SELECT id, name, note, score FROM places WHERE deleted_at IS NULL ORDER BY id";

/// Writes and syncs; returns the accepted mutation.
fn accepted(server: &Backend, device: &mut Device, sql: &str) -> MutationId {
    device.write(sql);
    let id = device.queue().last().unwrap().id;
    device.sync(server);
    assert!(device.engine().was_accepted(id).unwrap(), "{sql}");
    id
}

fn by(undone: rejoin_core::Result<Undone>) -> MutationId {
    match undone {
        Ok(Undone::NewMutation(id)) => id,
        other => panic!("{other:?}"),
    }
}

#[apply(each_store)]
fn each_kind_of_write_is_undone_and_redone(store: Store) {
    let cases = [
        ("UPDATE places SET name = 'B', score = 4 WHERE id = 'p1'", "p1|B|n|4"),
        (
            "INSERT INTO places (id, name, note, score) VALUES ('p0', 'new', 'm', 1)",
            "p0|new|m|1 p1|A|n|3",
        ),
        ("DELETE FROM places WHERE id = 'p1'", ""),
        ("UPDATE places SET deleted_at = '2026-01-02T00:00:00.000000Z' WHERE id = 'p1'", ""),
    ];
    for (sql, done) in cases {
        let (server, mut device) = one_place(store);
        let id = accepted(&server, &mut device, sql);
        assert_eq!((server.see(LIVE), device.see(PLACES)), (done.into(), done.into()), "{sql}");
        let undo = by(decide::undo(device.engine(), id));
        assert_eq!(device.see(PLACES), "p1|A|n|3", "{sql}: at once");
        device.crash();
        device.sync(&server);
        assert_eq!(device.waiting(), "", "{sql}");
        assert_eq!(server.see(LIVE), "p1|A|n|3", "{sql}");
        let redo = by(decide::redo(device.engine(), id));
        assert!(redo != undo && redo != id, "{sql}");
        device.sync(&server);
        assert_eq!((device.waiting(), server.see(LIVE)), (String::new(), done.into()), "{sql}");
        assert_eq!(device.see(PLACES), done, "{sql}");
    }
}

#[apply(each_store)]
fn undo_of_changed_row_is_refused_with_the_row(store: Store) {
    let (server, mut device) = one_place(store);
    let sql = "UPDATE places SET name = 'B', note = 'm' WHERE id = 'p1'";
    let id = accepted(&server, &mut device, sql);
    server.outside("UPDATE places SET name = 'theirs', score = 1 WHERE id = 'p1'");
    device.sync(&server);
    let Err(Error::Queue(QueueFault::Changed { rows })) = decide::undo(device.engine(), id) else {
        panic!("it was overwritten: {}", device.see(PLACES));
    };
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.table.as_str(), &row.key), ("places", &Value::from("p1")));
    assert_eq!(row.columns, ["name"], "the note is unchanged");
    assert!(row.wrote.as_ref().unwrap().contains(&("name".into(), "B".into())));
    assert!(row.present.as_ref().unwrap().contains(&("name".into(), "theirs".into())));
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), "p1|theirs|m|1".into()));
    // A later edit of this device counts as well.
    let id = accepted(&server, &mut device, "UPDATE places SET score = 2 WHERE id = 'p1'");
    device.write("UPDATE places SET score = 5 WHERE id = 'p1'");
    assert!(matches!(
        decide::undo(device.engine(), id),
        Err(Error::Queue(QueueFault::Changed { .. }))
    ));
}

#[apply(each_store)]
fn undo_restores_only_values_displaced_on_the_server(store: Store) {
    let (server, mut device) = one_place(store);
    // An outside writer writes the same name first: the mutation changes the note alone.
    server.outside("UPDATE places SET name = 'B' WHERE id = 'p1'");
    let sql = "UPDATE places SET name = 'B', note = 'm' WHERE id = 'p1'";
    let id = accepted(&server, &mut device, sql);
    by(decide::undo(device.engine(), id));
    device.sync(&server);
    assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|B|n|3".into()));
}

#[apply(each_store)]
fn repeated_verdict_carries_displaced_values(store: Store) {
    let (server, mut device) = one_place(store);
    server.outside("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    let id = device.queue()[0].id;
    device.lose_push(&server, Fault::AnswerLost);
    device.sync(&server);
    assert_eq!(decide::undo(device.engine(), id).unwrap(), Undone::Nothing);
    assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|B|n|3".into()));
}

#[apply(each_store)]
fn undo_discards_unsent_and_refuses_parked_mutations(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    let id = device.queue()[0].id;
    assert_eq!(decide::undo(device.engine(), id).unwrap(), Undone::GivenUp);
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), "p1|A|n|3".into()));
    assert!(matches!(decide::undo(device.engine(), id), Err(Error::Queue(QueueFault::Unknown(_)))));
    device.write("INSERT INTO places (id, name, score) VALUES ('p2', 'bad', 9)");
    device.sync(&server);
    let id = device.queue()[0].id;
    assert!(matches!(
        decide::undo(device.engine(), id),
        Err(Error::InvalidInput(InputFault::Refused { .. }))
    ));
    assert!(
        matches!(
            decide::redo(device.engine(), id),
            Err(Error::InvalidInput(InputFault::Refused { .. }))
        ),
        "never undone"
    );
}

#[apply(each_store)]
fn history_is_bounded_by_count_bytes_and_age(store: Store) {
    let (server, mut device) = one_place(store);
    for score in [1, 2, 4, 5] {
        accepted(
            &server,
            &mut device,
            &format!("UPDATE places SET score = {score} WHERE id = 'p1'"),
        );
    }
    let kept = "SELECT count(*) FROM rejoin_history";
    let all = HistoryBounds::default();
    assert_eq!(device.engine().prune(&all).unwrap(), 0);
    assert_eq!(device.engine().prune(&HistoryBounds { count: 3, ..all }).unwrap(), 1);
    let bytes: u64 = device
        .raw("SELECT sum(length(effect)) FROM rejoin_history WHERE seq > (SELECT min(seq) FROM rejoin_history)")
        .parse()
        .unwrap();
    assert_eq!(device.engine().prune(&HistoryBounds { bytes, ..all }).unwrap(), 1);
    assert_eq!(device.raw(kept), "2");
    server.clock.advance(60_000_000);
    let id = accepted(&server, &mut device, "UPDATE places SET name = 'B' WHERE id = 'p1'");
    assert_eq!(
        device.engine().prune(&HistoryBounds { age: Duration::from_secs(30), ..all }).unwrap(),
        2
    );
    assert_eq!(device.raw(kept), "1", "the newest stays");
    assert_eq!(device.engine().prune(&HistoryBounds { count: 0, ..all }).unwrap(), 1);
    assert!(
        matches!(decide::undo(device.engine(), id), Err(Error::Queue(QueueFault::Unknown(_)))),
        "forgotten"
    );
}

#[apply(each_store)]
fn client_lists_history_and_undoes(store: Store) {
    let (backend, _served, phone) = served_phone(store);
    phone.sync();
    phone.run("INSERT INTO places (id, name) VALUES ('p1', 'A')");
    phone.sync();
    phone.run("UPDATE places SET name = 'B' WHERE id = 'p1'");
    phone.sync();
    let history = phone.client.queue().history(10).wait().unwrap();
    let [edit, create] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(
        (edit.rows[0].operation, create.rows[0].operation),
        (PatchKind::Update, PatchKind::Insert)
    );
    let name = &edit.rows[0].columns[0];
    assert_eq!((&name.old, &name.new), (&Value::from("A"), &Value::from("B")));
    let undo = by(phone.client.queue().undo(edit.id).wait());
    phone.sync();
    assert_eq!(backend.see("SELECT name FROM places"), "A");
    let newest = phone.client.queue().history(1).wait().unwrap();
    assert_eq!((newest[0].id, newest[0].undoes), (undo, Some(edit.id)));
    by(phone.client.queue().redo(edit.id).wait());
    phone.sync();
    assert_eq!(backend.see("SELECT name FROM places"), "B");
    let bounds = HistoryBounds { count: 0, ..HistoryBounds::default() };
    assert_eq!(phone.client.queue().prune(bounds).wait().unwrap(), 4);
    assert!(phone.client.queue().history(10).wait().unwrap().is_empty());
}

/// Regression: the server compared the second edit with the value that the device had sent, and not with the one that it
/// had stored; undo was refused, because the row seemed to have changed since.
#[apply(each_store)]
fn rewritten_values_stay_the_users_own(store: Store) {
    let is_postgres = store == Store::Postgres;
    let price = if is_postgres { "numeric(10, 2)" } else { "TEXT" };
    let tables = format!(
        "CREATE TABLE offers(id TEXT PRIMARY KEY, owner_id TEXT, price {price}, name {}, updated_at TEXT, deleted_at TEXT)",
        if is_postgres { "char(6)" } else { "TEXT" }
    );
    let configs = vec![TableConfig::owned("offers", "owner_id")];
    let server = Backend::made(store, &tables, configs, Limits::default());
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.write("INSERT INTO offers(id, price, name) VALUES ('o1', '3.3333', 'new')");
    device.write("UPDATE offers SET price = '4.5678', name = 'old' WHERE id = 'o1'");
    let id = device.queue().last().unwrap().id;
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (2, 0), "{}", device.waiting());
    let offers = "SELECT id, price FROM offers";
    let expected = |in_postgres: &str, typed: &str| {
        format!("o1|{}", if is_postgres { in_postgres } else { typed })
    };
    assert_eq!(device.see(offers), expected("4.57", "4.5678"));
    by(decide::undo(device.engine(), id));
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(device.see(offers), expected("3.33", "3.3333"));
    device.write("UPDATE offers SET name = 'last' WHERE id = 'o1'");
    device.write("DELETE FROM offers WHERE id = 'o1'");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (2, 0), "{}", device.waiting());
    assert_eq!(server.see("SELECT count(*) FROM offers WHERE deleted_at IS NULL"), "0");
}

/// Regression: the row that the action had read was compared with the value that the device wrote.
#[test]
fn action_reads_what_postgres_left_of_its_own_edit() {
    let tables =
        "CREATE TABLE offers(id TEXT PRIMARY KEY, owner_id TEXT, price numeric(10, 2), name TEXT,
        updated_at TEXT, deleted_at TEXT)";
    let configs = vec![TableConfig::owned("offers", "owner_id")];
    let server = Backend::made(Store::Postgres, tables, configs, Limits::default());
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    let copy = r#"{"name": "copy", "parameters": [{"name": "from", "type": "text"}],
        "preconditions": [{"sql": "SELECT price > '3' FROM offers WHERE id = :from", "message": "cheap"}],
        "statements": ["UPDATE offers SET name = 'dear' WHERE id = 'o2'"]}"#;
    perform::set_actions(device.engine(), Arc::new(Actions::new().declare(copy)), true).unwrap();
    device.write("INSERT INTO offers(id, price) VALUES ('o1', '3.3333'), ('o2', '1')");
    perform::perform(device.engine(), "copy", &json!({"from": "o1"})).unwrap();
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (2, 0), "{}", device.waiting());
    let pushes = device.sent.iter().filter(|one| one.path.starts_with(path::PUSH));
    assert_eq!(pushes.count(), 1, "no conflict made the action run again");
    assert_eq!(device.see("SELECT price, name FROM offers ORDER BY id"), "3.33|- 1.00|dear");
}

/// A server whose database computes the total of an offer when its price changes.
fn with_computed_totals(store: Store) -> Backend {
    let columns = "id TEXT PRIMARY KEY, owner_id TEXT, price INTEGER, total INTEGER, updated_at TEXT, deleted_at TEXT";
    let trigger = match store {
        Store::Sqlite => {
            "CREATE TRIGGER total AFTER UPDATE OF price ON offers
             BEGIN UPDATE offers SET total = new.price * 2 WHERE id = new.id; END;"
        }
        Store::Postgres => {
            "CREATE FUNCTION total() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF new.price <> old.price THEN new.total := new.price * 2; END IF; RETURN new; END';
             CREATE TRIGGER total BEFORE UPDATE ON offers FOR EACH ROW EXECUTE FUNCTION total();"
        }
    };
    let tables = format!("CREATE TABLE offers({columns}); {trigger}");
    let configs = vec![TableConfig::owned("offers", "owner_id")];
    Backend::made(store, &tables, configs, Limits::default())
}

/// Regression: the second edit was compared with what the trigger had computed, which its author never saw.
#[apply(each_store)]
fn column_that_a_trigger_computes_stays_the_users_own(store: Store) {
    let server = with_computed_totals(store);
    let [mut device, mut other] = [1, 2].map(|seed| Device::new("ana", seed));
    device.sync(&server);
    device.write("INSERT INTO offers(id, price, total) VALUES ('o1', 1, 2)");
    device.sync(&server);
    other.sync(&server);
    let offer = "SELECT price, total FROM offers";
    let edit = |device: &mut Device, column: &str, value: i64| {
        device.write(&format!("UPDATE offers SET {column} = {value} WHERE id = 'o1'"));
    };
    for (price, total) in [(&[4][..], 100), (&[5, 6], 101)] {
        for one in price {
            edit(&mut device, "price", *one);
        }
        edit(&mut device, "total", total);
        device.sync(&server);
        let last = price.last().unwrap();
        assert_eq!(
            (device.waiting(), device.see(offer)),
            (String::new(), format!("{last}|{total}"))
        );
    }
    for fault in [None, Some(Fault::AnswerLost)] {
        edit(&mut device, "price", 7);
        device.until(&server, Phase::Pushing).unwrap();
        edit(&mut device, "total", 102);
        device.faults.extend(fault);
        drop(device.step(&server));
        device.sync(&server);
        device.sync(&server);
        assert_eq!(
            (device.waiting(), device.see(offer)),
            (String::new(), "7|102".into()),
            "{fault:?}"
        );
        edit(&mut device, "price", 1);
        device.sync(&server);
    }
    other.sync(&server);
    edit(&mut other, "total", 9);
    other.sync(&server);
    edit(&mut device, "price", 8);
    edit(&mut device, "total", 103);
    device.sync(&server);
    assert_eq!(
        (device.queue().len(), device.see(offer)),
        (1, "8|16".into()),
        "it would undo the other edit"
    );
}
