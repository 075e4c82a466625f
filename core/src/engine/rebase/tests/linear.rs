//! The work on each row of one mutation does not depend on the number of its rows.
//!
//! The tests count rows that are decoded or compared (`rows::cost`), so they do not depend on the
//! machine. A sorted index is not counted: its share grows with the logarithm.

use rejoin_protocol::manifest::{ReferenceAction, Rule};
use rejoin_protocol::{Manifest, Policy};

use super::super::{Batch, decide};
use super::support::*;
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::meta::set_meta;
use crate::engine::queue::cancel::SERVER_CANCELS;
use crate::engine::queue::mutation::Mutation;
use crate::engine::rows::ServerRow;
use crate::engine::rows::cost;
use crate::engine::rows::patch::PatchKind;
use crate::engine::tests::{engine, table};
use crate::value::Value;
use rejoin_protocol::wire::push::Ending;

const SMALL: i64 = 100;
const LARGE: i64 = 1_000;

/// Statements that change all rows of a table in one transaction.
const STATEMENTS: [(&str, &str); 6] = [
    ("insert", "INSERT INTO notes (id, body, n) SELECT 'new' || id, 'x', n FROM notes"),
    ("update", "UPDATE notes SET n = n + 1000000"),
    ("delete", "DELETE FROM notes"),
    ("replace", "INSERT OR REPLACE INTO notes (id, body, n) SELECT id, 'x', n FROM notes"),
    ("key change", "UPDATE notes SET id = 'z' || id"),
    ("cascade", "DELETE FROM lists"),
];

/// An engine with so many notes of one list.
fn with_notes(policy: Policy, count: i64) -> (tempfile::TempDir, Engine) {
    let list = Rule::References {
        column: "list".to_owned(),
        table: "lists".to_owned(),
        on_delete: ReferenceAction::Cascade,
        on_update: ReferenceAction::Cascade,
    };
    let columns = [("id", "string"), ("body", "string"), ("n", "int64"), ("list", "string")];
    let mut notes = table("notes", &columns, vec![list]);
    notes.rejoin.as_mut().unwrap().policy = policy;
    let lists = table("lists", &[("id", "string")], vec![]);
    let (folder, mut engine) = engine(Manifest::new(1, vec![notes, lists]).tables);
    let mut images: Vec<ServerRow> = (0..count).map(|n| note(&engine, n, "one")).collect();
    images.push(image(&engine, "lists", "l", Some(&[])));
    engine.apply(Batch { images, ..Batch::default() }).unwrap();
    engine
        .write(Origin::Remote, |engine| set_meta(engine.db.conn(), SERVER_CANCELS, Some("1")))
        .unwrap();
    (folder, engine)
}

fn note(engine: &Engine, n: i64, body: &str) -> ServerRow {
    let cells: [(&str, Value); 3] = [("body", body.into()), ("n", n.into()), ("list", "l".into())];
    image(engine, "notes", &format!("k{n:06}"), Some(&cells))
}

/// What the mutation's rows are on the server after it, or before it.
fn images_of(mutation: &Mutation, before: bool) -> Vec<ServerRow> {
    let rows = mutation.effect.rows.iter().map(|patch| {
        let gone = if before { PatchKind::Insert } else { PatchKind::Delete };
        let cells = patch.columns.iter().map(|column| {
            (column.column, if before { column.old.clone() } else { column.new.clone() })
        });
        let row = (patch.kind != gone).then(|| cells.collect());
        ServerRow { table: patch.row.table, key: patch.row.key.clone(), row }
    });
    rows.collect()
}

/// The counted work of `act`, for each row.
fn each(rows: i64, engine: &mut Engine, act: impl FnOnce(&mut Engine)) -> u64 {
    let before = cost::counted();
    act(engine);
    (cost::counted() - before) / u64::try_from(rows).unwrap()
}

fn answer(engine: &mut Engine, ending: Ending, sent: &Mutation) {
    let images = images_of(sent, ending != Ending::Accepted);
    let displaced = vec![(sent.id, images_of(sent, true))];
    let batch = Batch {
        verdicts: vec![verdict(sent, ending)],
        displaced,
        images,
        detect_conflicts: true,
        ..Batch::default()
    };
    engine.apply(batch).unwrap();
}

/// What each step of one mutation costs for a row: push, pull, verdicts, undo, discard, retry.
fn costs(policy: Policy, sql: &str, rows: i64) -> Vec<(&'static str, u64)> {
    let mut costs = Vec::new();
    let written = || {
        let (folder, mut engine) = with_notes(policy, rows);
        engine.execute(sql, &[]).unwrap();
        let mutation = only(&engine);
        (folder, engine, mutation)
    };
    let (_folder, mut engine, mutation) = written();
    costs.push(("push", each(rows, &mut engine, |engine| drop(send(engine, 1)))));
    let accept = |engine: &mut Engine| answer(engine, Ending::Accepted, &mutation);
    costs.push(("accept", each(rows, &mut engine, accept)));
    costs.push((
        "undo",
        each(rows, &mut engine, |engine| {
            decide::undo(engine, mutation.id).unwrap();
        }),
    ));
    costs.push(("push of the undo", each(rows, &mut engine, |engine| drop(send(engine, 2)))));

    let (_folder, mut engine, _) = written();
    costs.push((
        "pull",
        each(rows, &mut engine, |engine| {
            let images = (0..rows).map(|n| note(engine, n, "theirs")).collect();
            let batch = Batch { images, detect_conflicts: true, ..Batch::default() };
            engine.apply(batch).unwrap();
        }),
    ));
    costs.push(("push of the rebased", each(rows, &mut engine, |engine| drop(send(engine, 1)))));

    for ending in [Ending::Rejected, Ending::Conflict, Ending::Retry] {
        let (_folder, mut engine, mutation) = written();
        send(&mut engine, 1);
        costs.push((
            "verdict",
            each(rows, &mut engine, |engine| {
                answer(engine, ending, &mutation);
            }),
        ));
        costs.push((
            "discard",
            each(rows, &mut engine, |engine| {
                decide::discard(engine, mutation.id).unwrap();
            }),
        ));
    }

    let (_folder, mut engine, mutation) = written();
    engine.execute("UPDATE notes SET body = 'later'", &[]).unwrap();
    costs.push((
        "discard below others",
        each(rows, &mut engine, |engine| {
            decide::discard(engine, mutation.id).unwrap();
        }),
    ));
    costs
}

#[test]
fn work_per_row_does_not_grow_with_the_mutation() {
    for policy in Policy::ALL {
        for (name, sql) in STATEMENTS {
            let (small, large) = (costs(policy, sql, SMALL), costs(policy, sql, LARGE));
            for ((step, few), (_, many)) in small.into_iter().zip(large) {
                assert!(
                    many * 10 <= few * 13 + 10,
                    "{step} of {name} under {policy:?}: {few} rows for each row of {SMALL}, {many} of {LARGE}"
                );
            }
        }
    }
}
