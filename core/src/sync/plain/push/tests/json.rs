//! Tests of JSON columns: documents round-trip, and a lost response is detected by its row.

use rejoin_protocol::{ColumnKind, Value, equal};
use serde_json::json;

use super::{Net, World};

/// The document in a column, as the app sees it.
fn document(world: &World, table: &str, column: &str) -> Value {
    let sql = format!("SELECT {column} FROM {table}");
    let mut rows: Vec<Value> =
        world.engine.open_reader().unwrap().query(&sql, &[], |row| row.get(0)).unwrap();
    rows.remove(0)
}

#[test]
fn json_document_whose_answer_was_lost_is_accepted() {
    let documents = [
        r#""12""#,
        "12",
        "12.50",
        r#""text""#,
        r#""null""#,
        "true",
        r#""a\u0041\"""#,
        "{\"a\":[1]}",
        "[]",
    ];
    for text in documents {
        let mut world = World::with_note("a");
        world.run(&format!("UPDATE notes SET j = '{text}'"));
        world.push(&[Net::AnswerLost]);
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(world.server.cell("a", "j"), Some(expected), "{text}");
        world.push(&[Net::Ok]);
        assert_eq!((world.queue().len(), world.parked().len()), (0, 0), "{text}");
        world.pull(usize::MAX);
        let found = document(&world, "notes", "j");
        assert!(equal::equal(&found, &text.into(), ColumnKind::Json), "{text}: {found:?}");
    }
}

#[test]
fn json_string_of_digits_is_another_value_than_the_number() {
    let mut world = World::with_note("a");
    world.server.write("a", &json!({"j": "\"12\""}));
    world.pull(usize::MAX);
    assert_eq!(document(&world, "notes", "j"), r#""12""#.into());
    world.run("UPDATE notes SET j = '13'");
    world.server.write("a", &json!({"j": "12"}));
    world.settle();
    assert_eq!(world.parked().len(), 1, "the foreign number was overwritten");
    assert_eq!(document(&world, "notes", "j"), "12".into());
}

/// SQL NULL and JSON null are equal on the wire: it returns as SQL NULL, without a conflict.
#[test]
fn json_null_comes_back_as_null_of_sql() {
    for lost in [false, true] {
        let mut world = World::with_note("a");
        world.server.write("a", &json!({"j": "1"}));
        world.pull(usize::MAX);
        world.run("UPDATE notes SET j = 'null'");
        world.push(&[if lost { Net::AnswerLost } else { Net::Ok }]);
        world.run("UPDATE notes SET j = '2'");
        world.pull(usize::MAX);
        assert_eq!(world.parked().len(), 0, "lost: {lost}");
        world.settle();
        assert_eq!((world.queue().len(), world.server.cell("a", "j")), (0, Some(json!(2))));
    }
}

#[test]
fn json_null_stays_in_a_column_that_takes_no_null() {
    let mut world = World::with_note("a");
    world.run("INSERT INTO items (id, note, must) VALUES ('i', 'a', 'null')");
    world.push(&[Net::AnswerLost]);
    world.settle();
    assert_eq!(world.queue().len(), 0);
    assert_eq!(document(&world, "items", "must"), "null".into());
}
