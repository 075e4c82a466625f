//! The event stream: requests a pass on server events.
//!
//! An event only requests a pass, so a lost stream only costs time. A broken stream is reopened
//! with backoff, a refused one at the sync interval, because a proxy may have refused it. Without a
//! stream, the interval polls.

use rejoin_protocol::wire::event::Event;

use super::pass::PassContext;
use super::shared::random;
use crate::error::{Error, InputFault, Result};
use crate::sync::backoff::Backoff;
use crate::transport::{EventStream, HttpRequest, TransportError, events};

/// Listens as long as the task exists. `path` is the stream's path.
pub(super) async fn listen(pass: PassContext, path: String) {
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

/// Requests a pass at each event, until the stream ends.
async fn follow(pass: &PassContext, mut stream: EventStream) {
    while let Some(event) = stream.next().await {
        match event {
            // Changes between the last pull and now were not notified.
            Event::Hello(_) | Event::Changed => {
                pass.shared.wish(|inbox| inbox.wishes.woken = true);
            }
            // The token is about to expire; reopening fetches a new one if necessary.
            Event::Bye(_) => return,
        }
    }
}
