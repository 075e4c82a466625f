//! Tests of asynchronous actions that run again: their total time is bounded, and no mutation is
//! lost.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;
use crate::engine::Interrupt;
use crate::engine::action::perform;
use crate::engine::action::tests::shop_on;
use crate::engine::action::{Actions, Arguments, Context, Parameter, ParameterType};
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::host::TestHost;
use crate::{AsyncAction, Error, HeldContext};

/// What the code does before it writes, by the total number of the run.
type Before = dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync;

/// Creates a line with the current number of nails.
struct Note {
    runs: Arc<AtomicUsize>,
    before: Box<Before>,
    /// If set, the file is suspended while a statement is about to run.
    stop: Arc<OnceLock<Interrupt>>,
}

impl AsyncAction for Note {
    fn name(&self) -> &'static str {
        "note"
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::new("line", ParameterType::Text)]
    }

    fn run(&self, context: HeldContext, arguments: Arguments) -> BoxFuture<'static, Result<Json>> {
        let before = (self.before)(self.runs.fetch_add(1, Ordering::SeqCst) + 1);
        let stop = self.stop.get().cloned();
        Box::pin(async move {
            before.await;
            let sql = "INSERT INTO line (id, stock, n) SELECT ?, id, n FROM stock";
            stop.iter().for_each(Interrupt::suspend);
            let done = context.execute(sql, [arguments.value("line")]).await;
            stop.iter().for_each(Interrupt::resume);
            done.map(|_| Json::Null).map_err(|_| context.refuse("the code gave up"))
        })
    }
}

/// A shop with such pending lines, and the counter of runs.
fn noted(
    lines: &[&str],
    before: impl Fn(usize, &TestHost) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> (TempDir, Engine, Arc<AtomicUsize>) {
    stopped(&Arc::default(), lines, before)
}

fn stopped(
    stop: &Arc<OnceLock<Interrupt>>,
    lines: &[&str],
    before: impl Fn(usize, &TestHost) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> (TempDir, Engine, Arc<AtomicUsize>) {
    let (host, runs) = (Arc::new(TestHost::new(1)), Arc::<AtomicUsize>::default());
    let clock = Arc::clone(&host);
    let before = Box::new(move |run| before(run, &clock));
    let note = Note { runs: Arc::clone(&runs), before, stop: Arc::clone(stop) };
    let (folder, mut engine) = shop_on(host, Actions::new().register_async(note));
    for line in lines {
        perform::perform(&mut engine, "note", &json!({"line": line})).unwrap();
    }
    (folder, engine, runs)
}

/// The server's number of nails, without a check for conflicts.
fn nails(engine: &Engine, n: i64) -> Batch {
    Batch { detect_conflicts: false, ..support::nails(engine, n) }
}

fn pull(engine: &mut Engine, n: i64) -> Applied {
    let batch = nails(engine, n);
    engine.apply(batch).unwrap()
}

fn lines(engine: &Engine) -> String {
    column(engine, "SELECT id || n FROM line ORDER BY id").join(" ")
}

#[test]
fn async_action_runs_again_on_changed_rows() {
    let (_folder, mut engine, runs) = noted(&["a", "b"], |_, _| Box::pin(async {}));
    assert_eq!(lines(&engine), "a5 b5");
    pull(&mut engine, 9);
    assert_eq!((lines(&engine).as_str(), runs.load(Ordering::SeqCst)), ("a9 b9", 4));
}

#[test]
fn async_reruns_share_one_budget_and_others_apply_effects() {
    // Of a total of two seconds the first takes one and a half, and the second needs as much.
    let slow = |run, clock: &TestHost| -> BoxFuture<'static, ()> {
        if run > 3 {
            clock.advance(Duration::from_millis(1500));
        }
        Box::pin(async {})
    };
    let (_folder, mut engine, runs) = noted(&["a", "b", "c"], slow);
    let applied = pull(&mut engine, 9);
    assert_eq!((lines(&engine).as_str(), applied.parked.len()), ("a9 b5 c5", 0));
    assert_eq!(runs.load(Ordering::SeqCst), 5, "the third was not begun");
    let states: Vec<_> = engine.pending().unwrap().iter().map(|one| one.state).collect();
    assert_eq!(states, [MutationState::Pending; 3], "and all of it will be sent");
}

#[test]
fn async_and_sync_reruns_share_one_budget() {
    let host = Arc::new(TestHost::new(1));
    let (clock, runs) = (Arc::clone(&host), Arc::<AtomicUsize>::default());
    let slow = move |context: &mut Context<'_, '_>, _: &Arguments| {
        clock.advance(Duration::from_millis(1500));
        context.execute("UPDATE stock SET n = n - 1", ())?;
        Ok(Json::Null)
    };
    let before: Box<Before> = Box::new(|_| Box::pin(async {}));
    let note = Note { runs: Arc::clone(&runs), before, stop: Arc::default() };
    let actions = Actions::new().register_async(note).handler("slow", [], slow);
    let (_folder, mut engine) = shop_on(host, actions);
    for _ in 0..2 {
        perform::perform(&mut engine, "slow", &Json::Null).unwrap();
    }
    perform::perform(&mut engine, "note", &json!({"line": "a"})).unwrap();
    assert_eq!(lines(&engine), "a3");
    pull(&mut engine, 9);
    assert_eq!((lines(&engine).as_str(), runs.load(Ordering::SeqCst)), ("a3", 1));
    let nails = column(&engine, "SELECT CAST(n AS TEXT) FROM stock WHERE id = 'nails'");
    assert_eq!(nails, ["7"], "the second of them began within the time, and ended");
}

#[test]
fn endless_async_rerun_keeps_its_effect() {
    let (_folder, mut engine, _) = noted(&["a"], |run, clock| {
        if run == 1 {
            return Box::pin(async {});
        }
        clock.advance(Duration::from_secs(3));
        Box::pin(pending())
    });
    pull(&mut engine, 9);
    assert_eq!((lines(&engine).as_str(), only(&engine).reason), ("a5", None));
}

#[test]
fn conflicted_action_out_of_time_is_not_sent_unchanged() {
    let (_folder, mut engine, _) = noted(&["a"], |run, clock| {
        if run > 1 {
            clock.advance(Duration::from_secs(3));
        }
        Box::pin(async {})
    });
    send(&mut engine, 1);
    let mut batch = nails(&engine, 9);
    batch.detect_conflicts = true;
    batch.verdicts = vec![verdict(&only(&engine), Ending::Conflict)];
    engine.apply(batch).unwrap();
    assert_eq!(only(&engine).reason, Some(ParkReason::Conflicted));
    assert_eq!(lines(&engine), "");
}

#[test]
fn suspend_is_not_reported_as_an_error_of_the_action() {
    let stop = Arc::default();
    let (_folder, mut engine, _) = stopped(&stop, &["a"], |_, _| Box::pin(async {}));
    let _ = stop.set(engine.interrupt_handle());
    let batch = nails(&engine, 9);
    let error = engine.apply(batch).unwrap_err();
    assert!(matches!(error, Error::Suspended), "{error}");
    assert_eq!((lines(&engine).as_str(), only(&engine).state), ("a5", MutationState::Pending));
}
