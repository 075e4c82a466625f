//! Subscriptions to streams: rows that the device holds only while the app subscribes to them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rejoin_core as core;
use rejoin_core::{Error, InputFault};

use crate::config::millis;
use crate::error::{RefusalCode, Result};

/// Whether the rows of a subscription are on the device.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum StreamStatus {
    /// No pull has returned its state yet.
    Waiting,
    /// Pulls are fetching its rows.
    Loading,
    /// All its rows are here, as of the last pull. Also after a restart and offline.
    Current,
    /// The server refuses it; it brings no rows. Each pull tries it again.
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for developers.
        message: String,
    },
}

/// A subscription of the file.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SubscribedStream {
    /// The stream's name.
    pub stream: String,
    /// Its parameters by name, as texts.
    pub parameters: HashMap<String, String>,
    /// Lower ones are loaded first.
    pub priority: u8,
    /// How long it lasts after the app no longer holds it, in milliseconds.
    pub ttl_ms: i64,
    /// When it ends: milliseconds since 1970. Nothing while the app holds it.
    pub ends_ms: Option<i64>,
    /// Whether its rows are here.
    pub status: StreamStatus,
}

/// Observes the subscriptions.
///
/// Called on a thread of the engine, one call at a time. It may call the client but must not block
/// on it. An exception is logged and ignored.
#[uniffi::export(with_foreign)]
pub trait SubscriptionsObserver: Send + Sync {
    /// Called with the current subscriptions, by priority, and after each change. Changes during a
    /// call are combined: the next call gets the latest list.
    fn on_subscriptions(&self, subscriptions: Vec<SubscribedStream>) -> Result<()>;
}

/// A subscription that the app holds: it does not expire. Its ttl begins when it is released, or no
/// reference is left, and no other handle to the same rows is held. It does not keep the client
/// open.
///
/// In languages with garbage collection, call `release`.
#[derive(Debug, uniffi::Object)]
pub struct StreamSubscription {
    /// Nothing after its end.
    inner: Mutex<Option<core::StreamSubscription>>,
}

#[uniffi::export]
impl StreamSubscription {
    /// Whether the rows are here. `Waiting` also after its end, and after a reset of the file has
    /// removed the subscription.
    pub fn status(&self) -> StreamStatus {
        let status = self.inner().as_ref().map(core::StreamSubscription::status);
        status.map_or(StreamStatus::Waiting, StreamStatus::from)
    }

    /// Waits until all rows are here; returns immediately if they are. Starts syncing if it is not
    /// started.
    ///
    /// Throws `SubscriptionRefused` with the server's reason, and `Offline` after the timeout in
    /// milliseconds; without one it waits for a network. Throws `InvalidInput` after its end, or if
    /// a reset of the file has removed the subscription.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn first_sync(&self, timeout_ms: Option<u32>) -> Result<()> {
        let synced = self.inner().as_ref().map(|inner| inner.first_sync(timeout_ms.map(millis)));
        Ok(synced.ok_or_else(ended)?.await?)
    }

    /// Ends the subscription now, unless the app holds another one to the same rows. While syncing
    /// runs, a pass begins, and the rows leave the device; offline they leave with the next one.
    /// Edits of these rows that wait are sent first.
    ///
    /// Ending twice is no error. Throws errors of writing the file, `Suspended` and `Closed`: then
    /// its ttl begins instead.
    pub async fn unsubscribe(&self) -> Result<()> {
        let ending = self.inner().take().map(core::StreamSubscription::unsubscribe);
        match ending {
            Some(ending) => Ok(ending.await?),
            None => Ok(()),
        }
    }

    /// Releases the handle: the ttl begins, unless the app holds another one to the same rows.
    /// Releasing twice is no error.
    pub fn release(&self) {
        let inner = self.inner().take();
        drop(inner);
    }
}

impl StreamSubscription {
    pub(crate) fn new(inner: core::StreamSubscription) -> Self {
        Self { inner: Mutex::new(Some(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Option<core::StreamSubscription>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended() -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: "waiting for the rows of a stream".to_owned(),
        reason: "the subscription was released or ended; subscribe again".to_owned(),
    })
}

pub(crate) fn to_ffi(subscriptions: Vec<core::SubscribedStream>) -> Vec<SubscribedStream> {
    subscriptions.into_iter().map(SubscribedStream::from).collect()
}

impl From<core::SubscribedStream> for SubscribedStream {
    fn from(subscribed: core::SubscribedStream) -> Self {
        Self {
            stream: subscribed.stream,
            parameters: subscribed.parameters.0.into_iter().collect(),
            priority: subscribed.priority,
            ttl_ms: i64::try_from(subscribed.ttl.as_millis()).unwrap_or(i64::MAX),
            ends_ms: subscribed.ends_ms,
            status: subscribed.status.into(),
        }
    }
}

impl From<core::StreamStatus> for StreamStatus {
    fn from(status: core::StreamStatus) -> Self {
        match status {
            core::StreamStatus::Waiting => Self::Waiting,
            core::StreamStatus::Loading => Self::Loading,
            core::StreamStatus::Current => Self::Current,
            core::StreamStatus::Refused { code, message } => {
                Self::Refused { code: code.into(), message }
            }
        }
    }
}
