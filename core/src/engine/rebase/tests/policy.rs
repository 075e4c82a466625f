//! Tests of the policy AcceptServer, column by column.

use rejoin_protocol::manifest::{ReferenceAction, Rule};
use rejoin_protocol::wire::push::Ending;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::super::{Applied, Batch};
use super::support::*;
use crate::engine::Engine;
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::row_state::RowSyncState;
use crate::engine::rows::patch::RowKey;
use crate::engine::tests::{engine, table};
use crate::ids::MutationId;
use crate::value::Value;

fn pull(engine: &mut Engine, rows: &[(&str, Option<&str>, i64)]) -> Applied {
    let batch = Batch { detect_conflicts: true, ..images(engine, rows) };
    engine.apply(batch).unwrap()
}

fn detail(engine: &Engine, id: MutationId) -> Json {
    let mutation = engine.mutation(id).unwrap().unwrap();
    serde_json::from_str(&mutation.detail.unwrap()).unwrap()
}

#[test]
fn same_column_changed_on_both_sides_is_parked_with_both() {
    let (_folder, mut engine) = notes();
    pull(&mut engine, &[("a", Some("one"), 1), ("b", Some("x"), 0)]);
    engine.execute("UPDATE notes SET body = id || ' mine'", &[]).unwrap();
    let applied = pull(&mut engine, &[("a", Some("theirs"), 2)]);
    assert_eq!(applied.parked.len(), 1);
    assert_eq!(shown(&engine), "a theirs 2; b x 0", "one conflicting row parks all of it");
    let mutation = engine.mutation(applied.parked[0]).unwrap().unwrap();
    assert_eq!(
        (mutation.state, mutation.reason),
        (MutationState::Parked, Some(ParkReason::Conflicted))
    );
    assert_eq!(mutation.effect.rows.len(), 2, "its payload is kept");
    let expected = json!({ "rows": [{
        "table": "notes", "id": "a", "columns": ["body"],
        "mine": { "id": "a", "body": "a mine", "n": 1 },
        "theirs": { "id": "a", "body": "theirs", "n": 2 },
    }]});
    assert_eq!(detail(&engine, applied.parked[0]), expected);
    assert_eq!(engine.row_sync_state("notes", &"b".into()).unwrap(), RowSyncState::Parked);
    assert_eq!(engine.row_sync_state("notes", &"z".into()).unwrap(), RowSyncState::Synced);
    assert!(matches!(
        engine.row_sync_state("strangers", &"a".into()),
        Err(crate::Error::InvalidInput(crate::InputFault::NotSynced(table))) if table == "strangers"
    ));
}

#[test]
fn values_are_compared_by_meaning() {
    let columns = [("id", "string"), ("at", "datetime"), ("n", "int64")];
    let (_folder, mut engine) = engine(vec![table("notes", &columns, vec![])]);
    let row = |engine: &Engine, at: &str, n: i64| Batch {
        images: vec![image(engine, "notes", "a", Some(&[("at", at.into()), ("n", n.into())]))],
        detect_conflicts: true,
        ..Batch::default()
    };
    let batch = row(&engine, "2026-01-01T00:00:00.000000Z", 1);
    engine.apply(batch).unwrap();
    engine.execute("UPDATE notes SET at = '2027-01-01T00:00:00.000000Z'", &[]).unwrap();
    let batch = row(&engine, "2026-01-01T01:00:00+01:00", 2);
    assert!(engine.apply(batch).unwrap().parked.is_empty(), "the same instant in another text");
    let batch = row(&engine, "2026-01-01T02:00:00+01:00", 2);
    assert_eq!(engine.apply(batch).unwrap().parked.len(), 1);
}

#[test]
fn row_with_uncertain_edit_is_checked_after_its_verdict() {
    let (_folder, mut engine) = notes();
    pull(&mut engine, &[("a", Some("one"), 1)]);
    engine.execute("UPDATE notes SET body = 'mine'", &[]).unwrap();
    send(&mut engine, 1);
    engine.mark_uncertain(1).unwrap();
    engine.execute("UPDATE notes SET body = 'mine again'", &[]).unwrap();
    let applied = pull(&mut engine, &[("a", Some("mine and theirs"), 1)]);
    assert_eq!(applied.parked, [], "the server may have it");
}

#[test]
fn batch_without_conflict_detection_parks_nothing() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let batch = images(&engine, &[("a", Some("theirs"), 1)]);
    assert!(engine.apply(batch).unwrap().parked.is_empty());
    assert_eq!(shown(&engine), "a mine 1");
}

fn family() -> (TempDir, Engine) {
    let references = Rule::References {
        column: String::from("place"),
        table: String::from("places"),
        on_delete: ReferenceAction::default(),
        on_update: ReferenceAction::default(),
    };
    engine(vec![
        table("places", &[("id", "string"), ("name", "string")], vec![]),
        table("visits", &[("id", "string"), ("place", "string")], vec![references]),
    ])
}

/// A create, an edit of it, its child, and an unrelated row; the create is refused.
fn create_refused() -> (TempDir, Engine, Vec<MutationId>) {
    let (folder, mut engine) = family();
    engine.execute("INSERT INTO places VALUES ('p', 'new')", &[]).unwrap();
    let sent = send(&mut engine, 1);
    engine.execute("UPDATE places SET name = 'better'", &[]).unwrap();
    engine.execute("INSERT INTO visits VALUES ('v', 'p')", &[]).unwrap();
    engine.execute("INSERT INTO places VALUES ('q', 'other')", &[]).unwrap();
    let ids = engine.pending().unwrap().iter().map(|mutation| mutation.id).collect();
    let batch = Batch {
        verdicts: vec![verdict(&sent[0].mutation, Ending::Rejected)],
        images: vec![image(&engine, "places", "p", None)],
        detect_conflicts: true,
        ..Batch::default()
    };
    engine.apply(batch).unwrap();
    (folder, engine, ids)
}

#[test]
fn dependents_of_a_refused_create_are_parked_because_of_it() {
    let (_folder, engine, ids) = create_refused();
    let [create, edit, child, stranger] = ids[..] else { panic!("{ids:?}") };
    let of = |id| engine.mutation(id).unwrap().unwrap();
    assert_eq!(of(create).reason, Some(ParkReason::Rejected));
    for id in [edit, child] {
        assert_eq!((of(id).reason, of(id).because_of), (Some(ParkReason::Depends), Some(create)));
    }
    assert_eq!(of(stranger).state, MutationState::Pending);
    assert_eq!(column(&engine, "SELECT id FROM places UNION ALL SELECT id FROM visits"), ["q"]);
}

#[test]
fn sent_edit_of_a_refused_create_is_parked_by_its_verdict() {
    let (_folder, mut engine) = family();
    engine.execute("INSERT INTO places VALUES ('p', 'new')", &[]).unwrap();
    engine.execute("UPDATE places SET name = 'better'", &[]).unwrap();
    let first = engine.queue_view().sendable(1).unwrap()[0].seq;
    let create = engine.mark_sent(&[first], 1).unwrap().remove(0);
    engine.mark_uncertain(1).unwrap();
    let second = engine.queue_view().sendable(2).unwrap()[1].seq;
    let edit = engine.mark_sent(&[second], 2).unwrap().remove(0);
    assert_eq!(edit.after, [create.mutation.id]);
    engine.mark_uncertain(2).unwrap();
    let gone = image(&engine, "places", "p", None);
    let answer = |mutation, ending| Batch {
        verdicts: vec![verdict(mutation, ending)],
        images: vec![gone.clone()],
        detect_conflicts: true,
        ..Batch::default()
    };
    engine.apply(answer(&create.mutation, Ending::Rejected)).unwrap();
    assert_eq!(engine.mutation(edit.mutation.id).unwrap().unwrap().state, MutationState::Uncertain);
    engine.apply(answer(&edit.mutation, Ending::Blocked)).unwrap();
    let parked = engine.mutation(edit.mutation.id).unwrap().unwrap();
    assert_eq!(parked.reason, Some(ParkReason::Depends));
    assert_eq!(parked.because_of, Some(create.mutation.id));
}

#[test]
fn uncertain_correction_inherits_old_values_on_next_attempt() {
    let (_folder, mut engine) = notes();
    pull(&mut engine, &[("a", Some("v0"), 1)]);
    engine.execute("UPDATE notes SET body = 'BAD'", &[]).unwrap();
    let first = send(&mut engine, 1).remove(0);
    engine.mark_uncertain(1).unwrap();
    engine.execute("UPDATE notes SET body = 'good'", &[]).unwrap();
    let [_, second] = engine.queue_view().sendable(2).unwrap().try_into().unwrap();
    let second = engine.mark_sent(&[second.seq], 2).unwrap().remove(0);
    engine.mark_uncertain(2).unwrap();
    let answer = |engine: &Engine, offer: &crate::engine::queue::offer::Offer, ending| Batch {
        verdicts: vec![verdict(&offer.mutation, ending)],
        detect_conflicts: true,
        ..images(engine, &[("a", Some("v0"), 1)])
    };
    let batch = answer(&engine, &first, Ending::Rejected);
    engine.apply(batch).unwrap();
    let again = send(&mut engine, 3).remove(0);
    assert_eq!(
        (again.mutation.attempt, &again.hash),
        (1, &second.hash),
        "frozen until its verdict"
    );
    assert_eq!(again.rows, second.rows);
    assert_eq!(again.after, [first.mutation.id]);
    let batch = answer(&engine, &again, Ending::Blocked);
    engine.apply(batch).unwrap();
    let next = send(&mut engine, 4).remove(0);
    assert_eq!(next.mutation.attempt, 2);
    assert_eq!(next.rows[0].old[0].1, Value::from("v0"));
    assert_eq!(next.hash, second.hash, "the same intent");
    assert!(next.after.is_empty());
}

fn versioned() -> (TempDir, Engine) {
    let columns = [
        ("id", "string"),
        ("body", "string"),
        ("updated_at", "datetime"),
        ("deleted_at", "datetime"),
    ];
    engine(vec![table("notes", &columns, vec![])])
}

const V1: &str = "2026-01-01T00:00:00.000001Z";

fn with_version(engine: &mut Engine, body: &str, version: &str) -> Applied {
    let cells =
        [("body", body.into()), ("updated_at", version.into()), ("deleted_at", Value::Null)];
    let batch = Batch {
        images: vec![image(engine, "notes", "a", Some(&cells))],
        detect_conflicts: true,
        ..Batch::default()
    };
    engine.apply(batch).unwrap()
}

fn version(engine: &Engine) -> Option<String> {
    let table = engine.schema().named("notes").unwrap().number;
    engine.queue_view().base_version(&RowKey { table, key: "a".into() }).unwrap()
}

#[test]
fn sent_version_is_that_of_the_base_row() {
    let (_folder, mut engine) = versioned();
    assert_eq!(version(&engine), None);
    with_version(&mut engine, "one", V1);
    engine.execute("UPDATE notes SET body = 'mine'", &[]).unwrap();
    engine.execute("UPDATE notes SET updated_at = '2030-01-01T00:00:00.000000Z'", &[]).unwrap();
    assert_eq!(version(&engine).as_deref(), Some(V1));
    engine.execute("DELETE FROM notes", &[]).unwrap();
    assert_eq!(version(&engine).as_deref(), Some(V1));
    let offers = send(&mut engine, 1);
    assert_eq!(offers[2].rows[0].version, None, "above other edits old values are compared");
    assert!(offers[1].rows[0].data.is_empty(), "protected columns are never sent");
}

#[test]
fn unsynced_row_has_no_version() {
    let (_folder, mut engine) = versioned();
    let sql = "INSERT INTO notes (id, updated_at) VALUES ('a', '2030-01-01T00:00:00.000000Z')";
    engine.execute(sql, &[]).unwrap();
    assert_eq!(version(&engine), None);
}

#[test]
fn soft_deleted_row_stays_until_the_delete_is_accepted() {
    let (_folder, mut engine) = versioned();
    with_version(&mut engine, "one", V1);
    engine.execute("UPDATE notes SET deleted_at = '2026-02-01T00:00:00.000000Z'", &[]).unwrap();
    assert_eq!(column(&engine, "SELECT body FROM notes"), ["one"]);
    let sent = send(&mut engine, 1).remove(0);
    let row = &sent.rows[0];
    assert_eq!(row.operation, rejoin_protocol::wire::push::Operation::Delete);
    assert_eq!(row.old, [(id_of(&engine, "notes", "body"), Value::from("one"))], "values it saw");
    assert_eq!(row.version.as_deref(), Some(V1));
    let batch = Batch {
        verdicts: vec![verdict(&sent.mutation, Ending::Accepted)],
        images: vec![image(&engine, "notes", "a", None)],
        detect_conflicts: true,
        ..Batch::default()
    };
    engine.apply(batch).unwrap();
    assert_eq!(column(&engine, "SELECT body FROM notes"), [""; 0]);
    assert!(engine.queue.is_empty());
}

#[test]
fn undone_soft_delete_is_sent_as_a_create() {
    let (_folder, mut engine) = versioned();
    with_version(&mut engine, "one", V1);
    engine.execute("UPDATE notes SET deleted_at = '2026-02-01T00:00:00.000000Z'", &[]).unwrap();
    engine.execute("UPDATE notes SET deleted_at = NULL", &[]).unwrap();
    let sent = send(&mut engine, 1);
    let row = &sent[1].rows[0];
    assert_eq!(row.operation, rejoin_protocol::wire::push::Operation::Create);
    assert_eq!(row.data, [(id_of(&engine, "notes", "body"), Value::from("one"))]);
    assert_eq!(sent[1].after, [sent[0].mutation.id]);
    let batch = Batch {
        verdicts: vec![verdict(&sent[0].mutation, Ending::Accepted)],
        images: vec![image(&engine, "notes", "a", None)],
        detect_conflicts: true,
        ..Batch::default()
    };
    engine.apply(batch).unwrap();
    assert_eq!(column(&engine, "SELECT body FROM notes"), ["one"], "the second still restores it");
}
