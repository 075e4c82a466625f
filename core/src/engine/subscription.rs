//! Subscriptions of this device to streams: sets of rows that it holds only while it subscribes to them.
//!
//! They are in the file, so that they survive a restart. One ends when it has expired or the app has ended
//! it. It is sent to the server until no mutation waits any more, because these may need its rights; a pull
//! without it removes its rows. Only then it leaves the file: an edit of these rows that is made before needs
//! it again.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use rejoin_protocol::limits;
use rejoin_protocol::mutant::{self, Mutant};
pub use rejoin_protocol::wire::subscription::RefusalCode;
use rejoin_protocol::wire::subscription::{Subscription, SubscriptionState, header};

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::error::{Error, InputFault, Result};
pub(crate) use table::{forget_all, forget_states};

/// A held subscription is not renewed more often: each renewal is a write.
const RENEWAL_MS: i64 = 60_000;

/// The parameters of a subscription by name, as texts: an integer in decimal digits, a UUID with
/// hyphens.
///
/// ```
/// # use rejoin_core::StreamParameters;
/// let one = StreamParameters::from([("project", 42)]);
/// assert_eq!(one, StreamParameters::from([("project", "42")]));
/// assert!(StreamParameters::from(()).0.is_empty()); // For a stream without parameters.
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamParameters(pub BTreeMap<String, String>);

impl<N: Into<String>, V: ToString, const COUNT: usize> From<[(N, V); COUNT]> for StreamParameters {
    fn from(pairs: [(N, V); COUNT]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.to_string())).collect())
    }
}

impl From<BTreeMap<String, String>> for StreamParameters {
    fn from(parameters: BTreeMap<String, String>) -> Self {
        Self(parameters)
    }
}

impl From<()> for StreamParameters {
    fn from((): ()) -> Self {
        Self::default()
    }
}

/// Whether the rows of a subscription are on the device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StreamStatus {
    /// No pull has returned its state yet.
    #[default]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribedStream {
    /// The stream's name.
    pub stream: String,
    /// Its parameters.
    pub parameters: StreamParameters,
    /// Lower ones are loaded first.
    pub priority: u8,
    /// How long it lasts after the app no longer holds it.
    pub ttl: Duration,
    /// When it ends: wall-clock milliseconds since 1970. `None` while the app holds it.
    pub ends_ms: Option<i64>,
    /// Whether its rows are here.
    pub status: StreamStatus,
}

/// What identifies a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// The stream's name.
    pub stream: String,
    /// Its parameters.
    pub parameters: StreamParameters,
}

/// A subscription that the app requests.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// The rows.
    pub key: StreamKey,
    /// Lower ones are loaded first.
    pub priority: u8,
    /// How long it lasts after the app no longer holds it.
    pub ttl: Duration,
}

/// Holds subscriptions for the app, and follows those of the file.
pub trait SubscriptionObserver: Send + Sync {
    /// Whether the app holds it: it does not expire.
    fn holds(&self, key: &StreamKey) -> bool;
    /// The subscriptions of the file have changed.
    fn publish(&self, all: Vec<StoredStream>);
}

/// A subscription as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredStream {
    pub(crate) key: StreamKey,
    pub(crate) priority: u8,
    pub(crate) ttl_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) state: Option<SubscriptionState>,
    /// A push may have brought rows that the cursor does not have.
    pub(crate) pushed: bool,
}

impl StoredStream {
    fn to_wire(&self) -> Subscription {
        let StreamKey { stream, parameters } = self.key.clone();
        Subscription { stream, parameters: parameters.0, priority: self.priority }
    }

    /// When it ends if the app holds it until now.
    fn renewed(&self, now_ms: i64) -> i64 {
        now_ms.saturating_add(self.ttl_ms)
    }

    fn is_current(&self) -> bool {
        self.state == Some(SubscriptionState::Current)
    }

    /// Whether this state changes nothing.
    fn has(&self, state: &SubscriptionState) -> bool {
        self.state.as_ref() == Some(state) && !(self.pushed && ends_push(state))
    }

    fn is(&self, sent: &Subscription) -> bool {
        self.key.stream == sent.stream && self.key.parameters.0 == sent.parameters
    }

    pub(crate) fn status(&self) -> StreamStatus {
        match self.state.clone() {
            None => StreamStatus::Waiting,
            Some(SubscriptionState::Loading) => StreamStatus::Loading,
            Some(SubscriptionState::Current) => StreamStatus::Current,
            Some(SubscriptionState::Refused { code, message }) => {
                StreamStatus::Refused { code, message }
            }
        }
    }
}

/// Sets the observer, which receives the subscriptions of the file.
pub fn observe(
    engine: &mut Engine,
    observer: std::sync::Arc<dyn SubscriptionObserver>,
) -> Result<()> {
    engine.subscriptions = Some(observer);
    publish(engine)
}

/// Reports the subscriptions to the observer; after each change of the table.
pub(crate) fn publish(engine: &Engine) -> Result<()> {
    if let Some(observer) = &engine.subscriptions {
        observer.publish(table::all(engine.db.conn())?);
    }
    Ok(())
}

/// Stores a subscription. One to the same rows gets the longer ttl and the lower priority, unless it has
/// ended. Returns whether a pull can change its status.
///
/// # Errors
/// `Refused` for an empty name, `TooManySubscriptions`; nothing was changed.
pub fn subscribe(engine: &mut Engine, request: &StreamRequest) -> Result<bool> {
    let StreamKey { stream, parameters } = &request.key;
    if stream.is_empty() || parameters.0.contains_key("") {
        return Err(Error::InvalidInput(InputFault::Refused {
            what: format!("the subscription to {stream:?}"),
            reason:
                "a stream and its parameters have names; use those of the server's configuration"
                    .to_owned(),
        }));
    }
    let now_ms = now_ms(engine);
    let find = |all: Vec<StoredStream>| all.into_iter().find(|one| one.key == request.key);
    let before = find(table::all(engine.db.conn())?);
    engine.write(Origin::Remote, |engine| {
        table::put(engine.db.conn(), request, now_ms)?;
        make_room(engine, &request.key)
    })?;
    publish(engine)?;
    let after = find(table::all(engine.db.conn())?);
    let is_current = after.as_ref().is_some_and(StoredStream::is_current);
    let priority = |one: &Option<StoredStream>| one.as_ref().map(|one| one.priority);
    Ok(!is_current || priority(&before) != priority(&after))
}

/// While mutations wait, a request names all of the file, so they must fit into its header. Others than this one that the
/// app does not hold make room, the first to end first; their rows leave with the next pull.
fn make_room(engine: &Engine, key: &StreamKey) -> Result<()> {
    let conn = engine.db.conn();
    let mut all = table::all(conn)?;
    all.sort_by_key(|one| one.expires_ms);
    let may_leave = |one: &StoredStream| {
        one.key != *key && !one.pushed && !is_held(engine, &one.key) && !has_waiting(engine)
    };
    while header(&all.iter().map(StoredStream::to_wire).collect::<Vec<_>>()).is_none() {
        let Some(first) = all.iter().position(may_leave) else {
            return Err(InputFault::TooManySubscriptions { limit: limits::SUBSCRIPTIONS }.into());
        };
        table::remove(conn, &all.remove(first).key)?;
    }
    Ok(())
}

/// Renews a subscription that the app no longer holds: its ttl begins.
pub fn release(engine: &mut Engine, key: &StreamKey) -> Result<()> {
    let now_ms = now_ms(engine);
    let all = table::all(engine.db.conn())?;
    let Some(one) = all.iter().find(|one| one.key == *key && one.expires_ms > 0) else {
        return Ok(());
    };
    let expires_ms = one.renewed(now_ms);
    engine.write(Origin::Remote, |engine| table::set_expiry(engine.db.conn(), key, expires_ms))?;
    publish(engine)
}

/// Ends a subscription, if there is one.
pub fn end(engine: &mut Engine, key: &StreamKey) -> Result<()> {
    engine.write(Origin::Remote, |engine| table::set_expiry(engine.db.conn(), key, 0))?;
    publish(engine)
}

/// The subscriptions of the next request, by priority, without those that have ended, unless mutations wait
/// for the server. Renews those that the app holds.
pub(crate) fn of_request(engine: &mut Engine) -> Result<Vec<Subscription>> {
    let all = table::all(engine.db.conn())?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let now_ms = now_ms(engine);
    let is_due = |one: &&StoredStream| {
        one.renewed(now_ms) - one.expires_ms > RENEWAL_MS.max(one.ttl_ms / 16)
    };
    let held = all.iter().filter(|one| is_held(engine, &one.key));
    let renewed: Vec<&StoredStream> = held.filter(is_due).collect();
    let (ended, named): (Vec<&StoredStream>, Vec<&StoredStream>) =
        all.iter().partition(|one| has_ended(engine, one, now_ms));
    let leaving: Vec<&StoredStream> = ended.into_iter().filter(|one| one.state.is_some()).collect();
    let mut pushed = named.clone();
    pushed.retain(|one| has_waiting(engine) && !one.pushed && !one.is_current());
    if !(renewed.is_empty() && leaving.is_empty() && pushed.is_empty()) {
        engine.write(Origin::Remote, |engine| {
            let conn = engine.db.conn();
            for one in renewed {
                table::set_expiry(conn, &one.key, one.renewed(now_ms))?;
            }
            // From now on its rows may be gone: a new subscription to them waits for a pull.
            leaving.iter().try_for_each(|one| table::forget_state(conn, &one.key))?;
            pushed.iter().try_for_each(|one| table::set_pushed(conn, &one.key, true))
        })?;
        publish(engine)?;
    }
    Ok(named.into_iter().map(StoredStream::to_wire).collect())
}

/// After the last page of a pull with these subscriptions is applied: removes from the file those that have
/// ended and were not sent. The rows of these are gone, unless an edit waits. Returns whether one that was sent
/// has ended: the next pull removes its rows.
pub(crate) fn remove_ended(engine: &mut Engine, sent: &[Subscription]) -> Result<bool> {
    let now_ms = now_ms(engine);
    let all = table::all(engine.db.conn())?;
    let ended = all.iter().filter(|one| has_ended(engine, one, now_ms));
    let (sent, gone): (Vec<_>, Vec<_>) =
        ended.partition(|one| sent.iter().any(|sent| one.is(sent)));
    if !gone.is_empty() {
        engine.write(Origin::Remote, |engine| {
            gone.iter().try_for_each(|one| table::remove(engine.db.conn(), &one.key))
        })?;
        publish(engine)?;
    }
    Ok(!sent.is_empty())
}

/// Stores the states that a pull returned for the subscriptions of its request. `is_applied`: whether the rows up to
/// this page are in the tables. A crash before this leaves an older state, until the next pull.
pub(crate) fn record(
    engine: &mut Engine,
    sent: &[Subscription],
    states: &[SubscriptionState],
    is_applied: bool,
) -> Result<()> {
    let all = table::all(engine.db.conn())?;
    let mut changed = Vec::new();
    for (sent, state) in sent.iter().zip(states) {
        let Some(one) = all.iter().find(|one| one.is(sent)) else { continue };
        let is_early = !is_applied && *state == SubscriptionState::Current;
        if one.has(state) {
            continue;
        }
        let state = if is_early { SubscriptionState::Loading } else { state.clone() };
        if !one.has(&state) {
            changed.push((one.key.clone(), state));
        }
    }
    set_states(engine, &changed)
}

/// Refuses all subscriptions: the server has no streams.
pub(crate) fn refuse(engine: &mut Engine, message: &str) -> Result<()> {
    let state = SubscriptionState::Refused {
        code: RefusalCode::UnknownStream,
        message: message.to_owned(),
    };
    let all = table::all(engine.db.conn())?.into_iter();
    let changed = all.filter(|one| !one.has(&state));
    let changed: Vec<_> = changed.map(|one| (one.key, state.clone())).collect();
    set_states(engine, &changed)
}

fn set_states(engine: &mut Engine, changed: &[(StreamKey, SubscriptionState)]) -> Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    engine.write(Origin::Remote, |engine| {
        for (key, state) in changed {
            table::set_state(engine.db.conn(), key, state)?;
            if ends_push(state) {
                table::set_pushed(engine.db.conn(), key, false)?;
            }
        }
        Ok(())
    })?;
    publish(engine)
}

/// Whether the cursor now has all rows that a push may have brought.
fn ends_push(state: &SubscriptionState) -> bool {
    *state != SubscriptionState::Loading
}

/// While mutations wait, none ends: the server may accept the mutations only with it. Nor does it before a pull has
/// brought what a push with it may have brought: a pull removes only the rows that the cursor has.
fn has_ended(engine: &Engine, one: &StoredStream, now_ms: i64) -> bool {
    one.expires_ms <= now_ms && !one.pushed && !has_waiting(engine) && !is_held(engine, &one.key)
}

/// Whether mutations wait for the server.
fn has_waiting(engine: &Engine) -> bool {
    let counts = engine.queue.counts();
    counts.pending + counts.sent + counts.uncertain > 0 && !mutant::on(Mutant::EndedNotSent)
}

fn is_held(engine: &Engine, key: &StreamKey) -> bool {
    engine.subscriptions.as_ref().is_some_and(|observer| observer.holds(key))
}

fn now_ms(engine: &Engine) -> i64 {
    engine.host.now_micros() / 1_000
}
