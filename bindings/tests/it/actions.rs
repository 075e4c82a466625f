//! Actions over the border: as data, and as code that waits for what it asks.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use rejoin_core::{RowBuffer, block_on};
use rejoin_ffi::{
    ActionBudget, ActionContext, ActionDefinition, ActionFault, ActionHandler, ActionParameter,
    ActionParameterType, ActionRegistry, ActionUpgrade, MutationState, ParkReason, Performed,
    RejoinClient, RejoinError, VerdictKind,
};

use crate::cloud::{Cloud, URL};
use crate::home::{Home, column, next, text};

/// Long enough for any machine; a test that waits so long has failed.
const PATIENT: Option<u32> = Some(60_000);

pub(crate) const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "title", "db_type": "text", "logical_type": "string"}]}]}"#;

const RENAME: &str = r#"{"name": "rename", "parameters": [{"name": "id", "type": "text"}, {"name": "title", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) FROM task WHERE id = :id", "message": "it is gone"}],
    "statements": ["UPDATE task SET title = :title WHERE id = :id"],
    "result": "SELECT title FROM task WHERE id = :id"}"#;

type Run = dyn Fn(Arc<ActionContext>, String) -> BoxFuture<'static, Result<String, RejoinError>>
    + Send
    + Sync;

/// A handler that is a function.
pub(crate) struct Code(Box<Run>);

#[async_trait::async_trait]
impl ActionHandler for Code {
    async fn run(&self, context: Arc<ActionContext>, given: String) -> Result<String, RejoinError> {
        (self.0)(context, given).await
    }
}

pub(crate) fn code<F>(
    run: impl Fn(Arc<ActionContext>, String) -> F + Send + Sync + 'static,
) -> Arc<Code>
where
    F: Future<Output = Result<String, RejoinError>> + Send + 'static,
{
    Arc::new(Code(Box::new(move |context, given| Box::pin(run(context, given)))))
}

pub(crate) fn definition(
    name: &str,
    parameters: &[(&str, ActionParameterType)],
) -> ActionDefinition {
    let parameter = |&(name, kind): &(&str, _)| ActionParameter {
        name: str::to_owned(name),
        kind,
        optional: false,
    };
    ActionDefinition {
        name: name.to_owned(),
        version: None,
        parameters: parameters.iter().map(parameter).collect(),
        upgrades: Vec::new(),
    }
}

/// An offline client with a synced table, and these actions.
pub(crate) fn home(register: impl FnOnce(&ActionRegistry)) -> Home {
    home_with(None, register)
}

fn home_with(idle_ms: Option<u32>, register: impl FnOnce(&ActionRegistry)) -> Home {
    let registry = ActionRegistry::new();
    register(&registry);
    let change = move |config: &mut rejoin_ffi::ClientConfig| {
        config.schema_json = Some(SCHEMA.to_owned());
        config.transaction_idle_ms = idle_ms;
    };
    Home::opened(change, None, None, Some(registry))
}

pub(crate) fn perform(home: &Home, name: &str, given: &str) -> Result<Performed, RejoinError> {
    block_on(home.client.perform(name.to_owned(), given.to_owned()))
}

pub(crate) fn waiting(home: &Home) -> Vec<Option<String>> {
    let pending = block_on(home.client.pending()).unwrap();
    pending.into_iter().map(|one| one.action).collect()
}

async fn title(context: &ActionContext) -> Result<String, RejoinError> {
    let rows = context.query("SELECT title FROM task ORDER BY id".to_owned(), vec![]).await?;
    Ok(column(rows).join(" "))
}

async fn set(context: &ActionContext, title: &str) -> Result<i64, RejoinError> {
    context.execute("UPDATE task SET title = ?".to_owned(), vec![text(title)]).await
}

#[test]
fn an_action_that_is_data_is_performed_and_refuses_in_its_own_words() {
    let home = home(|actions| actions.declare(RENAME.to_owned()));
    home.runs("INSERT INTO task (id, title) VALUES ('a', 'old')");
    let renamed = perform(&home, "rename", r#"{"id": "a", "title": "new"}"#).unwrap();
    assert_eq!(renamed.value_json, r#"{"title":"new"}"#);
    let pending = block_on(home.client.pending()).unwrap();
    assert_eq!((renamed.id.as_ref(), pending.len()), (Some(&pending[1].id), 2));
    for (name, given, fault, words) in [
        ("rename", r#"{"id": "b", "title": "new"}"#, ActionFault::Refused, "it is gone"),
        ("rename", r#"{"id": "a"}"#, ActionFault::Arguments, "title is missing"),
        ("forget", "", ActionFault::Unknown, ""),
    ] {
        let error = perform(&home, name, given).unwrap_err();
        let RejoinError::Action { reason, action, fault: told, words: said } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((action.as_str(), *told, said.as_str()), (name, fault, words), "{reason}");
        assert!(reason.starts_with(&format!("action {name}: ")), "{reason}");
    }
    let error = perform(&home, "rename", "{").unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
    assert_eq!(waiting(&home).len(), 2, "nothing of these is kept");
}

#[test]
fn an_action_is_mended_by_performing_it_again_in_the_place_of_the_old() {
    let home = home(|actions| actions.declare(RENAME.to_owned()));
    home.runs("INSERT INTO task (id, title) VALUES ('a', 'old')");
    let old = perform(&home, "rename", r#"{"id": "a", "title": "wrong"}"#).unwrap().id.unwrap();
    let plain = block_on(home.client.pending()).unwrap()[0].id.clone();
    let again = |id: &str, given: &str| {
        block_on(home.client.perform_again(id.to_owned(), given.to_owned()))
    };
    for (id, given, kind) in [
        (old.as_str(), r#"{"id": "b", "title": "x"}"#, "Action {"),
        (&old, r#"{"id": "a"}"#, "Action {"),
        (&old, "{", "InvalidInput {"),
        (&plain, "{}", "InvalidInput {"),
        ("01234567-89ab-4def-8123-456789abcdef", "{}", "InvalidInput {"),
        ("nonsense", "{}", "InvalidInput {"),
    ] {
        let error = again(id, given).unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{error:?}");
        assert_eq!(home.sees("SELECT title FROM task"), ["wrong"], "nothing was changed");
    }
    let new = again(&old, r#"{"id": "a", "title": "right"}"#).unwrap();
    assert_eq!(new.value_json, r#"{"title":"right"}"#);
    assert_eq!(home.sees("SELECT title FROM task"), ["right"]);
    let ids: Vec<_> =
        block_on(home.client.pending()).unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(ids, [plain, new.id.unwrap()]);
    assert!(!ids.contains(&old));
}

#[test]
fn an_action_that_is_code_reads_and_writes_and_gives_a_value_back() {
    let home = home(|actions| {
        let handler = code(|context, given| async move {
            let given: serde_json::Value = serde_json::from_str(&given).unwrap();
            let before = title(&context).await?;
            set(&context, given["title"].as_str().unwrap()).await?;
            let id = context.row_id("task".to_owned(), r#"{"title": "made"}"#.to_owned()).await?;
            let insert = "INSERT INTO task (id, title) VALUES (?, ?)".to_owned();
            context.execute(insert, vec![text(&id), text("made")]).await?;
            let time = "SELECT rejoin_now()".to_owned();
            let now = column(context.query(time, vec![]).await?);
            assert_eq!(now, [context.time()]);
            assert!(context.time_ms() > 0);
            Ok(serde_json::json!({"before": before, "in": context.mutation_id()}).to_string())
        });
        actions.handler(definition("swap", &[("title", ActionParameterType::Text)]), handler);
        actions.identity("task".to_owned(), vec!["title".to_owned()]);
    });
    home.runs("INSERT INTO task (id, title) VALUES ('a', 'old')");
    let swapped = perform(&home, "swap", r#"{"title": "new"}"#).unwrap();
    let value: serde_json::Value = serde_json::from_str(&swapped.value_json).unwrap();
    assert_eq!(value["before"], "old");
    assert_eq!(value["in"].as_str(), swapped.id.as_deref());
    assert_eq!(home.sees("SELECT title FROM task ORDER BY title"), ["made", "new"]);
    assert_eq!(waiting(&home), [None, Some("swap".to_owned())], "one mutation that knows its name");
}

#[test]
fn whatever_code_throws_nothing_of_it_is_kept_and_what_it_throws_on_stays_what_it_is() {
    let home = home(|actions| {
        let handler = code(|context, given| async move {
            set(&context, "half").await?;
            let given: serde_json::Value = serde_json::from_str(&given).unwrap();
            match given["how"].as_str().unwrap() {
                "refused" => Err(RejoinError::Action {
                    reason: String::new(),
                    action: String::new(),
                    fault: ActionFault::Refused,
                    words: "too late".to_owned(),
                }),
                "rule" => twice(&context).await,
                "chance" => context
                    .execute("UPDATE task SET title = random()".to_owned(), vec![])
                    .await
                    .map(|_| String::new()),
                "thrown" => Err(RejoinError::Callback { reason: "TypeError".to_owned() }),
                "panics" => panic!("in the handler"),
                _ => Ok("no JSON".to_owned()),
            }
        });
        actions.handler(definition("try", &[("how", ActionParameterType::Text)]), handler);
    });
    home.runs("INSERT INTO task (id, title) VALUES ('a', 'old')");
    let error = |how: &str| perform(&home, "try", &format!(r#"{{"how": "{how}"}}"#)).unwrap_err();
    let refused = error("refused");
    assert!(
        matches!(&refused, RejoinError::Action { fault: ActionFault::Refused, words, action, .. }
        if words == "too late" && action == "try"),
        "{refused:?}"
    );
    let rule = error("rule");
    assert!(matches!(&rule, RejoinError::Constraint { column, .. } if column == "id"), "{rule:?}");
    let chance = error("chance");
    assert!(
        matches!(&chance, RejoinError::InvalidInput { reason } if reason.contains("random")),
        "{chance:?}"
    );
    for (how, words) in [("thrown", "TypeError"), ("panics", "panicked"), ("else", "no JSON")] {
        let thrown = error(how);
        assert!(
            matches!(&thrown, RejoinError::Callback { reason } if reason.contains(words)),
            "{thrown:?}"
        );
    }
    assert_eq!(home.sees("SELECT title FROM task"), ["old"]);
    assert_eq!(waiting(&home), [None]);
}

async fn twice(context: &ActionContext) -> Result<String, RejoinError> {
    let insert = "INSERT INTO task (id, title) VALUES ('a', '')".to_owned();
    context.execute(insert, vec![]).await.map(|_| String::new())
}

/// Tells its end.
struct Gone(Sender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn code_that_does_not_end_is_given_up_and_its_context_is_over() {
    let kept: Arc<Mutex<Option<Arc<ActionContext>>>> = Arc::default();
    let (tell, gone) = mpsc::channel();
    let (keep, tell) = (Arc::clone(&kept), Mutex::new(tell));
    let home = home_with(Some(300), |actions| {
        let handler = code(move |context, _| {
            let (keep, gone) = (Arc::clone(&keep), Gone(tell.lock().unwrap().clone()));
            async move {
                let _gone = gone;
                set(&context, "half").await?;
                *keep.lock().unwrap() = Some(context);
                pending().await
            }
        });
        actions.handler(definition("hang", &[]), handler);
    });
    home.runs("INSERT INTO task (id, title) VALUES ('a', 'old')");
    let error = perform(&home, "hang", "").unwrap_err();
    assert!(matches!(error, RejoinError::Action { fault: ActionFault::TimedOut, .. }), "{error:?}");
    home.runs("UPDATE task SET title = title || 'er'");
    assert_eq!(home.sees("SELECT title FROM task"), ["older"], "whoever waited has its turn");
    let context = kept.lock().unwrap().take().unwrap();
    let error = block_on(set(&context, "late")).unwrap_err();
    assert!(matches!(error, RejoinError::TransactionTimeout { .. }), "{error:?}");
    next(&gone); // Its code was let go.
}

#[test]
fn suspending_and_ending_do_not_wait_for_code() {
    let (tell, begun) = mpsc::channel();
    let tell = Mutex::new(tell);
    let home = home(|actions| {
        let handler = code(move |context, _| {
            let tell = tell.lock().unwrap().clone();
            async move {
                set(&context, "half").await?;
                tell.send(()).unwrap();
                loop {
                    title(&context).await?; // Never silent.
                }
            }
        });
        actions.handler(definition("busy", &[]), handler);
    });
    home.runs("INSERT INTO task (id, title) VALUES ('a', 'old')");
    let performing = || {
        let client: Arc<RejoinClient> = Arc::clone(&home.client);
        let perform = move || block_on(client.perform("busy".to_owned(), String::new()));
        let performing = std::thread::spawn(perform);
        next(&begun);
        performing
    };
    let performed = performing();
    block_on(home.client.suspend()).unwrap();
    let error = performed.join().unwrap().unwrap_err();
    assert!(matches!(error, RejoinError::Suspended { .. }), "{error:?}");
    block_on(home.client.resume()).unwrap();
    assert_eq!(home.sees("SELECT title FROM task"), ["old"]);
    let performed = performing();
    block_on(home.client.shutdown()).unwrap();
    let error = performed.join().unwrap().unwrap_err();
    assert!(matches!(error, RejoinError::Ended { .. }), "{error:?}");
}

#[test]
fn what_is_wrong_with_actions_is_told_when_the_file_is_opened() {
    let registry = ActionRegistry::new();
    registry.declare(r#"{"name": "empty", "statements": []}"#.to_owned());
    registry.handler(definition("", &[]), code(|_, _| async { Ok(String::new()) }));
    let folder = tempfile::tempdir().unwrap();
    let config = crate::home::config(&folder.path().join("app.db").to_string_lossy());
    let open = RejoinClient::open(config.clone(), None, None, Some(registry));
    let error = block_on(open).unwrap_err();
    let RejoinError::Configuration { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("it has no statement") && reason.contains("needs a name"), "{reason}");
    let registry = ActionRegistry::new();
    let upgrade = ActionUpgrade {
        version: 1,
        rename: None,
        set_json: Some("[]".to_owned()),
        drop: Vec::new(),
    };
    let upgraded = ActionDefinition { upgrades: vec![upgrade], ..definition("x", &[]) };
    registry.handler(upgraded, code(|_, _| async { Ok(String::new()) }));
    let error = block_on(RejoinClient::open(config, None, None, Some(registry))).unwrap_err();
    assert!(matches!(&error, RejoinError::Configuration { reason } if reason.contains("set_json")));
}

#[test]
fn a_table_that_only_actions_write_refuses_other_writes() {
    let home = home(|actions| {
        let handler = code(|context, _| async move {
            let insert = "INSERT INTO task (id, title) VALUES (?, ?)".to_owned();
            context.execute(insert, vec![text("a"), text("x")]).await.map(|_| String::new())
        });
        actions.handler(definition("make", &[]), handler);
        actions.only_by_actions("task".to_owned());
    });
    let insert = "INSERT INTO task (id, title) VALUES ('b', 'x')".to_owned();
    let error = block_on(home.client.execute(insert, vec![])).unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
    assert_eq!(perform(&home, "make", "").unwrap().value_json, "null");
    assert_eq!(home.sees("SELECT id FROM task"), ["a"]);
}

/// A device that counts in a title, by code; `then` comes before it counts.
fn counter<F>(cloud: &Arc<Cloud>, then: impl Fn(usize) -> F + Send + Sync + 'static) -> Home
where
    F: Future<Output = Result<(), RejoinError>> + Send + 'static,
{
    let registry = ActionRegistry::new();
    let runs = AtomicUsize::new(0);
    let handler = code(move |context, given| {
        let then = then(runs.fetch_add(1, Ordering::SeqCst) + 1);
        async move {
            then.await?;
            let given: serde_json::Value = serde_json::from_str(&given).unwrap();
            let n: i64 = title(&context).await?.parse().unwrap();
            let n = n + given["n"].as_i64().unwrap();
            set(&context, &n.to_string()).await?;
            Ok(n.to_string())
        }
    });
    registry.handler(definition("count", &[("n", ActionParameterType::Integer)]), handler);
    let change = |config: &mut rejoin_ffi::ClientConfig| {
        config.server_url = Some(URL.to_owned());
        config.action_budget = Some(ActionBudget { rebase_ms: Some(200), ..Default::default() });
    };
    let home = Home::opened(change, None, Some(Arc::clone(cloud) as _), Some(registry));
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
    block_on(home.client.stop()).unwrap();
    home
}

/// Two devices that have counted at once on what stood at 1; the first one's is on the server.
fn counted_at_once<F>(then: impl Fn(usize) -> F + Send + Sync + 'static) -> (Arc<Cloud>, Home)
where
    F: Future<Output = Result<(), RejoinError>> + Send + 'static,
{
    let cloud = Cloud::new();
    let one = counter(&cloud, |_| async { Ok(()) });
    one.runs("INSERT INTO task (id, title) VALUES ('t', '1')");
    block_on(one.client.sync_and_wait(PATIENT)).unwrap();
    let two = counter(&cloud, then);
    assert_eq!(perform(&one, "count", r#"{"n": 10}"#).unwrap().value_json, "11");
    assert_eq!(perform(&two, "count", r#"{"n": 100}"#).unwrap().value_json, "101");
    block_on(one.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!(cloud.titles(), ["11"]);
    (cloud, two)
}

#[test]
fn code_runs_again_on_the_rows_of_the_server_and_both_count() {
    let (cloud, two) = counted_at_once(|_| async { Ok(()) });
    block_on(two.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!(
        (cloud.titles(), two.sees("SELECT title FROM task")),
        (vec!["111".into()], vec!["111".into()])
    );
}

#[test]
fn code_that_throws_when_it_runs_again_parks_its_mutation() {
    let (cloud, two) = counted_at_once(|run| async move {
        if run == 1 { Ok(()) } else { Err(RejoinError::Callback { reason: "TypeError".into() }) }
    });
    block_on(two.client.sync_and_wait(PATIENT)).unwrap();
    let pending = block_on(two.client.pending()).unwrap();
    assert_eq!(
        (pending[0].state, pending[0].reason),
        (MutationState::Parked, Some(ParkReason::Unreplayable))
    );
    assert!(pending[0].detail.as_ref().unwrap().contains("TypeError"));
    assert_eq!(
        (cloud.titles(), two.sees("SELECT title FROM task")),
        (vec!["11".into()], vec!["11".into()])
    );
    let verdicts = block_on(two.client.verdicts(10)).unwrap();
    let parked = verdicts.entries.last().unwrap();
    assert_eq!((parked.kind, parked.reason), (VerdictKind::Parked, Some(ParkReason::Unreplayable)));
}

#[test]
fn code_that_does_not_end_when_it_runs_again_holds_up_a_pull_for_its_budget_only() {
    let (cloud, two) =
        counted_at_once(|run| async move { if run == 1 { Ok(()) } else { pending().await } });
    block_on(two.client.sync_and_wait(PATIENT)).unwrap();
    let pending = block_on(two.client.pending()).unwrap();
    let one = &pending[0];
    // The server has found what was recorded in conflict; it is not offered as it was.
    assert_eq!(
        (one.state, one.reason),
        (MutationState::Parked, Some(ParkReason::Conflicted)),
        "{one:?}"
    );
    assert_eq!(
        (cloud.titles(), two.sees("SELECT title FROM task")),
        (vec!["11".into()], vec!["11".into()])
    );
}

#[test]
fn a_newer_version_takes_over_the_arguments_of_the_older() {
    let folder = tempfile::tempdir().unwrap();
    let open = |definition: ActionDefinition| {
        let registry = ActionRegistry::new();
        let seen = code(|context, given| async move {
            set(&context, &given).await?;
            Ok(String::new())
        });
        registry.handler(definition, seen);
        let mut config = crate::home::config(&folder.path().join("app.db").to_string_lossy());
        config.schema_json = Some(SCHEMA.to_owned());
        block_on(RejoinClient::open(config, None, None, Some(registry))).unwrap()
    };
    let old = open(definition("tell", &[("word", ActionParameterType::Text)]));
    let insert = "INSERT INTO task (id, title) VALUES ('a', 'x')".to_owned();
    block_on(old.execute(insert, vec![])).unwrap();
    let first = block_on(old.pending()).unwrap()[0].id.clone();
    block_on(old.perform("tell".to_owned(), r#"{"word": "hello"}"#.to_owned())).unwrap();
    block_on(old.shutdown()).unwrap();
    let upgrade = ActionUpgrade {
        version: 1,
        rename: Some([("word".to_owned(), "text".to_owned())].into()),
        set_json: Some(r#"{"loud": true}"#.to_owned()),
        drop: Vec::new(),
    };
    let new = open(ActionDefinition {
        version: Some(2),
        upgrades: vec![upgrade],
        ..definition(
            "tell",
            &[("text", ActionParameterType::Text), ("loud", ActionParameterType::Boolean)],
        )
    });
    // What it stands on is mended, so it runs again.
    let mend = crate::home::statement("UPDATE task SET title = 'y'", &[]);
    block_on(new.edit(first, vec![mend])).unwrap();
    let titles = block_on(new.query("SELECT title FROM task".to_owned(), vec![])).unwrap();
    let titles: Vec<String> =
        RowBuffer::from_bytes(titles).unwrap().iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(titles, [r#"{"loud":true,"text":"hello"}"#]);
}
