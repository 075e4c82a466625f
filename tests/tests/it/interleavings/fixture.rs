//! Runs the engine beside the model: one step at a time, each response compared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rejoin_core::host::TestHost;
use rejoin_core::{
    Client, Config, HeldTransaction, Result, Services, Task, Value, Watch, block_on,
};
use tempfile::TempDir;

use super::model::*;
use crate::client::PATIENCE;

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [
      {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "title", "db_type": "text", "logical_type": "string"},
      {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;

/// A client with its open handles.
pub(super) struct Fixture {
    pub(super) client: Client,
    pub(super) host: Arc<TestHost>,
    watch: Watch,
    /// The number of rows in the last watch result.
    shown: usize,
    pub(super) handles: [Option<HeldTransaction>; 2],
    beginning: [Option<Task<HeldTransaction>>; 2],
    writing: BTreeMap<usize, Task<usize>>,
    _folder: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = folder();
        let host = Arc::new(TestHost::new(7));
        let config = Config::new(folder.path().join("app.db"))
            .schema(serde_json::from_str(SCHEMA).unwrap())
            .readers(1);
        let services = Services { host: Some(host.clone()), ..Services::default() };
        let client = Client::open_with(config, services).wait().unwrap();
        let mut watch = block_on(client.watch("SELECT id FROM task", (), &[])).unwrap();
        let shown = block_on(watch.next()).unwrap().unwrap().rows.len();
        Self {
            client,
            host,
            watch,
            shown,
            handles: [None, None],
            beginning: [None, None],
            writing: BTreeMap::new(),
            _folder: folder,
        }
    }

    /// Runs one step on the model and on the engine.
    pub(super) fn execute(&mut self, model: &mut Model, step: Step) {
        let mut completed = Completed::new();
        match step {
            Begin(index) => self.begin(model, index),
            Statement(index) => self.statement(model, index),
            Commit(index) | Rollback(index) => self.finish(model, index, step, &mut completed),
            Abandon(index) => {
                if model.holders[index] == Holder::Waits {
                    model.queue.retain(|waiting| *waiting != Waiting::Holder(index));
                    self.beginning[index] = None;
                }
                self.handles[index] = None;
                model.holders[index] = Holder::Away;
                model.free(&mut completed);
            }
            Write => self.write(model),
            Query => {
                let rows = wait_for(self.client.query("SELECT id FROM task", ()));
                match model.closed() {
                    None => assert_eq!(rows.unwrap().len(), model.committed.concat().len()),
                    Some(over) => over.is(&rows.unwrap_err()),
                }
            }
            Suspend => {
                model.state = ClientState::Suspended;
                model.end(EndCause::Suspended, &mut completed);
                wait_for(self.client.sync().suspend()).unwrap();
            }
            Resume => {
                model.state = ClientState::Open;
                wait_for(self.client.sync().resume()).unwrap();
            }
            Shutdown => {
                model.state = ClientState::Ended;
                model.end(EndCause::Shutdown, &mut completed);
                wait_for(self.client.shutdown()).unwrap();
            }
            Silence => {
                model.end(EndCause::TimedOut, &mut completed);
                self.host.advance(Duration::from_secs(6));
            }
        }
        for (waiting, expected) in completed {
            self.collect(waiting, expected);
        }
    }

    fn begin(&mut self, model: &mut Model, index: usize) {
        let beginning = self.client.begin();
        match (model.closed(), model.holding()) {
            (Some(over), _) => over.is(&wait_for(beginning).unwrap_err()),
            (None, Some(_)) => {
                model.holders[index] = Holder::Waits;
                model.queue.push(Waiting::Holder(index));
                self.beginning[index] = Some(beginning);
            }
            (None, None) => {
                model.holders[index] = Holder::Holds(Vec::new());
                self.handles[index] = Some(wait_for(beginning).unwrap());
            }
        }
    }

    fn statement(&mut self, model: &mut Model, index: usize) {
        let keys = [format!("{index}-{}", model.rows), format!("{index}-{}", model.rows + 1)];
        model.rows += 2;
        let sql = "INSERT INTO task (id, title) VALUES (?, 't'), (?, 't')";
        let handle = self.handles[index].as_ref().unwrap();
        let done = wait_for(handle.execute(sql, (keys[0].as_str(), keys[1].as_str())));
        match &mut model.holders[index] {
            Holder::Holds(rows) => {
                assert_eq!(done.unwrap(), 2);
                rows.extend(keys);
            }
            Holder::Ended(over) => over.is(&done.unwrap_err()),
            other => unreachable!("{other:?}"),
        }
    }

    fn finish(&mut self, model: &mut Model, index: usize, step: Step, completed: &mut Completed) {
        let handle = self.handles[index].as_ref().unwrap();
        let commits = matches!(step, Commit(_));
        let done = wait_for(if commits { handle.commit() } else { handle.rollback() });
        match model.holders[index].clone() {
            Holder::Holds(rows) => {
                done.unwrap();
                if commits && !rows.is_empty() {
                    model.committed.push(rows);
                }
                model.end(EndCause::Ended, completed);
            }
            Holder::Ended(over) => over.is(&done.unwrap_err()),
            other => unreachable!("{other:?}"),
        }
    }

    fn write(&mut self, model: &mut Model) {
        let number = model.writes;
        model.writes += 1;
        let key = write_key(number);
        let writing =
            self.client.execute("INSERT INTO task (id, title) VALUES (?, 'w')", (key.as_str(),));
        match (model.closed(), model.holding()) {
            (Some(over), _) => over.is(&wait_for(writing).unwrap_err()),
            (None, Some(_)) => {
                model.queue.push(Waiting::Write(number));
                self.writing.insert(number, writing);
            }
            (None, None) => {
                assert_eq!(wait_for(writing).unwrap(), 1);
                model.committed.push(vec![key]);
            }
        }
    }

    /// Collects the response to a waiting caller.
    fn collect(&mut self, waiting: Waiting, expected: std::result::Result<(), EndCause>) {
        match waiting {
            Waiting::Holder(index) => {
                let begun = self.beginning[index].take().unwrap();
                match (wait_for(begun), expected) {
                    (Ok(handle), Ok(())) => self.handles[index] = Some(handle),
                    (Err(error), Err(over)) => over.is(&error),
                    (begun, expected) => panic!("{begun:?}, {expected:?} expected"),
                }
            }
            Waiting::Write(number) => {
                let written = self.writing.remove(&number).unwrap();
                match (wait_for(written), expected) {
                    (Ok(1), Ok(())) => {}
                    (Err(error), Err(over)) => over.is(&error),
                    (written, expected) => panic!("{written:?}, {expected:?} expected"),
                }
            }
        }
    }

    /// Releases everything and checks that the file has what was committed. Returns whether the
    /// client can be used again.
    pub(super) fn clear(&mut self, model: &mut Model) -> bool {
        for index in [0, 1] {
            if model.can(Abandon(index)) {
                self.execute(model, Abandon(index));
            }
            self.handles[index] = None;
        }
        assert!(self.writing.is_empty() && self.beginning.iter().all(Option::is_none));
        if model.state == ClientState::Ended {
            // The next open reports an error of the file.
            let config = self.client.config().clone();
            self.client = wait_for(Client::open(config)).unwrap();
            self.check(model);
            wait_for(self.client.shutdown()).unwrap();
            return false;
        }
        if model.state == ClientState::Suspended {
            self.execute(model, Resume);
        }
        self.check(model);
        self.await_shown(model.committed.concat().len());
        for mutation in wait_for(self.client.queue().all()).unwrap() {
            wait_for(self.client.queue().discard(mutation.id)).unwrap();
        }
        self.await_shown(0);
        true
    }

    /// Rows and queue agree with the model, and so with each other.
    fn check(&self, model: &Model) {
        let rows = wait_for(self.client.query("SELECT id FROM task ORDER BY id", ())).unwrap();
        let rows: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        let mut expected = model.committed.concat();
        expected.sort();
        assert_eq!(rows, expected, "the rows");
        let queue: Vec<Vec<String>> = wait_for(self.client.queue().all())
            .unwrap()
            .into_iter()
            .map(|mutation| mutation.rows.iter().map(|row| text(&row.key)).collect())
            .collect();
        assert_eq!(queue, model.committed, "the queue");
    }

    /// Waits until the watch shows this many rows: the latest result always arrives, whatever was
    /// skipped.
    fn await_shown(&mut self, rows: usize) {
        while self.shown != rows {
            let update = with_timeout(self.watch.next());
            let update = update.unwrap_or_else(|| panic!("the watch shows {} rows", self.shown));
            self.shown = update.unwrap().unwrap().rows.len();
        }
    }
}

/// The response, which must arrive.
fn wait_for<R>(answer: Task<R>) -> Result<R> {
    with_timeout(answer).unwrap_or_else(|| panic!("no response"))
}

/// In memory if the machine has such a place: the test creates thousands of temporary files.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// The future's output, unless it exceeds the timeout.
fn with_timeout<F: Future>(future: F) -> Option<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.ok() })
}

fn text(key: &Value) -> String {
    match key {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}
