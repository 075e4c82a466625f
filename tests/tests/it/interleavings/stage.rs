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
pub(super) struct Stage {
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

impl Stage {
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
    pub(super) fn take(&mut self, model: &mut Model, step: Step) {
        let mut answered = Answered::new();
        match step {
            Begin(who) => self.begin(model, who),
            Statement(who) => self.statement(model, who),
            Commit(who) | Rollback(who) => self.finish(model, who, step, &mut answered),
            Abandon(who) => {
                if model.holders[who] == Holder::Waits {
                    model.line.retain(|waiting| *waiting != Waiting::Holder(who));
                    self.beginning[who] = None;
                }
                self.handles[who] = None;
                model.holders[who] = Holder::Away;
                model.free(&mut answered);
            }
            Write => self.write(model),
            Query => {
                let rows = within(self.client.query("SELECT id FROM task", ()));
                match model.closed() {
                    None => assert_eq!(rows.unwrap().len(), model.committed.concat().len()),
                    Some(over) => over.is(&rows.unwrap_err()),
                }
            }
            Suspend => {
                model.life = Life::Suspended;
                model.end(Over::Suspended, &mut answered);
                within(self.client.sync().suspend()).unwrap();
            }
            Resume => {
                model.life = Life::Open;
                within(self.client.sync().resume()).unwrap();
            }
            Shutdown => {
                model.life = Life::Ended;
                model.end(Over::Shutdown, &mut answered);
                within(self.client.shutdown()).unwrap();
            }
            Silence => {
                model.end(Over::TimedOut, &mut answered);
                self.host.advance(Duration::from_secs(6));
            }
        }
        for (waiting, expected) in answered {
            self.collect(waiting, expected);
        }
    }

    fn begin(&mut self, model: &mut Model, who: usize) {
        let beginning = self.client.begin();
        match (model.closed(), model.holding()) {
            (Some(over), _) => over.is(&within(beginning).unwrap_err()),
            (None, Some(_)) => {
                model.holders[who] = Holder::Waits;
                model.line.push(Waiting::Holder(who));
                self.beginning[who] = Some(beginning);
            }
            (None, None) => {
                model.holders[who] = Holder::Holds(Vec::new());
                self.handles[who] = Some(within(beginning).unwrap());
            }
        }
    }

    fn statement(&mut self, model: &mut Model, who: usize) {
        let keys = [format!("{who}-{}", model.rows), format!("{who}-{}", model.rows + 1)];
        model.rows += 2;
        let sql = "INSERT INTO task (id, title) VALUES (?, 't'), (?, 't')";
        let handle = self.handles[who].as_ref().unwrap();
        let done = within(handle.execute(sql, (keys[0].as_str(), keys[1].as_str())));
        match &mut model.holders[who] {
            Holder::Holds(rows) => {
                assert_eq!(done.unwrap(), 2);
                rows.extend(keys);
            }
            Holder::Over(over) => over.is(&done.unwrap_err()),
            other => unreachable!("{other:?}"),
        }
    }

    fn finish(&mut self, model: &mut Model, who: usize, step: Step, answered: &mut Answered) {
        let handle = self.handles[who].as_ref().unwrap();
        let commits = matches!(step, Commit(_));
        let done = within(if commits { handle.commit() } else { handle.rollback() });
        match model.holders[who].clone() {
            Holder::Holds(rows) => {
                done.unwrap();
                if commits && !rows.is_empty() {
                    model.committed.push(rows);
                }
                model.end(Over::Ended, answered);
            }
            Holder::Over(over) => over.is(&done.unwrap_err()),
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
            (Some(over), _) => over.is(&within(writing).unwrap_err()),
            (None, Some(_)) => {
                model.line.push(Waiting::Write(number));
                self.writing.insert(number, writing);
            }
            (None, None) => {
                assert_eq!(within(writing).unwrap(), 1);
                model.committed.push(vec![key]);
            }
        }
    }

    /// Collects the response to a waiting caller.
    fn collect(&mut self, waiting: Waiting, expected: std::result::Result<(), Over>) {
        match waiting {
            Waiting::Holder(who) => {
                let begun = self.beginning[who].take().unwrap();
                match (within(begun), expected) {
                    (Ok(handle), Ok(())) => self.handles[who] = Some(handle),
                    (Err(error), Err(over)) => over.is(&error),
                    (begun, expected) => panic!("{begun:?}, {expected:?} expected"),
                }
            }
            Waiting::Write(number) => {
                let written = self.writing.remove(&number).unwrap();
                match (within(written), expected) {
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
        for who in [0, 1] {
            if model.can(Abandon(who)) {
                self.take(model, Abandon(who));
            }
            self.handles[who] = None;
        }
        assert!(self.writing.is_empty() && self.beginning.iter().all(Option::is_none));
        if model.life == Life::Ended {
            // The next open reports an error of the file.
            let config = self.client.config().clone();
            self.client = within(Client::open(config)).unwrap();
            self.check(model);
            within(self.client.shutdown()).unwrap();
            return false;
        }
        if model.life == Life::Suspended {
            self.take(model, Resume);
        }
        self.check(model);
        self.await_shown(model.committed.concat().len());
        for mutation in within(self.client.queue().all()).unwrap() {
            within(self.client.queue().discard(mutation.id)).unwrap();
        }
        self.await_shown(0);
        true
    }

    /// Rows and queue agree with the model, and so with each other.
    fn check(&self, model: &Model) {
        let rows = within(self.client.query("SELECT id FROM task ORDER BY id", ())).unwrap();
        let rows: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        let mut expected = model.committed.concat();
        expected.sort();
        assert_eq!(rows, expected, "the rows");
        let queue: Vec<Vec<String>> = within(self.client.queue().all())
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
            let update = patiently(self.watch.next());
            let update = update.unwrap_or_else(|| panic!("the watch shows {} rows", self.shown));
            self.shown = update.unwrap().unwrap().rows.len();
        }
    }
}

/// The response, which must arrive.
fn within<R>(answer: Task<R>) -> Result<R> {
    patiently(answer).unwrap_or_else(|| panic!("no response"))
}

/// In memory if the machine has such a place: the test creates thousands of temporary files.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// The future's output, unless it exceeds the timeout.
fn patiently<F: Future>(future: F) -> Option<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.ok() })
}

fn text(key: &Value) -> String {
    match key {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}
