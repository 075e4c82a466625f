//! Stories of edits that the server decides by what they were made on: by time (O11), or where rows do not merge.

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::Ending;
use tempfile::TempDir;

use super::super::Batch;
use super::policies::{UPDATE, one, words};
use super::support::*;
use crate::engine::Engine;
use crate::engine::queue::mutation::State;
use crate::engine::tests::{engine, open, table};

/// Notes with versions, of this policy, or in rows that do not merge.
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

fn stands_at(engine: &Engine, (body, n): (&str, i64), second: u8) -> Batch {
    let cells = [("body", body.into()), ("n", n.into()), ("updated_at", at(second).into())];
    let images = vec![image(engine, "notes", "a", Some(&cells))];
    Batch { images, judge: true, ..Batch::default() }
}

fn pull_at(engine: &mut Engine, note: (&str, i64), second: u8) {
    let batch = stands_at(engine, note, second);
    engine.apply(batch).unwrap();
}

#[test]
fn an_edit_that_the_server_decides_by_time_is_not_judged_here_and_names_what_its_author_saw() {
    let (folder, mut engine) = versioned(Policy::LastWriteWins, false);
    pull_at(&mut engine, ("old", 1), 1);
    engine.execute(UPDATE, &[]).unwrap();
    pull_at(&mut engine, ("theirs", 1), 2);
    pull_at(&mut engine, ("theirs again", 1), 3);
    drop(engine);
    let mut engine = open(&folder, None).unwrap();
    let sent = one(&mut engine, 1);
    assert_eq!(words(&engine, &sent.rows[0]), "update body:old>mine");
    assert_eq!(sent.rows[0].version, Some(at(1)));
    assert_eq!(sent.age_ms, Some(0), "the clock of this test does not move");
}

#[test]
fn how_old_an_edit_is_is_said_only_of_plain_sql_that_may_be_decided_by_time() {
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
fn where_rows_do_not_merge_an_edit_names_the_version_that_it_was_made_on() {
    let (_folder, mut engine) = versioned(Policy::AcceptServer, true);
    pull_at(&mut engine, ("old", 1), 1);
    engine.execute(UPDATE, &[]).unwrap();
    pull_at(&mut engine, ("old", 2), 2);
    engine.execute("UPDATE notes SET n = 3", &[]).unwrap();
    let sent = send(&mut engine, 1);
    let versions: Vec<_> = sent.iter().map(|offer| offer.rows[0].version.clone()).collect();
    assert_eq!(versions, [Some(at(1)), None], "the version under a pending edit is unknown");
    // The first is accepted after all: the second was made on what that has made of the row.
    let verdicts = vec![
        verdict(&sent[0].mutation, Ending::Accepted),
        verdict(&sent[1].mutation, Ending::Blocked),
    ];
    let answer = Batch { verdicts, ..stands_at(&engine, ("mine", 2), 3) };
    engine.apply(answer).unwrap();
    assert_eq!(one(&mut engine, 2).rows[0].version, Some(at(3)));
}

#[test]
fn where_rows_do_not_merge_an_edit_that_is_rebuilt_is_made_on_the_row_that_stands() {
    for (policy, state) in [(Policy::Rebase, State::Pending), (Policy::AcceptServer, State::Parked)]
    {
        let (_folder, mut engine) = versioned(policy, true);
        pull_at(&mut engine, ("old", 1), 1);
        engine.execute(UPDATE, &[]).unwrap();
        let sent = one(&mut engine, 1);
        assert_eq!(sent.rows[0].version, Some(at(1)));
        // Another column has changed: nothing that could be seen in the column that was edited.
        let verdicts = vec![verdict(&sent.mutation, Ending::Conflict)];
        let answer = Batch { verdicts, ..stands_at(&engine, ("old", 2), 2) };
        engine.apply(answer).unwrap();
        let mutation = engine.pending().unwrap().remove(0);
        assert_eq!(mutation.state, state, "{policy:?}");
        let next = send(&mut engine, 2).pop();
        let version = next.and_then(|offer| offer.rows[0].version.clone());
        assert_eq!(version, (state == State::Pending).then(|| at(2)), "{policy:?}");
    }
}
