//! The engine: what the six exchanges mean, above whatever store there is.
//!
//! Synchronous and without a network: a request, its caller and the clock go in, an answer or a [`Fault`] comes out. Who
//! may see a row is decided here ([`Access`](crate::model::Access) and the buckets held) and rendered by the store; nothing is readable unless
//! something says so (I10).

use std::sync::Arc;

use rejoin_protocol::time;
use rejoin_protocol::wire::{ErrorBody, code};

use crate::clock::Clock;
use crate::config::{Limits, Retention};
use crate::error::{Fault, Refusal};
use crate::hooks::Hooks;
use crate::model::{Client, GLOBAL, own_bucket};
use crate::store::{Reading, Store, read, write};

use checks::Checks;

mod apply;
mod batch;
mod bucket;
mod change;
pub(crate) mod checks;
mod conflict;
mod conflict_log;
mod cursor;
pub(crate) mod describe;
mod encode;
mod evaluate;
mod hook;
mod keep;
mod naming;
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
mod user_transaction;
pub(crate) mod verdict;
mod version;
mod window;

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
    /// What is asked before actions are taken.
    pub(crate) checks: Checks,
    /// What the host wants to hear and decide.
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user, as the credentials name him; case matters.
    pub(crate) user: String,
    /// Whether the request asked for the extensions.
    pub(crate) extended: bool,
    /// Whether the host lets in a device of his that was away for long.
    pub(crate) let_in: bool,
}

impl Engine {
    /// The time in canonical text.
    pub(crate) fn now(&self) -> String {
        time::format(self.clock.now())
    }

    /// The present epoch.
    pub(crate) fn epoch(&self) -> Result<String, Fault> {
        Ok(read(&*self.store, |reading| reading.log_state())?.epoch)
    }

    /// A page's size: 100 if nothing sensible is asked, never above the limit.
    fn page_size(&self, asked: Option<i64>) -> usize {
        let asked = asked.filter(|limit| *limit > 0).unwrap_or(100);
        usize::try_from(asked).unwrap_or(usize::MAX).min(self.limits.page).max(1)
    }

    /// The registered device, for whose user the transaction works, or the refusal that makes it register again.
    fn registered(
        &self,
        reading: &dyn Reading,
        caller: &Caller,
        client_id: &str,
    ) -> Result<Client, Fault> {
        reading.act_for(&caller.user, &[])?;
        let Some(client) = reading.client(&caller.user, client_id)? else {
            return Err(Refusal::new(404, code::NOT_REGISTERED, "client not registered").into());
        };
        self.let_in(caller, client_id, &client)?;
        Ok(client)
    }

    /// Remembers that a device was here, and from which position it asked: what it surely has. At most once a minute, so
    /// that polls write next to nothing; a position that lags behind only keeps the log a little longer.
    fn remember(
        &self,
        user: &str,
        client_id: &str,
        before: &Client,
        asked_from: i64,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        let is_known = before.last_pull_at.as_deref().and_then(time::parse);
        if is_known.is_some_and(|last| now - last < MINUTE) && before.position.is_some() {
            return Ok(());
        }
        let now = time::format(now);
        write(&*self.store, &now, |writing| {
            let Some(mut client) = writing.client(user, client_id)? else { return Ok(()) };
            client.position = Some(asked_from);
            client.last_pull_at = Some(now.clone());
            client.seen_at.clone_from(&now);
            writing.put_client(user, client_id, &client)
        })
    }
}

/// The buckets that a user holds: his own, everybody's, and what the operator gave him.
pub(crate) fn held(reading: &dyn Reading, user: &str) -> Result<Vec<String>, Fault> {
    let mut held = vec![own_bucket(user), String::from(GLOBAL)];
    for bucket in reading.granted(user)? {
        if !held.contains(&bucket) {
            held.push(bucket);
        }
    }
    Ok(held)
}

/// v0.1.2's schema gate: version and hash must both be the server's. Register lets a device in that has none yet.
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
