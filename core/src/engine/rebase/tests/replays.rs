//! Tests of actions that run again because their rows have changed before the server had them.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::engine::action::perform;
use crate::engine::action::tests::{ORDER, TAKE, shop};
use crate::engine::action::{Action, Actions, Arguments, Context, Parameter, ParameterType};
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::rebase::decide;

fn take(engine: &mut Engine, n: i64) {
    perform::perform(engine, "take", &json!({"id": "nails", "n": n})).unwrap();
}

#[test]
fn action_runs_again_on_changed_rows() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
    take(&mut engine, 2);
    take(&mut engine, 1);
    assert_eq!(left(&engine), "2");
    assert_eq!(pull_nails(&mut engine, 9).affected, 2);
    assert_eq!(left(&engine), "6", "three are taken of nine; the old value is not reapplied");
    let olds: Vec<_> =
        engine.pending().unwrap().iter().map(|m| m.effect.rows[0].columns[0].old.clone()).collect();
    assert_eq!(olds, [9.into(), 7.into()], "it compares the values of the last run");
}

#[test]
fn refused_rerun_is_parked_without_its_effect() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
    take(&mut engine, 4);
    take(&mut engine, 1);
    let applied = pull_nails(&mut engine, 3);
    assert_eq!((left(&engine).as_str(), applied.parked.len()), ("2", 1), "the second still can");
    let parked = &engine.pending().unwrap()[0];
    assert_eq!(
        (parked.state, parked.reason),
        (MutationState::Parked, Some(ParkReason::Unreplayable))
    );
    assert!(parked.detail.as_deref().unwrap().contains("not enough in stock"));
    assert_eq!(parked.effect.rows.len(), 1, "its recorded effect is kept for the app");
}

#[test]
fn unregistered_action_applies_its_recorded_effect() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
    take(&mut engine, 2);
    perform::set_actions(&mut engine, Arc::default(), true).unwrap();
    let mut batch = nails(&engine, 9);
    batch.detect_conflicts = false;
    engine.apply(batch).unwrap();
    assert_eq!(left(&engine), "3");
    perform::set_actions(&mut engine, Arc::new(Actions::new().declare(TAKE)), true).unwrap();
    pull_nails(&mut engine, 8);
    assert_eq!(left(&engine), "6", "registered again, it runs again");
}

#[test]
fn uncertain_action_never_runs_again() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
    take(&mut engine, 4);
    send(&mut engine, 1);
    engine.mark_uncertain(1).unwrap();
    pull_nails(&mut engine, 1); // The server has it: the response was lost.
    assert_eq!((left(&engine), only(&engine).state), ("1".to_owned(), MutationState::Uncertain));
}

#[test]
fn unevaluated_action_runs_again_as_the_next_attempt() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
    take(&mut engine, 2);
    let first = send(&mut engine, 1);
    let mut batch = nails(&engine, 9);
    batch.verdicts = vec![verdict(&only(&engine), Ending::Blocked)];
    engine.apply(batch).unwrap();
    assert_eq!((left(&engine), only(&engine).attempt), ("7".to_owned(), 2));
    let second = send(&mut engine, 2);
    assert_ne!(first[0].rows, second[0].rows);
    assert_eq!(first[0].hash, second[0].hash, "the intent is the same");
}

#[test]
fn conflicted_action_runs_again_but_is_not_sent_unchanged() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
    take(&mut engine, 2);
    send(&mut engine, 1);
    let mut batch = nails(&engine, 4);
    batch.verdicts = vec![verdict(&only(&engine), Ending::Conflict)];
    engine.apply(batch).unwrap();
    assert_eq!(left(&engine), "2");
    let again = only(&engine);
    assert_eq!((again.state, again.attempt), (MutationState::Pending, 2));
    send(&mut engine, 2);
    let mut batch = nails(&engine, 4);
    batch.verdicts = vec![verdict(&only(&engine), Ending::Conflict)];
    engine.apply(batch).unwrap();
    assert_eq!(left(&engine), "4");
    assert_eq!(only(&engine).reason, Some(ParkReason::Conflicted));
}

#[test]
fn rerun_has_the_time_and_ids_of_the_first_run() {
    let (_folder, mut engine) = shop(Actions::new().declare(ORDER));
    perform::perform(&mut engine, "order", &json!({"stock": "nails", "n": 1})).unwrap();
    let line = "SELECT id || ' ' || at || ' ' || n FROM line";
    let before = column(&engine, line);
    let applied = pull_nails(&mut engine, 9);
    assert_eq!(applied.affected, 1, "the rule of a line reads the stock");
    assert_eq!((column(&engine, line), before.len()), (before, 1));
}

#[test]
fn unread_rows_do_not_rerun_an_action() {
    let note = Parameter::new("id", ParameterType::Text);
    let actions = Actions::new().handler("note", [note], |context, arguments| {
        context.execute("UPDATE line SET n = 1 WHERE id = ?", [arguments.value("id")])?;
        Ok(Json::Null)
    });
    let mut tables = vec![table("line", &[("id", "string"), ("n", "int64")], vec![])];
    tables.push(table("stock", &[("id", "string"), ("n", "int64")], vec![]));
    let (_folder, mut engine) = engine(tables);
    perform::set_actions(&mut engine, Arc::new(actions), true).unwrap();
    engine.execute("INSERT INTO line (id) VALUES ('l')", &[]).unwrap();
    perform::perform(&mut engine, "note", &json!({"id": "l"})).unwrap();
    assert_eq!(pull_nails(&mut engine, 1).affected, 0);
}

/// Found by simulation (seed 10205997): an earlier action wrote the same value in a later run.
#[test]
fn edit_compares_the_value_it_saw_when_an_action_reads_it() {
    let two = |context: &mut Context<'_, '_>, _: &Arguments| {
        context.execute("UPDATE stock SET n = 2 WHERE id = 'nails'", ()).map(Json::from)
    };
    let (_folder, mut engine) = shop(Actions::new().handler("two", [], two));
    perform::perform(&mut engine, "two", &Json::Null).unwrap();
    engine.execute("UPDATE stock SET n = 1 WHERE id = 'nails'", &[]).unwrap();
    assert_eq!(pull_nails(&mut engine, 2).parked.len(), 0);
    let pending = engine.pending().unwrap();
    assert_eq!(pending[0].effect.rows.len(), 0, "the row already has what the action writes");
    assert_eq!((left(&engine).as_str(), pending[1].basis.len()), ("1", 0));
}

/// Found by simulation (seed 10205997): the edit was compared with the action's previous value.
#[test]
fn edit_is_kept_whatever_an_earlier_action_rewrites() {
    for second in [2, 3] {
        let writes = move |context: &mut Context<'_, '_>, _: &Arguments| {
            let sql = "UPDATE stock SET n = iif(n = 6, ?1, 2) WHERE id = 'nails'";
            context.execute(sql, [second]).map(Json::from)
        };
        let (_folder, mut engine) = shop(Actions::new().handler("writes", [], writes));
        perform::perform(&mut engine, "writes", &Json::Null).unwrap();
        engine.execute("UPDATE stock SET n = 6 WHERE id = 'nails'", &[]).unwrap();
        send(&mut engine, 1);
        engine.execute("UPDATE stock SET n = 7 WHERE id = 'nails'", &[]).unwrap();
        let sent = engine.pending().unwrap();
        let mut batch = nails(&engine, 6);
        batch.verdicts =
            vec![verdict(&sent[0], Ending::Conflict), verdict(&sent[1], Ending::Accepted)];
        assert_eq!(engine.apply(batch).unwrap().parked, []);
        let [action, edit] = &engine.pending().unwrap()[..] else { panic!("the queue") };
        assert_eq!(action.effect.rows[0].columns[0].new, second.into());
        assert_eq!(
            (left(&engine).as_str(), edit.basis.values().next().unwrap()),
            ("7", &second.into())
        );
    }
}

/// Found by simulation (seed 10505506): the server had the first edit, whose response was lost, and
/// the action overwrote it.
#[test]
fn edit_is_kept_when_an_action_overwrites_the_server_value() {
    let writes = |context: &mut Context<'_, '_>, _: &Arguments| {
        let sql = "UPDATE stock SET n = iif(n = 6, 9, 4) WHERE id = 'nails'";
        context.execute(sql, ()).map(Json::from)
    };
    let (_folder, mut engine) = shop(Actions::new().handler("writes", [], writes));
    perform::perform(&mut engine, "writes", &Json::Null).unwrap();
    engine.execute("UPDATE stock SET n = 6 WHERE id = 'nails'", &[]).unwrap();
    send(&mut engine, 1);
    engine.execute("UPDATE stock SET n = 7 WHERE id = 'nails'", &[]).unwrap();
    engine.mark_uncertain(1).unwrap();
    let sent = engine.pending().unwrap();
    let mut batch = nails(&engine, 6);
    batch.verdicts = vec![verdict(&sent[0], Ending::Conflict)];
    engine.apply(batch).unwrap();
    let again = engine.pending().unwrap().remove(0);
    let mut batch = nails(&engine, 9);
    batch.verdicts = vec![verdict(&again, Ending::Accepted), verdict(&sent[1], Ending::Accepted)];
    assert_eq!(engine.apply(batch).unwrap().parked, []);
    assert_eq!(
        (left(&engine).as_str(), only(&engine).basis.values().next().unwrap()),
        ("7", &9.into())
    );
}

/// Found by simulation (seed 21004657): the edit was compared with the action's value before the
/// retry.
#[test]
fn retried_edit_compares_what_a_retried_action_leaves() {
    let writes = |context: &mut Context<'_, '_>, _: &Arguments| {
        let sql = "UPDATE stock SET n = 2 WHERE id = 'bolts' \
                   AND (SELECT n FROM stock WHERE id = 'nails') = 5";
        context.execute(sql, ()).map(Json::from)
    };
    let (_folder, mut engine) = shop(Actions::new().handler("writes", [], writes));
    engine.execute("INSERT INTO stock (id, n) VALUES ('bolts', 7)", &[]).unwrap();
    perform::perform(&mut engine, "writes", &Json::Null).unwrap();
    engine.execute("UPDATE stock SET n = 1 WHERE id = 'bolts'", &[]).unwrap();
    send(&mut engine, 1);
    let sent = engine.pending().unwrap();
    let rest = sent[1..].iter().map(|one| verdict(one, Ending::Blocked));
    let verdicts = std::iter::once(verdict(&sent[0], Ending::Rejected)).chain(rest).collect();
    engine.apply(Batch { verdicts, ..nails(&engine, 6) }).unwrap();
    assert_eq!(decide::retry_chain(&mut engine, sent[0].id).unwrap().len(), 3);
    let [_, action, edit] = &engine.pending().unwrap()[..] else { panic!("the queue") };
    assert_eq!(action.effect.rows.len(), 0, "it writes nothing where there are six nails");
    assert_eq!(edit.basis.values().next(), Some(&7.into()));
}

/// Found by simulation (seed 3011440): a create over an existing row was compared with the action's
/// previous value.
#[test]
fn retried_create_compares_what_an_action_leaves() {
    let copies = |context: &mut Context<'_, '_>, _: &Arguments| {
        let sql =
            "UPDATE stock SET n = (SELECT n FROM stock WHERE id = 'nails') WHERE id = 'bolts'";
        context.execute(sql, ()).map(Json::from)
    };
    let (_folder, mut engine) = shop(Actions::new().handler("copies", [], copies));
    engine.execute("INSERT INTO stock (id, n) VALUES ('bolts', 1)", &[]).unwrap();
    send(&mut engine, 1);
    let create = only(&engine);
    let images = vec![image(&engine, "stock", "bolts", Some(&[("n", 7.into())]))];
    let verdicts = vec![verdict(&create, Ending::Conflict)];
    let batch = Batch { images, verdicts, detect_conflicts: true, ..Batch::default() };
    assert_eq!(engine.apply(batch).unwrap().parked, [create.id]);
    perform::perform(&mut engine, "copies", &Json::Null).unwrap();
    decide::retry(&mut engine, create.id).unwrap();
    assert_eq!(pull_nails(&mut engine, 6).parked, []);
    let [_, create] = &engine.pending().unwrap()[..] else { panic!("the queue") };
    assert_eq!(create.basis.values().next(), Some(&6.into()), "the action has run again");
}

/// Creates a line as long as there is stock.
fn lines(context: &mut Context<'_, '_>, _: &Arguments) -> Result<Json> {
    let sql = "INSERT INTO line (id, stock) SELECT 'l', id FROM stock WHERE n > 3 ORDER BY id";
    context.execute(sql, ()).map(Json::from)
}

#[test]
fn edit_of_a_row_no_longer_created_is_parked() {
    let (_folder, mut engine) = shop(Actions::new().handler("lines", [], lines));
    perform::perform(&mut engine, "lines", &Json::Null).unwrap();
    engine.execute("UPDATE line SET n = 7 WHERE id = 'l'", &[]).unwrap();
    pull_nails(&mut engine, 2);
    let pending = engine.pending().unwrap();
    assert_eq!((pending[0].state, pending[0].effect.rows.len()), (MutationState::Pending, 0));
    assert_eq!(pending[1].because_of, Some(pending[0].id));
    assert_eq!(column(&engine, "SELECT id FROM line"), Vec::<String>::new());
    pull_nails(&mut engine, 5);
    assert_eq!(column(&engine, "SELECT id FROM line"), ["l"], "it runs again, and creates it");
}

#[test]
fn changed_rerun_restarts_the_rebase_with_later_mutations() {
    let actions = Actions::new().handler("count", [], |context, _| {
        let few = context.query_one("SELECT n < 5 FROM stock WHERE id = 'nails'", ())?.unwrap();
        if few.get::<bool>(0)? {
            context.execute(
                "UPDATE stock SET n = (SELECT count(*) FROM line) WHERE id = 'nails'",
                (),
            )?;
        } else {
            context.execute("UPDATE stock SET n = n + 1 WHERE id = 'nails'", ())?;
        }
        Ok(Json::Null)
    });
    let mut tables = vec![table("line", &[("id", "string"), ("n", "int64")], vec![])];
    tables.push(table("stock", &[("id", "string"), ("n", "int64")], vec![]));
    let (_folder, mut engine) = engine(tables);
    perform::set_actions(&mut engine, Arc::new(actions), true).unwrap();
    pull_nails(&mut engine, 5);
    perform::perform(&mut engine, "count", &Json::Null).unwrap();
    engine.execute("INSERT INTO line (id) VALUES ('later')", &[]).unwrap();
    let applied = pull_nails(&mut engine, 1);
    let seen = (left(&engine), applied.started_over);
    assert_eq!(seen, ("0".to_owned(), 1), "it does not read the later line");
}

/// The next version, which takes a box.
struct Boxes;

impl Action for Boxes {
    fn name(&self) -> &'static str {
        "take"
    }

    fn version(&self) -> i64 {
        3
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::new("id", ParameterType::Text),
            Parameter::new("boxes", ParameterType::Integer),
        ]
    }

    fn run(&self, context: &mut Context<'_, '_>, arguments: &Arguments) -> Result<Json> {
        let taken = (arguments.value("boxes"), arguments.value("id"));
        context.execute("UPDATE stock SET n = n - ? WHERE id = ?", taken).map(Json::from)
    }

    fn upgrade(
        &self,
        version: i64,
        mut arguments: serde_json::Map<String, Json>,
    ) -> Option<serde_json::Map<String, Json>> {
        let n = arguments.remove("n").filter(|_| version == 2)?;
        arguments.insert("boxes".to_owned(), n);
        Some(arguments)
    }
}

#[test]
fn newer_version_upgrades_arguments_or_the_effect_is_kept() {
    let declared = r#"{"name": "take", "version": 3,
        "parameters": [{"name": "id", "type": "text"}, {"name": "boxes", "type": "integer"}, {"name": "why", "type": "text"}],
        "upgrades": {"2": {"rename": {"n": "boxes"}, "set": {"why": "?"}, "drop": ["shelf"]}},
        "statements": ["UPDATE stock SET n = n - :boxes WHERE id = :id"]}"#;
    let unable = declared.replace("\"2\"", "\"1\"");
    for (newer, expected) in [
        (Actions::new().register(Boxes), "7"),
        (Actions::new().declare(declared), "7"),
        (Actions::new().declare(&unable), "3"),
    ] {
        let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
        take(&mut engine, 2);
        perform::set_actions(&mut engine, Arc::new(newer), true).unwrap();
        let mut batch = nails(&engine, 9);
        batch.detect_conflicts = false;
        engine.apply(batch).unwrap();
        assert_eq!(left(&engine), expected);
    }
}

#[test]
fn rerun_result_survives_reopening() {
    let (folder, mut engine) = shop(Actions::new().declare(TAKE));
    take(&mut engine, 2);
    drop(engine);
    let mut engine = crate::engine::tests::open(&folder, None).unwrap();
    perform::set_actions(&mut engine, Arc::new(Actions::new().declare(TAKE)), false).unwrap();
    pull_nails(&mut engine, 9);
    assert_eq!(left(&engine), "7");
}
