//! A server that implements plain v0.1.2 only, in this process; the counterpart of
//! [`crate::Backend`].
//!
//! Outside writers change its tables by JSON instead of SQL; the app's trigger sets `updated_at`
//! for them too. Network faults belong to the device ([`crate::Fault`]); failures inside the server
//! are set on [`PlainBackend::server`].

use std::cell::{RefCell, RefMut};
use std::time::Duration;

use rejoin_core::sync::session::{Request, Response};
use rejoin_plain::{Clock, Column, Config, PlainServer, Table, Trigger};
use rejoin_protocol::Manifest;
use serde_json::Value as Json;

use crate::peer::Peer;

/// 2026-01-01T00:00:00Z, where the devices' clocks also start.
const NOW: i64 = 1_767_225_600_000_000;

/// A plain test server.
#[derive(Debug)]
pub struct PlainBackend {
    /// The server's clock; every read advances it by a microsecond, and a test by more.
    pub clock: Clock,
    /// The `X-App-Version` header that devices send, if any.
    pub app_version: RefCell<Option<String>>,
    server: RefCell<PlainServer>,
}

impl Default for PlainBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl PlainBackend {
    /// An empty server with the test tables, whose policies let each user see and write only its
    /// own rows.
    pub fn new() -> Self {
        let mut config = Config::new(tables(Trigger::ClockTime));
        config.row_level_security = true;
        Self::with(config)
    }

    /// The same, in an app without a trigger: `updated_at` keeps the value of the insert.
    pub fn without_trigger() -> Self {
        let mut config = Config::new(tables(Trigger::LeftAlone));
        config.row_level_security = true;
        Self::with(config)
    }

    /// A server with this configuration.
    pub fn with(config: Config) -> Self {
        let clock = Clock::at(NOW);
        let server = RefCell::new(PlainServer::new(config, clock.clone()));
        Self { clock, app_version: RefCell::new(None), server }
    }

    /// The server itself: faults, poison, lag, compaction, clients, its configuration.
    pub fn server(&self) -> RefMut<'_, PlainServer> {
        self.server.borrow_mut()
    }

    /// An INSERT of an outside writer.
    #[track_caller]
    pub fn insert(&self, table: &str, values: &Json) {
        let done = self.server().insert(table, values);
        done.unwrap_or_else(|error| panic!("{table} {values}: {error}"));
    }

    /// An UPDATE of one row by an outside writer; soft deletes and undeletes are updates of
    /// `deleted_at`.
    #[track_caller]
    pub fn update(&self, table: &str, id: &str, values: &Json) {
        let done = self.server().update(table, id, values);
        done.unwrap_or_else(|error| panic!("{table} {id} {values}: {error}"));
    }

    /// A soft delete of an outside writer, at the server's time.
    #[track_caller]
    pub fn soft_delete(&self, table: &str, id: &str) {
        let now = rejoin_plain::text_of(self.clock.now());
        self.update(table, id, &serde_json::json!({ "deleted_at": now }));
    }

    /// A permanent DELETE of an outside writer.
    #[track_caller]
    pub fn remove(&self, table: &str, id: &str) {
        let done = self.server().remove(table, id);
        done.unwrap_or_else(|error| panic!("{table} {id}: {error}"));
    }

    /// These columns of the live rows of a table by key: cells by `|`, rows by ` `; NULL is `-`.
    pub fn see(&self, table: &str, columns: &[&str]) -> String {
        let live = self.server().live(table);
        let rows = live.values().map(|row| {
            let cells = columns.iter().map(|column| match &row[column] {
                Json::Null => "-".to_owned(),
                Json::String(text) => text.clone(),
                other => other.to_string(),
            });
            cells.collect::<Vec<_>>().join("|")
        });
        rows.collect::<Vec<_>>().join(" ")
    }

    /// The manifest, as an app would bundle it.
    pub fn manifest(&self) -> Manifest {
        let answer = self.server().ask("anybody", "GET", "/sync/schema", Vec::new());
        serde_json::from_slice(&answer.expect("an answer").body).expect("a manifest")
    }
}

impl Peer for PlainBackend {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let mut headers = vec![("X-User-ID".to_owned(), user.to_owned())];
        let version = self.app_version.borrow().clone();
        headers.extend(version.map(|version| ("X-App-Version".to_owned(), version)));
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
        let answer = self.server().handle(&rejoin_plain::Request {
            method: request.method.to_owned(),
            path,
            headers,
            body: request.body.clone().unwrap_or_default(),
        })?;
        let seconds = answer.header("Retry-After").and_then(|seconds| seconds.parse().ok());
        Some(Response {
            status: answer.status,
            retry_after: seconds.map(Duration::from_secs),
            body: answer.body.into(),
            ..Response::default()
        })
    }
}

/// The test tables ([`crate::tables`]) as a plain server has them in its database.
pub fn tables(trigger: Trigger) -> Vec<Table> {
    let places = Table::owned("places", "user_id")
        .text_key()
        .column(Column::new("name", "text"))
        .column(Column::new("note", "text").nullable())
        .column(Column::new("score", "bigint").nullable())
        .column(Column::new("user_id", "text"))
        .times()
        .trigger(trigger)
        .check(|row| row["score"].is_null() || matches!(row["score"].as_i64(), Some(0..=5)));
    let visits = Table::child("visits", "places", "place_id")
        .text_key()
        .column(Column::new("place_id", "text"))
        .column(Column::new("day", "text").nullable())
        .times()
        .trigger(trigger);
    vec![places, visits]
}
