//! Table tests of patch composition.

use super::*;
use crate::engine::capture::buffer::Buffer;
use crate::engine::rows::patch::Effect;
use crate::engine::schema::model::Column;
use crate::engine::tests::known_table;
use crate::ids::ColumnId;
use rejoin_protocol::ColumnKind;

/// The stored columns of a row, in the table's order.
type Image = Vec<Value>;

pub(in crate::engine::capture) fn table(deleted_at: bool) -> Table {
    let column = |id, name: &str| Column {
        id: ColumnId(id),
        name: name.to_owned(),
        kind: ColumnKind::String,
        default: None,
        protected: name == "deleted_at",
    };
    Table {
        deleted_at: deleted_at.then_some(3),
        ..known_table(
            "t",
            vec![column(1, "id"), column(2, "a"), column(3, "b"), column(4, "deleted_at")],
        )
    }
}

/// A row `key a b deleted_at`, with a dot for NULL; empty text is no row.
pub(in crate::engine::capture) fn image(text: &str) -> Option<Image> {
    let cells = text.split_whitespace();
    let image: Image =
        cells.map(|cell| if cell == "." { Value::Null } else { cell.into() }).collect();
    (!image.is_empty()).then_some(image)
}

/// The net effect of these events of rows: images before and after.
fn composed(table: &Table, events: &[(Option<Image>, Option<Image>)]) -> Effect {
    let mut buffer = Buffer::default();
    for (old, new) in events {
        buffer.take(table, old.as_deref(), new.as_deref());
    }
    let mut composer = Composer::new();
    for event in buffer.since(0) {
        composer.push(event.unwrap().patch).unwrap();
    }
    let once = composer.all_once();
    let recorded = composer.finish(1, |_| Some(table)).unwrap();
    if let Some(patches) = once {
        assert_eq!(buffer.take_effect(1, patches), recorded.effect);
        assert_eq!(buffer.len(), 0);
    }
    let effect = encode::decode(&recorded.effect).unwrap();
    let rows: Vec<_> = effect.rows.iter().map(|patch| (patch.row.clone(), patch.kind)).collect();
    assert_eq!(*recorded.rows, rows);
    effect
}

/// `kind key column:old>new ...`, as used in the tables below.
fn written(effect: &Effect) -> String {
    let text = |value: &Value| value.as_text().unwrap_or(".").to_owned();
    let mut out = Vec::new();
    for patch in &effect.rows {
        let columns = patch.columns.iter().map(|column| {
            format!(" {}:{}>{}", column.column.0, text(&column.old), text(&column.new))
        });
        let columns: Vec<String> = columns.collect();
        out.push(format!("{:?} {}{}", patch.kind, text(&patch.row.key), columns.concat()));
    }
    out.join("; ")
}

#[test]
fn transaction_has_one_net_patch_per_row() {
    let cases = [
        ("insert", vec![("", "k 1 2 .")], "Insert k 2:.>1 3:.>2 4:.>."),
        ("update", vec![("k 1 2 .", "k 9 2 .")], "Update k 2:1>9"),
        ("delete", vec![("k 1 2 .", "")], "Delete k 2:1>. 3:2>. 4:.>."),
        ("no-op update", vec![("k 1 2 .", "k 1 2 .")], ""),
        ("a column set to NULL", vec![("k 1 2 .", "k . 2 .")], "Update k 2:1>."),
        ("there and back", vec![("k 1 2 .", "k 9 2 ."), ("k 9 2 .", "k 1 2 .")], ""),
        (
            "insert, update",
            vec![("", "k 1 2 ."), ("k 1 2 .", "k 9 2 .")],
            "Insert k 2:.>9 3:.>2 4:.>.",
        ),
        ("insert, delete", vec![("", "k 1 2 ."), ("k 1 2 .", "")], ""),
        (
            "update, delete",
            vec![("k 1 2 .", "k 9 2 ."), ("k 9 2 .", "")],
            "Delete k 2:1>. 3:2>. 4:.>.",
        ),
        ("REPLACE", vec![("k 1 2 .", ""), ("", "k 1 7 .")], "Update k 3:2>7"),
        (
            "key change",
            vec![("k 1 2 .", "m 1 2 .")],
            "Delete k 2:1>. 3:2>. 4:.>.; Insert m 2:.>1 3:.>2 4:.>.",
        ),
        (
            "two rows, in the order of first touch",
            vec![("", "z 1 1 ."), ("a 1 1 .", "a 2 1 ."), ("z 1 1 .", "z 1 3 .")],
            "Insert z 2:.>1 3:.>3 4:.>.; Update a 2:1>2",
        ),
        (
            "three rows swap keys",
            vec![("a 1 1 .", "x 1 1 ."), ("b 2 2 .", "a 2 2 ."), ("x 1 1 .", "b 1 1 .")],
            "Update a 2:1>2 3:1>2; Update b 2:2>1 3:2>1",
        ),
    ];
    for (name, events, expected) in cases {
        let events: Vec<_> = events.iter().map(|(old, new)| (image(old), image(new))).collect();
        assert_eq!(written(&composed(&table(false), &events)), expected, "{name}");
    }
}

#[test]
fn soft_delete_names_every_column() {
    let cases = [
        ("delete", vec![("k 1 2 .", "k 1 2 now")], "Update k 2:1>1 3:2>2 4:.>now"),
        ("reverted", vec![("k 1 2 now", "k 1 3 .")], "Update k 2:1>1 3:2>3 4:now>."),
        (
            "changed and then deleted",
            vec![("k 1 2 .", "k 9 2 ."), ("k 9 2 .", "k 9 2 now")],
            "Update k 2:1>9 3:2>2 4:.>now",
        ),
        (
            "deleted and then changed",
            vec![("k 1 2 .", "k 1 2 now"), ("k 1 2 now", "k 1 3 now")],
            "Update k 2:1>1 3:2>3 4:.>now",
        ),
        (
            "removed and created again as deleted",
            vec![("k 1 2 .", ""), ("", "k 1 2 now")],
            "Update k 2:1>1 3:2>2 4:.>now",
        ),
        ("both in one transaction", vec![("k 1 2 .", "k 1 2 now"), ("k 1 2 now", "k 1 2 .")], ""),
        ("another time", vec![("k 1 2 now", "k 1 2 later")], "Update k 4:now>later"),
    ];
    for (name, events, expected) in cases {
        let events: Vec<_> = events.iter().map(|(old, new)| (image(old), image(new))).collect();
        assert_eq!(written(&composed(&table(true), &events)), expected, "{name}");
    }
}

#[test]
fn negative_zero_and_other_storage_classes_are_changes() {
    assert!(same(&Value::Real(0.0), &Value::Real(0.0)));
    assert!(!same(&Value::Real(0.0), &Value::Real(-0.0)));
    assert!(!same(&Value::Integer(1), &Value::Real(1.0)));
    assert!(!same(&Value::Text(String::new()), &Value::Blob(vec![])));
    assert!(!same(&Value::Null, &Value::Text(String::new())));
}
