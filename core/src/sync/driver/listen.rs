//! The event stream: requests a pass on server events.
//!
//! An event only requests a pass, so a lost stream only costs time. A broken stream is reopened
//! with backoff, a refused one at the sync interval, because a proxy may have refused it. Without a
//! stream, the interval polls.
//!
//! While nothing happens, the stream is opened again with fewer pings, together with a poll. A proxy
//! may close a connection that is silent for so long; then the number of pings stays as it was.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rejoin_protocol::wire::event::Event;
use tokio::sync::watch;

use super::pass::PassContext;
use super::schedule::CALMEST;
use super::shared::{Shared, random};
use crate::error::{Error, InputFault, Result};
use crate::sync::backoff::Backoff;
use crate::transport::{EventStream, HttpRequest, TransportError, events};

/// Seconds between two pings, by level of calm.
const PINGS: [u64; CALMEST as usize + 1] = [events::PING.as_secs(), 60, 240, 480];

/// How late a ping may be.
const LATE: Duration = Duration::from_secs(40);

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Lost,
    /// The server closed it: the token is about to expire.
    Bye,
    /// It needs fewer pings now.
    Calmer,
}

/// Listens as long as the task exists. `path` is the stream's path, with its query.
pub(super) async fn listen(pass: PassContext, path: String) {
    let soon = Backoff { max_retries: u32::MAX, slow: pass.config.sync_interval };
    let slowly = Backoff { max_retries: 0, ..soon };
    let mut failures = 0;
    let mut calm = pass.shared.calm.subscribe();
    // The highest level that the way to the server allows, and the highest that has worked.
    let (mut most, mut proven) = (CALMEST as usize, 0);
    loop {
        let begun = tokio::time::Instant::now();
        let level = most.min(*calm.borrow_and_update() as usize);
        let ping = PINGS[level];
        let backoff = match open(&pass, &format!("{path}&ping={ping}")).await {
            Ok(Some(stream)) => {
                let ping = Duration::from_secs(ping);
                let is_open = Listening::at(&pass.shared);
                let ended = follow(&pass, stream.idle(ping + LATE), (level, most), &mut calm).await;
                drop(is_open);
                if begun.elapsed() > ping + LATE {
                    proven = proven.max(level);
                }
                match ended {
                    Ended::Calmer => continue,
                    Ended::Lost if level > proven => most = level - 1,
                    Ended::Lost | Ended::Bye => {}
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
        tokio::time::sleep(backoff.delay(failures, random(&*pass.host), None)).await;
    }
}

/// An open stream, also if the task ends.
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
        self.0.bell.notify_one(); // Without a stream, the next pass is due earlier.
    }
}

/// Opens a stream; `None` if refused: no such endpoint, or credentials that the next pass will find
/// refused.
async fn open(pass: &PassContext, path: &str) -> Result<Option<EventStream>> {
    let mut header = pass.keyring.begin().await?;
    for is_second in [false, true] {
        let mut headers = vec![("accept".to_owned(), "text/event-stream".to_owned())];
        headers.push(("rejoin-protocol".to_owned(), rejoin_protocol::PROTOCOL.to_string()));
        headers.extend(header.clone());
        let timeout = pass.config.ack_deadline;
        let request =
            HttpRequest { method: "GET", path: path.into(), headers, body: None, timeout };
        // A custom transport may not observe the timeout.
        let opened = tokio::time::timeout(timeout, pass.opened(request)).await;
        match opened.unwrap_or(Ok(Err(TransportError::Timeout(timeout))))? {
            Ok(stream) => return Ok(Some(stream)),
            Err(TransportError::Status(401)) if !is_second => {
                header = pass.keyring.renewed(header.as_ref(), false).await?;
                if header.is_none() {
                    return Ok(None);
                }
            }
            Err(TransportError::Status(status @ 400..=499)) if !matches!(status, 408 | 429) => {
                return Ok(None);
            }
            Err(error) => return Err(super::pass::unanswered(&error)),
        }
    }
    Ok(None)
}

/// Requests a pass at each event, until the stream ends or may have fewer pings: at a higher level of
/// calm than `level`, up to `most`.
async fn follow(
    pass: &PassContext,
    mut stream: EventStream,
    (level, most): (usize, usize),
    calm: &mut watch::Receiver<u32>,
) -> Ended {
    let is_calmer = |calm: &u32| most.min(*calm as usize) > level;
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            _ = calm.wait_for(is_calmer) => return Ended::Calmer,
        };
        match event {
            // Changes between the last pull and now were not notified.
            Some(Event::Hello(_) | Event::Changed) => {
                pass.shared.wish(|inbox| inbox.wishes.woken = true);
            }
            // The token is about to expire; reopening fetches a new one if necessary.
            Some(Event::Bye(_)) => return Ended::Bye,
            None => return Ended::Lost,
        }
    }
}
