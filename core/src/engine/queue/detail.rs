//! Why a mutation was not accepted, as the app reads it: decoded from the stored JSON, which
//! `rebase::detail`, the push and `entries` write.

use std::collections::BTreeMap;

use rejoin_protocol::{ColumnKind, codec};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::engine::rows::patch::PatchKind;
use crate::engine::schema::model::{Schema, Table};
use crate::value::Value;

/// What the server, or this device, reports on a mutation that was parked or corrected.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VerdictDetail {
    /// The reason's code, for example `constraint.check`.
    pub code: Option<String>,
    /// The reason as text; one line for each rejection of a partly accepted mutation.
    pub message: Option<String>,
    /// The table that the reason names.
    pub table: Option<String>,
    /// The key of the row that the reason names.
    pub key: Option<Value>,
    /// The column that the reason names.
    pub column: Option<String>,
    /// The rows in conflict.
    pub rows: Vec<ConflictedRow>,
    /// For an action of the log whose effect has changed: both effects, if they fit into 64 KiB.
    pub correction: Option<Correction>,
}

/// Values by column.
pub type ColumnValues = BTreeMap<String, Value>;

/// A row in which a mutation conflicts, as both sides had it at the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictedRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: Value,
    /// The columns in conflict; empty if the row was deleted or created.
    pub columns: Vec<String>,
    /// The row as this device showed it after the mutation; `None` if the mutation deletes it.
    pub mine: Option<ColumnValues>,
    /// The server's row; `None` if it has none.
    pub theirs: Option<ColumnValues>,
    /// In a table with the policy `manual`: the previous values of the changed columns; `None` for a
    /// create.
    pub before: Option<ColumnValues>,
}

/// The two effects of an action of the log that was run again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Correction {
    /// What it did before.
    pub before: Vec<EffectRow>,
    /// What it does now; empty if it is now rejected.
    pub after: Vec<EffectRow>,
}

/// What an action does to a row.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: Value,
    /// The operation.
    pub operation: PatchKind,
    /// All columns for an insert, the changed ones for an update, none for a delete.
    pub columns: ColumnValues,
}

impl VerdictDetail {
    /// Decodes a stored detail; text of another form is its message.
    pub(crate) fn decode(text: &str, schema: &Schema) -> Self {
        match serde_json::from_str::<Stored>(text) {
            Ok(stored) => stored.into_detail(schema),
            Err(_) => Self {
                message: Some(text.to_owned()).filter(|text| !text.is_empty()),
                ..Self::default()
            },
        }
    }
}

#[derive(Deserialize)]
struct Stored {
    code: Option<String>,
    message: Option<String>,
    /// A plain server's result names its row in `table` and `id`; elsewhere `id` is the mutation's.
    table: Option<String>,
    id: Option<String>,
    table_name: Option<String>,
    record_id: Option<String>,
    column: Option<String>,
    #[serde(default)]
    refused: Vec<StoredRefusal>,
    #[serde(default)]
    rows: Vec<StoredConflict>,
    before: Option<Vec<StoredEffect>>,
    #[serde(default)]
    after: Vec<StoredEffect>,
}

#[derive(Deserialize)]
struct StoredRefusal {
    message: Option<String>,
}

type StoredValues = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct StoredConflict {
    table: String,
    id: String,
    columns: Vec<String>,
    mine: Option<StoredValues>,
    theirs: Option<StoredValues>,
    before: Option<StoredValues>,
}

#[derive(Deserialize)]
struct StoredEffect {
    table: String,
    id: String,
    operation: StoredOperation,
    columns: ColumnValues,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredOperation {
    Insert,
    Update,
    Delete,
}

impl Stored {
    fn into_detail(self, schema: &Schema) -> VerdictDetail {
        let id = if self.table.is_some() { self.id } else { self.record_id };
        let table = self.table.or(self.table_name);
        let mut messages: Vec<String> = Vec::new();
        for message in self.refused.into_iter().filter_map(|refused| refused.message) {
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        let message = if messages.is_empty() { self.message } else { Some(messages.join("\n")) };
        let effects = |stored: Vec<StoredEffect>| {
            stored.into_iter().map(|effect| effect.into_effect(schema)).collect()
        };
        let after = self.after;
        VerdictDetail {
            code: self.code,
            message: message.filter(|message| !message.is_empty()),
            key: id.map(|id| key(table.as_deref().and_then(|name| named(schema, name)), id)),
            table,
            column: self.column,
            rows: self.rows.into_iter().map(|row| row.into_row(schema)).collect(),
            correction: self
                .before
                .map(|before| Correction { before: effects(before), after: effects(after) }),
        }
    }
}

impl StoredConflict {
    fn into_row(self, schema: &Schema) -> ConflictedRow {
        let table = named(schema, &self.table);
        let values = |stored: StoredValues| -> ColumnValues {
            let kind =
                |column: &str| table.map(|it| Some(it.columns[it.column_named(column)?].kind));
            let decoded = stored.into_iter().map(|(column, raw)| {
                let value = value(raw.get(), kind(&column).flatten());
                (column, value)
            });
            decoded.collect()
        };
        ConflictedRow {
            mine: self.mine.map(values),
            theirs: self.theirs.map(values),
            before: self.before.map(values),
            key: key(table, self.id),
            table: self.table,
            columns: self.columns,
        }
    }
}

impl StoredEffect {
    fn into_effect(self, schema: &Schema) -> EffectRow {
        EffectRow {
            key: key(named(schema, &self.table), self.id),
            table: self.table,
            operation: match self.operation {
                StoredOperation::Insert => PatchKind::Insert,
                StoredOperation::Update => PatchKind::Update,
                StoredOperation::Delete => PatchKind::Delete,
            },
            columns: self.columns,
        }
    }
}

fn named<'s>(schema: &'s Schema, name: &str) -> Option<&'s Table> {
    schema.tables.values().find(|table| table.name == name).map(AsRef::as_ref)
}

/// A key from its text; the text itself in a table that was removed.
fn key(table: Option<&Table>, id: String) -> Value {
    let is_number =
        table.is_some_and(|it| matches!(it.key_column().kind, ColumnKind::Int | ColumnKind::Int64));
    match id.parse() {
        Ok(number) if is_number => Value::Integer(number),
        _ => Value::Text(id),
    }
}

/// A value of a column of this kind; a column that was removed since is read by its JSON alone.
fn value(raw: &str, kind: Option<ColumnKind>) -> Value {
    let by_kind = kind.and_then(|kind| codec::decode(raw, kind).ok());
    by_kind.or_else(|| serde_json::from_str(raw).ok()).unwrap_or_else(|| raw.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{engine, table};

    #[test]
    fn detail_is_decoded_by_the_kinds_of_the_columns() {
        let columns = [("id", "int64"), ("done", "boolean"), ("icon", "bytes"), ("note", "string")];
        let (_folder, engine) = engine(vec![table("task", &columns, Vec::new())]);
        let text = r#"{"id": "m", "code": "row.changed", "message": "no", "table_name": "task",
            "record_id": "7", "column": "done", "attempt": 1, "verdict": "conflict",
            "rows": [{"table": "task", "id": "7", "columns": ["done"], "before": {"done": false},
                "mine": {"done": true, "icon": "AAE=", "note": null, "gone": 2.5}, "theirs": null}]}"#;
        let detail = VerdictDetail::decode(text, engine.schema());
        let value = |value: Value, name: &str| (name.to_owned(), value);
        let mine = [
            value(1.into(), "done"),
            value(Value::Blob(vec![0, 1]), "icon"),
            value(Value::Null, "note"),
            value(2.5.into(), "gone"),
        ];
        let row = ConflictedRow {
            table: "task".into(),
            key: 7.into(),
            columns: vec!["done".into()],
            mine: Some(mine.into()),
            theirs: None,
            before: Some([value(0.into(), "done")].into()),
        };
        let expected = VerdictDetail {
            code: Some("row.changed".into()),
            message: Some("no".into()),
            table: Some("task".into()),
            key: Some(7.into()),
            column: Some("done".into()),
            rows: vec![row],
            correction: None,
        };
        assert_eq!(detail, expected);
    }

    #[test]
    fn detail_of_a_part_has_a_line_for_each_rejection() {
        let (_folder, engine) = engine(vec![table("task", &[("id", "string")], Vec::new())]);
        let text = r#"{"code": "accepted in part", "message": "2 other rows", "rows": [],
            "refused": [{"message": "one"}, {"message": "two"}, {"message": "one"}, {}]}"#;
        let detail = VerdictDetail::decode(text, engine.schema());
        assert_eq!(detail.message.as_deref(), Some("one\ntwo"));
        let plain = r#"{"code": "check", "message": null, "table": "task", "id": "t1"}"#;
        let detail = VerdictDetail::decode(plain, engine.schema());
        assert_eq!((detail.message, detail.key), (None, Some("t1".into())));
    }

    #[test]
    fn detail_of_another_form_is_its_message() {
        let (_folder, engine) = engine(vec![table("task", &[("id", "string")], Vec::new())]);
        assert_eq!(VerdictDetail::decode("", engine.schema()), VerdictDetail::default());
        for text in ["42501, log_id 7", "[]", "{\"rows\": 1}", "{\"message\": {}}"] {
            let detail = VerdictDetail::decode(text, engine.schema());
            let message = Some(text.to_owned());
            assert_eq!(detail, VerdictDetail { message, ..VerdictDetail::default() });
        }
    }
}
