//! A device of the log over HTTP: a replica in memory, and actions of the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rejoin_log::effect::Effects;
use rejoin_log::entry::Intent;
use rejoin_log::handler::{Draft, Handlers, Stop};
use rejoin_log::ids::{AuthorId, EntryId, Name};
use rejoin_log::message::snapshot::SnapshotAnswer;
use rejoin_log::message::{Fetched, Outcome, Published, Request, Verdict};
use rejoin_log::placement::ColumnPlacement;
use rejoin_log::replica::memory::MemoryReplica;
use rejoin_log::replica::{LogError, Replica, fetch, publish, snapshot};
use rejoin_log::row::{Columns, LogRow, RowName};
use rejoin_protocol::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

use crate::world::World;

/// The actions: `sell SEAT BUYER`, `append SEAT TEXT`, `set SEAT TEXT`, `toggle SEAT`, `create SEAT EVENT`,
/// `move SEAT EVENT`, `delete SEAT`.
#[derive(Debug)]
pub(super) struct Actions;

pub(super) fn seat(id: &str) -> RowName {
    RowName::new("seats", id)
}

pub(super) fn columns(columns: &[(&str, Value)]) -> Columns {
    columns.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect()
}

pub(super) fn image(event: &str) -> LogRow {
    let columns = columns(&[
        ("event", Value::from(event)),
        ("owner", Value::Null),
        ("note", Value::from("")),
        ("number", Value::from(0)),
    ]);
    LogRow::from(columns)
}

impl Handlers for Actions {
    fn run(&self, intent: &Intent, draft: &mut Draft<'_>) -> Result<(), Stop> {
        let word = |name: &str| {
            let value = intent.arguments.get(name).and_then(Value::as_text);
            value.unwrap_or_default().to_owned()
        };
        let (name, argument) = (seat(&word("seat")), word("argument"));
        if intent.action.as_str() == "create" {
            draft.put(&name, image(&argument));
            return Ok(());
        }
        let Some(row) = draft.row(&name)? else {
            return Err(Stop::Refused(String::from("no such seat")));
        };
        let change = match intent.action.as_str() {
            "sell" if row.get("owner") != Some(&Value::Null) => {
                return Err(Stop::Refused(String::from("it is sold")));
            }
            "sell" => ("owner", Value::from(argument)),
            "append" => {
                let text = row.get("note").and_then(Value::as_text).unwrap_or_default();
                ("note", Value::from(format!("{text}{argument}")))
            }
            "toggle" => {
                let is_set = row.get("number") == Some(&Value::Integer(1));
                ("number", Value::from(!is_set))
            }
            "set" => ("note", Value::from(argument)),
            "move" => ("event", Value::from(argument)),
            "delete" => return draft.remove(&name).map(drop),
            _ => return Err(Stop::NoHandler),
        };
        draft.set(&name, &columns(&[change])).map(drop)
    }
}

pub(super) struct Device<'w> {
    pub(super) world: &'w World,
    pub(super) user: String,
    pub(super) author: AuthorId,
    pub(super) replica: Replica<MemoryReplica>,
    /// How far its wall clock is ahead, in milliseconds.
    pub(super) ahead: i64,
    made: u128,
}

impl<'w> Device<'w> {
    /// A registered device with its first snapshot.
    pub(super) async fn new(world: &'w World, user: &str, number: u128) -> Self {
        let author = AuthorId(Uuid::from_u128(number));
        world.device(user, &author.to_string()).await;
        let placement = placement(world, user).await;
        let store = MemoryReplica::default();
        let replica =
            Replica::create(store, author, Arc::new(Actions), Arc::new(placement)).unwrap();
        let mut device = Self { world, user: user.into(), author, replica, ahead: 0, made: 0 };
        device.fetch().await;
        device
    }

    /// The same device at another server.
    pub(super) fn at(world: &'w World, user: &str, replica: Replica<MemoryReplica>) -> Self {
        let author = replica.facts().author;
        Self { world, user: user.into(), author, replica, ahead: 0, made: 1_000 }
    }

    pub(super) fn wall(&self) -> u64 {
        let now = rejoin_server::Clock::now(&self.world.clock) / 1_000;
        u64::try_from(now + self.ahead).unwrap()
    }

    /// Performs an action, and advances the time by 10 ms.
    pub(super) fn act(
        &mut self,
        action: &str,
        id: &str,
        argument: &str,
    ) -> Result<EntryId, LogError> {
        self.made += 1;
        let id_of_entry = EntryId(Uuid::from_u128((self.author.0.as_u128() << 64) + self.made));
        let arguments =
            BTreeMap::from([("seat".into(), id.into()), ("argument".into(), argument.into())]);
        let intent = Intent { action: action.into(), version: 1, arguments: Arc::new(arguments) };
        self.world.clock.advance(10_000);
        let wall = self.wall();
        self.replica.perform(id_of_entry, intent, wall).map(|()| id_of_entry)
    }

    /// Plain SQL, as captured.
    pub(super) fn write(&mut self, effects: Effects) -> EntryId {
        self.made += 1;
        let id = EntryId(Uuid::from_u128((self.author.0.as_u128() << 64) + self.made));
        self.world.clock.advance(10_000);
        let wall = self.wall();
        self.replica.write(id, effects, wall).unwrap();
        id
    }

    pub(super) async fn ask<R: Serialize, A: DeserializeOwned>(&self, path: &str, request: R) -> A {
        let (status, answer) = self.post(path, request).await;
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_value(answer).unwrap()
    }

    pub(super) async fn post<R: Serialize>(
        &self,
        path: &str,
        request: R,
    ) -> (u16, serde_json::Value) {
        let body = Request { client_id: self.author, log: request };
        let headers = [("x-user-id", self.user.as_str()), ("rejoin-protocol", "1")];
        let body = serde_json::to_vec(&body).unwrap();
        let (status, _, answer) = self.world.send("POST", path, &headers, body).await;
        (status, answer)
    }

    /// Fetches to the head, in small pages.
    pub(super) async fn fetch(&mut self) {
        for _ in 0..200 {
            while snapshot::needs_snapshot(&self.replica) {
                let request = snapshot::page_request(&self.replica, 2);
                let answer: SnapshotAnswer = self.ask("/log/snapshot", request).await;
                snapshot::take_page(&mut self.replica, &answer).unwrap();
            }
            let Some(request) = fetch::fetch_request(&self.replica, 3) else { continue };
            let answer: Fetched = self.ask("/log/fetch", request).await;
            let more = fetch::take_fetched(&mut self.replica, &answer).unwrap();
            if !more && answer != Fetched::Resync {
                return;
            }
        }
        panic!("{} does not reach the head", self.user);
    }

    /// Fetches, publishes once, and fetches again. Returns the verdicts.
    pub(super) async fn sync(&mut self) -> Vec<Verdict> {
        self.fetch().await;
        let Some(request) =
            publish::publish_request(&mut self.replica, 100, &BTreeSet::new()).unwrap()
        else {
            return Vec::new();
        };
        let answer: Published = self.ask("/log/publish", request).await;
        let wall = self.wall();
        publish::take_published(&mut self.replica, &answer, wall).unwrap();
        self.fetch().await;
        match answer.outcome {
            Outcome::Verdicts { verdicts } => verdicts.into_iter().map(|one| one.verdict).collect(),
            other => panic!("{}: {other:?}", self.user),
        }
    }

    /// A column of a seat as JSON; null without the row.
    pub(super) fn see(&self, id: &str, column: &str) -> serde_json::Value {
        let row = self.replica.row(&seat(id)).unwrap();
        json!(row.and_then(|row| row.get(column).cloned()))
    }
}

pub(super) async fn placement(world: &World, user: &str) -> ColumnPlacement {
    let headers = [("x-user-id", user), ("rejoin-protocol", "1")];
    let (_, _, manifest) = world.send("GET", "/sync/schema", &headers, "").await;
    ColumnPlacement::of(&serde_json::from_value(manifest).unwrap())
}

/// Syncs all devices until none has anything to publish, and compares their rows with the
/// server's table.
pub(super) async fn settle(devices: &mut [Device<'_>]) {
    for _ in 0..50 {
        let mut is_busy = false;
        for device in devices.iter_mut() {
            is_busy |= !device.sync().await.is_empty();
        }
        if !is_busy {
            return;
        }
    }
    panic!("corrections do not end");
}

/// The server's own table.
pub(super) fn table(world: &World) -> String {
    world.one(
        "SELECT coalesce(string_agg(line, ' ' ORDER BY line), '') FROM (SELECT id || '=' || event || ',' || coalesce(owner, '-')
         || ',' || note || ',' || number AS line FROM seats ORDER BY id) AS t",
    )
}

/// A device's rows in the form of [`table`].
pub(super) fn rows(device: &Device<'_>) -> String {
    let text = |value: Option<&Value>| match value {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Integer(number)) => number.to_string(),
        _ => String::from("-"),
    };
    let rows = device.replica.rows().unwrap();
    let line = |(name, row): &(RowName, LogRow)| {
        let cells = ["event", "owner", "note", "number"].map(|column| text(row.get(column)));
        format!("{}={}", name.id, cells.join(","))
    };
    rows.iter().map(line).collect::<Vec<_>>().join(" ")
}
