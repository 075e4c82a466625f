//! Tests of offers and their groups.

use std::collections::HashMap;
use std::sync::Arc;

use rejoin_protocol::ColumnKind;
use uuid::Uuid;

use super::*;
use crate::engine::queue::mutation::{Basis, MutationState};
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Column;
use crate::engine::tests::known_table;
use crate::error::InputFault;
use crate::ids::{MutationId, Seq, TableNumber};

const NUMBER: TableNumber = TableNumber(4);
const VERSION: &str = "2026-01-01T00:00:00.000007Z";

fn column(id: u32, name: &str, kind: ColumnKind) -> Column {
    Column { id: ColumnId(id), name: name.to_owned(), kind, default: None, protected: false }
}

fn schema() -> Schema {
    let table = Table {
        number: NUMBER,
        ..known_table(
            "places",
            vec![
                column(1, "id", ColumnKind::String),
                column(2, "name", ColumnKind::String),
                column(3, "score", ColumnKind::Int64),
                column(9, "data", ColumnKind::Bytes),
                column(5, "seen", ColumnKind::Datetime),
            ],
        )
    };
    Schema {
        manifest: None,
        tables: HashMap::from([(NUMBER, Arc::new(table))]),
        by_name: HashMap::from([("places".to_owned(), NUMBER)]),
        removed: HashMap::new(),
        ..Schema::default()
    }
}

fn mutation(rows: Vec<RowPatch>) -> Mutation {
    Mutation {
        seq: Seq(41),
        id: MutationId(Uuid::from_u128(7)),
        time_ms: 1_767_225_600_001,
        counter: 0,
        action: None,
        state: MutationState::Sent,
        attempt: 2,
        request: Some(1),
        because_of: None,
        reason: None,
        detail: None,
        effect: Effect { schema_version: 3, rows },
        policy_state: crate::engine::queue::policy_state::PolicyState::default(),
        basis: Basis::new(),
        meant: 0,
    }
}

fn offer(row: OfferedRow) -> Offer {
    Offer {
        mutation: mutation(Vec::new()),
        hash: "ab".to_owned(),
        after: vec![MutationId(Uuid::from_u128(6))],
        last_try: false,
        age_ms: None,
        rows: vec![row],
        intent: None,
    }
}

fn row(operation: Operation, data: &[(u32, Value)], old: &[(u32, Value)]) -> OfferedRow {
    let cells = |cells: &[(u32, Value)]| {
        cells.iter().map(|(id, value)| (ColumnId(*id), value.clone())).collect()
    };
    OfferedRow {
        row: RowKey { table: NUMBER, key: "p1".into() },
        operation,
        data: cells(data),
        old: cells(old),
        version: (operation == Operation::Delete).then(|| VERSION.to_owned()),
        force: false,
    }
}

fn json(schema: &Schema, row: OfferedRow) -> String {
    let group = group(schema, &offer(row), ActionParts::default()).unwrap();
    serde_json::to_string(&group.changes[0]).unwrap()
}

#[test]
fn operations_and_kinds_are_encoded_as_documented() {
    let cases = [
        (
            row(
                Operation::Create,
                &[
                    (2, "A\"".into()),
                    (3, 9_007_199_254_740_993_i64.into()),
                    (9, vec![0, 255].into()),
                    (5, "2026-01-01 08:00".into()),
                ],
                &[],
            ),
            r#"{"operation":"create","table_name":"places","id":"p1","data":{"name":"A\"","score":9007199254740993,"data":"AP8=","seen":"2026-01-01T08:00:00.000000Z"}}"#,
        ),
        (
            row(Operation::Update, &[(2, Value::Null)], &[(2, "A".into())]),
            r#"{"operation":"update","table_name":"places","id":"p1","data":{"name":null},"old":{"name":"A"}}"#,
        ),
        (
            row(Operation::Update, &[], &[]),
            r#"{"operation":"update","table_name":"places","id":"p1","data":{},"old":{}}"#,
        ),
        (
            row(Operation::Delete, &[], &[(2, "A".into()), (3, 3.into())]),
            r#"{"operation":"delete","table_name":"places","id":"p1","old":{"name":"A","score":3},"version":"2026-01-01T00:00:00.000007Z"}"#,
        ),
    ];
    for (row, expected) in cases {
        assert_eq!(json(&schema(), row), expected);
    }
}

#[test]
fn group_has_attempt_hash_and_dependencies() {
    let update = row(Operation::Update, &[(2, "B".into())], &[(2, "A".into())]);
    let group = group(&schema(), &offer(update), ActionParts::default()).unwrap();
    assert_eq!(group.id, "00000000-0000-0000-0000-000000000007");
    assert_eq!((group.seq, group.attempt, group.hash.as_str()), (41, 2, "ab"));
    assert_eq!(group.after, ["00000000-0000-0000-0000-000000000006"]);
    assert_eq!(group.time, "2026-01-01T00:00:00.001000Z");
    assert_eq!(group.schema_version, None, "columns do not have their current names");
}

#[test]
fn renamed_column_is_sent_by_its_current_name() {
    let mut schema = schema();
    let mut table = (*schema.tables[&NUMBER]).clone();
    table.columns[1].name = "title".to_owned();
    table.columns.swap(1, 2);
    schema.tables.insert(NUMBER, Arc::new(table));
    let update = row(Operation::Update, &[(2, "B".into())], &[(2, "A".into())]);
    let expected = r#"{"operation":"update","table_name":"places","id":"p1","data":{"title":"B"},"old":{"title":"A"}}"#;
    assert_eq!(json(&schema, update), expected);
}

#[test]
fn unencodable_value_is_refused_with_its_column() {
    let update = row(Operation::Update, &[(3, f64::NAN.into())], &[(3, 1.into())]);
    let refused = group(&schema(), &offer(update), ActionParts::default()).unwrap_err();
    assert!(
        matches!(refused, Error::InvalidInput(InputFault::Value { column, .. }) if column == "score")
    );
}

#[test]
fn weight_is_at_least_the_size_of_the_group() {
    let long = "long ".repeat(500);
    let patch = RowPatch {
        row: RowKey { table: NUMBER, key: "p1".into() },
        kind: PatchKind::Update,
        columns: vec![ColumnPatch {
            column: ColumnId(2),
            old: long.as_str().into(),
            new: long.as_str().into(),
        }],
    };
    let update = row(Operation::Update, &[(2, long.as_str().into())], &[(2, long.as_str().into())]);
    let built =
        serde_json::to_vec(&group(&schema(), &offer(update), ActionParts::default()).unwrap())
            .unwrap();
    assert!(weight(&mutation(vec![patch])) >= built.len());
}

#[test]
fn action_parts_follow_the_servers_capabilities() {
    let row = |key: &str| RowKey { table: NUMBER, key: key.into() };
    let columns = Some(vec![(ColumnId(3), 5.into()), (ColumnId(77), "gone".into())]);
    let intent = Intent {
        action: "take".to_owned(),
        version: 2,
        args: r#"{"n":1}"#.to_owned(),
        reads: vec![NUMBER],
        seen: vec![
            SeenRow { row: row("p2"), columns },
            SeenRow { row: row("p3"), columns: Some(Vec::new()) },
            SeenRow { row: row("p4"), columns: None },
        ],
    };
    let update = self::row(Operation::Update, &[(3, 4.into())], &[(3, 5.into())]);
    let offer = Offer { intent: Some(intent), ..offer(update) };
    let sent = |sent| {
        let group = group(&schema(), &offer, sent).unwrap();
        let reads = serde_json::to_string(&group.reads).unwrap();
        (reads, group.action.map(|one| serde_json::to_string(&one).unwrap()).unwrap_or_default())
    };
    assert_eq!(sent(ActionParts::default()), ("[]".to_owned(), String::new()));
    let can = |names: &[&str]| {
        ActionParts::to(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    };
    let reads = r#"[{"table_name":"places","id":"p2","data":{"score":5}},{"table_name":"places","id":"p3"},{"table_name":"places","id":"p4","absent":true}]"#;
    assert_eq!(sent(can(&["groups", "reads"])), (reads.to_owned(), String::new()));
    let action = r#"{"name":"take","version":2,"arguments":{"n":1}}"#;
    assert_eq!(sent(can(&["checks"])), ("[]".to_owned(), action.to_owned()));
}
