//! Pushes to a server over the embedded store, in this process.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rejoin_server::{Config, ManualClock, Server, TableConfig};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::measure::{Run, Variant, process_cpu};
use crate::{ours, raw};

/// Mutations of a push.
const GROUPS: usize = 100;

/// 2026-11-20T08:00:00Z.
const MORNING: i64 = 1_795_161_600_000_000;

const TABLE: &str = "CREATE TABLE notes(id TEXT PRIMARY KEY, owner_id TEXT, title TEXT, body TEXT,
    count INTEGER, updated_at TEXT NOT NULL)";

/// Mutations of one created row each, pushed by 100, against the rows of the other workloads in
/// plain transactions of 100.
pub(crate) const CREATES: Run = |variant, folder, count| {
    if variant == Variant::Reference {
        let connection = raw::open(&folder.join("bench.db"))?;
        let rows: Vec<_> = (0..count).map(ours::row).collect();
        let insert = || rows.chunks(GROUPS).try_for_each(|rows| raw::insert(&connection, rows));
        return Ok(process_cpu(count, insert)?.0);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut peer = Peer::open(folder)?;
    let registration = json!({"schema_version": 0, "schema_hash": "",
        "rejoin": {"protocol": 1, "capabilities": ["groups"], "cursor": ""}});
    let registered = runtime.block_on(peer.ask("/sync/register", registration))?;
    peer.schema = [registered["schema_version"].clone(), registered["schema_hash"].clone()];
    let epoch = &registered["rejoin"]["epoch"];
    let numbers: Vec<usize> = (0..count).collect();
    let (sample, ()) = process_cpu(count, || {
        for numbers in numbers.chunks(GROUPS) {
            let groups: Vec<Value> = numbers.iter().map(|number| group(*number)).collect();
            let rejoin = json!({"epoch": epoch, "groups": groups, "acked_below": 0});
            let push = json!({"changes": [], "rejoin": rejoin});
            let answer = runtime.block_on(peer.ask("/sync/push", push))?;
            let verdicts = answer["rejoin"]["verdicts"].as_array().into_iter().flatten();
            let accepted = verdicts.filter(|one| one["verdict"] == "accepted").count();
            ensure!(accepted == numbers.len(), "{answer}");
        }
        Ok(())
    })?;
    Ok(sample)
};

/// A mutation that creates a row.
fn group(number: usize) -> Value {
    let row = raw::row(number);
    let text = |at: usize| match &row[at] {
        rusqlite::types::Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    let data = json!({"title": text(1), "body": text(2), "count": number});
    json!({
        "id": raw::spread(number), "seq": number + 1, "attempt": 1, "hash": "", "after": [],
        "time": "2026-11-20T08:00:00.000000Z",
        "changes": [{"operation": "create", "table_name": "notes", "id": text(0), "data": data}],
    })
}

/// A server and its one device.
struct Peer {
    server: Server,
    schema: [Value; 2],
    requests: u64,
}

impl Peer {
    fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("server.db");
        rusqlite::Connection::open(&path)?.execute_batch(TABLE)?;
        let config = Config::new(path).with_table(TableConfig::owned("notes", "owner_id"));
        // Time stands still: a push ends a transaction, or the request, when it has taken too long, which
        // under callgrind depends on the load of the machine.
        let server = Server::open_at(config, Arc::new(ManualClock::at(MORNING)))?;
        Ok(Self { server, schema: [json!(0), json!("")], requests: 0 })
    }

    async fn ask(&mut self, path: &str, mut body: Value) -> Result<Value> {
        self.requests += 1;
        body["client_id"] = json!("device");
        let [version, hash] = self.schema.clone();
        (body["schema_version"], body["schema_hash"]) = (version, hash);
        body["rejoin"]["request"] = json!(self.requests);
        let headers = [("X-User-ID", "ana"), ("Rejoin-Protocol", "1")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let body = serde_json::to_vec(&body)?;
        let (status, _, answer) = self.server.handle("POST", path, &headers, body).await;
        ensure!(status == 200, "{path}: {}", String::from_utf8_lossy(&answer));
        Ok(serde_json::from_slice(&answer)?)
    }
}
