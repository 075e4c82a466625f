//! Control of syncing by the app.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rejoin_core::{self as core, Network, StreamParameters};

use crate::RejoinClient;
use crate::client::subscribed;
use crate::config::millis;
use crate::error::Result;
use crate::streams::{self, StreamSubscription, SubscribedStream, SubscriptionsObserver};
use crate::subscription::Subscription;
use crate::value::small;

/// The result of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct SyncReport {
    /// Mutations that the server accepted.
    pub accepted: u32,
    /// Parked mutations; `pending` has the reasons.
    pub parked: u32,
    /// Received rows.
    pub pulled: u32,
    /// Mutations without a verdict: the server asked to retry, or they were written meanwhile.
    pub still_pending: u32,
}

/// The result of a check of this device's rows against the server's.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct DoctorReport {
    /// Every synced table that the server has, by name.
    pub tables: Vec<TableCheck>,
}

/// The result of a check for one table.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct TableCheck {
    /// Its name.
    pub table: String,
    /// Number of its rows on this device.
    pub rows: i64,
    /// Number of rows that were wrong here: missing, present without the server having them, or with
    /// other values. Pending edits are not counted.
    pub differing: i64,
    /// How many of these now have the server's content.
    pub repaired: i64,
}

#[uniffi::export]
impl RejoinClient {
    /// Starts syncing in the background: immediately, after local writes, on server events, and at
    /// each interval.
    ///
    /// Offline is a status, not an error. Throws `InvalidInput` without a configured server.
    /// Starting twice is no error.
    pub async fn start(&self) -> Result<()> {
        Ok(self.inner.start()?)
    }

    /// Stops syncing; local work continues and writes wait. Stopping twice is no error.
    pub async fn stop(&self) -> Result<()> {
        Ok(self.inner.stop().await?)
    }

    /// Syncs now, ignoring the metered policy; the result is in the status. Starts syncing if not
    /// started.
    pub async fn sync_now(&self) -> Result<()> {
        Ok(self.inner.sync().request()?)
    }

    /// Pushes and pulls everything. When it completes, mutations that were pending at the call have
    /// a verdict, and the server's changes are here. Starts syncing if it is not started.
    ///
    /// Throws `Offline` after one attempt without a server, and after the timeout in milliseconds;
    /// the work continues in the background. A parked mutation is no error: the report counts it.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn sync_and_wait(&self, timeout_ms: Option<u32>) -> Result<SyncReport> {
        Ok(self.inner.sync().run(timeout_ms.map(millis)).await?.into())
    }

    /// Syncs, compares the rows of each synced table with the server's by digests, and fetches again
    /// those that differ. Pending mutations stay. Starts syncing if it is not started.
    ///
    /// Throws as `sync_and_wait`; offline, the check is done by a later sync, and the next call
    /// returns a new report. Throws `InvalidInput` if the server has no digests.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn doctor(&self, timeout_ms: Option<u32>) -> Result<DoctorReport> {
        Ok(self.inner.sync().doctor(timeout_ms.map(millis)).await?.into())
    }

    /// Fetches all rows of the synced tables again and waits, as `sync_and_wait`. Pending mutations
    /// stay; rows that the server does not have are removed when all are here.
    ///
    /// Throws as `sync_and_wait`; the rows are then fetched by a later sync.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn resync(&self, timeout_ms: Option<u32>) -> Result<SyncReport> {
        Ok(self.inner.sync().resync(timeout_ms.map(millis)).await?.into())
    }

    /// Waits until the first sync is complete. Starts syncing if it is not started.
    ///
    /// Throws `Offline` after the timeout in milliseconds; without one it waits for a network.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn wait_for_first_sync(&self, timeout_ms: Option<u32>) -> Result<()> {
        Ok(self.inner.sync().first_sync(timeout_ms.map(millis)).await?)
    }

    /// Subscribes to the rows of a stream of the server, which `parameters` select: by name, as
    /// texts, an integer in decimal digits.
    ///
    /// The subscription is stored in the file and survives a restart. Works offline: the rows come
    /// with the next sync; while syncing runs, that begins now. `ttl_ms` is how long it lasts after
    /// the app no longer holds it (default: 24 hours). Subscriptions with a lower `priority` are
    /// loaded first (default: 3). A second one to the same rows is the same, with the longer ttl
    /// and the lower priority.
    ///
    /// Throws `InvalidInput` if the stream or a parameter has no name, or if the device has too many
    /// subscriptions; errors of writing the file. Nothing was changed.
    #[uniffi::method(default(ttl_ms = None, priority = None))]
    pub async fn subscribe(
        &self,
        stream: String,
        parameters: HashMap<String, String>,
        ttl_ms: Option<i64>,
        priority: Option<u8>,
    ) -> Result<Arc<StreamSubscription>> {
        let parameters = StreamParameters(parameters.into_iter().collect());
        let mut subscribe = self.inner.sync().subscribe(stream, parameters);
        if let Some(ttl_ms) = ttl_ms {
            subscribe = subscribe.ttl(Duration::from_millis(u64::try_from(ttl_ms).unwrap_or(0)));
        }
        if let Some(priority) = priority {
            subscribe = subscribe.priority(priority);
        }
        Ok(Arc::new(StreamSubscription::new(subscribe.await?)))
    }

    /// The subscriptions of the file, by priority: those that the app holds, and those whose ttl
    /// runs. Works offline, and while suspended.
    pub fn subscriptions(&self) -> Vec<SubscribedStream> {
        streams::to_ffi(self.inner.sync().subscriptions())
    }

    /// Calls the observer with the subscriptions now and after each change, such as of a status,
    /// until the subscription is cancelled. The end of a ttl is reported by the next pass.
    pub fn on_subscriptions(&self, observer: Arc<dyn SubscriptionsObserver>) -> Arc<Subscription> {
        subscribed(self.inner.sync().on_subscriptions(move |subscriptions| {
            if let Err(error) = observer.on_subscriptions(streams::to_ffi(subscriptions)) {
                tracing::warn!(%error, "an observer of the subscriptions threw");
            }
        }))
    }

    /// Reports the network state: whether there is a network, and whether it is metered. Going
    /// online starts a sync.
    pub fn set_network(&self, online: bool, metered: bool) {
        self.inner.sync().set_network(Network { online, metered });
    }

    /// Reports that the app came to the foreground: syncs now, unless `Retry-After` forbids it.
    pub fn foreground(&self) {
        self.inner.sync().foreground();
    }

    /// Reports that the token provider has new credentials: a sync that waits for them tries again.
    pub async fn credentials_changed(&self) -> Result<()> {
        Ok(self.inner.sync().credentials_changed().await?)
    }

    /// Releases the file: rolls back what runs, closes every connection and drops every lock, as
    /// iOS requires of an app in the background. Later calls throw `Suspended` until `resume`.
    pub async fn suspend(&self) -> Result<()> {
        Ok(self.inner.sync().suspend().await?)
    }

    /// Opens the file again after `suspend`; watched queries run once to catch up.
    ///
    /// Throws as opening does; the client then stays suspended.
    pub async fn resume(&self) -> Result<()> {
        Ok(self.inner.sync().resume().await?)
    }
}

impl From<core::DoctorReport> for DoctorReport {
    fn from(report: core::DoctorReport) -> Self {
        let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
        let check = |check: core::TableCheck| TableCheck {
            table: check.table,
            rows: count(check.rows),
            differing: count(check.differing),
            repaired: count(check.repaired),
        };
        Self { tables: report.tables.into_iter().map(check).collect() }
    }
}

impl From<core::SyncReport> for SyncReport {
    fn from(report: core::SyncReport) -> Self {
        Self {
            accepted: small(report.accepted),
            parked: small(report.parked),
            pulled: small(report.pulled),
            still_pending: small(report.still_pending),
        }
    }
}
