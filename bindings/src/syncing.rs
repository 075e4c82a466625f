//! Syncing, as far as the app steers it.

use rejoin_core::{Network, Report};

use crate::RejoinClient;
use crate::config::millis;
use crate::error::Result;
use crate::value::small;

/// What a sync brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct SyncReport {
    /// Mutations that the server accepted.
    pub accepted: u32,
    /// Mutations that it did not; `pending` says why.
    pub parked: u32,
    /// Rows that came in.
    pub pulled: u32,
    /// Mutations that still have no verdict: the server asked to be tried again, or they were written meanwhile.
    pub still_pending: u32,
}

#[uniffi::export]
impl RejoinClient {
    /// Begins to sync in the background: at once, then when something was written, when the server has news, and at each
    /// interval.
    ///
    /// Offline is a status, not an error. Throws `InvalidInput` without a configured server. Starting twice is no error.
    pub async fn start(&self) -> Result<()> {
        Ok(self.inner.start()?)
    }

    /// Ends syncing; local work goes on, and what is written waits. Stopping twice is no error.
    pub async fn stop(&self) -> Result<()> {
        Ok(self.inner.stop().await?)
    }

    /// Syncs now, whatever the metered policy says; how it went stands in the status. Starts syncing if it was not started.
    pub async fn sync_now(&self) -> Result<()> {
        Ok(self.inner.sync_now()?)
    }

    /// Pushes and pulls everything, and waits for it: then what was pending at the call has its verdict, and what the server had
    /// is here. Starts syncing if it was not started.
    ///
    /// Throws `Offline` after one attempt without a server, and after the timeout in milliseconds, if one is given: the work
    /// goes on in the background. A parked mutation is no error: the report counts it.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn sync_and_wait(&self, timeout_ms: Option<u32>) -> Result<SyncReport> {
        Ok(self.inner.sync_and_wait(timeout_ms.map(millis)).await?.into())
    }

    /// Waits until everything has been here once; at once if it has. Starts syncing if it was not started.
    ///
    /// Throws `Offline` after the timeout in milliseconds; without one it waits for a network.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn wait_for_first_sync(&self, timeout_ms: Option<u32>) -> Result<()> {
        Ok(self.inner.wait_for_first_sync(timeout_ms.map(millis)).await?)
    }

    /// Tells what the device knows of its network: whether there is one, and whether its use costs money. Going online asks for
    /// a sync.
    pub fn set_network(&self, online: bool, metered: bool) {
        self.inner.set_network(Network { online, metered });
    }

    /// Tells that the app came to the foreground: a sync now, unless the server asked to be left alone.
    pub fn foreground(&self) {
        self.inner.foreground();
    }

    /// Tells that the token provider has other credentials than before: whoever needed them tries again.
    pub async fn credentials_changed(&self) -> Result<()> {
        Ok(self.inner.credentials_changed().await?)
    }
}

impl From<Report> for SyncReport {
    fn from(report: Report) -> Self {
        Self {
            accepted: small(report.accepted),
            parked: small(report.parked),
            pulled: small(report.pulled),
            still_pending: small(report.still_pending),
        }
    }
}
