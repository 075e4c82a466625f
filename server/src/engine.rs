//! The sync engine: implements the six requests of the protocol over any store.
//!
//! Synchronous and without network access: it maps a request, its caller and the clock to a
//! response or a [`Fault`]. The engine decides which rows a user may see
//! ([`Access`](crate::model::Access) and the user's buckets); the store turns that into queries. A
//! row is readable only if a rule grants it.

use std::sync::{Arc, Mutex};

use rejoin_protocol::time;
use rejoin_protocol::wire::{ErrorBody, code};

use crate::clock::Clock;
use crate::config::{Limits, Retention};
use crate::error::{Fault, Refusal};
use crate::hooks::Hooks;
use crate::log_limit::LogLimit;
use crate::model::{Client, Rights};
use crate::share::HourlyShares;
use crate::store::{FurtherBuckets, Reading, Store, write};

use checks::Checks;
use push::own_rights::DecidingTables;
use subscriptions::{Held, Streams, Subscriptions};

mod apply;
mod batch;
mod bucket;
mod budget;
mod change;
pub(crate) mod checks;
mod conflict;
mod conflict_log;
mod cursor;
pub(crate) mod describe;
pub(crate) mod digest;
mod encode;
mod evaluate;
mod free_value;
mod group_rows;
mod hook;
mod keep;
pub(crate) mod log_import;
pub(crate) mod log_model;
mod naming;
mod order;
mod own_writes;
mod page;
pub(crate) mod plain;
mod plan;
pub(crate) mod pull;
pub(crate) mod push;
mod reads;
mod references;
mod register;
mod rejection;
mod resolve;
mod resolve_conflict;
pub(crate) mod snapshot;
pub(crate) mod stage;
pub(crate) mod subscriptions;
mod user_transaction;
pub(crate) mod verdict;
mod version;
mod walk;
mod window;
mod write_set;

/// In microseconds.
const MINUTE: i64 = 60_000_000;

/// The engine over a store.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) retention: Retention,
    pub(crate) min_app_version: Option<String>,
    /// Held while a staged group is applied.
    pub(crate) staged_turn: Arc<Mutex<()>>,
    /// The server-side checks of actions.
    pub(crate) checks: Checks,
    /// The streams to which devices subscribe.
    pub(crate) streams: Streams,
    /// The tables whose rows decide about rights.
    pub(crate) deciding: DecidingTables,
    /// The host's hooks.
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
    /// Rate limit for log lines about devices above the limit of their users.
    pub(crate) refused_devices: Arc<LogLimit>,
    /// Rejected mutations by user.
    pub(crate) rejections: Arc<HourlyShares>,
    /// New entries of the log by user.
    pub(crate) log_entries: Arc<HourlyShares>,
}

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user from the credentials; case-sensitive.
    pub(crate) user: String,
    /// Whether the request uses the protocol extensions.
    pub(crate) extended: bool,
    /// Whether the host admits the user's device after long inactivity.
    pub(crate) is_admitted: bool,
    /// What the request's header names.
    pub(crate) subscriptions: Subscriptions,
}

impl Engine {
    /// The current time in canonical text.
    pub(crate) fn now(&self) -> String {
        time::format(self.clock.now())
    }

    /// The page size: 100 if the request has no valid one, and at most the limit.
    fn page_size(&self, asked: Option<i64>) -> usize {
        let asked = asked.filter(|limit| *limit > 0).unwrap_or(100);
        usize::try_from(asked).unwrap_or(usize::MAX).min(self.limits.page).max(1)
    }

    /// The page size of a plain peer: v0.1.2 has at most 1,000.
    fn plain_page_size(&self, asked: Option<i64>) -> usize {
        self.page_size(asked).min(1_000)
    }

    /// Returns the registered device and sets the transaction's user, or refuses the request so
    /// that the device registers again.
    fn registered(
        &self,
        reading: &dyn Reading,
        caller: &Caller,
        client_id: &str,
    ) -> Result<Client, Fault> {
        reading.act_for(&caller.user, &FurtherBuckets::default())?;
        let Some(client) = reading.client(&caller.user, client_id)? else {
            return Err(Refusal::new(404, code::NOT_REGISTERED, "client not registered").into());
        };
        self.admit(caller, client_id, &client)?;
        Ok(client)
    }

    /// Records when a device was last seen and the position that it has certainly read. At most
    /// once a minute, so that polling causes few writes; an outdated position only keeps the log a
    /// little longer.
    fn remember(
        &self,
        user: &str,
        client_id: &str,
        before: &Client,
        asked_from: i64,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        let is_recorded = |client: &Client| {
            let last = client.last_pull_at.as_deref().and_then(time::parse);
            // A snapshot may begin at an earlier position than the last pull.
            let is_kept = client.position.is_some_and(|position| position <= asked_from);
            is_kept && last.is_some_and(|last| now - last < MINUTE)
        };
        if is_recorded(before) {
            return Ok(());
        }
        let at = time::format(now);
        write(&*self.store, &at, |writing| {
            // A replica may have an older one.
            let client = writing.client(user, client_id)?.filter(|client| !is_recorded(client));
            let Some(mut client) = client else { return Ok(()) };
            client.position = Some(asked_from);
            client.last_pull_at = Some(at.clone());
            client.seen_at.clone_from(&at);
            writing.put_client(user, client_id, &client)
        })
    }
}

/// The buckets that the caller reads: the user's own, the public one, granted and subscribed ones.
pub(crate) fn held(reading: &dyn Reading, caller: &Caller) -> Result<Vec<String>, Fault> {
    Ok(rights(reading, caller)?.reads)
}

/// The buckets that the caller reads, and those that the caller writes.
fn rights(reading: &dyn Reading, caller: &Caller) -> Result<Rights, Fault> {
    Ok(Held::read(reading, caller)?.rights)
}

/// v0.1.2's schema check: version and hash must both match the server's. Register admits a device
/// without a schema.
fn schema_gate(
    reading: &dyn Reading,
    version: i64,
    hash: &str,
    may_have_none: bool,
) -> Result<(), Fault> {
    let manifest = &reading.schema().manifest;
    if may_have_none && version == 0 && hash.is_empty() {
        return Ok(());
    }
    if version == manifest.schema_version && hash == manifest.schema_hash {
        return Ok(());
    }
    let message = "client schema does not match server schema";
    let body = ErrorBody {
        server_schema_version: Some(manifest.schema_version),
        server_schema_hash: Some(manifest.schema_hash.clone()),
        ..ErrorBody::default()
    };
    Err(Refusal { body, ..Refusal::new(409, code::SCHEMA_MISMATCH, message) }.into())
}
