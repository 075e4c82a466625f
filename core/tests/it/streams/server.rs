//! A server with one stream: `project`, whose parameter `id` selects the rows of a project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use rejoin_core::Manifest;
use rejoin_core::transport::{HttpRequest, HttpResponse, MemoryTransport};
use rejoin_protocol::wire::pull::{PullAnswer, PullRequest, PullResponse};
use rejoin_protocol::wire::push::{Ending, PushAnswer, PushRequest, PushResponse, Verdict};
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::row::{RowImage, RowName, RowSet};
use rejoin_protocol::wire::snapshot::{SnapshotAnswer, SnapshotRequest, SnapshotResponse};
use rejoin_protocol::wire::subscription::{self, RefusalCode, Subscription, SubscriptionState};
use rejoin_protocol::{PROTOCOL, SUBSCRIPTIONS_HEADER, capability};
use serde::Serialize;
use serde_json::value::RawValue;

const TIME: &str = "2026-01-01T00:00:00.000000Z";

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [
    {"table_name": "task", "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "",
      "primary_key": ["id"], "columns": [
        {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
        {"name": "title", "db_type": "text", "logical_type": "string", "nullable": true}]}]}"#;

/// The schema of server and device.
pub(super) fn manifest() -> Manifest {
    let schema: Manifest = serde_json::from_str(SCHEMA).unwrap();
    Manifest::new(1, schema.tables)
}

/// A request that the server has received: its path and its subscriptions.
pub(super) type Received = (String, Vec<Subscription>);

/// The server's state.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// The tasks of each project.
    pub(super) projects: BTreeMap<String, BTreeSet<String>>,
    /// Projects that the user may not read.
    pub(super) forbidden: BTreeSet<String>,
    /// Whether it has no streams.
    pub(super) is_without_streams: bool,
    /// Whether it has an event stream.
    pub(super) has_events: bool,
    /// Number of further pages of the next pull.
    pub(super) more: usize,
    pub(super) received: Vec<Received>,
    /// The ids of the tasks that were pushed.
    pub(super) pushed: Vec<String>,
}

/// The server, shared with its transport.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamServer(Arc<Mutex<Inside>>);

impl StreamServer {
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with(project: &str, tasks: &[&str]) -> Self {
        let server = Self::default();
        server.add(project, tasks);
        server
    }

    pub(super) fn add(&self, project: &str, tasks: &[&str]) {
        let tasks = tasks.iter().map(|&task| task.to_owned()).collect();
        self.inside().projects.insert(project.to_owned(), tasks);
    }

    pub(super) fn transport(&self) -> MemoryTransport {
        let server = self.clone();
        MemoryTransport::new(Arc::new(move |request| {
            let server = server.clone();
            async move { server.inside().answer(&request) }.boxed()
        }))
    }

    /// The requests to this endpoint since the last call.
    pub(super) fn take(&self, path: &str) -> Vec<Vec<Subscription>> {
        let received = std::mem::take(&mut self.inside().received).into_iter();
        received.filter(|(at, _)| at == path).map(|(_, subscriptions)| subscriptions).collect()
    }
}

impl Inside {
    fn answer(&mut self, request: &HttpRequest) -> HttpResponse {
        let header = request.header(SUBSCRIPTIONS_HEADER);
        let asked = header.map(|it| subscription::parse(it).unwrap()).unwrap_or_default();
        self.received.push((request.path.clone(), asked.clone()));
        let body = request.body.clone().unwrap_or_default();
        match request.path.as_str() {
            "/sync/register" => self.register(),
            "/sync/schema" => json(&manifest()),
            "/sync/push" => self.push(&serde_json::from_slice(&body).unwrap()),
            "/sync/snapshot" => snapshot(&serde_json::from_slice(&body).unwrap()),
            "/sync/pull" => self.pull(&asked, &serde_json::from_slice(&body).unwrap()),
            other => panic!("{other}"),
        }
    }

    fn register(&self) -> HttpResponse {
        let manifest = manifest();
        let without = [capability::GZIP, capability::LOG];
        let can = capability::ALL.iter().filter(|name| !without.contains(name));
        let can = can.filter(|name| self.has_events || **name != capability::EVENTS);
        let can = can.filter(|name| !self.is_without_streams || **name != capability::STREAMS);
        json(&RegisterResponse {
            id: "c".to_owned(),
            server_time: TIME.to_owned(),
            last_sync_at: None,
            checkpoint: 0,
            schema_version: 1,
            schema_hash: manifest.schema_hash.clone(),
            rejoin: Some(Welcome {
                protocol: PROTOCOL,
                capabilities: can.map(|&name| name.to_owned()).collect(),
                epoch: "e".to_owned(),
                rules_hash: manifest.rules_hash(),
                cursor_valid: true,
                max_body: 1 << 20,
                max_groups: 100,
                max_page: 1_000,
                ..Welcome::default()
            }),
        })
    }

    fn push(&mut self, request: &PushRequest) -> HttpResponse {
        let ask = request.rejoin.as_ref().unwrap();
        let (mut verdicts, mut rows) = (Vec::new(), Vec::new());
        for group in &ask.groups {
            verdicts.push(Verdict::new(group.id.clone(), group.attempt, Ending::Accepted));
            for change in &group.changes {
                self.pushed.push(change.id.clone());
                rows.push(RowImage {
                    table_name: change.table_name.clone(),
                    id: change.id.clone(),
                    data: change.data.clone(),
                    updated_at: None,
                    absent: false,
                });
            }
        }
        let number = ask.request;
        json(&PushResponse {
            accepted: Vec::new(),
            rejected: Vec::new(),
            checkpoint: 0,
            server_time: TIME.to_owned(),
            schema_version: 1,
            schema_hash: manifest().schema_hash,
            rejoin: Some(PushAnswer {
                request: number,
                epoch: "e".to_owned(),
                verdicts,
                rows,
                ..PushAnswer::default()
            }),
        })
    }

    /// The cursor is the projects that the device has; `+` at its end makes it a new one.
    fn pull(&mut self, asked: &[Subscription], request: &PullRequest) -> HttpResponse {
        let ask = request.rejoin.clone().unwrap();
        let is_more = self.more > 0;
        self.more = self.more.saturating_sub(1);
        let had: Vec<String> =
            ask.cursor.trim_end_matches('+').split(',').map(str::to_owned).collect();
        let decided: Vec<_> = asked.iter().map(|one| (one, self.refusal(one))).collect();
        let allowed = decided.iter().filter(|(_, refusal)| refusal.is_none());
        let now: Vec<String> = allowed.map(|(one, _)| one.parameters["id"].clone()).collect();
        let tasks = |of: &[String], not: &[String]| -> Vec<String> {
            let added = of.iter().filter(|project| !not.contains(project));
            added.filter_map(|project| self.projects.get(project)).flatten().cloned().collect()
        };
        let (added, gone) =
            if is_more { (Vec::new(), Vec::new()) } else { (tasks(&now, &had), tasks(&had, &now)) };
        let states = decided.into_iter().map(|(_, refusal)| match refusal {
            Some(refusal) => refusal,
            None if is_more => SubscriptionState::Loading,
            None => SubscriptionState::Current,
        });
        let cursor =
            if is_more { format!("{}+", ask.cursor) } else { format!("{}+", now.join(",")) };
        let name = |id: String| RowName { table_name: "task".to_owned(), id };
        json(&PullResponse {
            changes: Vec::new(),
            deletes: gone.into_iter().map(name).collect(),
            checkpoint: 0,
            has_more: is_more,
            snapshot_required: false,
            snapshot_reason: None,
            bucket_updates: None,
            schema_version: 1,
            schema_hash: manifest().schema_hash,
            rejoin: Some(PullAnswer {
                request: ask.request,
                epoch: "e".to_owned(),
                cursor,
                sets: vec![rows(&added)],
                subscriptions: states.collect(),
                ..PullAnswer::default()
            }),
        })
    }

    fn refusal(&self, asked: &Subscription) -> Option<SubscriptionState> {
        let (code, message) = if asked.stream != "project" {
            (RefusalCode::UnknownStream, format!("this server has no stream {}", asked.stream))
        } else if self.forbidden.contains(&asked.parameters["id"]) {
            (RefusalCode::Forbidden, "the user may not read it".to_owned())
        } else {
            return None;
        };
        Some(SubscriptionState::Refused { code, message })
    }
}

fn snapshot(request: &SnapshotRequest) -> HttpResponse {
    json(&SnapshotResponse {
        records: Vec::new(),
        cursor: None,
        checkpoint: 0,
        has_more: false,
        schema_version: 1,
        schema_hash: manifest().schema_hash,
        rejoin: Some(SnapshotAnswer {
            request: request.rejoin.clone().unwrap().request,
            epoch: "e".to_owned(),
            pull_cursor: "+".to_owned(),
            ..SnapshotAnswer::default()
        }),
    })
}

fn rows(tasks: &[String]) -> RowSet {
    let rows: Vec<[&str; 2]> = tasks.iter().map(|task| [task.as_str(), "x"]).collect();
    RowSet {
        table_name: "task".to_owned(),
        columns: vec!["id".to_owned(), "title".to_owned()],
        rows: RawValue::from_string(serde_json::to_string(&rows).unwrap()).unwrap(),
    }
}

fn json<T: Serialize>(message: &T) -> HttpResponse {
    HttpResponse::json(200, serde_json::to_vec(message).unwrap())
}
