//! Responses of a Rejoin server that accepts everything.
//!
//! The real server is not part of this crate's build; `tests/tests/it/driver.rs` runs the driver
//! with it.

use std::io::Read as _;

use rejoin_protocol::wire::pull::{PullAnswer, PullRequest, PullResponse};
use rejoin_protocol::wire::push::{Ending, PushAnswer, PushRequest, PushResponse, Verdict};
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::row::{RowImage, RowSet};
use rejoin_protocol::wire::snapshot::{SnapshotAnswer, SnapshotRequest, SnapshotResponse};
use rejoin_protocol::{PROTOCOL, capability};
use serde::Serialize;
use serde_json::value::RawValue;

use super::session::manifest;
use crate::transport::{HttpRequest, HttpResponse};

/// Rows in each page.
const ROWS: i64 = 100;
const TIME: &str = "2026-01-01T00:00:00.000000Z";

/// Options of this server.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Its additional capabilities: `events`, `gzip`.
    pub(super) capabilities: Vec<&'static str>,
    /// Number of further pages of a pull.
    pub(super) more: i64,
    /// Whether pulls return no rows.
    pub(super) is_empty: bool,
}

impl Peer {
    /// The response; groups of a push get the verdict `ending`.
    pub(super) fn answer(&mut self, request: &HttpRequest, ending: Ending) -> HttpResponse {
        let mut body = request.body.clone().unwrap_or_default().to_vec();
        if request.header("content-encoding") == Some("gzip") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
            body = plain;
        }
        match request.path.as_str() {
            "/sync/register" => self.register(),
            "/sync/schema" => json(&manifest()),
            "/sync/push" => push(&serde_json::from_slice(&body).unwrap(), ending),
            "/sync/snapshot" => snapshot(&serde_json::from_slice(&body).unwrap()),
            "/sync/pull" => self.pull(&serde_json::from_slice(&body).unwrap()),
            other => panic!("{other}"),
        }
    }

    fn register(&self) -> HttpResponse {
        let extra = [capability::EVENTS, capability::GZIP];
        let can = capability::ALL.iter().copied().filter(|one| !extra.contains(one));
        let can = can.chain(self.capabilities.iter().copied());
        let manifest = manifest();
        json(&RegisterResponse {
            id: "c".to_owned(),
            server_time: TIME.to_owned(),
            last_sync_at: None,
            checkpoint: 0,
            schema_version: manifest.schema_version,
            schema_hash: manifest.schema_hash.clone(),
            rejoin: Some(Welcome {
                protocol: PROTOCOL,
                capabilities: can.map(str::to_owned).collect(),
                epoch: "e".to_owned(),
                subject: "ana".to_owned(),
                rules_hash: manifest.rules_hash(),
                cursor_valid: true,
                other_server: false,
                max_body: 1 << 20,
                max_groups: 100,
                max_page: 1_000,
            }),
        })
    }

    fn pull(&mut self, request: &PullRequest) -> HttpResponse {
        let ask = request.rejoin.clone().unwrap();
        let more = self.more;
        self.more = (more - 1).max(0);
        json(&PullResponse {
            changes: Vec::new(),
            deletes: Vec::new(),
            checkpoint: 0,
            has_more: more > 0,
            snapshot_required: false,
            snapshot_reason: None,
            bucket_updates: None,
            schema_version: 1,
            schema_hash: manifest().schema_hash,
            rejoin: Some(PullAnswer {
                request: ask.request,
                epoch: "e".to_owned(),
                cursor: format!("{}+", ask.cursor),
                sets: if self.is_empty { Vec::new() } else { vec![rows()] },
                remaining: more * ROWS,
                ..PullAnswer::default()
            }),
        })
    }
}

fn push(request: &PushRequest, ending: Ending) -> HttpResponse {
    let ask = request.rejoin.as_ref().unwrap();
    let groups = ask.groups.iter();
    let verdicts = groups.map(|group| Verdict::new(group.id.clone(), group.attempt, ending));
    let changes = ask.groups.iter().flat_map(|group| &group.changes);
    let rows = changes.map(|change| RowImage {
        table_name: change.table_name.clone(),
        id: change.id.clone(),
        data: change.data.clone(),
        updated_at: None,
        absent: false,
    });
    let rows = if ending == Ending::Accepted { rows.collect() } else { Vec::new() };
    json(&PushResponse {
        accepted: Vec::new(),
        rejected: Vec::new(),
        checkpoint: 0,
        server_time: TIME.to_owned(),
        schema_version: 1,
        schema_hash: manifest().schema_hash,
        rejoin: Some(PushAnswer {
            request: ask.request,
            epoch: "e".to_owned(),
            verdicts: verdicts.collect(),
            rows,
            ..PushAnswer::default()
        }),
    })
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
            pull_cursor: "c".to_owned(),
            sets: vec![rows()],
            total: ROWS,
            ..SnapshotAnswer::default()
        }),
    })
}

fn rows() -> RowSet {
    let rows: Vec<[String; 2]> = (0..ROWS).map(|row| [format!("r{row}"), "x".to_owned()]).collect();
    RowSet {
        table_name: "notes".to_owned(),
        columns: vec!["id".to_owned(), "body".to_owned()],
        rows: RawValue::from_string(serde_json::to_string(&rows).unwrap()).unwrap(),
    }
}

fn json<T: Serialize>(message: &T) -> HttpResponse {
    HttpResponse::json(200, serde_json::to_vec(message).unwrap())
}
