//! One device and one plain server, with whatever may happen between them.

use std::sync::Arc;

use rejoin_protocol::manifest::{Manifest, ReferenceAction, Rule};
use tempfile::TempDir;

use super::super::{
    Course, Sent, Step, answered, drained, failed, lost, next, probed, recognise, too_large, unseen,
};
use super::server::{Answer, Server};
use crate::engine::capture::patch::RowKey;
use crate::engine::queue::mutation::{Mutation, State};
use crate::engine::rebase::Batch;
use crate::engine::tests::{open, table};
use crate::engine::{Engine, OpenOptions};
use crate::host::TestHost;
use crate::sync::plain::pull;
use crate::sync::rows::push::{Limits, Told};
use crate::value::Value;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    Ok,
    /// It never arrives.
    RequestLost,
    /// It is done, and nobody hears of it.
    AnswerLost,
    /// It is done, and then the server says 500.
    FailedAfterCommit,
    /// The server says 500 to all, probes too.
    Down,
    /// The server says 500 to a push, and answers all else.
    Sick,
    /// The server refuses the request before it looks at it.
    Unseen,
}

pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) engine: Engine,
    pub(super) server: Server,
    pub(super) course: Course,
    pub(super) limit: usize,
    /// Pushes and probes and pulls, since it was last set to 0.
    pub(super) requests: usize,
    /// Bodies that carry this row are answered with 400.
    pub(super) unreadable: Option<String>,
    /// Longer bodies are answered with 413.
    pub(super) largest: Option<usize>,
    number: i64,
    pulled: usize,
    crashes: u64,
}

fn manifest() -> Manifest {
    let times = [("updated_at", "datetime"), ("deleted_at", "datetime")];
    let columns = |mine: &[(&'static str, &'static str)]| [mine, &times].concat();
    let notes = columns(&[
        ("id", "string"),
        ("body", "string"),
        ("n", "int64"),
        ("t", "string"),
        ("at", "datetime"),
    ]);
    let items = columns(&[("id", "string"), ("note", "string"), ("body", "string")]);
    let parent = Rule::References {
        column: "note".to_owned(),
        table: "notes".to_owned(),
        on_delete: ReferenceAction::default(),
        on_update: ReferenceAction::default(),
    };
    Manifest::new(1, vec![table("notes", &notes, vec![]), table("items", &items, vec![parent])])
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder, Some(manifest())).unwrap();
        Self {
            folder,
            engine,
            server: Server::default(),
            course: Course::default(),
            limit: 100,
            requests: 0,
            unreadable: None,
            largest: None,
            number: 0,
            pulled: 0,
            crashes: 0,
        }
    }

    /// A note that both have.
    pub(super) fn with_note(id: &str) -> Self {
        let mut world = Self::new();
        world.server.write(id, &serde_json::json!({"body": "v0", "n": 0, "at": null}));
        world.pull(usize::MAX);
        world
    }

    pub(super) fn run(&mut self, sql: &str) {
        self.engine.execute_batch(sql).unwrap();
    }

    fn step(&mut self) -> Step {
        self.number += 1;
        let limits = Limits { groups: self.limit, body: 1 << 20, told: Told::default() };
        next(&mut self.engine, self.number, limits, &mut self.course).unwrap()
    }

    fn send(&mut self, body: &[u8], sent: &Sent, net: Net) -> bool {
        self.requests += 1;
        if self.largest.is_some_and(|largest| body.len() > largest) {
            drop(too_large(&mut self.engine, sent, &mut self.course).unwrap());
            return true;
        }
        let named =
            |id: &String| String::from_utf8_lossy(body).contains(&format!("\"id\":\"{id}\""));
        if self.unreadable.as_ref().is_some_and(named) {
            failed(&mut self.engine, sent, 400, &mut self.course).unwrap();
            return true;
        }
        let answer = match net {
            Net::RequestLost | Net::Down | Net::Sick | Net::Unseen => Answer::Failed,
            _ => self.server.push(body),
        };
        let Self { engine, course, .. } = self;
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
                drop(answered(engine, sent, *answer, course).unwrap());
            }
            _ => failed(engine, sent, 500, course).unwrap(),
        }
        true
    }

    /// A pass of its own: pushes until nothing is left to say, or the net fails. The nets of its first requests are named,
    /// all others are as the last one.
    pub(super) fn push(&mut self, nets: &[Net]) {
        self.course = Course::default();
        self.push_on(nets);
    }

    /// The same pass, further.
    pub(super) fn push_on(&mut self, nets: &[Net]) {
        let last = nets.last().copied().unwrap_or(Net::Ok);
        let mut nets = nets.iter().copied();
        for _ in 0..1_000 {
            let step = self.step();
            match step {
                Step::Nothing => return,
                Step::Send { body, sent } => {
                    if !self.send(&body, &sent, nets.next().unwrap_or(last)) {
                        return;
                    }
                }
                Step::Probe if last == Net::Down => return,
                Step::Probe => {
                    self.requests += 1;
                    probed(&mut self.engine, &mut self.course).unwrap();
                }
                Step::Drain => {
                    self.requests += 1;
                    self.pull(usize::MAX);
                    drop(drained(&mut self.engine, &mut self.course).unwrap());
                }
            }
        }
        panic!("the pass does not end");
    }

    /// Pulls so many entries of the log: rows as they are now, deletes as they were (P6).
    pub(super) fn pull(&mut self, entries: usize) {
        let end = self.server.log.len().min(self.pulled.saturating_add(entries));
        let mut last = std::collections::BTreeMap::new();
        for (name, deleted) in &self.server.log[self.pulled..end] {
            last.insert(name.clone(), *deleted);
        }
        self.pulled = end;
        let mut batch = Batch { judge: true, ..Batch::default() };
        for (name, deleted) in last {
            let image = pull::image(&self.engine.schema, &self.server.record(&name)).unwrap();
            if deleted {
                batch.history.push(RowKey { table: image.table, key: image.key });
            } else {
                batch.images.push(image);
            }
        }
        recognise(&self.engine, &mut batch);
        self.engine.apply(batch).unwrap();
    }

    /// Everything is said and heard.
    pub(super) fn settle(&mut self) {
        for _ in 0..4 {
            self.push(&[Net::Ok]);
            self.pull(usize::MAX);
        }
    }

    /// The process dies and the file is opened again.
    pub(super) fn crash(&mut self) {
        let empty = tempfile::tempdir().unwrap();
        let gone = open(&empty, None).unwrap();
        drop(std::mem::replace(&mut self.engine, gone));
        self.crashes += 1;
        let options = OpenOptions { path: self.folder.path().join("app.db"), manifest: None };
        // A host of its own: random ids are given once.
        let host = Arc::new(TestHost::new(1 + self.crashes));
        self.engine = Engine::open(&options, host).unwrap();
        self.course = Course::default();
    }

    /// The notes that the app sees, `id body n`.
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
        self.queue().into_iter().filter(|one| one.state == State::Parked).collect()
    }

    /// The records of the n-th push that the server heard, `operation id`.
    pub(super) fn heard(&self, push: usize) -> Vec<String> {
        let changes = self.server.heard[push].iter();
        changes.map(|change| format!("{} {}", change.operation, change.id)).collect()
    }
}
