//! Watched queries while remote batches arrive, with the whole client and a scripted server in this
//! process.
//!
//! In CPU time of all threads; the script's share is the same on both sides.

use std::future::ready;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

use anyhow::{Context as _, Result};
use rejoin_core::transport::{HttpRequest, HttpResponse, MemoryTransport};
use rejoin_core::value::Value;
use rejoin_core::{Client, Config, Services, Subscription, block_on};
use rejoin_protocol::wire::pull::{PullAnswer, PullResponse};
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::snapshot::{KeyRange, SnapshotAnswer, SnapshotResponse};
use rejoin_protocol::{Manifest, PROTOCOL, capability};
use serde::Serialize;
use serde_json::{Value as Json, from_slice, to_vec};

use crate::measure::{Run, Variant, process_cpu};
use crate::watch::wait_for_call;
use crate::{apply, ours};

const ROWS: usize = 2_000;
/// Rows of a batch.
const BATCH: usize = 20;

/// Four queries of each kind, each with another number, so that all differ. A batch changes every
/// result.
const QUERIES: [&str; 5] = [
    "SELECT id, title, count FROM item ORDER BY id LIMIT 10?",
    "SELECT id, title FROM item WHERE count > ? ORDER BY count DESC LIMIT 50",
    "SELECT done, count(*), sum(count) FROM item WHERE amount >= ? GROUP BY done",
    "SELECT id, upper(title) FROM item WHERE title LIKE '%at batch%' AND amount > -?",
    "SELECT a.id, b.title FROM item AS a JOIN item AS b ON a.id = b.id WHERE a.count > 100?",
];

/// Consecutive batches while 20 queries of their table are watched, all 20 watchers called after
/// each, against the same batches without watches and the 20 queries run manually after each.
pub(crate) const TWENTY: Run = |variant, folder, count| {
    let client = open(folder, 3 * count)?;
    client.sync().run(None).wait()?;
    let watching = if variant == Variant::Ours { watch_all(&client)? } else { Vec::new() };
    let one = || -> Result<()> {
        client.sync().run(None).wait()?;
        if variant == Variant::Ours {
            return watching.iter().try_for_each(|(calls, _)| wait_for_call(calls));
        }
        let read = client.read(|snapshot| {
            queries().try_fold(0, |rows, sql| Ok(rows + snapshot.query(&sql, ())?.len()))
        });
        read.wait()?;
        Ok(())
    };
    one()?; // Compiles all statements.
    let (sample, ()) = process_cpu(count, || (0..count).try_for_each(|_| one()))?;
    client.shutdown().wait()?;
    Ok(sample)
};

fn queries() -> impl Iterator<Item = String> {
    QUERIES.iter().flat_map(|sql| (1..5).map(|n: usize| sql.replace('?', &n.to_string())))
}

fn watch_all(client: &Client) -> Result<Vec<(Receiver<()>, Subscription)>> {
    let mut watching = Vec::new();
    for sql in queries() {
        let (sender, calls) = mpsc::channel();
        let watch = block_on(client.watch(&sql, (), &[]))?;
        let subscription = watch.each(move |_| {
            let _ = sender.send(());
        });
        wait_for_call(&calls)?;
        watching.push((calls, subscription));
    }
    Ok(watching)
}

fn open(folder: &Path, batches: usize) -> Result<Client> {
    let script = Script::new(batches);
    let schema = Some(script.schema.clone());
    let handler =
        move |request: HttpRequest| -> Pin<Box<dyn Future<Output = HttpResponse> + Send>> {
            let answer = script.answer(&request);
            Box::pin(ready(
                answer.unwrap_or_else(|why| HttpResponse::json(500, format!("{why:#}"))),
            ))
        };
    let transport = MemoryTransport::new(Arc::new(handler));
    let services = Services { transport: Some(Arc::new(transport)), ..Services::default() };
    let mut config = Config::new(folder.join("bench.db"));
    config.schema = schema;
    Ok(Client::open_with(config, services).wait()?)
}

/// The server: all rows at first, then one batch per pull.
struct Script {
    schema: Manifest,
    batches: Vec<Vec<[Value; 8]>>,
    pulls: AtomicUsize,
}

impl Script {
    fn new(batches: usize) -> Self {
        let batch = |at: usize| (0..BATCH).map(|row| row_at(at, row)).collect();
        Self {
            schema: ours::manifest(),
            batches: (0..batches).map(batch).collect(),
            pulls: AtomicUsize::new(0),
        }
    }

    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse> {
        let asked: Json = from_slice(request.body.as_deref().context("a request without a body")?)?;
        let number = asked["rejoin"]["request"].as_i64().unwrap_or_default();
        match request.path.as_str() {
            "/sync/register" => json(&self.welcome()),
            "/sync/snapshot" => json(&self.everything(number)?),
            "/sync/pull" => json(&self.batch(number)?),
            other => anyhow::bail!("the script does not know {other}"),
        }
    }

    fn welcome(&self) -> RegisterResponse {
        let left_out = [capability::EVENTS, capability::DIGEST, capability::GZIP];
        let offered = capability::ALL.iter().filter(|name| !left_out.contains(*name));
        RegisterResponse {
            id: "1".to_owned(),
            server_time: "2026-01-01T00:00:00Z".to_owned(),
            last_sync_at: None,
            checkpoint: 0,
            schema_version: self.schema.schema_version,
            schema_hash: self.schema.schema_hash.clone(),
            rejoin: Some(Welcome {
                protocol: PROTOCOL,
                capabilities: offered.map(|&name| name.to_owned()).collect(),
                epoch: "1".to_owned(),
                subject: "bench".to_owned(),
                cursor_valid: true,
                max_body: 1 << 20,
                max_groups: 100,
                max_page: 1_000,
                ..Welcome::default()
            }),
        }
    }

    fn everything(&self, request: i64) -> Result<SnapshotResponse> {
        let range = KeyRange { table_name: "item".to_owned(), after: None, through: None };
        Ok(SnapshotResponse {
            records: Vec::new(),
            cursor: None,
            checkpoint: 0,
            has_more: false,
            schema_version: self.schema.schema_version,
            schema_hash: self.schema.schema_hash.clone(),
            rejoin: Some(SnapshotAnswer {
                request,
                epoch: "1".to_owned(),
                pull_cursor: "0".to_owned(),
                ranges: vec![range],
                sets: vec![apply::set((0..ROWS).map(ours::row))?],
                total: i64::try_from(ROWS)?,
                ..SnapshotAnswer::default()
            }),
        })
    }

    fn batch(&self, request: i64) -> Result<PullResponse> {
        let at = self.pulls.fetch_add(1, Ordering::SeqCst);
        let rows = at.checked_sub(1).map(|at| self.batches.get(at).context("no batch is left"));
        let rows = rows.transpose()?.into_iter().flatten().cloned();
        Ok(PullResponse {
            changes: Vec::new(),
            deletes: Vec::new(),
            checkpoint: 0,
            has_more: false,
            snapshot_required: false,
            snapshot_reason: None,
            bucket_updates: None,
            schema_version: self.schema.schema_version,
            schema_hash: self.schema.schema_hash.clone(),
            rejoin: Some(PullAnswer {
                request,
                epoch: "1".to_owned(),
                cursor: at.to_string(),
                sets: vec![apply::set(rows)?],
                ..PullAnswer::default()
            }),
        })
    }
}

/// A row after the batch with this number.
fn row_at(batch: usize, number: usize) -> [Value; 8] {
    let mut row = ours::row(number);
    row[1] = Value::Text(format!("item {number}, at batch {batch}"));
    row[3] = Value::Integer(i64::try_from(100_000 + batch).unwrap_or(i64::MAX));
    row
}

fn json(answer: &impl Serialize) -> Result<HttpResponse> {
    Ok(HttpResponse::json(200, to_vec(answer)?))
}
