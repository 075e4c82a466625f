//! Tests of asynchronous actions.

use std::future::pending;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rejoin_core::host::TestHost;
use rejoin_core::{
    ActionFault, Actions, Arguments, AsyncAction, Client, Config, Error, HeldContext, Parameter,
    Performed, QueueFault, Result, Services, Value,
};
use serde_json::{Map, Value as Json, json};

use crate::world::{World, next, within};

/// Longer than an action may be idle.
const TOO_LONG: Duration = Duration::from_secs(6);

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "title", "db_type": "text", "logical_type": "string", "nullable": true}]}]}"#;

const PUT: &str = "INSERT INTO task (id) VALUES (?)";
const COUNT: &str = "SELECT count(*) FROM task";

type Run = dyn Fn(HeldContext) -> BoxFuture<'static, Result<Json>> + Send + Sync;

/// An action whose code is a function.
struct Code(Box<Run>, i64);

impl AsyncAction for Code {
    fn name(&self) -> &'static str {
        "do"
    }

    fn version(&self) -> i64 {
        self.1
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    fn upgrade(&self, _: i64, arguments: Map<String, Json>) -> Option<Map<String, Json>> {
        Some(arguments)
    }

    fn run(&self, context: HeldContext, _: Arguments) -> BoxFuture<'static, Result<Json>> {
        (self.0)(context)
    }
}

/// A client with a manual clock and this action.
fn timed<F>(run: impl Fn(HeldContext) -> F + Send + Sync + 'static) -> (World, Arc<TestHost>)
where
    F: Future<Output = Result<Json>> + Send + 'static,
{
    opened(tempfile::tempdir().unwrap(), 1, run)
}

/// The same over an existing folder, with a version of the action.
fn opened<F>(
    folder: tempfile::TempDir,
    version: i64,
    run: impl Fn(HeldContext) -> F + Send + Sync + 'static,
) -> (World, Arc<TestHost>)
where
    F: Future<Output = Result<Json>> + Send + 'static,
{
    let host = Arc::new(TestHost::new(1));
    let config =
        Config::new(folder.path().join("app.db")).schema(serde_json::from_str(SCHEMA).unwrap());
    let code = Code(Box::new(move |context| Box::pin(run(context))), version);
    let actions = Actions::new().register_async(code).identity("task", &["title"]);
    let services =
        Services { host: Some(host.clone()), actions: Some(actions.into()), ..Services::default() };
    let client = Client::open_with(config, services).wait().unwrap();
    (World { client, folder }, host)
}

/// An action that writes, hands out its context, and never ends.
fn hanging() -> (World, Arc<TestHost>, Receiver<HeldContext>) {
    let (sender, receiver) = mpsc::channel();
    let sender: Mutex<Sender<HeldContext>> = Mutex::new(sender);
    let (world, host) = timed(move |context| {
        let sender = sender.lock().unwrap().clone();
        async move {
            context.execute(PUT, ("a",)).await?;
            sender.send(context).unwrap();
            pending().await
        }
    });
    (world, host, receiver)
}

fn perform(world: &World) -> Result<Performed> {
    within(world.client.perform("do", Json::Null))
}

fn is_timed_out(error: &Error) -> bool {
    matches!(error, Error::Action { fault: ActionFault::TimedOut, action } if action == "do")
}

#[test]
fn action_reads_its_writes_and_duplicate_row_id_rolls_back() {
    let (world, _) = timed(|context| async move {
        let id = context.row_id("task", &json!({"title": "x"})).await?;
        context.execute("INSERT INTO task (id, title) VALUES (?, 'x')", (id.as_str(),)).await?;
        let again = context.row_id("task", &json!({"title": "x"})).await;
        assert!(again.is_err(), "the id is already used");
        let rows = context.query("SELECT id, rejoin_now() FROM task", ()).await?;
        let row = rows.row(0).unwrap();
        assert_eq!((row.get::<String>(0)?, row.get::<String>(1)?), (id, context.time()));
        Ok(json!({"mutation": context.mutation().to_string(), "at": context.time_ms()}))
    });
    let error = perform(&world).unwrap_err();
    assert!(matches!(error, Error::Action { fault: ActionFault::SameRow { .. }, .. }), "{error}");
    assert_eq!(world.number(COUNT), 0, "the rows stayed although the id was used twice");
}

#[test]
fn action_returns_its_value_and_queues_its_writes() {
    let (world, _) = timed(|context| async move {
        context.execute(PUT, ("a",)).await?;
        Ok(context.mutation().to_string().into())
    });
    let performed = perform(&world).unwrap();
    let pending = within(world.client.queue().all()).unwrap();
    assert_eq!((pending.len(), pending[0].action.as_deref()), (1, Some("do")));
    assert_eq!(performed.value, Json::from(pending[0].id.to_string()));
    assert_eq!(performed.id, Some(pending[0].id));
}

#[test]
fn action_performed_again_replaces_its_mutation() {
    let (world, _) = timed(|context| async move {
        context.execute(PUT, (context.mutation().to_string(),)).await?;
        Ok(Json::Null)
    });
    let first = perform(&world).unwrap().id.unwrap();
    let second = within(world.client.queue().perform_again(first, json!({}))).unwrap().id.unwrap();
    assert_ne!(first, second);
    let rows = within(world.client.query("SELECT id FROM task", ())).unwrap();
    assert_eq!(rows.row(0).unwrap().get::<String>(0).unwrap(), second.to_string());
    assert_eq!((rows.len(), within(world.client.queue().all()).unwrap().len()), (1, 1));
}

/// Inserts a row whose title is the number of rows before it.
async fn append(context: HeldContext) -> Result<Json> {
    let count: i64 = context.query(COUNT, ()).await?.row(0).unwrap().get(0)?;
    let row = (context.mutation().to_string(), count.to_string());
    context.execute("INSERT INTO task (id, title) VALUES (?, ?)", row).await?;
    Ok(Json::Null)
}

#[test]
fn pending_action_of_an_older_version_is_upgraded_to_run_again() {
    let (world, _) = timed(append);
    let first = perform(&world).unwrap().id.unwrap();
    perform(&world).unwrap();
    let World { client, folder } = world;
    within(client.shutdown()).unwrap();
    let (world, _) = opened(folder, 2, append);
    within(world.client.queue().discard(first)).unwrap();
    let rows = within(world.client.query("SELECT title FROM task", ())).unwrap();
    assert_eq!((rows.len(), rows.row(0).unwrap().get::<String>(0).unwrap().as_str()), (1, "0"));
}

#[test]
fn action_that_refuses_keeps_nothing_and_gives_its_reason() {
    let (world, _) = timed(|context| async move {
        context.execute(PUT, ("a",)).await?;
        Err(context.refuse("not on Sundays"))
    });
    world.client.sync().foreground(); // Has no effect without a server.
    let error = perform(&world).unwrap_err();
    let reason = ActionFault::Precondition(String::from("not on Sundays"));
    assert!(matches!(&error, Error::Action { fault, .. } if *fault == reason), "{error}");
    assert_eq!(world.number(COUNT), 0);
}

#[test]
fn search_index_follows_writes_until_it_is_dropped() {
    let (world, _) = timed(|_| async { Ok(Json::Null) });
    let name = within(world.client.schema().create_search_index("task", &["title"], None)).unwrap();
    world.run("INSERT INTO task (id, title) VALUES ('a', 'green tea')");
    let count = format!("SELECT count(*) FROM {name} WHERE {name} MATCH 'tea'");
    assert_eq!(world.number(&count), 1);
    within(world.client.schema().drop_search_index("task")).unwrap();
    assert!(within(world.client.query(&count, ())).is_err());
}

#[test]
fn idle_action_times_out_and_the_next_write_runs() {
    let (world, host, contexts) = hanging();
    let performed = world.client.perform("do", Json::Null);
    let context = next(&contexts);
    host.advance(TOO_LONG / 2);
    assert_eq!(within(context.execute("UPDATE task SET title = 'x'", ())).unwrap(), 1);
    host.advance(TOO_LONG / 2);
    let waiting = world.client.execute(PUT, ("b",));
    within(context.query(COUNT, ())).unwrap();
    host.advance(TOO_LONG);
    let error = within(performed).unwrap_err();
    assert!(is_timed_out(&error), "{error}");
    assert_eq!((within(waiting).unwrap(), world.number(COUNT)), (1, 1));
    for _ in 0..2 {
        let late = within(context.execute(PUT, ("c",)));
        assert!(matches!(late, Err(Error::TransactionTimeout)));
    }
    assert_eq!(world.number(COUNT), 1);
}

#[test]
fn suspend_and_shutdown_do_not_wait_for_an_action() {
    let (world, _, contexts) = hanging();
    let performed = world.client.perform("do", Json::Null);
    let context = next(&contexts);
    within(world.client.sync().suspend()).unwrap();
    assert!(matches!(within(performed), Err(Error::Suspended)));
    assert!(matches!(within(context.execute(PUT, ("c",))), Err(Error::Suspended)));
    within(world.client.sync().resume()).unwrap();
    assert_eq!(world.number(COUNT), 0);
    let performed = world.client.perform("do", Json::Null);
    let context = next(&contexts);
    within(world.client.shutdown()).unwrap();
    assert!(matches!(within(performed), Err(Error::Closed)));
    assert!(matches!(within(context.execute(PUT, ("c",))), Err(Error::Closed)));
}

#[test]
fn panic_of_an_action_is_an_error_and_ends_its_context() {
    let kept: Arc<Mutex<Option<HeldContext>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let (world, _) = timed(move |context| {
        let keep = Arc::clone(&keep);
        async move {
            context.execute(PUT, ("a",)).await?;
            *keep.lock().unwrap() = Some(context);
            panic!("a bug of the app")
        }
    });
    let error = perform(&world).unwrap_err();
    assert!(matches!(&error, Error::Callback(message) if message.contains("a bug of the app")));
    let context = kept.lock().unwrap().take().unwrap();
    let error = within(context.execute(PUT, ("b",))).unwrap_err();
    assert!(error.to_string().contains("the action has ended"), "{error}");
    assert_eq!(world.number(COUNT), 0);
}

#[test]
fn mutation_is_edited_by_an_interactive_transaction() {
    let (world, host) = timed(|_| pending());
    world.run("INSERT INTO task (id, title) VALUES ('a', 'x'), ('b', 'x')");
    let old = within(world.client.queue().all()).unwrap()[0].id;
    let title = |id: &str| {
        let sql = "SELECT title FROM task WHERE id = ?";
        let found = world.client.query_one(sql, (id,)).wait().unwrap();
        found.map(|row| row.get::<Value>(0).unwrap())
    };
    // A timeout or a rollback changes nothing.
    for times_out in [true, false] {
        let tx = within(world.client.queue().begin_edit(old)).unwrap();
        within(tx.execute("UPDATE task SET title = 'y'", ())).unwrap();
        if times_out {
            host.advance(TOO_LONG);
            assert!(matches!(within(tx.commit()), Err(Error::TransactionTimeout)));
        } else {
            within(tx.rollback()).unwrap();
        }
        assert_eq!((tx.edited(), title("a")), (None, Some(Value::from("x"))));
        assert_eq!(within(world.client.queue().all()).unwrap()[0].id, old);
    }
    let tx = within(world.client.queue().begin_edit(old)).unwrap();
    within(tx.execute("DELETE FROM task WHERE id = 'b'", ())).unwrap();
    within(tx.execute("UPDATE task SET title = 'y'", ())).unwrap();
    within(tx.commit()).unwrap();
    let pending = within(world.client.queue().all()).unwrap();
    assert_eq!((tx.edited(), pending.len()), (Some(pending[0].id), 1));
    assert_eq!((title("a"), title("b")), (Some(Value::from("y")), None));
    let error = within(world.client.queue().begin_edit(old)).unwrap_err();
    assert!(matches!(error, Error::Queue(QueueFault::Unknown(id)) if id == old), "{error}");
    // The edit removes everything.
    let tx = within(world.client.queue().begin_edit(pending[0].id)).unwrap();
    within(tx.execute("DELETE FROM task", ())).unwrap();
    within(tx.commit()).unwrap();
    assert_eq!((tx.edited(), within(world.client.queue().all()).unwrap().len()), (None, 0));
}
