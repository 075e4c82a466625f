//! Values that a store would round, and values without a wire form: neither is changed silently.

use macro_rules_attribute::apply;
use rejoin_server::TableConfig;
use serde_json::{Value, json};

use crate::log_capture::LogCapture;
use crate::world::{Backend, World, column, create, delete, ended, update};

/// Prices, with this declared type in SQLite and NUMERIC in PostgreSQL.
fn prices(backend: Backend, declared: &str) -> World {
    let declared = if backend == Backend::Sqlite { declared } else { "NUMERIC" };
    let tables = format!(
        "CREATE TABLE prices(id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, amount {declared}, updated_at TEXT)"
    );
    World::with(backend, &tables, |config| {
        config.with_table(TableConfig::owned("prices", "owner_id"))
    })
}

fn priced(id: &str, amount: &str) -> Value {
    json!([create("prices", id, &json!({"amount": amount}))])
}

#[apply(stores!)]
async fn decimal_keeps_all_its_digits(backend: Backend) {
    let world = prices(backend, "DECIMAL TEXT");
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let amounts =
        ["12345678901234567890.123456789012345678901", "0.1000000000000000000001", "1.50", "-7"];
    for (at, amount) in amounts.into_iter().enumerate() {
        let rows = anna.accept(&format!("m{at}"), priced(&format!("p{at}"), amount)).await;
        assert_eq!(column(&rows[0], "amount"), amount);
    }
    let pulled = anna.pull_rows().await;
    assert_eq!(pulled["prices/p0"].as_ref().unwrap()["amount"], amounts[0]);
    let more = json!({"amount": "0.1000000000000000000002"});
    let known = json!({"amount": "0.10000000000000000000010"});
    anna.accept("more", json!([update("prices", "p1", &known, &more)])).await;
    assert_eq!(world.one("SELECT amount FROM prices WHERE id = 'p1'"), "0.1000000000000000000002");
}

/// SQLite would silently convert it to a double. The mutation is rejected, and the device keeps the
/// digits.
#[tokio::test]
async fn decimal_that_sqlite_would_round_is_rejected() {
    const KEPT: &[&str] = &[
        "1.50",
        "-0.1",
        "123456789012345",
        "0.123456789012345",
        "9223372036854775807",
        "1e3",
        "0.30000000000000004",
        "1e-7",
        "-9007199254740993",
        "1234567.8901234567",
    ];
    const ROUNDED: &[&str] = &[
        "0.12345678901234567890",
        "12345678901234567890",
        "1e400",
        "9007199254740993.5",
        "0.300000000000000041",
    ];
    let world = prices(Backend::Sqlite, "NUMERIC(30, 10)");
    let mut anna = world.device("anna", "a1").await;
    for amount in KEPT {
        let rows = anna.accept(amount, priced(amount, amount)).await;
        let back = column(&rows[0], "amount");
        let (back, amount) = (back.as_str().unwrap().into(), (*amount).into());
        let kind = rejoin_protocol::ColumnKind::Numeric;
        assert!(rejoin_protocol::equal::equal(&back, &amount, kind), "{back:?} {amount:?}");
    }
    for amount in ROUNDED {
        let (verdict, _) = anna.push(amount, priced(amount, amount)).await;
        assert_eq!(ended(&verdict), "rejected value.invalid", "{amount}");
        assert_eq!(verdict.column.as_deref(), Some("amount"));
        assert!(verdict.message.unwrap().contains("DECIMAL TEXT"), "the remedy is named");
    }
    let kept = world.one("SELECT count(*) FROM prices");
    assert_eq!(kept, KEPT.len().to_string());
}

/// Infinities that another program can store: PostgreSQL also has NaN, which SQLite stores as NULL.
fn infinities(backend: Backend) -> &'static [&'static str] {
    match backend {
        Backend::Sqlite => &["9e999", "-9e999"],
        _ => &["'Infinity'", "'-Infinity'", "'NaN'"],
    }
}

fn readings(backend: Backend) -> World {
    let tables = "CREATE TABLE readings(id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, level DOUBLE PRECISION, note TEXT,
        updated_at TEXT, deleted_at TEXT)";
    World::with(backend, tables, |config| {
        config.with_table(TableConfig::owned("readings", "owner_id"))
    })
}

/// Asserts that all readings still have the value of the other program. In PostgreSQL, NaN is
/// greater than any number.
#[track_caller]
fn all_infinite(world: &World, count: usize) {
    let far = "SELECT count(*) FROM readings WHERE level > 1e308 OR level < -1e308";
    assert_eq!(world.one(far), count.to_string());
}

#[apply(secured_stores!)]
async fn outside_infinity_is_logged_and_never_overwritten(backend: Backend) {
    let log = LogCapture::begin();
    let world = readings(backend);
    let (mut anna, mut old) = (world.device("anna", "a1").await, Vec::new());
    anna.snapshot(10).await;
    let values = infinities(backend);
    for (at, value) in values.iter().enumerate() {
        world.write(&format!(
            "INSERT INTO readings(id, owner_id, level, note) VALUES('r{at}', 'anna', {value}, 'a')"
        ));
        old.push(format!("r{at}"));
    }
    world.write("INSERT INTO readings(id, owner_id, level) VALUES('near', 'anna', 1.5)");
    let rows = anna.pull_rows().await;
    assert_eq!(rows["readings/near"].as_ref().unwrap()["level"], 1.5, "others are not stopped");
    for id in &old {
        assert_eq!(rows[&format!("readings/{id}")].as_ref().unwrap()["level"], Value::Null);
        let key = format!("key=\"{id}\"");
        assert!(log.count(&["WARN", "table=\"readings\"", "column=\"level\"", &key]) > 0, "{id}");
        let seen = json!({"level": null, "note": "a"});
        let note = update("readings", id, &json!({"note": "a"}), &json!({"note": "b"}));
        anna.accept(&format!("note-{id}"), json!([note])).await;
        let known = json!({"old": {"level": null, "note": "b"}});
        let mut gone = delete("readings", id, &seen);
        gone["old"] = known["old"].clone();
        anna.accept(&format!("delete-{id}"), json!([gone])).await;
        let back = create("readings", id, &json!({"level": null, "note": "c"}));
        anna.accept(&format!("undo-{id}"), json!([back])).await;
    }
    all_infinite(&world, values.len());
    assert_eq!(world.one("SELECT count(*) FROM readings WHERE note = 'c'"), old.len().to_string());
}

/// A v0.1.2 peer sends whole rows, including the NULL that it received.
#[apply(stores!)]
async fn plain_record_does_not_overwrite_an_infinity(backend: Backend) {
    let world = readings(backend);
    let value = infinities(backend)[0];
    world.write(&format!(
        "INSERT INTO readings(id, owner_id, level, note) VALUES('r0', 'anna', {value}, 'a')"
    ));
    let mut anna = world.device("anna", "a1").await;
    let record = json!([{"id": "r0", "table_name": "readings", "operation": "update",
        "data": {"level": null, "note": "b"}, "client_updated_at": "2030-01-01T00:00:00Z"}]);
    assert_eq!(anna.push_records(&record).await, ["r0 applied -"]);
    all_infinite(&world, 1);
    assert_eq!(world.one("SELECT note FROM readings"), "b");
}

/// A device may replace the value: its old value is the NULL that it received.
#[apply(stores!)]
async fn infinity_is_replaced_by_an_edit_of_its_column(backend: Backend) {
    let world = readings(backend);
    let value = infinities(backend)[0];
    world.write(&format!(
        "INSERT INTO readings(id, owner_id, level) VALUES('r0', 'anna', {value}), ('r1', 'anna', {value})"
    ));
    let mut anna = world.device("anna", "a1").await;
    let edit = |id: &str, old: Value| {
        json!([update("readings", id, &json!({"level": old}), &json!({"level": 5.5}))])
    };
    anna.accept("m1", edit("r0", Value::Null)).await;
    let (verdict, _) = anna.push("m2", edit("r1", json!(3.5))).await;
    assert_eq!(ended(&verdict), "conflict row.changed", "it has never seen what is there");
    all_infinite(&world, 1);
}
