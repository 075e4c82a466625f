//! Tests of actions that exceed their limits of time (of the host) and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::engine::action::perform;
use crate::engine::action::tests::{TAKE, shop, shop_on};
use crate::engine::action::{ActionBudget, Actions, Arguments, Context};
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::rebase::decide;
use crate::engine::tests::Ticking;
use crate::error::{ActionFault, Error};
use crate::host::TestHost;

const RUN: Duration = Duration::from_millis(100);

/// Counts to the number of nails; the result is that number.
const COUNT: &str = concat!(
    r#"{"name": "count", "statements": ["UPDATE stock SET n = (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL "#,
    r#"SELECT i + 1 FROM c WHERE i < (SELECT n FROM stock WHERE id = 'nails')) SELECT max(i) FROM c) + 1 "#,
    r#"WHERE id = 'nails'"]}"#
);

fn fault(error: &Error) -> &ActionFault {
    match error {
        Error::Action { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

/// A shop on such a host, whose actions have a short time limit.
fn ticking(actions: Actions) -> (tempfile::TempDir, Engine) {
    let (folder, mut engine) = shop_on(Arc::new(Ticking(TestHost::new(1))), actions);
    perform::set_action_budget(&mut engine, ActionBudget { run: RUN, ..ActionBudget::default() });
    (folder, engine)
}

#[test]
fn slow_action_is_interrupted_and_rolled_back() {
    let (_folder, mut engine) = ticking(Actions::new().declare(COUNT).declare(TAKE));
    pull_nails(&mut engine, 200_000);
    let error = perform::perform(&mut engine, "count", &Json::Null).unwrap_err();
    assert_eq!(fault(&error), &ActionFault::TooSlow { limit: RUN });
    assert!(engine.queue.is_empty());
    assert_eq!(left(&engine), "200000");
    perform::perform(&mut engine, "take", &json!({"id": "nails", "n": 1})).unwrap();
    assert_eq!(left(&engine), "199999", "the next one works");
}

#[test]
fn endless_loop_ends_even_if_its_code_ignores_the_error() {
    let spin = |context: &mut Context<'_, '_>, _: &Arguments| {
        context.execute("UPDATE stock SET n = n - 1", ())?;
        let endless =
            "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT max(i) FROM c";
        let _passed_over = context.query(endless, ());
        Ok(Json::Null)
    };
    let (_folder, mut engine) = ticking(Actions::new().handler("spin", [], spin));
    let error = perform::perform(&mut engine, "spin", &Json::Null).unwrap_err();
    assert_eq!(fault(&error), &ActionFault::TooSlow { limit: RUN });
    assert_eq!((left(&engine), engine.queue.is_empty()), ("5".to_owned(), true));
}

#[test]
fn slow_rerun_is_parked_and_the_rows_are_applied() {
    let (_folder, mut engine) = ticking(Actions::new().declare(COUNT).declare(TAKE));
    perform::perform(&mut engine, "take", &json!({"id": "nails", "n": 1})).unwrap();
    let counted = perform::perform(&mut engine, "count", &Json::Null).unwrap().id.unwrap();
    perform::perform(&mut engine, "take", &json!({"id": "nails", "n": 2})).unwrap();
    assert_eq!(left(&engine), "3");
    // The count cannot finish in time: the write is interrupted, and SQLite rolls back the whole
    // transaction.
    let applied = pull_nails(&mut engine, 1_000_000_000_000);
    assert_eq!(applied.parked, [counted]);
    assert_eq!(left(&engine), "999999999997", "the others have run");
    let pending = engine.pending().unwrap();
    let parked = pending.iter().find(|one| one.id == counted).unwrap();
    assert_eq!(
        (parked.state, parked.reason),
        (MutationState::Parked, Some(ParkReason::Unreplayable))
    );
    assert!(
        parked.detail.as_ref().unwrap().contains("took longer than 100ms"),
        "{:?}",
        parked.detail
    );
    // It can be retried when the count is small.
    pull_nails(&mut engine, 7);
    decide::retry(&mut engine, counted).unwrap();
    assert_eq!(left(&engine), "5");
}

#[test]
fn action_beyond_the_byte_limit_is_stopped() {
    let fill = concat!(
        r#"{"name": "fill", "parameters": [{"name": "n", "type": "integer"}], "statements": ["#,
        r#""INSERT INTO line (id, n) WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < :n) "#,
        r#"SELECT 'l' || i, i FROM c"]}"#
    );
    let (_folder, mut engine) = shop(Actions::new().declare(fill));
    perform::set_action_budget(
        &mut engine,
        ActionBudget { bytes: 1_000, ..ActionBudget::default() },
    );
    let error = perform::perform(&mut engine, "fill", &json!({"n": 5_000})).unwrap_err();
    assert_eq!(fault(&error), &ActionFault::TooLarge { limit: 1_000 });
    assert!(column(&engine, "SELECT id FROM line").is_empty());
    assert!(perform::perform(&mut engine, "fill", &json!({"n": 5})).unwrap().id.is_some());
    engine
        .transaction(|tx| {
            (0..100).try_for_each(|at| {
                tx.execute(&format!("INSERT INTO line (id) VALUES ('x{at}')"), &[]).map(drop)
            })
        })
        .unwrap();
}

#[test]
fn reruns_beyond_the_rebase_budget_apply_recorded_effects() {
    let host = Arc::new(TestHost::new(1));
    let (clock, slow) = (Arc::clone(&host), Arc::new(AtomicBool::new(true)));
    let is_slow = Arc::clone(&slow);
    let one = move |context: &mut Context<'_, '_>, _: &Arguments| {
        if is_slow.load(Ordering::Relaxed) {
            clock.advance(Duration::from_secs(3));
        }
        context.execute("UPDATE stock SET n = n - 1 WHERE id = 'nails'", ())?;
        Ok(Json::Null)
    };
    let seconds = Duration::from_secs(5);
    let (_folder, mut engine) = shop_on(host, Actions::new().handler("one", [], one));
    perform::set_action_budget(
        &mut engine,
        ActionBudget { run: seconds, rebase: seconds, ..ActionBudget::default() },
    );
    for _ in 0..3 {
        perform::perform(&mut engine, "one", &Json::Null).unwrap();
    }
    assert_eq!(pull_nails(&mut engine, 9).affected, 3);
    assert_eq!(left(&engine), "2", "two ran, and the third has its recorded effect");
    slow.store(false, Ordering::Relaxed);
    pull_nails(&mut engine, 20);
    assert_eq!(left(&engine), "17", "it runs again with the next batch");
}
