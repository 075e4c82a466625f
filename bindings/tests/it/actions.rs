//! Handlers of actions: no error or panic of a handler crosses, and a handler that is given up is dropped.
//!
//! Border: what actions do is shown by the tests of the languages, through the same exported objects.

use std::future::pending;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use rejoin_core::block_on;
use rejoin_ffi::{
    ActionContext, ActionDefinition, ActionFault, ActionHandler, ActionParameter,
    ActionParameterType, ActionRegistry, ActionUpgrade, Performed, RejoinClient, RejoinError,
};

use crate::home::{Home, next, text};

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "title", "db_type": "text", "logical_type": "string"}]}]}"#;

type Run = dyn Fn(Arc<ActionContext>, String) -> BoxFuture<'static, Result<String, RejoinError>>
    + Send
    + Sync;

/// A handler that is a function.
struct Code(Box<Run>);

#[async_trait::async_trait]
impl ActionHandler for Code {
    async fn run(&self, context: Arc<ActionContext>, given: String) -> Result<String, RejoinError> {
        (self.0)(context, given).await
    }
}

fn code<F>(run: impl Fn(Arc<ActionContext>, String) -> F + Send + Sync + 'static) -> Arc<Code>
where
    F: Future<Output = Result<String, RejoinError>> + Send + 'static,
{
    Arc::new(Code(Box::new(move |context, given| Box::pin(run(context, given)))))
}

/// An action without parameters.
fn definition(name: &str) -> ActionDefinition {
    ActionDefinition {
        name: name.to_owned(),
        version: None,
        parameters: Vec::new(),
        upgrades: Vec::new(),
    }
}

/// An offline client with a synced table of one row, and these actions.
fn home(idle_ms: Option<u32>, register: impl FnOnce(&ActionRegistry)) -> Home {
    let registry = ActionRegistry::new();
    register(&registry);
    let change = move |config: &mut rejoin_ffi::ClientConfig| {
        config.schema_json = Some(SCHEMA.to_owned());
        config.transaction_idle_ms = idle_ms;
    };
    let home = Home::opened(change, None, None, Some(registry));
    home.runs("INSERT INTO task (id, title) VALUES ('a', 'old')");
    home
}

fn perform(home: &Home, name: &str, given: &str) -> Result<Performed, RejoinError> {
    block_on(home.client.perform(name.to_owned(), given.to_owned()))
}

async fn set(context: &ActionContext, title: &str) -> Result<i64, RejoinError> {
    context.execute("UPDATE task SET title = ?".to_owned(), vec![text(title)]).await
}

#[test]
fn whatever_code_throws_nothing_of_it_is_kept_and_what_it_throws_on_stays_what_it_is() {
    let home = home(None, |actions| {
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
        let how = ActionParameter {
            name: "how".into(),
            kind: ActionParameterType::Text,
            optional: false,
        };
        actions.handler(ActionDefinition { parameters: vec![how], ..definition("try") }, handler);
    });
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
    assert_eq!(block_on(home.client.pending()).unwrap().len(), 1);
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
    let home = home(Some(300), |actions| {
        let handler = code(move |context, _| {
            let (keep, gone) = (Arc::clone(&keep), Gone(tell.lock().unwrap().clone()));
            async move {
                let _gone = gone;
                set(&context, "half").await?;
                *keep.lock().unwrap() = Some(context);
                pending().await
            }
        });
        actions.handler(definition("hang"), handler);
    });
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
fn what_is_wrong_with_actions_is_told_when_the_file_is_opened() {
    let registry = ActionRegistry::new();
    registry.declare(r#"{"name": "empty", "statements": []}"#.to_owned());
    registry.handler(definition(""), code(|_, _| async { Ok(String::new()) }));
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
    let upgraded = ActionDefinition { upgrades: vec![upgrade], ..definition("x") };
    registry.handler(upgraded, code(|_, _| async { Ok(String::new()) }));
    let error = block_on(RejoinClient::open(config, None, None, Some(registry))).unwrap_err();
    assert!(matches!(&error, RejoinError::Configuration { reason } if reason.contains("set_json")));
}
