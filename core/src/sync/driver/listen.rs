//! The event stream: requests a pass on server events.
//!
//! An event only requests a pass, so a lost stream only costs time. A broken stream is reopened
//! with backoff, a refused one at the sync interval, because a proxy may have refused it, and none
//! before the server's `Retry-After`, unless the network changes. Without a stream, the interval polls.
//!
//! While nothing happens, the stream is opened again with fewer pings, together with a poll. A proxy
//! may close a connection that is silent for so long; then the pings stay frequent for an hour.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rejoin_protocol::SUBSCRIPTIONS_HEADER;
use rejoin_protocol::wire::event::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::exchange::EventsRequest;
use super::pass::PassContext;
use super::schedule::{CALMEST, Ended, RETRY};
use super::shared::{ListenLimit, Shared, random};
use crate::error::{Error, InputFault, Result};
use crate::sync::backoff::Backoff;
use crate::transport::{EventStream, HttpRequest, TransportError, events};

/// Seconds between two pings, by level of calm. The second is below the minute after which many proxies
/// close a connection.
const PINGS: [u64; CALMEST as usize + 1] = [events::PING.as_secs(), 45, 240, 480];

/// How late a ping may be.
const LATE: Duration = Duration::from_secs(40);

/// Listens as long as the task exists.
pub(super) async fn listen(pass: PassContext, request: EventsRequest) {
    let soon = Backoff { max_retries: u32::MAX, slow: pass.config.sync_interval };
    let slowly = Backoff { max_retries: 0, ..soon };
    let mut failures = 0;
    let mut calm = pass.shared.calm.subscribe();
    loop {
        let begun = Instant::now();
        let ListenLimit { most, retry } = pass.shared.listen_limit(begun);
        let level = most.min(*calm.borrow_and_update() as usize);
        let ping = PINGS[level];
        let mut asked = None;
        let backoff = match open(&pass, &request, ping, &mut asked).await {
            Ok(Some(stream)) => {
                let mut stream = stream.idle(Duration::from_secs(ping) + LATE);
                pass.shared.level.store(level, Ordering::Release);
                let mut is_open = None;
                let limits = (level, most, retry);
                let ended = follow(&pass, &mut stream, limits, &mut calm, &mut is_open).await;
                if ended == Ended::Calmer {
                    continue;
                }
                if ended == Ended::Lost && was_too_silent(&stream, level) {
                    pass.shared.set_listen_limit(ListenLimit {
                        most: level - 1,
                        retry: Some(begun + RETRY),
                    });
                }
                // Before the end of `is_open`, which lets the loop poll. A stream without an event was none.
                if is_open.is_some() {
                    pass.shared.change(|inbox| inbox.stream_ended = Some(ended));
                }
                soon
            }
            Ok(None) => slowly,
            // The transport has no streams.
            Err(Error::InvalidInput(InputFault::Refused { .. })) => return,
            // A temporary failure.
            Err(_) => soon,
        };
        // A stream that lasted resets the backoff; one that breaks immediately does not.
        failures = if begun.elapsed() >= events::IDLE { 1 } else { failures + 1 };
        tokio::time::sleep(backoff.delay(failures, random(&*pass.host), asked)).await;
    }
}

/// Whether a lost stream of this level would probably have stayed open with more pings: it was lost in a
/// silence that the level below does not have, and it has survived none of its own.
fn was_too_silent(stream: &EventStream, level: usize) -> bool {
    let Some(more) = level.checked_sub(1) else { return false };
    let [more, own] = [PINGS[more], PINGS[level]].map(Duration::from_secs);
    let survived = stream.longest_silence() + Duration::from_secs(1) >= own;
    stream.silence() > more && !survived
}

/// An open stream, also if the task ends.
#[derive(Debug)]
struct Listening<'s>(&'s Shared);

impl<'s> Listening<'s> {
    fn at(shared: &'s Shared) -> Self {
        shared.streams.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
        self.0.wake.notify_one(); // Without a stream, the next pass is due earlier.
    }
}

/// Opens a stream; `None` if refused: no such endpoint, or credentials that the next pass will find
/// refused. `asked` becomes the server's `Retry-After`.
async fn open(
    pass: &PassContext,
    events: &EventsRequest,
    ping: u64,
    asked: &mut Option<Duration>,
) -> Result<Option<EventStream>> {
    let mut header = pass.keyring.begin().await?;
    for is_second in [false, true] {
        let mut headers = vec![("accept".to_owned(), "text/event-stream".to_owned())];
        headers.push(("rejoin-protocol".to_owned(), rejoin_protocol::PROTOCOL.to_string()));
        let subscriptions = events.subscriptions.clone();
        headers.extend(subscriptions.map(|value| (SUBSCRIPTIONS_HEADER.to_owned(), value)));
        headers.extend(header.clone());
        let (timeout, path) = (pass.config.ack_deadline, format!("{}&ping={ping}", events.path));
        let request = HttpRequest { method: "GET", path, headers, body: None, timeout };
        // A custom transport may not observe the timeout.
        let opened = tokio::time::timeout(timeout, pass.opened(request)).await;
        let opened = opened.unwrap_or(Ok(Err(TransportError::Timeout(timeout))))?;
        *asked = match &opened {
            Err(TransportError::Status { retry_after, .. }) => *retry_after,
            _ => None,
        };
        match opened {
            Ok(stream) => return Ok(Some(stream)),
            Err(TransportError::Status { status: 401, .. }) if !is_second => {
                header = pass.keyring.renewed(header.as_ref(), false).await?;
                if header.is_none() {
                    return Ok(None);
                }
            }
            Err(TransportError::Status { status: status @ 400..=499, .. })
                if !matches!(status, 408 | 429) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(super::pass::unanswered(&error)),
        }
    }
    Ok(None)
}

/// Requests a pass at each event, until the stream ends or may have fewer pings: at a higher level of
/// calm than `level`, up to `most`, or after `retry` to one above. The stream counts as open from its
/// first event on: a proxy may hold it back.
async fn follow<'s>(
    pass: &'s PassContext,
    stream: &mut EventStream,
    (level, most, retry): (usize, usize, Option<Instant>),
    calm: &mut watch::Receiver<u32>,
    is_open: &mut Option<Listening<'s>>,
) -> Ended {
    let is_calmer = |calm: &u32| most.min(*calm as usize) > level;
    let retries = async {
        match retry.filter(|_| level == most) {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(retries);
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            _ = calm.wait_for(is_calmer) => return Ended::Calmer,
            () = &mut retries => return Ended::Calmer,
        };
        if event.is_some() {
            is_open.get_or_insert_with(|| Listening::at(&pass.shared));
        }
        match event {
            // Changes between the last pull and now were not notified.
            Some(Event::Hello(_) | Event::Changed) => {
                pass.shared.change(|inbox| inbox.requests.woken = true);
            }
            // The token is about to expire; reopening fetches a new one if necessary.
            Some(Event::Bye(_)) => return Ended::Bye,
            None => return Ended::Lost,
        }
    }
}
