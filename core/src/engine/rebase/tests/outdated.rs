//! Conflicts that are outdated when their response arrives: replaced old values, rows that have
//! changed back, columns that this device gained later.

use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::{Manifest, Policy};

use super::super::Batch;
use super::policies::{
    OLD, SAME, UPDATE, conflict, current, one, outcome, pull, text_of_row, with,
};
use super::support::*;
use crate::engine::Engine;
use crate::engine::adopt;
use crate::engine::queue::mutation::{Mutation, MutationState};
use crate::engine::queue::offer::Offer;
use crate::engine::schema::store::filled;
use crate::engine::tests::{engine, table};
use crate::ids::ColumnId;
use crate::value::Value;

/// Two edits of a note, of which the second is based on the first. Both were sent, the response is
/// lost, and the first is rejected. Returns the second, as it was sent.
fn sent_upon_rejected(policy: Policy) -> (tempfile::TempDir, Engine, Mutation) {
    let (folder, mut engine) = with(policy);
    pull(&mut engine, OLD);
    engine.execute("UPDATE notes SET body = 'bad'", &[]).unwrap();
    engine.execute(UPDATE, &[]).unwrap();
    let sent = send(&mut engine, 1);
    engine.mark_uncertain(1).unwrap();
    let verdicts = vec![verdict(&sent[0].mutation, Ending::Rejected)];
    let answer = Batch { verdicts, ..current(&mut engine, OLD) };
    engine.apply(answer).unwrap();
    let again = one(&mut engine, 2);
    assert_eq!(text_of_row(&engine, &again.rows[0]), "update body:bad>mine", "as it was sent");
    (folder, engine, again.mutation)
}

#[test]
fn conflict_on_replaced_old_values_is_sent_again() {
    for policy in Policy::ALL {
        let (_folder, mut engine, sent) = sent_upon_rejected(policy);
        conflict(&mut engine, &sent, OLD);
        assert_eq!(outcome(&mut engine), "a mine 1 | update body:old>mine", "{policy:?}");
    }
}

#[test]
fn conflict_on_replaced_old_values_may_remain() {
    let (_folder, mut engine, sent) = sent_upon_rejected(Policy::AcceptServer);
    conflict(&mut engine, &sent, SAME);
    assert_eq!(outcome(&mut engine), "a theirs 1 | parked");
}

/// Sends the pending mutations twice; the first response is lost.
fn twice(engine: &mut Engine, request: i64) -> Option<Offer> {
    send(engine, request);
    engine.mark_uncertain(request).unwrap();
    send(engine, request).pop()
}

#[test]
fn repeated_conflict_on_earlier_rows_is_sent_again() {
    let insisting = [Policy::Rebase, Policy::KeepLocal];
    for policy in Policy::ALL {
        let (_folder, mut engine) = with(policy);
        pull(&mut engine, OLD);
        engine.execute(UPDATE, &[]).unwrap();
        let sent = twice(&mut engine, 1).unwrap();
        conflict(&mut engine, &sent.mutation, OLD);
        let again = insisting.contains(&policy);
        let expected = if again { "a mine 1 | update body:old>mine" } else { "a old 1 | parked" };
        assert_eq!(outcome(&mut engine), expected, "{policy:?}");
    }
}

#[test]
fn repeated_conflict_is_sent_again_a_few_times_only() {
    let (_folder, mut engine) = with(Policy::Rebase);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let mut offers = Vec::new();
    for request in 1..6 {
        let Some(sent) = twice(&mut engine, request) else { break };
        offers.push(text_of_row(&engine, &sent.rows[0]));
        conflict(&mut engine, &sent.mutation, OLD);
    }
    let edit = "update body:old>mine";
    assert_eq!(offers, [edit, edit, edit, "update body:old>mine force"]);
    assert_eq!(only(&engine).state, MutationState::Parked);
}

#[test]
fn conflict_on_a_hidden_row_is_parked() {
    let (_folder, mut engine) = with(Policy::KeepLocal);
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let sent = twice(&mut engine, 1).unwrap();
    conflict(&mut engine, &sent.mutation, None);
    assert_eq!(outcome(&mut engine), " | parked");
}

/// A note that was created before the table had the column `more`, with later edits; all were sent.
fn gained_above_create(edits: &[&str]) -> (tempfile::TempDir, Engine, Vec<Mutation>) {
    let columns = [("id", "string"), ("body", "string"), ("deleted_at", "datetime")];
    let (folder, mut engine) = engine(vec![table("notes", &columns, vec![])]);
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'mine')", &[]).unwrap();
    let mut wider = columns.to_vec();
    wider.push(("more", "string"));
    adopt::adopt(&mut engine, &Manifest::new(2, vec![table("notes", &wider, vec![])])).unwrap();
    for edit in edits {
        engine.execute(edit, &[]).unwrap();
    }
    let sent = send(&mut engine, 1).into_iter().map(|offer| offer.mutation).collect();
    (folder, engine, sent)
}

/// The server accepts the create, fills the column, and reports a conflict with that for the later
/// edits.
fn fill(engine: &mut Engine, sent: &[Mutation]) {
    let endings = [Ending::Accepted, Ending::Conflict, Ending::Blocked];
    let verdicts = sent.iter().zip(endings).map(|(one, ending)| verdict(one, ending)).collect();
    let row = [("body", "mine".into()), ("deleted_at", Value::Null), ("more", "new".into())];
    let images = vec![image(engine, "notes", "a", Some(&row))];
    let batch = Batch { verdicts, images, detect_conflicts: true, ..Batch::default() };
    engine.apply(batch).unwrap();
}

/// The values that the next attempts compare in the column `more`.
fn compared(engine: &mut Engine) -> Vec<(ColumnId, Value)> {
    let more = id_of(engine, "notes", "more");
    let offers = send(engine, 2);
    let rows = offers.into_iter().flat_map(|offer| offer.rows);
    rows.flat_map(|row| row.old).filter(|(column, _)| *column == more).collect()
}

const SOFT: &str = "UPDATE notes SET deleted_at = '2026-01-01T00:00:00.000000Z'";
const DELETE: &str = "DELETE FROM notes";

#[test]
fn delete_of_own_row_inherits_a_filled_column() {
    for delete in [SOFT, DELETE] {
        let (_folder, mut engine, sent) = gained_above_create(&[delete]);
        fill(&mut engine, &sent);
        let more = id_of(&engine, "notes", "more");
        assert_eq!(compared(&mut engine), [(more, "new".into())], "{delete}");
    }
}

#[test]
fn delete_of_own_row_is_kept_when_only_its_create_was_sent() {
    for delete in [SOFT, DELETE] {
        let (_folder, mut engine, sent) = gained_above_create(&[]);
        engine.execute(delete, &[]).unwrap();
        fill(&mut engine, &sent);
        assert_eq!(only(&engine).state, MutationState::Pending, "{delete}");
    }
}

#[test]
fn edit_of_a_filled_column_is_in_conflict() {
    let (_folder, mut engine, sent) = gained_above_create(&["UPDATE notes SET more = 'mine'"]);
    fill(&mut engine, &sent);
    assert_eq!(
        only(&engine).state,
        MutationState::Parked,
        "its author has not seen the server's value"
    );
}

/// A server note in a table that has gained the column `more` since, with pending edits.
fn gained_above_base(edits: &[&str]) -> (tempfile::TempDir, Engine) {
    let columns = [("id", "string"), ("body", "string"), ("deleted_at", "datetime")];
    let (folder, mut engine) = engine(vec![table("notes", &columns, vec![])]);
    let row = [("body", "old".into()), ("deleted_at", Value::Null)];
    let images = vec![image(&engine, "notes", "a", Some(&row))];
    engine.apply(Batch { images, ..Batch::default() }).unwrap();
    let mut wider = columns.to_vec();
    wider.push(("more", "string"));
    adopt::adopt(&mut engine, &Manifest::new(2, vec![table("notes", &wider, vec![])])).unwrap();
    for edit in edits {
        engine.execute(edit, &[]).unwrap();
    }
    (folder, engine)
}

/// The row arrives with the gained column filled.
fn page(engine: &mut Engine, more: &str) {
    let sets = vec![set("notes", &["id", "body", "more"], &format!(r#"[["a","old","{more}"]]"#))];
    let batch = Batch { sets, detect_conflicts: true, meta: vec![filled()], ..Batch::default() };
    engine.apply(batch).unwrap();
}

#[test]
fn delete_of_a_row_inherits_a_filled_column() {
    for delete in [SOFT, DELETE] {
        let (_folder, mut engine) = gained_above_base(&[delete]);
        page(&mut engine, "new");
        let more = id_of(&engine, "notes", "more");
        assert_eq!(compared(&mut engine), [(more, "new".into())], "{delete}");
        page(&mut engine, "theirs");
        engine.mark_uncertain(2).unwrap();
        let sent = only(&engine);
        let verdicts = vec![verdict(&sent, Ending::Conflict)];
        engine.apply(Batch { verdicts, ..Batch::default() }).unwrap();
        assert_eq!(
            only(&engine).state,
            MutationState::Parked,
            "{delete}: another user has edited it since"
        );
    }
}

#[test]
fn value_of_a_removed_column_is_no_reason_to_send_again() {
    let (_folder, mut engine) = gained_above_base(&[DELETE]);
    send(&mut engine, 1);
    engine.mark_uncertain(1).unwrap();
    page(&mut engine, "new");
    let columns = [("id", "string"), ("body", "string"), ("deleted_at", "datetime")];
    adopt::adopt(&mut engine, &Manifest::new(3, vec![table("notes", &columns, vec![])])).unwrap();
    let sent = one(&mut engine, 2);
    let verdicts = vec![verdict(&sent.mutation, Ending::Conflict)];
    engine.apply(Batch { verdicts, ..Batch::default() }).unwrap();
    assert_eq!(only(&engine).state, MutationState::Parked);
}

#[test]
fn edit_of_an_unfilled_column_is_in_conflict() {
    let (_folder, mut engine) = gained_above_base(&["UPDATE notes SET more = 'mine'"]);
    page(&mut engine, "new");
    assert_eq!(only(&engine).state, MutationState::Parked);
}
