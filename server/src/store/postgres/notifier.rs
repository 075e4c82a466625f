//! Notifies other nodes of new entries of the log model, after the commit of a publish.
//!
//! Not in its transaction: a transaction that notifies holds a server-wide lock at commit, which
//! would serialise all publishes. One task with a connection of its own sends the buckets of a
//! short time in one transaction. Notices may be lost: devices fetch at their interval too.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Duration, sleep, timeout};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use super::connection::{FIRST_PAUSE, LONGEST_PAUSE};
use super::error::log_text;
use super::tls::Target;
use crate::model::Touched;
use crate::store::NodeNotice;

/// How long buckets are collected before they are sent.
const COLLECT: Duration = Duration::from_millis(20);

/// Maximum number of publishes that wait; the notices of further ones are lost.
const MOST_WAITING: usize = 1_024;

/// Maximum size of a payload in bytes. PostgreSQL takes less than 8,000, in its own encoding.
const MOST_BYTES: usize = 7_900;

/// The channel of the change log: nodes of earlier versions ignore payloads that are not positions.
///
/// The lock is held until the commit ends, so this commit must not wait for the disk. The setting is
/// local to it: a pooler may give the connection to a push afterwards.
const NOTIFY: &str =
    "SELECT set_config('synchronous_commit', 'off', true), pg_notify('rejoin', payload)
    FROM unnest($1::text[]) AS payload";

/// Sends the notices of one node.
#[derive(Debug)]
pub(super) struct Notifier {
    node: Uuid,
    waiting: Sender<Vec<String>>,
}

/// A payload that is not a position.
#[derive(Debug, Serialize, Deserialize)]
struct LogPayload {
    node: Uuid,
    log: Vec<String>,
}

impl Notifier {
    /// Starts the task. It connects at the first notice, and ends when the notifier is dropped.
    pub(super) fn start(runtime: &Handle, target: Target) -> Self {
        let node = Uuid::new_v4();
        let (waiting, received) = mpsc::channel(MOST_WAITING);
        runtime.spawn(run(target, node, received));
        Self { node, waiting }
    }

    /// The id of this node in its notices.
    pub(super) fn node(&self) -> Uuid {
        self.node
    }

    /// Passes the buckets to the task; never waits.
    pub(super) fn send(&self, touched: &[Touched]) {
        let buckets = touched.iter().map(|one| one.bucket.clone()).collect();
        if self.waiting.try_send(buckets).is_err() {
            tracing::debug!("too many notices for other nodes wait: one is lost");
        }
    }
}

/// Sends notices until the notifier is dropped. Failed ones are lost, and the next ones wait longer.
async fn run(target: Target, node: Uuid, mut waiting: Receiver<Vec<String>>) {
    let mut client = None;
    let mut pause = Duration::ZERO;
    while let Some(first) = waiting.recv().await {
        sleep(pause.max(COLLECT)).await;
        let mut buckets = BTreeSet::from_iter(first);
        while let Ok(more) = waiting.try_recv() {
            buckets.extend(more);
        }
        let buckets: Vec<&str> = buckets.iter().map(String::as_str).collect();
        let sending = notify(&target, client.take(), payloads(node, &buckets));
        let why = match timeout(target.connects_within(), sending).await {
            Ok(Ok(used)) => {
                client = Some(used);
                pause = Duration::ZERO;
                continue;
            }
            Ok(Err(error)) => log_text(&error),
            Err(_) => String::from("the database does not answer"),
        };
        tracing::debug!(why, "other nodes were not notified of entries");
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }
}

/// Sends the payloads in one transaction, and returns the connection that it used.
async fn notify(
    target: &Target,
    client: Option<Client>,
    payloads: Vec<String>,
) -> Result<Client, Error> {
    let client = match client.filter(|client| !client.is_closed()) {
        Some(client) => client,
        None => connect(target).await?,
    };
    client.execute_typed(NOTIFY, &[(&payloads, Type::TEXT_ARRAY)]).await?;
    Ok(client)
}

async fn connect(target: &Target) -> Result<Client, Error> {
    let (client, connection) = target.connect().await?;
    Handle::current().spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection that notifies other nodes ended");
        }
    });
    Ok(client)
}

/// The payloads that name these buckets.
fn payloads(node: Uuid, buckets: &[&str]) -> Vec<String> {
    let log = buckets.iter().map(|bucket| (*bucket).to_owned()).collect();
    // Ids and texts can always be written as JSON.
    let payload = serde_json::to_string(&LogPayload { node, log }).unwrap_or_default();
    if payload.len() <= MOST_BYTES {
        return vec![payload];
    }
    match buckets.split_at_checked(buckets.len() / 2) {
        Some((first, rest)) if !first.is_empty() => {
            [payloads(node, first), payloads(node, rest)].concat()
        }
        // A name that no payload can hold: the empty one concerns every device.
        _ => payloads(node, &[""]),
    }
}

/// What a payload reports. `None` if it is another program's, or this node's own: its devices are
/// awake already.
pub(super) fn notice(payload: &str, node: Uuid) -> Option<NodeNotice> {
    if let Ok(head) = payload.parse() {
        return Some(NodeNotice::Head(head));
    }
    let LogPayload { node: sender, log } = serde_json::from_str(payload).ok()?;
    let touched = log.into_iter().map(|bucket| Touched { bucket, is_grant: false }).collect();
    (sender != node).then_some(NodeNotice::Log(touched))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{MOST_BYTES, notice, payloads};
    use crate::store::NodeNotice;

    const HERE: Uuid = Uuid::from_u128(1);
    const THERE: Uuid = Uuid::from_u128(2);

    /// The buckets that another node reads from these payloads.
    fn read(payloads: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        for payload in payloads {
            assert!(payload.len() <= MOST_BYTES, "{} bytes", payload.len());
            let Some(NodeNotice::Log(touched)) = notice(payload, THERE) else {
                panic!("{payload}");
            };
            found.extend(touched.into_iter().map(|one| one.bucket));
        }
        found
    }

    #[test]
    fn payload_round_trips_and_is_ignored_by_its_sender() {
        let names = ["event:e1", "user:\"anna\" \\ \0 \u{e9}", "17"];
        let sent = payloads(HERE, &names);
        assert_eq!(sent.len(), 1);
        assert_eq!(read(&sent), names);
        assert!(!sent[0].contains('\0'), "PostgreSQL takes no zero byte");
        assert_eq!(notice(&sent[0], HERE), None, "the sender's own");
        assert!(sent[0].parse::<i64>().is_err(), "a node of an earlier version ignores it");
    }

    #[test]
    fn large_set_is_split_and_a_long_name_wakes_all() {
        let names: Vec<String> = (0..1_000).map(|number| format!("event:{number:040}")).collect();
        let mut buckets: Vec<&str> = names.iter().map(String::as_str).collect();
        let sent = payloads(HERE, &buckets);
        assert!((7..=16).contains(&sent.len()), "{} payloads", sent.len());
        assert_eq!(read(&sent), names);
        let long = "x".repeat(MOST_BYTES);
        buckets.push(&long);
        let found = read(&payloads(HERE, &buckets));
        assert_eq!((&found[..1_000], found[1_000].as_str()), (&names[..], ""));
    }

    #[test]
    fn position_is_a_head_and_foreign_payloads_are_ignored() {
        assert_eq!(notice("42", HERE), Some(NodeNotice::Head(42)));
        for foreign in ["", "x", "4.2", "[]", "{}", "{\"log\":[\"a\"]}", "{\"node\":1,\"log\":[]}"]
        {
            assert_eq!(notice(foreign, HERE), None, "{foreign}");
        }
        let no_log = format!("{{\"node\":\"{THERE}\"}}");
        assert_eq!(notice(&no_log, HERE), None);
    }
}
