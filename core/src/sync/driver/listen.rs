//! The event stream: asks for a pass when the server says that there is something.
//!
//! Promise: an event only ever asks for a pass, so losing the stream loses nothing but a little time; a stream that breaks is
//! opened again with backoff, one that is refused at the pace of the interval, because a proxy may have refused it. A server
//! that names none is polled, as the interval does anyway.

use rejoin_protocol::wire::event::Event;

use super::pass::Pass;
use super::shared::random;
use crate::error::{Error, Result};
use crate::sync::backoff::Backoff;
use crate::transport::{EventStream, HttpRequest, TransportError, events};

/// Listens for as long as the task is held. `path` is where the stream is.
pub(super) async fn listen(pass: Pass, path: String) {
    let soon = Backoff { max_retries: u32::MAX, slow: pass.config.sync_interval };
    let slowly = Backoff { max_retries: 0, ..soon };
    let mut failures = 0;
    loop {
        let begun = tokio::time::Instant::now();
        let backoff = match open(&pass, &path).await {
            Ok(Some(stream)) => {
                follow(&pass, stream).await;
                soon
            }
            Ok(None) => slowly,
            // The transport carries no streams.
            Err(Error::Refused { .. }) => return,
            // Not just now: the way of every stream.
            Err(_) => soon,
        };
        // One that lived for a while has shown that all is well; one that breaks at once has not.
        failures = if begun.elapsed() >= events::IDLE { 1 } else { failures + 1 };
        tokio::time::sleep(backoff.delay(failures, random(&*pass.host), None)).await;
    }
}

/// A stream, or `None` where it is refused: no such endpoint, or credentials that the next pass will find refused.
async fn open(pass: &Pass, path: &str) -> Result<Option<EventStream>> {
    let mut header = pass.keyring.begin().await?;
    for is_second in [false, true] {
        let mut headers = vec![("accept".to_owned(), "text/event-stream".to_owned())];
        headers.push(("rejoin-protocol".to_owned(), rejoin_protocol::PROTOCOL.to_string()));
        headers.extend(header.clone());
        let timeout = pass.config.ack_deadline;
        let request =
            HttpRequest { method: "GET", path: path.into(), headers, body: None, timeout };
        // The transport may be somebody else's: this watches it.
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

/// Asks for a pass at each event, until the stream ends.
async fn follow(pass: &Pass, mut stream: EventStream) {
    while let Some(event) = stream.next().await {
        match event {
            // What changed between the last pull and now was told to nobody.
            Event::Hello(_) | Event::Changed => {
                pass.shared.wish(|inbox| inbox.wishes.woken = true);
            }
            // The token is about to expire; opening again asks for a new one if it must.
            Event::Bye(_) => return,
        }
    }
}
