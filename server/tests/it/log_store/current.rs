//! The application's own tables have the rows as they now stand.

use macro_rules_attribute::apply;
use rejoin_log::effect::Effect;
use rejoin_log::row::{Columns, LogRow, RowName};
use rejoin_log::server::store::LogStore as _;
use rejoin_protocol::Value;
use rejoin_server::error::Fault;
use rejoin_server::model::LogType;
use rejoin_server::store::{fits, read, write};

use super::fixture::{Fresh, NOW, create, fresh, insert, offer, publish, with};
use crate::world::Backend;

/// A column of each type of a log table, by its name, and two of its values.
fn cells() -> Vec<(&'static str, [Value; 2])> {
    let text = Value::from;
    vec![
        ("words", [text("x"), text("it's \u{10ffff} \u{e9}")]),
        ("whole", [Value::Integer(i64::MAX), Value::Integer(i64::MIN)]),
        ("small", [Value::Integer(32_767), Value::Integer(-32_768)]),
        ("ratio", [Value::Real(0.1), Value::Real(-1e300)]),
        ("price", [text("12.340"), text("-0.00000000000000000001")]),
        ("truth", [Value::Integer(1), Value::Integer(0)]),
        ("at", [text("2026-11-20T08:00:00.123456Z"), text("0001-01-01T00:00:00.000000Z")]),
        ("day", [text("2026-02-28"), text("9999-12-31")]),
        ("doc", [text("{\"a\": [1, null]}"), text("\"\"")]),
        ("raw", [Value::Blob(vec![0, 255]), Value::Blob(Vec::new())]),
    ]
}

fn typed(backend: Backend) -> Fresh {
    let sqlite = "CREATE TABLE t(id INTEGER PRIMARY KEY, words TEXT, whole BIGINT, small SMALLINT, ratio REAL,
        price DECIMAL TEXT, truth BOOLEAN, at DATETIME, day DATE, doc JSON, raw BLOB)";
    let postgres = "CREATE TABLE t(id integer PRIMARY KEY, words text, whole bigint, small smallint,
        ratio double precision, price numeric, truth boolean, at timestamptz, day date, doc json, raw bytea)";
    let tables = if backend == Backend::Sqlite { sqlite } else { postgres };
    with(backend, tables, &["t"])
}

fn named(of: &[(&str, Value)]) -> Columns {
    of.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
}

fn put(fresh: &Fresh, row: &RowName, columns: Option<&Columns>) -> Result<(), Fault> {
    let image = columns.map(|columns| LogRow::from(columns.clone()));
    write(&*fresh.store, NOW, |writing| {
        let mut log = writing.log();
        log.put_current(row, image.as_ref()).map_err(|error| log.fault(error))
    })
}

fn current(fresh: &Fresh, row: &RowName) -> Option<Columns> {
    let found = read(&*fresh.store, |reading| {
        let log = reading.log();
        log.current(row).map_err(|error| log.fault(error))
    });
    found.unwrap().map(|image| image.columns().clone())
}

#[apply(stores!)]
fn each_type_is_stored_exactly(backend: Backend) {
    let fresh = typed(backend);
    let row = RowName::new("t", "-7");
    for at in [0, 1] {
        let of: Vec<_> =
            cells().into_iter().map(|(name, values)| (name, values[at].clone())).collect();
        let columns = named(&of);
        put(&fresh, &row, Some(&columns)).unwrap();
        assert_eq!(current(&fresh, &row), Some(columns));
    }
    let nulls: Vec<_> = cells().into_iter().map(|(name, _)| (name, Value::Null)).collect();
    put(&fresh, &row, Some(&named(&nulls))).unwrap();
    assert_eq!(current(&fresh, &row), Some(named(&nulls)));
    put(&fresh, &row, None).unwrap();
    assert_eq!(current(&fresh, &row), None);
}

/// Every value that the check accepts is stored, and every other one is a typed error.
#[apply(stores!)]
fn check_decides_what_the_database_takes(backend: Backend) {
    let fresh = typed(backend);
    let tables = read(&*fresh.store, |reading| Ok(reading.log_tables().to_vec())).unwrap();
    let mut values: Vec<Value> = cells().into_iter().flat_map(|(_, values)| values).collect();
    let texts = [
        "",
        "\0",
        "NaN",
        "infinity",
        "-",
        ".5",
        "1e5",
        "24:00",
        "2026-02-30",
        "null",
        "[1,]",
        "\"\\u0000\"",
        "{\"\\u0000\": 1}",
    ];
    values.extend(texts.map(Value::from));
    values.extend([Value::Real(f64::NEG_INFINITY), Value::Integer(2), Value::Integer(40_000)]);
    values.push(Value::from("9".repeat(1_000)));
    let (mut taken, mut refused) = (0, 0);
    for (at, (column, _)) in cells().into_iter().enumerate() {
        for value in &values {
            let row = RowName::new("t", at.to_string());
            let columns = named(&[(column, value.clone())]);
            let effect = Effect::Insert(LogRow::from(columns.clone()));
            let fit = fits(&[(row.clone(), effect)].into_iter().collect(), &tables);
            let done = put(&fresh, &row, Some(&columns));
            assert_eq!(fit.is_ok(), done.is_ok(), "{column}: {value:?}: {fit:?}, {done:?}");
            match fit {
                Ok(()) => taken += 1,
                Err(error) => {
                    let why = done.unwrap_err().to_string();
                    assert!(why.contains(&error.to_string()), "{why}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 20 && refused > 100, "{taken} {refused}");
}

#[apply(stores!)]
fn a_row_that_lacks_columns_gets_their_defaults_again(backend: Backend) {
    let fresh = fresh(backend);
    let row = RowName::new("r", "r1");
    let whole = named(&[("buckets", "a".into()), ("number", 1.into()), ("owner", "anna".into())]);
    put(&fresh, &row, Some(&whole)).unwrap();
    put(&fresh, &row, Some(&named(&[("buckets", "b".into())]))).unwrap();
    let expected = named(&[
        ("buckets", "b".into()),
        ("text", Value::Null),
        ("number", 7.into()),
        ("owner", Value::Null),
    ]);
    assert_eq!(current(&fresh, &row), Some(expected));
    let missing = put(&fresh, &row, Some(&named(&[("text", "x".into())]))).unwrap_err();
    assert!(missing.to_string().contains("the column buckets needs a value"), "{missing}");
    let unknown = put(&fresh, &RowName::new("x", "1"), None).unwrap_err();
    assert!(unknown.to_string().contains("not a log table"), "{unknown}");
}

#[apply(stores!)]
fn programs_read_what_was_published(backend: Backend) {
    let fresh = fresh(backend);
    create(&*fresh.store, 1);
    let set = |id: &str, effect| [(rejoin_log::fixture::row(id), effect)].into_iter().collect();
    let text = |text: &str| Effect::Update(rejoin_log::fixture::columns("text", text));
    publish(&*fresh.store, 1, 1, vec![insert(1, 10, "r1"), insert(1, 11, "r2")]).unwrap();
    publish(
        &*fresh.store,
        1,
        2,
        vec![offer(1, 20, set("r1", text("late"))), offer(1, 21, set("r2", Effect::Delete))],
    )
    .unwrap();
    publish(&*fresh.store, 1, 3, vec![offer(1, 15, set("r1", text("early")))]).unwrap();
    assert_eq!(fresh.rows(&["r"]).len(), 1);
    let image = current(&fresh, &RowName::new("r", "r1")).unwrap();
    assert_eq!(image.get("text"), Some(&Value::from("late")), "the late entry lies before");
}

/// A changed table is read again by the next request.
#[apply(stores!)]
fn a_new_column_is_written_without_a_restart(backend: Backend) {
    let fresh = fresh(backend);
    fresh.run("ALTER TABLE r ADD COLUMN extra TEXT");
    let row = RowName::new("r", "r1");
    put(&fresh, &row, Some(&named(&[("buckets", "a".into()), ("extra", "x".into())]))).unwrap();
    assert_eq!(current(&fresh, &row).unwrap().get("extra"), Some(&Value::from("x")));
    let kinds = read(&*fresh.store, |reading| {
        let table = reading.log_tables().iter().find(|table| table.name == "r").cloned();
        Ok(table.unwrap().columns.into_iter().map(|column| column.kind).collect::<Vec<_>>())
    });
    assert_eq!(kinds.unwrap().last(), Some(&LogType::Text));
}

/// The change log of the row model records only what its own triggers report.
#[apply(stores!)]
fn log_tables_have_no_triggers_of_the_row_model(backend: Backend) {
    let fresh = fresh(backend);
    put(&fresh, &RowName::new("r", "r1"), Some(&named(&[("buckets", "a".into())]))).unwrap();
    let state = read(&*fresh.store, |reading| reading.log_state()).unwrap();
    assert_eq!(state.head, 0);
}
