//! Subscriptions to streams: rows that the device holds only while the app subscribes to them.

mod board;

use std::fmt;
use std::future::IntoFuture;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Client, Core, SyncHandle};
use crate::engine::subscription::{
    self, StoredStream, StreamKey, StreamParameters, StreamRequest, StreamStatus, SubscribedStream,
};
use crate::error::{Error, InputFault, Result, SyncFault};
use crate::sync::driver::Driver;
use crate::watch::Subscription;
use crate::writer::Task;
pub(crate) use board::StreamBoard;

/// How long rows stay after the app no longer holds the subscription, by default.
const TTL: Duration = Duration::from_hours(24);

/// The default priority: between those that load early and those that may load late.
const PRIORITY: u8 = 3;

impl SyncHandle<'_> {
    /// Subscribes to the rows of a stream of the server, which `parameters` select: `[("project", 42)]`,
    /// or `()` for a stream without parameters. See `docs/subscriptions.md`.
    ///
    /// The subscription is stored in the file and survives a restart. Offline it is stored too, and the
    /// rows come with the next sync; while syncing runs, that begins now. The app holds it as long as a
    /// [`StreamSubscription`] exists, of this call or of another one for the same rows. Then it lasts for
    /// its ttl. A second subscription to the same rows is the same one, with the longer ttl and the lower
    /// priority.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use rejoin_core::{Client, Config, StreamStatus, block_on};
    /// # let client = Client::open(Config::temporary()).wait()?;
    /// # block_on(async {
    /// let project = client.sync().subscribe("project", [("project", 42)]).priority(1).await?;
    /// assert_eq!(project.status(), StreamStatus::Waiting); // With a server, `first_sync` waits for the rows.
    /// drop(project); // The rows stay for a day.
    /// assert_eq!(client.sync().subscriptions()[0].stream, "project");
    /// # client.shutdown().await
    /// # })?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// A server without streams, or a plain one, refuses the subscription: its status is
    /// [`StreamStatus::Refused`] after the next pass.
    pub fn subscribe(
        &self,
        stream: impl Into<String>,
        parameters: impl Into<StreamParameters>,
    ) -> Subscribe {
        let key = StreamKey { stream: stream.into(), parameters: parameters.into() };
        let request = StreamRequest { key, priority: PRIORITY, ttl: TTL };
        Subscribe { client: self.0.clone(), request }
    }

    /// The subscriptions of the file, by priority: those that the app holds, and those whose ttl runs.
    /// Works offline, and while suspended.
    pub fn subscriptions(&self) -> Vec<SubscribedStream> {
        self.0.core().streams.list()
    }

    /// Calls `callback` with the current subscriptions and after each change, such as of a status. It
    /// ends, and drops `callback`, when the returned [`Subscription`] is dropped or the client shuts down.
    /// Changes during a call are combined. The end of a ttl is reported by the next pass.
    pub fn on_subscriptions(
        &self,
        callback: impl FnMut(Vec<SubscribedStream>) + Send + 'static,
    ) -> Subscription {
        let core = self.0.core();
        core.streams.listen(Box::new(callback), Arc::clone(&core.hub.dispatcher))
    }
}

/// A subscription that is about to begin, by `await` or [`Subscribe::wait`]. From
/// [`SyncHandle::subscribe`].
#[must_use = "a subscription begins when it is awaited, or by `wait`"]
pub struct Subscribe {
    client: Client,
    request: StreamRequest,
}

impl Subscribe {
    /// How long the subscription lasts after the app no longer holds it; then its rows leave the device
    /// with the next pull. By the wall clock. After a crash, up to a sixteenth of it has passed. Default:
    /// 24 hours.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request.ttl = ttl;
        self
    }

    /// Lower ones are loaded first. Default: 3.
    pub fn priority(mut self, priority: u8) -> Self {
        self.request.priority = priority;
        self
    }

    /// Stores the subscription. Waits on this thread for the file, not for the server.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if the stream or a parameter has no name;
    /// [`InputFault::TooManySubscriptions`]; those of writing the file. Nothing was changed.
    pub fn wait(self) -> Result<StreamSubscription> {
        self.begin().wait()
    }

    fn begin(self) -> Task<StreamSubscription> {
        let Self { client, request } = self;
        let core = client.core();
        let held = StreamSubscription::hold(core, request.key.clone());
        let syncing = Arc::downgrade(&core.syncing);
        core.writer.call(move |engine| {
            if subscription::subscribe(engine, &request)?
                && let Some(syncing) = syncing.upgrade()
            {
                syncing.with(Driver::subscriptions_changed);
            }
            Ok(held)
        })
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<StreamSubscription>;
    type IntoFuture = Task<StreamSubscription>;

    /// As [`Subscribe::wait`], as a future. It begins at this call.
    fn into_future(self) -> Task<StreamSubscription> {
        self.begin()
    }
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscribe").field("request", &self.request).finish_non_exhaustive()
    }
}

/// A subscription that the app holds: it does not expire. When the last one to the same rows is dropped,
/// its ttl begins. It does not keep the client open.
#[must_use = "when it is dropped, the ttl of the subscription begins"]
pub struct StreamSubscription {
    core: Weak<Core>,
    streams: Arc<StreamBoard>,
    key: StreamKey,
    /// Whether it no longer counts as held.
    is_released: bool,
}

impl StreamSubscription {
    fn hold(core: &Arc<Core>, key: StreamKey) -> Self {
        let streams = Arc::clone(&core.streams);
        streams.hold(&key);
        Self { core: Arc::downgrade(core), streams, key, is_released: false }
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.key.stream
    }

    /// The parameters.
    pub fn parameters(&self) -> &StreamParameters {
        &self.key.parameters
    }

    /// Whether the rows are here; [`StreamStatus::Waiting`] also after a reset of the file has removed
    /// the subscription. [`SyncHandle::on_subscriptions`] reports changes.
    pub fn status(&self) -> StreamStatus {
        self.streams.status(&self.key).unwrap_or_default()
    }

    /// Waits until all rows are here; returns immediately if they are. Starts syncing if it is not
    /// started.
    ///
    /// # Errors
    /// [`SyncFault::SubscriptionRefused`] with the server's reason; [`SyncFault::Offline`] after
    /// `timeout`, without one it waits for a network; [`InputFault::Refused`] if a reset of the file has
    /// removed the subscription; those of [`SyncHandle::first_sync`].
    pub fn first_sync(&self, timeout: Option<Duration>) -> Task<()> {
        let Some(core) = self.core.upgrade() else { return Task::ready(Err(Error::Closed)) };
        if core.lifecycle().check().is_ok() && self.status() == StreamStatus::Current {
            return Task::ready(Ok(()));
        }
        let (stored, key) = (self.streams.watch(), self.key.clone());
        core.driven_task(|driver| {
            driver.wait_until(stored, timeout, move |stored| loaded(stored, &key))
        })
    }

    /// Ends the subscription now, unless the app holds another one to the same rows. While syncing runs, a
    /// pass begins, and the rows leave the device; offline they leave with the next one. Mutations that
    /// wait are sent first: until then the subscription is still sent to the server, which may accept them
    /// only with its rights. Parked mutations stay in the queue; subscribe again before retrying one.
    ///
    /// # Errors
    /// Those of writing the file, [`Error::Suspended`], [`Error::Closed`]: its ttl begins instead.
    pub fn unsubscribe(mut self) -> Task<()> {
        let Some(core) = self.core.upgrade() else { return Task::ready(Err(Error::Closed)) };
        let (streams, key) = (Arc::clone(&self.streams), self.key.clone());
        self.is_released = true;
        streams.release(&key);
        let syncing = Arc::downgrade(&core.syncing);
        core.writer.call(move |engine| {
            if streams.is_held(&key) {
                return Ok(());
            }
            subscription::end(engine, &key)?;
            if let Some(syncing) = syncing.upgrade() {
                syncing.with(Driver::subscriptions_changed);
            }
            Ok(())
        })
    }
}

/// The result of a wait for the rows of a subscription, if it has ended.
fn loaded(stored: &[StoredStream], key: &StreamKey) -> Option<Result<()>> {
    match stored.iter().find(|one| one.key == *key).map(StoredStream::status) {
        Some(StreamStatus::Current) => Some(Ok(())),
        Some(StreamStatus::Waiting | StreamStatus::Loading) => None,
        Some(StreamStatus::Refused { code, message }) => {
            let stream = key.stream.clone();
            Some(Err(SyncFault::SubscriptionRefused { stream, code, message }.into()))
        }
        None => Some(Err(Error::InvalidInput(InputFault::Refused {
            what: format!("waiting for the stream {:?}", key.stream),
            reason: "a reset of the file has removed the subscription; subscribe again".to_owned(),
        }))),
    }
}

impl Drop for StreamSubscription {
    fn drop(&mut self) {
        if std::mem::replace(&mut self.is_released, true) || !self.streams.release(&self.key) {
            return;
        }
        if let Some(core) = self.core.upgrade() {
            let (streams, key) = (Arc::clone(&self.streams), self.key.clone());
            // Not waited for. If it fails, the ttl has begun when it was last renewed.
            drop(core.writer.call(move |engine| {
                if streams.is_held(&key) { Ok(()) } else { subscription::release(engine, &key) }
            }));
        }
    }
}

impl fmt::Debug for StreamSubscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StreamSubscription").field("key", &self.key).finish_non_exhaustive()
    }
}
