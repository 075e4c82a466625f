//! Accepts connections and serves HTTP/1.1 on them, within a limit, and closes unused ones.
//!
//! A connection is closed when a header does not arrive (`limits.header_timeout_ms`), or when its
//! client is idle or reads no response (`limits.idle_timeout_ms`). Above `limits.connections` one
//! new connection waits, further ones stay in the kernel's queue. Idle connections are then closed
//! at once, busy ones after their response.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

use crate::config::Limits;
use crate::log_limit::LogLimit;

mod connection;

use connection::{HttpConnection, Requests};

/// Connections that the kernel accepts before the server does; the kernel has a limit of its own.
/// When it refuses some of thousands that connect at once, they wait for seconds.
#[cfg(unix)]
const BACKLOG: i32 = 16_384;

/// Rate limit for a listener's log lines about connections, by kind.
type ConnectionLogs = LogLimit<&'static str>;

/// Serves at most `connections` connections until `closing` ends, then until their running requests
/// have ended.
#[allow(clippy::disallowed_methods)] // One task per connection.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    (connections, limits): (usize, Limits),
    closing: impl Future<Output = ()>,
) {
    #[cfg(unix)]
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::debug!(%error, "the listener keeps its backlog");
    }
    let slots = Arc::new(Semaphore::new(connections));
    let retire = watch::Sender::new(Retire::Used);
    let logs = Arc::<ConnectionLogs>::default();
    let mut closing = pin!(closing);
    loop {
        let (stream, slot) = tokio::select! {
            accepted = accept(&mut listener, &slots, &retire, &logs) => accepted,
            () = &mut closing => break,
        };
        let (requests, logs) = (Requests::default(), Arc::clone(&logs));
        let http = http(stream, router.clone(), (limits, logs), requests.clone());
        tokio::spawn(drive(http, requests, retire.subscribe(), slot));
    }
    drop(listener);
    retire.send_replace(Retire::All);
    retire.closed().await;
}

/// Which connections accept no further request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retire {
    /// Those that have served a request: another client waits.
    Used,
    /// All: the server shuts down.
    All,
}

/// Accepts the next connection and waits until there is room for it.
async fn accept(
    listener: &mut TcpListener,
    slots: &Arc<Semaphore>,
    retire: &watch::Sender<Retire>,
    logs: &ConnectionLogs,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Logs errors and continues.
    let stream = Listener::accept(listener).await.0;
    if let Ok(free) = Arc::clone(slots).try_acquire_owned() {
        return (stream, Some(free));
    }
    if let Some(count) = logs.count("full") {
        let why = "a connection waits until another one ends (limits.connections)";
        tracing::warn!(count, "{why}");
    }
    retire.send_replace(Retire::Used);
    // The semaphore is never closed.
    (stream, Arc::clone(slots).acquire_owned().await.ok())
}

/// Serves one connection to its end. When retired, it closes at once if it is idle, otherwise after
/// the current response.
async fn drive(
    http: impl GracefulConnection<Error = hyper::Error>,
    requests: Requests,
    mut retire: watch::Receiver<Retire>,
    slot: Option<OwnedSemaphorePermit>,
) {
    let mut http = pin!(http);
    loop {
        tokio::select! {
            served = http.as_mut() => {
                if let Err(error) = served {
                    tracing::trace!(%error, "a connection was closed");
                }
                break;
            }
            Ok(()) = retire.changed() => {
                // A new connection would be closed before its first request is read.
                if *retire.borrow() == Retire::All || requests.has_begun() {
                    http.as_mut().graceful_shutdown();
                }
            }
        }
    }
    drop(slot);
}

fn http(
    stream: TcpStream,
    router: Router,
    (limits, logs): (Limits, Arc<ConnectionLogs>),
    requests: Requests,
) -> impl GracefulConnection<Error = hyper::Error> {
    let millis = |number: u32| Duration::from_millis(u64::from(number));
    let (header, idle) = (millis(limits.header_timeout_ms), millis(limits.idle_timeout_ms));
    let connection = HttpConnection::new(stream, requests.clone(), (header, idle), logs);
    let service = service_fn(move |request: Request<Incoming>| {
        requests.advance();
        let (answered, requests) = (router.clone().oneshot(request), requests.clone());
        async move {
            let response = answered.await;
            requests.advance();
            response
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle);
    http.serve_connection(TokioIo::new(connection), service)
}

/// The maximum number of open connections by these limits and the process's.
pub(crate) fn connections(limits: &Limits) -> usize {
    bounded(limits.connections, open_files())
}

/// Files for running requests, whose number is limited by tokio's 512 blocking threads: database,
/// WAL, and two temporary files.
const REQUEST_FILES: u64 = 4 * 512;

/// The maximum number of open connections: the setting, or what the process's file limit leaves
/// beside the files of running requests, but at least half of it.
fn bounded(limit: u32, open_files: Option<u64>) -> usize {
    let free = |files: u64| files.saturating_sub(REQUEST_FILES).max(files / 2).max(1);
    let most = open_files.map_or(u64::MAX, free).min(u64::from(limit));
    if most < u64::from(limit) {
        tracing::info!(most, "limits.connections is lowered to fit the open files (ulimit -n)");
    }
    usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

#[cfg(unix)]
fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn open_files() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn connection_limit_leaves_files_for_requests() {
        let table = [
            (10_000, Some(256), 128),
            (100, Some(256), 100),
            (10_000, Some(4_096), 2_048),
            (10_000, Some(10_000), 7_952),
            (10_000, None, 10_000),
            (10, Some(1), 1),
        ];
        for (limit, files, expected) in table {
            assert_eq!(bounded(limit, files), expected, "{limit} {files:?}");
        }
    }
}
