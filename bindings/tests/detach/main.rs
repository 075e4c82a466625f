//! Test of what a runtime of another language leaves when it ends: everything of it is detached.
//!
//! A program of its own, since it ends all clients of the process.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A test, with watchdogs.

#[path = "../it/home.rs"]
#[allow(dead_code)] // Shared with the other tests.
mod home;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::pending;
use rejoin_core::block_on;
use rejoin_ffi::{
    ActionContext, ActionDefinition, ActionHandler, ActionRegistry, ClientConfig, RejoinClient,
    RejoinError, TokenProvider, detach_all,
};

use crate::home::{column, config, next};

/// App code that reports its call and never returns.
struct Stuck(Mutex<Sender<()>>);

impl Stuck {
    async fn never<T>(&self) -> T {
        self.0.lock().unwrap().send(()).unwrap();
        pending().await
    }
}

#[async_trait::async_trait]
impl TokenProvider for Stuck {
    async fn token(&self, _: bool) -> Result<Option<String>, RejoinError> {
        self.never().await
    }

    async fn subject(&self, _: String) -> Result<Option<String>, RejoinError> {
        self.never().await
    }
}

#[async_trait::async_trait]
impl ActionHandler for Stuck {
    async fn run(&self, context: Arc<ActionContext>, _: String) -> Result<String, RejoinError> {
        context.execute("INSERT INTO task (id) VALUES ('action')".to_owned(), vec![]).await?;
        self.never().await
    }
}

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true}]}]}"#;

fn synced(path: &Path) -> ClientConfig {
    let mut config = config(&path.to_string_lossy());
    config.server = Some("https://nowhere.invalid".to_owned());
    config.schema = Some(SCHEMA.to_owned());
    config.transaction_idle_ms = Some(60_000);
    config
}

fn runs(client: &RejoinClient, sql: &str) {
    block_on(client.execute(sql.to_owned(), vec![])).unwrap();
}

#[test]
fn detached_files_open_again_without_open_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, calls) = channel();
    let stuck = Arc::new(Stuck(Mutex::new(sender)));
    let path = |name: &str| synced(&folder.path().join(name));
    let open = |name: &str, actions| {
        block_on(RejoinClient::open(path(name), Some(Arc::clone(&stuck) as _), None, actions))
            .unwrap()
    };
    // A token request, a watch and a transaction.
    let first = open("first.db", None);
    runs(&first, "INSERT INTO task (id) VALUES ('committed')");
    block_on(first.start()).unwrap();
    next(&calls);
    let watch = first.watch("SELECT id FROM task".to_owned(), vec![], vec![]);
    assert!(block_on(watch.next()).unwrap().is_some());
    let transaction = block_on(first.begin()).unwrap();
    let write = "INSERT INTO task (id) VALUES ('open')".to_owned();
    block_on(transaction.execute(write, vec![])).unwrap();
    // An action.
    let actions = ActionRegistry::new();
    let definition = ActionDefinition {
        name: "hang".to_owned(),
        version: None,
        parameters: vec![],
        upgrades: vec![],
    };
    actions.handler(definition, Arc::clone(&stuck) as _);
    let second = open("second.db", Some(actions));
    runs(&second, "INSERT INTO task (id) VALUES ('committed')");
    let performed = {
        let second = Arc::clone(&second);
        std::thread::spawn(move || block_on(second.perform("hang".to_owned(), String::new())))
    };
    next(&calls);

    let begun = Instant::now();
    detach_all();
    assert!(begun.elapsed() < Duration::from_secs(20), "it waited for code of the app");
    assert!(matches!(block_on(watch.next()), Ok(None)), "the watch goes on");
    performed.join().unwrap().unwrap_err();
    let closed = block_on(first.query("SELECT 1".to_owned(), vec![]));
    assert!(matches!(closed, Err(RejoinError::Closed { .. })), "{closed:?}");
    for name in ["first.db", "second.db"] {
        // Without the services of before, which a client that is still open would refuse to share.
        let mut other = path(name);
        other.page_size = Some(777);
        let again = block_on(RejoinClient::open(other, None, None, None)).unwrap();
        let rows = block_on(again.query("SELECT id FROM task".to_owned(), vec![])).unwrap();
        assert_eq!(column(rows), ["committed"], "{name}");
        assert_eq!(block_on(again.pending()).unwrap().len(), 1, "{name}");
        block_on(again.shutdown()).unwrap();
    }
    assert!(calls.try_recv().is_err(), "code of the app was called after it was detached");
}
