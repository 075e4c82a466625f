//! Tests of edits that the server decides by the version they were made on: by time, or where rows
//! do not merge.

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::Ending;
use tempfile::TempDir;

use super::super::Batch;
use super::policies::{UPDATE, one, text_of_row};
use super::support::*;
use crate::engine::Engine;
use crate::engine::queue::mutation::MutationState;
use crate::engine::tests::{engine, open, table};

/// Notes with versions, with this policy, or with rows that do not merge.
fn versioned(policy: Policy, whole_rows: bool) -> (TempDir, Engine) {
    let columns =
        [("id", "string"), ("body", "string"), ("n", "int64"), ("updated_at", "datetime")];
    let mut notes = table("notes", &columns, vec![]);
    let extension = notes.rejoin.as_mut().unwrap();
    (extension.policy, extension.whole_rows) = (policy, whole_rows);
    engine(vec![notes])
}

/// The version of the second `at` of 2026.
fn at(second: u8) -> String {
    format!("2026-01-01T00:00:{second:02}.000000Z")
}

fn current_at(engine: &Engine, (body, n): (&str, i64), second: u8) -> Batch {
    let cells = [("body", body.into()), ("n", n.into()), ("updated_at", at(second).into())];
    let images = vec![image(engine, "notes", "a", Some(&cells))];
    Batch { images, detect_conflicts: true, ..Batch::default() }
}

fn pull_at(engine: &mut Engine, note: (&str, i64), second: u8) {
    let batch = current_at(engine, note, second);
    engine.apply(batch).unwrap();
}

#[test]
fn edit_decided_by_time_is_sent_with_the_version_it_saw() {
    let (folder, mut engine) = versioned(Policy::LastWriteWins, false);
    pull_at(&mut engine, ("old", 1), 1);
    engine.execute(UPDATE, &[]).unwrap();
    pull_at(&mut engine, ("theirs", 1), 2);
    pull_at(&mut engine, ("theirs again", 1), 3);
    drop(engine);
    let mut engine = open(&folder, None).unwrap();
    let sent = one(&mut engine, 1);
    assert_eq!(text_of_row(&engine, &sent.rows[0]), "update body:old>mine");
    assert_eq!(sent.rows[0].version, Some(at(1)));
    assert_eq!(sent.age_ms, Some(0), "the clock of this test does not move");
}

#[test]
fn age_is_sent_only_for_plain_sql_decided_by_time() {
    for policy in Policy::ALL {
        let (_folder, mut engine) = versioned(policy, false);
        pull_at(&mut engine, ("old", 1), 1);
        engine.execute(UPDATE, &[]).unwrap();
        engine.execute("UPDATE notes SET n = 2", &[]).unwrap();
        let sql = "UPDATE rejoin_mutation SET action = 'count' WHERE seq = 2";
        engine.db.conn().execute(sql, []).unwrap();
        let ages: Vec<_> = send(&mut engine, 1).iter().map(|offer| offer.age_ms).collect();
        let by_time = policy == Policy::LastWriteWins;
        assert_eq!(ages, [by_time.then_some(0), None], "{policy:?}");
    }
}

#[test]
fn edit_of_unmerged_row_names_its_version() {
    let (_folder, mut engine) = versioned(Policy::AcceptServer, true);
    pull_at(&mut engine, ("old", 1), 1);
    engine.execute(UPDATE, &[]).unwrap();
    pull_at(&mut engine, ("old", 2), 2);
    engine.execute("UPDATE notes SET n = 3", &[]).unwrap();
    let sent = send(&mut engine, 1);
    let versions: Vec<_> = sent.iter().map(|offer| offer.rows[0].version.clone()).collect();
    assert_eq!(versions, [Some(at(1)), None], "the version under a pending edit is unknown");
    // The first is accepted after all: the second was made on the resulting row.
    let verdicts = vec![
        verdict(&sent[0].mutation, Ending::Accepted),
        verdict(&sent[1].mutation, Ending::Blocked),
    ];
    let answer = Batch { verdicts, ..current_at(&engine, ("mine", 2), 3) };
    engine.apply(answer).unwrap();
    assert_eq!(one(&mut engine, 2).rows[0].version, Some(at(3)));
}

#[test]
fn rebuilt_edit_of_unmerged_row_names_the_current_version() {
    for (policy, state) in
        [(Policy::Rebase, MutationState::Pending), (Policy::AcceptServer, MutationState::Parked)]
    {
        let (_folder, mut engine) = versioned(policy, true);
        pull_at(&mut engine, ("old", 1), 1);
        engine.execute(UPDATE, &[]).unwrap();
        let sent = one(&mut engine, 1);
        assert_eq!(sent.rows[0].version, Some(at(1)));
        // Another column has changed: no difference is visible in the edited column.
        let verdicts = vec![verdict(&sent.mutation, Ending::Conflict)];
        let answer = Batch { verdicts, ..current_at(&engine, ("old", 2), 2) };
        engine.apply(answer).unwrap();
        let mutation = engine.pending().unwrap().remove(0);
        assert_eq!(mutation.state, state, "{policy:?}");
        let next = send(&mut engine, 2).pop();
        let version = next.and_then(|offer| offer.rows[0].version.clone());
        assert_eq!(version, (state == MutationState::Pending).then(|| at(2)), "{policy:?}");
    }
}

/// Found by a simulated run: a mutation also created a row whose key another user has.
#[test]
fn conflict_elsewhere_does_not_repeat_an_edit_of_an_unmerged_row() {
    let (_folder, mut engine) = versioned(Policy::Rebase, true);
    pull_at(&mut engine, ("old", 1), 1);
    engine.execute(UPDATE, &[]).unwrap();
    let sent = one(&mut engine, 1);
    // The row has the version that the edit was made on.
    let verdicts = vec![verdict(&sent.mutation, Ending::Conflict)];
    let answer = Batch { verdicts, ..current_at(&engine, ("old", 1), 1) };
    engine.apply(answer).unwrap();
    assert_eq!(engine.pending().unwrap().remove(0).state, MutationState::Parked);
}
