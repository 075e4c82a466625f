//! Push by groups: verdicts, repetition, columns, deletes, constraints.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;
use serde_json::json;

use crate::world::{World, column, place, rename};

#[tokio::test]
async fn a_created_row_comes_back_with_what_the_server_wrote() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    let rows = anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(column(&rows[0], "owner_id"), "anna");
    assert_eq!(column(&rows[0], "created_at"), "2026-11-20T08:00:00.000000Z");
    assert_eq!(rows[0].updated_at.as_deref(), Some("2026-11-20T08:00:00.000000Z"));
}

#[tokio::test]
async fn disjoint_columns_merge_and_the_same_column_conflicts() {
    let world = World::new();
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("m1", json!([place("p1", "Quay")])).await;
    one.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    let score = json!([{"operation": "update", "table_name": "places", "id": "p1",
                        "data": {"score": 3}, "old": {"score": 0}}]);
    let rows = two.accept("m3", score).await;
    assert_eq!(column(&rows[0], "name"), "Pier");
    let (verdict, rows) = two.push("m4", json!([rename("p1", "Quay", "Dock")])).await;
    assert_eq!(verdict.verdict, Ending::Conflict);
    assert_eq!(verdict.code.as_deref(), Some(code::ROW_CHANGED));
    assert_eq!(verdict.column.as_deref(), Some("name"));
    assert_eq!(column(&rows[0], "name"), "Pier");
}

#[tokio::test]
async fn a_repeated_group_is_applied_once_and_answered_with_the_rows_of_now() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    let group = anna.group("m1", json!([place("p1", "Quay")]));
    anna.push_group(group.clone()).await;
    anna.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    let (verdict, rows) = anna.push_group(group).await;
    assert_eq!(verdict.verdict, Ending::Accepted);
    assert_eq!(column(&rows[0], "name"), "Pier");
}

#[tokio::test]
async fn a_broken_check_names_table_row_and_column_and_undoes_the_whole_group() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    let bad = json!({"operation": "create", "table_name": "places", "id": "p2",
                     "data": {"name": "Bad", "score": -1}});
    let (verdict, rows) = anna.push("m1", json!([place("p1", "Quay"), bad])).await;
    assert_eq!(verdict.verdict, Ending::Rejected);
    assert_eq!(verdict.code.as_deref(), Some(code::CONSTRAINT_CHECK));
    assert_eq!(verdict.table_name.as_deref(), Some("places"));
    assert_eq!(verdict.record_id.as_deref(), Some("p2"));
    assert_eq!(verdict.column.as_deref(), Some("score"));
    assert!(rows.iter().all(|row| row.absent));
}
