//! The policy as a table: a row of the server, edits that wait on it, and what conflicts.

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

/// `+ a:>x`, `~ a:x>y`, `- a:x>`; the letters are the columns'.
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

/// The columns of a row after its key; no row where there are none.
pub(in crate::engine::rebase) fn image_of(image: &str) -> Option<Vec<Value>> {
    (!image.is_empty())
        .then(|| std::iter::once("k").chain(image.split_whitespace()).map(value).collect())
}

/// The number of the edit that conflicts, from 1, and the columns; a dash if none does.
fn conflict_of(image: &str, edits: &[&str]) -> String {
    let table = table();
    let image = image_of(image);
    let patches: Vec<RowPatch> = edits.iter().map(|edit| patch(edit)).collect();
    let edits: Vec<Edit<'_>> = (1..)
        .zip(&patches)
        .map(|(seq, patch)| Edit {
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
fn a_conflict_is_different_from_old_and_from_new() {
    let cases: [(&str, &str, &[&str], &str); 19] = [
        ("untouched", "x 1 . me", &["~ a:x>y"], "-"),
        ("another column", "x 2 . me", &["~ a:x>y"], "-"),
        ("the same column", "z 1 . me", &["~ a:x>y"], "1 a"),
        ("already as I want it", "y 1 . me", &["~ a:x>y"], "-"),
        ("one of two columns", "x 7 . me", &["~ a:x>y n:1>2"], "1 n"),
        ("the same number in other digits", "x 1.0 . me", &["~ n:1>2"], "-"),
        ("a protected column never", "x 1 . you", &["~ o:me>them"], "-"),
        ("the row is gone", "", &["~ a:x>y"], "1 "),
        ("a second edit stands on the first", "x 1 . me", &["~ a:x>y", "~ a:y>z"], "-"),
        ("the first conflict counts", "w 1 . me", &["~ n:1>2", "~ a:x>y", "~ a:y>z"], "2 a"),
        ("a create of what is not there", "", &["+ a:.>x n:.>1"], "-"),
        ("a create of what is equal", "x 1.00 . you", &["+ a:.>x n:.>1 o:.>me"], "-"),
        ("a create of what is not", "x 2 . me", &["+ a:.>x n:.>1"], "1 n"),
        ("a delete of what I saw", "x 1 . me", &["- a:x>. n:1>."], "-"),
        ("a delete of what changed", "x 2 . me", &["- a:x>. n:1>."], "1 n"),
        ("a delete of what is gone", "", &["- a:x>. n:1>."], "-"),
        ("a soft delete of what changed", "x 2 . me", &["~ a:x>x n:1>1 d:.>now o:me>me"], "1 n"),
        ("a soft delete of what is gone", "", &["~ a:x>x n:1>1 d:.>now o:me>me"], "-"),
        (
            "an edit after a soft delete sees the row as it is",
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
    lay(&table, &mut newer, &deleted);
    assert_eq!(newer.unwrap()[1..4], ["z".into(), "1".into(), "now".into()]);
    let reversed = patch("~ a:x>x n:1>1 d:now>. o:me>me");
    let mut gone = None;
    lay(&table, &mut gone, &reversed);
    assert_eq!(gone.unwrap()[..3], ["k".into(), "x".into(), "1".into()]);
}
