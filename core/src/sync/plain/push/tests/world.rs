//! One device and one plain server, with network faults.

use std::sync::Arc;

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::{Manifest, ReferenceAction, Rule, TableExtension};
use tempfile::TempDir;

use super::super::{
    PlainPushStep, PushContent, PushState, answered, drained, failed, lost, next, recognise,
    too_large, unseen,
};
use super::server::{Answer, Server};
use crate::engine::queue::faults::AGE;
use crate::engine::queue::mutation::{Mutation, MutationState};
use crate::engine::rebase::Batch;
use crate::engine::tests::open;
use crate::engine::{Engine, OpenOptions};
use crate::host::TestHost;
use crate::sync::plain::pull;
use crate::sync::plain::schema::completed;
use crate::sync::rows::push::{ActionParts, Limits};
use crate::value::Value;

/// How often the server may fail on a record in [`World::exhaust`].
const ATTEMPTS: u32 = 3;

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    Ok,
    /// It never arrives.
    RequestLost,
    /// It is processed; the response is lost.
    AnswerLost,
    /// It is processed, and the server responds 500.
    FailedAfterCommit,
    /// The server responds 500 to everything, including pulls.
    Down,
    /// The server responds 500 to pushes only.
    Sick,
    /// The server refuses the request before it evaluates it.
    Unseen,
}

pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) host: Arc<TestHost>,
    pub(super) engine: Engine,
    pub(super) server: Server,
    pub(super) state: PushState,
    pub(super) limit: usize,
    /// The number of pushes, and of pulls after failures, since it was set to 0.
    pub(super) requests: usize,
    /// Bodies with this row get a 400.
    pub(super) unreadable: Option<String>,
    /// Longer bodies get a 413.
    pub(super) largest: Option<usize>,
    number: i64,
    crashes: u64,
}

/// The bundled manifest: an item belongs to a note.
fn bundled(mut manifest: Manifest) -> Manifest {
    let parent = Rule::References {
        column: "note".to_owned(),
        table: "notes".to_owned(),
        on_delete: ReferenceAction::default(),
        on_update: ReferenceAction::default(),
    };
    let items = manifest.tables.iter_mut().find(|table| table.table_name == "items").unwrap();
    items.rejoin = Some(TableExtension { rules: vec![parent], ..TableExtension::default() });
    manifest
}

impl World {
    pub(super) fn new() -> Self {
        Self::over(Server::new(false))
    }

    /// A device whose app bundles no manifest: its schema declares no references.
    pub(super) fn unbundled() -> Self {
        let mut server = Server::new(false);
        let manifest = completed(server.manifest(), None, &[]);
        Self::with_manifest(server, manifest)
    }

    /// A device with the schema of this server.
    pub(super) fn over(mut server: Server) -> Self {
        let theirs = server.manifest();
        let manifest = completed(theirs.clone(), Some(&bundled(theirs)), &[]);
        Self::with_manifest(server, manifest)
    }

    fn with_manifest(server: Server, manifest: Manifest) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Some(manifest);
        let options = OpenOptions { path: folder.path().join("app.db"), manifest };
        let host = Arc::new(TestHost::new(1));
        let engine = Engine::open(&options, host.clone()).unwrap();
        Self {
            folder,
            host,
            engine,
            server,
            state: PushState::default(),
            limit: 100,
            requests: 0,
            unreadable: None,
            largest: None,
            number: 0,
            crashes: 0,
        }
    }

    /// A world with a note on both sides.
    pub(super) fn with_note(id: &str) -> Self {
        Self::with_note_on(Server::new(false), id)
    }

    pub(super) fn with_note_on(server: Server, id: &str) -> Self {
        let mut world = Self::over(server);
        world.server.write(id, &serde_json::json!({"body": "v0", "n": 0, "at": null}));
        world.pull(usize::MAX);
        world
    }

    /// Sets the conflict policy for notes; not stored in the file.
    pub(super) fn govern(&mut self, policy: Policy) {
        self.engine.set_policies([("notes".to_owned(), policy)].into()).unwrap();
    }

    pub(super) fn run(&mut self, sql: &str) {
        self.engine.execute_batch(sql).unwrap();
    }

    fn step(&mut self) -> PlainPushStep {
        self.number += 1;
        let limits = Limits {
            groups: self.limit,
            body: 1 << 20,
            stages: false,
            parts: ActionParts::default(),
        };
        next(&mut self.engine, self.number, limits, &mut self.state).unwrap()
    }

    fn send(&mut self, body: &[u8], sent: &PushContent, net: Net) -> bool {
        self.requests += 1;
        if self.largest.is_some_and(|largest| body.len() > largest) {
            drop(too_large(&mut self.engine, sent, true, &mut self.state).unwrap());
            return true;
        }
        let named =
            |id: &String| String::from_utf8_lossy(body).contains(&format!("\"id\":\"{id}\""));
        if self.unreadable.as_ref().is_some_and(named) {
            failed(&mut self.engine, sent, 400, &mut self.state).unwrap();
            return true;
        }
        let answer = match net {
            Net::RequestLost | Net::Down | Net::Sick | Net::Unseen => Answer::Failed,
            _ => self.server.push(body),
        };
        let Self { engine, state, .. } = self;
        match (net, answer) {
            (Net::RequestLost | Net::AnswerLost, _) => {
                lost(engine, sent).unwrap();
                return false;
            }
            (Net::Unseen, _) => {
                unseen(engine, sent).unwrap();
                return false;
            }
            (Net::Ok, Answer::Push(answer)) => {
                drop(answered(engine, sent, *answer, state).unwrap());
            }
            _ => failed(engine, sent, 500, state).unwrap(),
        }
        true
    }

    /// Runs a pass: pushes until nothing is left or the network fails. `nets` are the results of
    /// its first requests; the last one applies to all others.
    pub(super) fn push(&mut self, nets: &[Net]) {
        self.state = self.state.renewed();
        self.push_on(nets);
    }

    /// Runs as many passes as the server may fail on a record.
    pub(super) fn exhaust(&mut self, nets: &[Net]) {
        for _ in 0..ATTEMPTS {
            self.engine.set_fault_limit(ATTEMPTS, AGE);
            self.push(nets);
        }
    }

    /// Continues the pass.
    pub(super) fn push_on(&mut self, nets: &[Net]) {
        let last = nets.last().copied().unwrap_or(Net::Ok);
        let mut nets = nets.iter().copied();
        for _ in 0..1_000 {
            let step = self.step();
            match step {
                PlainPushStep::Nothing if !self.state.has_failed() || last == Net::Down => return,
                PlainPushStep::Nothing => {
                    self.requests += 1;
                    self.pull(usize::MAX);
                    if drained(&mut self.engine, &mut self.state).unwrap().is_empty() {
                        return;
                    }
                }
                PlainPushStep::Send { body, sent } => {
                    if !self.send(&body, &sent, nets.next().unwrap_or(last)) {
                        return;
                    }
                }
            }
        }
        panic!("the pass does not end");
    }

    /// Pulls this number of log entries: current rows, historic deletes.
    pub(super) fn pull(&mut self, entries: usize) {
        while let Some(answer) = self.server.pull(entries) {
            let (images, history) = pull::rows(&self.engine, &answer).unwrap();
            let mut batch = Batch { images, history, detect_conflicts: true, ..Batch::default() };
            recognise(&self.engine, &mut batch).unwrap();
            self.engine.apply(batch).unwrap();
            if entries < usize::MAX {
                return;
            }
        }
    }

    /// Pushes and pulls until nothing is left.
    pub(super) fn settle(&mut self) {
        for _ in 0..4 {
            self.push(&[Net::Ok]);
            self.pull(usize::MAX);
        }
    }

    /// Simulates a crash and opens the file again.
    pub(super) fn crash(&mut self) {
        let empty = tempfile::tempdir().unwrap();
        let gone = open(&empty, None).unwrap();
        drop(std::mem::replace(&mut self.engine, gone));
        self.crashes += 1;
        let options = OpenOptions { path: self.folder.path().join("app.db"), manifest: None };
        // A new host, because random ids must not repeat.
        self.host = Arc::new(TestHost::new(1 + self.crashes));
        self.engine = Engine::open(&options, self.host.clone()).unwrap();
        self.state = PushState::default();
    }

    /// The notes that the app sees, as `id body n`.
    pub(super) fn shown(&self) -> String {
        let sql = "SELECT id || ' ' || coalesce(body, '.') || ' ' || coalesce(n, '.') FROM notes \
                   ORDER BY id";
        self.column(sql).join("; ")
    }

    pub(super) fn column(&self, sql: &str) -> Vec<String> {
        self.engine.open_reader().unwrap().query(sql, &[], |row| row.get(0)).unwrap()
    }

    /// The value of a note's column, as the app sees it.
    pub(super) fn note(&self, id: &str, column: &str) -> Option<Value> {
        let sql = format!("SELECT {column} FROM notes WHERE id = ?1");
        let rows: Vec<Value> =
            self.engine.open_reader().unwrap().query(&sql, &[id.into()], |row| row.get(0)).unwrap();
        rows.into_iter().next()
    }

    pub(super) fn queue(&self) -> Vec<Mutation> {
        self.engine.pending().unwrap()
    }

    pub(super) fn parked(&self) -> Vec<Mutation> {
        self.queue().into_iter().filter(|one| one.state == MutationState::Parked).collect()
    }

    /// The records of the n-th received push, as `operation id`.
    pub(super) fn received(&self, push: usize) -> Vec<String> {
        let changes = self.server.received[push].iter();
        changes.map(|change| format!("{} {}", change.operation, change.id)).collect()
    }
}
