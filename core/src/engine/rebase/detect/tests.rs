//! Table tests of conflict detection: a server row, pending edits of it, and the conflict.

use rejoin_protocol::ColumnKind;

use super::*;
use crate::engine::rows::patch::ColumnPatch;
use crate::engine::schema::model::Column;
use crate::engine::tests::known_table;
use crate::ids::{ColumnId, TableNumber};

/// `id`, `a`, `n` (numeric), `deleted_at` and `owner`, of which the last two are protected.
pub(in crate::engine::rebase) fn table() -> Table {
    let column = |id, name: &str, kind| Column {
        id: ColumnId(id),
        name: name.to_owned(),
        kind,
        default: None,
        protected: matches!(name, "deleted_at" | "owner"),
    };
    Table {
        deleted_at: Some(3),
        ..known_table(
            "t",
            vec![
                column(1, "id", ColumnKind::String),
                column(2, "a", ColumnKind::String),
                column(3, "n", ColumnKind::Numeric),
                column(4, "deleted_at", ColumnKind::Datetime),
                column(5, "owner", ColumnKind::String),
            ],
        )
    }
}

fn value(text: &str) -> Value {
    if text == "." { Value::Null } else { Value::from(text) }
}

/// `+ a:>x`, `~ a:x>y`, `- a:x>`; the letters are column names.
pub(in crate::engine::rebase) fn patch(text: &str) -> RowPatch {
    let kind = match &text[..1] {
        "+" => PatchKind::Insert,
        "-" => PatchKind::Delete,
        _ => PatchKind::Update,
    };
    let columns = text[1..].split_whitespace().map(|word| {
        let (name, change) = word.split_once(':').unwrap();
        let (old, new) = change.split_once('>').unwrap();
        let at = "ando".find(name).unwrap();
        ColumnPatch {
            column: ColumnId(2 + u32::try_from(at).unwrap()),
            old: value(old),
            new: value(new),
        }
    });
    let row = RowKey { table: TableNumber(1), key: "k".into() };
    RowPatch { row, kind, columns: columns.collect() }
}

/// The columns of a row after its key; no row for an empty text.
pub(in crate::engine::rebase) fn image_of(image: &str) -> Option<Vec<Value>> {
    (!image.is_empty())
        .then(|| std::iter::once("k").chain(image.split_whitespace()).map(value).collect())
}

/// The number of the conflicting edit, from 1, and the columns; a dash if there is none.
fn conflict_of(image: &str, edits: &[&str]) -> String {
    let table = table();
    let image = image_of(image);
    let patches: Vec<RowPatch> = edits.iter().map(|edit| patch(edit)).collect();
    let edits: Vec<RowEdit<'_>> = (1..)
        .zip(&patches)
        .map(|(seq, patch)| RowEdit {
            replays: false,
            seq: Seq(seq),
            patch,
            olds: patch.columns.iter().map(|column| &column.old).collect(),
            onto: false,
            by_time: false,
            whole: None,
        })
        .collect();
    match first_conflict(&table, image.as_deref(), &edits) {
        None => "-".to_owned(),
        Some(conflict) => format!("{} {}", conflict.seq.0, conflict.columns.join(",")),
    }
}

#[test]
fn conflict_differs_from_old_and_from_new() {
    let cases: [(&str, &str, &[&str], &str); 19] = [
        ("untouched", "x 1 . me", &["~ a:x>y"], "-"),
        ("another column", "x 2 . me", &["~ a:x>y"], "-"),
        ("the same column", "z 1 . me", &["~ a:x>y"], "1 a"),
        ("already has the new value", "y 1 . me", &["~ a:x>y"], "-"),
        ("one of two columns", "x 7 . me", &["~ a:x>y n:1>2"], "1 n"),
        ("the same number in other digits", "x 1.0 . me", &["~ n:1>2"], "-"),
        ("a protected column never", "x 1 . you", &["~ o:me>them"], "-"),
        ("the row was deleted", "", &["~ a:x>y"], "1 "),
        ("a second edit on top of the first", "x 1 . me", &["~ a:x>y", "~ a:y>z"], "-"),
        ("the first conflict counts", "w 1 . me", &["~ n:1>2", "~ a:x>y", "~ a:y>z"], "2 a"),
        ("a create of an absent row", "", &["+ a:.>x n:.>1"], "-"),
        ("a create of an equal row", "x 1.00 . you", &["+ a:.>x n:.>1 o:.>me"], "-"),
        ("a create of a different row", "x 2 . me", &["+ a:.>x n:.>1"], "1 n"),
        ("a delete of an unchanged row", "x 1 . me", &["- a:x>. n:1>."], "-"),
        ("a delete of a changed row", "x 2 . me", &["- a:x>. n:1>."], "1 n"),
        ("a delete of an absent row", "", &["- a:x>. n:1>."], "-"),
        ("a soft delete of a changed row", "x 2 . me", &["~ a:x>x n:1>1 d:.>now o:me>me"], "1 n"),
        ("a soft delete of an absent row", "", &["~ a:x>x n:1>1 d:.>now o:me>me"], "-"),
        (
            "an edit after a soft delete sees the row",
            "x 1 . me",
            &["~ a:x>x n:1>1 d:.>now o:me>me", "~ n:1>2"],
            "-",
        ),
    ];
    for (name, image, edits, expected) in cases {
        assert_eq!(conflict_of(image, edits), expected, "{name}");
    }
}

#[test]
fn unchanged_columns_do_not_overwrite_a_newer_row() {
    let table = table();
    let deleted = patch("~ a:x>x n:1>1 d:.>now o:me>me");
    let mut newer = Some(vec!["k".into(), "z".into(), "1".into(), Value::Null, "me".into()]);
    apply_patch(&table, &mut newer, &deleted);
    assert_eq!(newer.unwrap()[1..4], ["z".into(), "1".into(), "now".into()]);
    let reversed = patch("~ a:x>x n:1>1 d:now>. o:me>me");
    let mut gone = None;
    apply_patch(&table, &mut gone, &reversed);
    assert_eq!(gone.unwrap()[..3], ["k".into(), "x".into(), "1".into()]);
}
