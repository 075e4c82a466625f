//! Every policy against every pair of edits, at a pull and at the response to a push; and tests of
//! each policy rule.

use rejoin_protocol::wire::push::{Ending, Operation};
use rejoin_protocol::{Manifest, Policy};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::super::Batch;
use super::support::*;
use crate::engine::Engine;
use crate::engine::adopt;
use crate::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use crate::engine::queue::offer::{Offer, OfferedRow};
use crate::engine::tests::{engine, open, table};
use crate::ids::ColumnId;
use crate::value::Value;

/// Body and number of a note; `None` for no note.
pub(super) type Note = Option<(&'static str, i64)>;

fn manifest(policy: Policy) -> Manifest {
    let columns = [("id", "string"), ("body", "string"), ("n", "int64")];
    let mut notes = table("notes", &columns, vec![]);
    notes.rejoin.as_mut().unwrap().policy = policy;
    Manifest::new(1, vec![notes, table("others", &columns, vec![])])
}

/// An engine with a table of notes of this policy, and another table with AcceptServer.
pub(super) fn with(policy: Policy) -> (TempDir, Engine) {
    engine(manifest(policy).tables)
}

pub(super) fn current(engine: &mut Engine, note: Note) -> Batch {
    let (body, n) = note.map_or((None, 0), |(body, n)| (Some(body), n));
    Batch { detect_conflicts: true, ..images(engine, &[("a", body, n)]) }
}

pub(super) fn pull(engine: &mut Engine, note: Note) {
    let batch = current(engine, note);
    engine.apply(batch).unwrap();
}

/// The server reports a conflict with this note for what was sent.
pub(super) fn conflict(engine: &mut Engine, sent: &Mutation, note: Note) {
    let batch = Batch { verdicts: vec![verdict(sent, Ending::Conflict)], ..current(engine, note) };
    engine.apply(batch).unwrap();
}

pub(super) fn one(engine: &mut Engine, request: i64) -> Offer {
    send(engine, request).remove(0)
}

/// A sent row as text: `update body:old>new`, `create body:new`, `delete body:old`.
pub(super) fn text_of_row(engine: &Engine, row: &OfferedRow) -> String {
    let table = engine.schema().table(row.row.table).unwrap();
    let name = |id: &ColumnId| table.columns[table.position(*id).unwrap()].name.clone();
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let cells: Vec<String> = match row.operation {
        Operation::Create => row.data.iter().map(|(c, new)| name(c) + ":" + &text(new)).collect(),
        Operation::Delete => row.old.iter().map(|(c, old)| name(c) + ":" + &text(old)).collect(),
        Operation::Update => {
            let pairs = row.data.iter().zip(&row.old);
            pairs
                .map(|((c, new), (_, old))| name(c) + ":" + &text(old) + ">" + &text(new))
                .collect()
        }
    };
    let force = if row.force { " force" } else { "" };
    format!("{:?} {}{force}", row.operation, cells.join(" ")).to_lowercase()
}

const INSERT: &str = "INSERT INTO notes VALUES ('a', 'mine', 1)";
pub(super) const UPDATE: &str = "UPDATE notes SET body = 'mine' WHERE id = 'a'";
const DELETE: &str = "DELETE FROM notes WHERE id = 'a'";

pub(super) const OLD: Note = Some(("old", 1));
const CREATED: Note = Some(("theirs", 2));
pub(super) const SAME: Note = Some(("theirs", 1));
const OTHER: Note = Some(("old", 2));

/// Local statement, server row, and the outcome under [`Policy::AcceptServer`], [`Policy::Rebase`],
/// [`Policy::KeepLocal`] and [`Policy::LastWriteWins`]: the visible row, and what is sent next. An
/// empty outcome equals the one before it. [`Policy::Manual`] always ends as
/// [`Policy::AcceptServer`]. An insert starts from no row, everything else from [`OLD`].
type Pair = (&'static str, Note, [&'static str; 4]);

const SERVERS: &str = "a theirs 2 | parked";
const SERVERS_BODY: &str = "a theirs 1 | parked";
const SERVERS_NUMBER: &str = "a old 2 | parked";
const CREATE: &str = "a mine 1 | create body:mine n:1";
const MERGED: &str = "a mine 2 | update body:old>mine";
const UNSENT: &str = " | delete body:old n:1";

const PAIRS: [Pair; 12] = [
    (INSERT, CREATED, [SERVERS, "a mine 1 | update body:theirs>mine n:2>1", "", CREATE]),
    (INSERT, SAME, [SERVERS_BODY, "a mine 1 | update body:theirs>mine n:1>1", "", CREATE]),
    (
        INSERT,
        Some(("mine", 2)),
        ["a mine 2 | parked", "a mine 1 | update body:mine>mine n:2>1", "", CREATE],
    ),
    (INSERT, None, [CREATE, "", "", ""]),
    (UPDATE, CREATED, [SERVERS, "a mine 2 | update body:theirs>mine", "", MERGED]),
    (
        UPDATE,
        SAME,
        [SERVERS_BODY, "a mine 1 | update body:theirs>mine", "", "a mine 1 | update body:old>mine"],
    ),
    (UPDATE, OTHER, [MERGED, "", "", ""]),
    (UPDATE, None, [" | parked", "", CREATE, " | update body:old>mine"]),
    (DELETE, CREATED, [SERVERS, " | delete body:theirs n:2", "", UNSENT]),
    (DELETE, SAME, [SERVERS_BODY, " | delete body:theirs n:1", "", UNSENT]),
    (DELETE, OTHER, [SERVERS_NUMBER, " | delete body:old n:2", "", UNSENT]),
    (DELETE, None, [UNSENT, "", "", ""]),
];

fn before(mine: &str) -> Note {
    if mine == INSERT { None } else { OLD }
}

/// The visible rows, and what is sent next.
pub(super) fn outcome(engine: &mut Engine) -> String {
    let sent = send(engine, 9);
    let next =
        sent.first().map_or("parked".to_owned(), |offer| text_of_row(engine, &offer.rows[0]));
    format!("{} | {next}", shown(engine))
}

/// The outcomes in the order of [`Policy::ALL`].
fn expected(&[accept, rebase, keep, later]: &[&'static str; 4]) -> [&'static str; 5] {
    let or = |text: &'static str, last| if text.is_empty() { last } else { text };
    let rebase = or(rebase, accept);
    [accept, rebase, or(keep, rebase), accept, or(later, accept)]
}

#[test]
fn every_policy_and_every_pair_at_a_pull() {
    for (mine, theirs, row) in &PAIRS {
        for (policy, expected) in Policy::ALL.into_iter().zip(expected(row)) {
            let (_folder, mut engine) = with(policy);
            pull(&mut engine, before(mine));
            engine.execute(mine, &[]).unwrap();
            pull(&mut engine, *theirs);
            assert_eq!(outcome(&mut engine), expected, "{mine}, {theirs:?}: {policy:?}");
        }
    }
}

#[test]
fn every_policy_and_every_pair_at_a_push_response() {
    let mut asked = 0;
    for (mine, theirs, row) in &PAIRS {
        if !row[0].contains("parked") {
            continue; // The server finds no conflict there.
        }
        for (policy, mut expected) in Policy::ALL.into_iter().zip(expected(row)) {
            if policy == Policy::LastWriteWins {
                expected = row[0]; // The server has decided: the local edit is superseded.
            }
            let (_folder, mut engine) = with(policy);
            pull(&mut engine, before(mine));
            engine.execute(mine, &[]).unwrap();
            let sent = one(&mut engine, 1);
            conflict(&mut engine, &sent.mutation, *theirs);
            let attempt = engine.pending().unwrap()[0].attempt;
            assert_eq!(outcome(&mut engine), expected, "{mine}, {theirs:?}: {policy:?}");
            let rebuilt = !expected.contains("parked");
            assert_eq!(
                attempt,
                1 + i64::from(rebuilt),
                "{mine}, {theirs:?}: {policy:?}, another attempt"
            );
            asked += 1;
        }
    }
    assert_eq!(asked, 9 * 5);
}

#[test]
fn rebased_edit_compares_the_current_row_after_reopen() {
    let (folder, mut engine) = with(Policy::Rebase);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    pull(&mut engine, SAME);
    drop(engine);
    let mut engine = open(&folder, None).unwrap();
    assert_eq!(outcome(&mut engine), "a mine 1 | update body:theirs>mine");
    assert_eq!(engine.pending().unwrap()[0].effect.rows[0].columns[0].old, "old".into());
}

#[test]
fn edit_on_top_of_a_rebased_edit_stays_on_top() {
    let (_folder, mut engine) = with(Policy::Rebase);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let sent = one(&mut engine, 1);
    engine.execute("UPDATE notes SET body = 'mine again'", &[]).unwrap();
    conflict(&mut engine, &sent.mutation, SAME);
    let sent = send(&mut engine, 2);
    let all: Vec<String> = sent.iter().map(|offer| text_of_row(&engine, &offer.rows[0])).collect();
    assert_eq!(all, ["update body:theirs>mine", "update body:mine>mine again"]);
    assert_eq!(sent[1].after, [sent[0].mutation.id]);
    assert_eq!(shown(&engine), "a mine again 1");
}

#[test]
fn one_row_under_accept_server_parks_the_mutation() {
    let (_folder, mut engine) = with(Policy::Rebase);
    let image_of = |engine: &Engine, table: &str, body: &str| {
        image(engine, table, "a", Some(&[("body", body.into()), ("n", 1.into())]))
    };
    let batch = |engine: &Engine, body: &str| Batch {
        images: vec![image_of(engine, "notes", body), image_of(engine, "others", body)],
        detect_conflicts: true,
        ..Batch::default()
    };
    let first = batch(&engine, "old");
    engine.apply(first).unwrap();
    let both = engine.transaction(|tx| {
        tx.execute(UPDATE, &[])?;
        tx.execute("UPDATE others SET body = 'mine'", &[])
    });
    both.unwrap();
    let sent = one(&mut engine, 1);
    let verdicts = vec![verdict(&sent.mutation, Ending::Conflict)];
    let answer = Batch { verdicts, ..batch(&engine, "theirs") };
    engine.apply(answer).unwrap();
    let parked = &engine.pending().unwrap()[0];
    assert_eq!(
        (parked.state, parked.reason),
        (MutationState::Parked, Some(ParkReason::Conflicted))
    );
    assert_eq!(shown(&engine), "a theirs 1");
}

#[test]
fn both_versions_and_their_origin_are_kept_for_the_app() {
    let (_folder, mut engine) = with(Policy::Manual);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    pull(&mut engine, CREATED);
    let parked = engine.pending().unwrap().remove(0);
    let detail: Json = serde_json::from_str(&parked.detail.unwrap()).unwrap();
    let expected = json!({ "rows": [{
        "table": "notes", "id": "a", "columns": ["body"],
        "before": { "body": "old" },
        "mine": { "id": "a", "body": "mine", "n": 1 },
        "theirs": { "id": "a", "body": "theirs", "n": 2 },
    }]});
    assert_eq!(detail, expected);
}

#[test]
fn restored_row_has_base_columns() {
    let (folder, mut engine) = with(Policy::KeepLocal);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    engine.execute("UPDATE notes SET n = 666", &[]).unwrap();
    pull(&mut engine, None);
    assert_eq!(shown(&engine), "a mine 666");
    drop(engine);
    let mut engine = open(&folder, None).unwrap();
    assert_eq!(shown(&engine), "a mine 666", "the file remembers it");
    let sent = send(&mut engine, 1);
    let sent: Vec<_> = sent.iter().map(|offer| text_of_row(&engine, &offer.rows[0])).collect();
    assert_eq!(sent, ["create body:mine n:1", "update n:1>666"]);
}

#[test]
fn row_removed_while_its_edit_was_sent_is_restored_by_verdict() {
    let (_folder, mut engine) = with(Policy::KeepLocal);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let sent = one(&mut engine, 1);
    engine.mark_uncertain(1).unwrap();
    pull(&mut engine, None);
    assert_eq!(shown(&engine), "", "nothing is decided before the verdict");
    let again = one(&mut engine, 2);
    assert_eq!(text_of_row(&engine, &again.rows[0]), "update body:old>mine", "as it was");
    conflict(&mut engine, &sent.mutation, None);
    assert_eq!(shown(&engine), "a mine 1");
    let whole = one(&mut engine, 3);
    assert_eq!(text_of_row(&engine, &whole.rows[0]), "create body:mine n:1");
    let accepted = Batch {
        verdicts: vec![verdict(&whole.mutation, Ending::Accepted)],
        ..current(&mut engine, Some(("mine", 1)))
    };
    engine.apply(accepted).unwrap();
    assert!(engine.queue.is_empty());
    assert_eq!(shown(&engine), "a mine 1");
}

#[test]
fn row_created_again_before_its_restore_is_updated() {
    let (_folder, mut engine) = with(Policy::KeepLocal);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    pull(&mut engine, None);
    let whole = one(&mut engine, 1);
    assert_eq!(text_of_row(&engine, &whole.rows[0]), "create body:mine n:1");
    // Another device has created the row again, with the edited column as the edit found it.
    conflict(&mut engine, &whole.mutation, Some(("old", 9)));
    assert_eq!(shown(&engine), "a mine 9");
    let update = one(&mut engine, 2);
    assert_eq!(text_of_row(&engine, &update.rows[0]), "update body:old>mine");
    conflict(&mut engine, &update.mutation, Some(("old", 9)));
    let parked = &engine.pending().unwrap()[0];
    assert_eq!(parked.state, MutationState::Parked, "the same update is not sent twice");
}

#[test]
fn create_on_a_removed_row_is_a_create_again() {
    let (_folder, mut engine) = with(Policy::Rebase);
    engine.execute(INSERT, &[]).unwrap();
    pull(&mut engine, CREATED);
    pull(&mut engine, None);
    assert_eq!(outcome(&mut engine), "a mine 1 | create body:mine n:1");
}

#[test]
fn create_on_a_returned_row_is_an_update() {
    let (_folder, mut engine) = with(Policy::Rebase);
    engine.execute(INSERT, &[]).unwrap();
    pull(&mut engine, CREATED);
    pull(&mut engine, None);
    let create = one(&mut engine, 1);
    assert_eq!(text_of_row(&engine, &create.rows[0]), "create body:mine n:1");
    conflict(&mut engine, &create.mutation, CREATED);
    assert_eq!(outcome(&mut engine), "a mine 1 | update body:theirs>mine n:2>1");
}

#[test]
fn device_policy_overrides_the_manifest() {
    let (_folder, mut engine) = with(Policy::AcceptServer);
    engine.set_policies([("Notes".to_owned(), Policy::Rebase)].into()).unwrap();
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    pull(&mut engine, SAME);
    assert_eq!(outcome(&mut engine), "a mine 1 | update body:theirs>mine");
    let mut newer = manifest(Policy::Manual);
    newer.schema_version = 2;
    adopt::adopt(&mut engine, &newer).unwrap();
    let policy = |table: &str| engine.schema().named(table).unwrap().policy;
    assert_eq!([policy("notes"), policy("others")], [Policy::Rebase, Policy::AcceptServer]);
}
