//! An in-memory transport: a handler in this process with injected faults, for tests and
//! simulations.
//!
//! It is deterministic: each fault applies to the request it was queued for, in order. It uses
//! tokio's time, which can be paused.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use rejoin_protocol::wire::event::{Event, HelloEvent};
use tokio::sync::broadcast;

use super::error::TransportError;
use super::events::EventStream;
use super::exchange::{HttpRequest, HttpResponse, Transport};

/// Handles requests: the server.
pub type Handler = Arc<dyn Fn(HttpRequest) -> BoxFuture<'static, HttpResponse> + Send + Sync>;

/// A fault of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server does not receive the request.
    RequestLost,
    /// The server processes the request; the response is lost.
    AnswerLost,
    /// The server receives the request twice; the second response is returned.
    Doubled,
    /// The server processes the request immediately; the response is delayed.
    Late(Duration),
    /// The caller gives up; the server receives the request after [`MemoryTransport::release`].
    Held,
    /// The server responds 500 without processing.
    InternalError,
    /// The server responds 503 with `Retry-After` without processing.
    Unavailable {
        /// Whole seconds.
        retry_after: u64,
    },
    /// The server processes the request; the second half of the response body is missing.
    CutBody,
    /// A proxy responds with an HTML page; the server does not receive the request.
    Html,
}

#[derive(Debug, Default)]
struct Inside {
    faults: VecDeque<(Option<String>, Fault)>,
    held: Vec<HttpRequest>,
    sent: Vec<HttpRequest>,
    offline: bool,
}

/// Sends requests to a handler in this process.
#[derive(Clone)]
pub struct MemoryTransport {
    handler: Handler,
    inside: Arc<Mutex<Inside>>,
    events: broadcast::Sender<Bytes>,
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MemoryTransport").field("inside", &self.inside).finish_non_exhaustive()
    }
}

impl MemoryTransport {
    /// A transport to `handler`, without faults.
    pub fn new(handler: Handler) -> Self {
        Self { handler, inside: Arc::default(), events: broadcast::channel(64).0 }
    }

    /// Queues a fault for the next request without one.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push_back((None, fault));
    }

    /// Queues a fault for the next request whose path contains `part`.
    pub fn fault_on(&self, part: &str, fault: Fault) {
        self.lock().faults.push_back((Some(part.into()), fault));
    }

    /// Whether every queued fault has been applied.
    pub fn is_calm(&self) -> bool {
        self.lock().faults.is_empty()
    }

    /// Switches the network off or on. Open event streams stay open, but dead.
    pub fn set_offline(&self, offline: bool) {
        self.lock().offline = offline;
    }

    /// All requests since the last call, including those that the server did not receive.
    pub fn take_seen(&self) -> Vec<HttpRequest> {
        std::mem::take(&mut self.lock().sent)
    }

    /// Delivers held requests to the server, oldest first, and drops the responses. Returns their
    /// number.
    pub async fn release(&self) -> usize {
        let held = std::mem::take(&mut self.lock().held);
        let count = held.len();
        for request in held {
            (self.handler)(request).await;
        }
        count
    }

    /// Sends an event to every open stream.
    pub fn say(&self, event: &Event) {
        // No open stream is not an error.
        let _ = self.events.send(Bytes::from(event.to_text()));
    }

    /// The number of open event streams.
    pub fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the request and takes its fault.
    fn begin(&self, request: &HttpRequest) -> Result<Option<Fault>, TransportError> {
        let mut inside = self.lock();
        inside.sent.push(request.clone());
        if inside.offline {
            return Err(TransportError::Unreachable("offline".into()));
        }
        let meant = |(part, _): &(Option<String>, Fault)| {
            part.as_ref().is_none_or(|part| request.path.contains(part.as_str()))
        };
        let at = inside.faults.iter().position(meant);
        let fault = at.and_then(|at| inside.faults.remove(at)).map(|(_, fault)| fault);
        if fault == Some(Fault::Held) {
            inside.held.push(request.clone());
        }
        Ok(fault)
    }
}

impl Transport for MemoryTransport {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let this = self.clone();
        async move {
            let fault = this.begin(&request)?;
            let ask = |request: HttpRequest| (this.handler)(request);
            let timeout = request.timeout;
            match fault {
                None => Ok(ask(request).await),
                Some(Fault::RequestLost) => Err(TransportError::Lost("request lost".into())),
                Some(Fault::AnswerLost) => {
                    ask(request).await;
                    Err(TransportError::Lost("answer lost".into()))
                }
                Some(Fault::Doubled) => {
                    ask(request.clone()).await;
                    Ok(ask(request).await)
                }
                Some(Fault::Late(by)) => {
                    let answer = ask(request).await;
                    tokio::time::sleep(by.min(timeout)).await;
                    if by < timeout { Ok(answer) } else { Err(TransportError::Timeout(timeout)) }
                }
                Some(Fault::Held) => Err(TransportError::Timeout(timeout)),
                Some(Fault::InternalError) => Ok(HttpResponse::json(500, r#"{"error":"fault"}"#)),
                Some(Fault::Unavailable { retry_after }) => {
                    let mut answer = HttpResponse::json(503, r#"{"error":"fault"}"#);
                    answer.headers.push(("retry-after".into(), retry_after.to_string()));
                    Ok(answer)
                }
                Some(Fault::CutBody) => {
                    let mut answer = ask(request).await;
                    answer.body.truncate(answer.body.len() / 2);
                    Ok(answer)
                }
                Some(Fault::Html) => Ok(HttpResponse {
                    status: 200,
                    headers: vec![("content-type".into(), "text/html; charset=utf-8".into())],
                    body: Bytes::from_static(b"<html><body>Welcome to the hotel</body></html>"),
                }),
            }
        }
        .boxed()
    }

    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        let refused = |status, retry_after| TransportError::Status { status, retry_after };
        let begun = self.begin(&request);
        let receiver = self.events.subscribe();
        async move {
            match begun? {
                None => {}
                Some(Fault::InternalError) => return Err(refused(500, None)),
                Some(Fault::Unavailable { retry_after }) => {
                    return Err(refused(503, Some(Duration::from_secs(retry_after))));
                }
                Some(Fault::Html) => return Err(refused(404, None)),
                Some(_) => return Err(TransportError::Lost("fault".into())),
            }
            let hello = Event::Hello(HelloEvent::default()).to_text();
            let hello = stream::iter([Ok(Bytes::from(hello))]);
            let rest = stream::unfold(receiver, |mut receiver| async move {
                loop {
                    match receiver.recv().await {
                        Ok(piece) => return Some((Ok(piece), receiver)),
                        // Events are hints: one replaces several.
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return None,
                    }
                }
            });
            Ok(EventStream::new(hello.chain(rest).boxed()))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::{Fault, MemoryTransport};
    use crate::transport::{HttpRequest, HttpResponse, Transport, TransportError};

    fn request(path: &str) -> HttpRequest {
        let timeout = Duration::from_secs(10);
        HttpRequest { method: "POST", path: path.into(), headers: Vec::new(), body: None, timeout }
    }

    /// A server that counts requests and returns the count.
    fn counting() -> (MemoryTransport, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let handler = move |_| {
            let now = counter.fetch_add(1, Ordering::SeqCst) + 1;
            async move { HttpResponse::json(200, format!("{{\"asked\":{now}}}")) }.boxed()
        };
        (MemoryTransport::new(Arc::new(handler)), count)
    }

    #[tokio::test(start_paused = true)]
    async fn fault_has_its_documented_effect() {
        let lost = |why: &str| Err(TransportError::Lost(why.into()));
        let ten = Duration::from_secs(10);
        // The fault, the number of requests at the server, the response or error, the duration.
        let table = [
            (Fault::RequestLost, 0, lost("request lost"), 0),
            (Fault::AnswerLost, 1, lost("answer lost"), 0),
            (Fault::Doubled, 2, Ok((200, r#"{"asked":2}"#)), 0),
            (Fault::Late(Duration::from_secs(9)), 1, Ok((200, r#"{"asked":1}"#)), 9),
            (Fault::Late(Duration::from_secs(11)), 1, Err(TransportError::Timeout(ten)), 10),
            (Fault::Held, 0, Err(TransportError::Timeout(ten)), 0),
            (Fault::InternalError, 0, Ok((500, r#"{"error":"fault"}"#)), 0),
            (Fault::Unavailable { retry_after: 7 }, 0, Ok((503, r#"{"error":"fault"}"#)), 0),
            (Fault::CutBody, 1, Ok((200, r#"{"ask"#)), 0),
            (Fault::Html, 0, Ok((200, "<html><body>Welcome to the hotel</body></html>")), 0),
        ];
        for (fault, asked, expected, seconds) in table {
            let (transport, count) = counting();
            transport.fault(fault.clone());
            let start = tokio::time::Instant::now();
            let answer = transport.send(request("/sync/push")).await;
            let sent = answer.map(|answer| (answer.status, answer.body));
            let expected = expected.map(|(status, body)| (status, bytes::Bytes::from(body)));
            assert_eq!(sent, expected, "{fault:?}");
            assert_eq!(count.load(Ordering::SeqCst), asked, "{fault:?}");
            assert_eq!(start.elapsed(), Duration::from_secs(seconds), "{fault:?}");
            assert!(transport.is_calm());
            assert_eq!(transport.send(request("/sync/push")).await.unwrap().status, 200);
        }
    }
}
