//! Accepts connections and serves HTTP/1.1 on them: a bounded number at once, none of them for
//! longer than it is used.
//!
//! A connection is closed when a header does not arrive (`limits.header_timeout_ms`), or when its
//! client is idle or reads no answer (`limits.idle_timeout_ms`). Above `limits.connections` nothing
//! is accepted: a new connection waits in the kernel's queue, and is answered when another one
//! ends. Who may do what is decided by the routes.

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
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use crate::config::Limits;
use crate::log_limit::LogLimit;

mod connection;

use connection::{Connection, Requests};

static FULL: LogLimit = LogLimit::new();

/// Serves until `closing` ends, and then until every connection has ended what it had begun.
#[allow(clippy::disallowed_methods)] // A task for each connection.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    limits: Limits,
    closing: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(connections(limits.connections, open_files())));
    let graceful = GracefulShutdown::new();
    let mut closing = pin!(closing);
    loop {
        let (stream, slot) = tokio::select! {
            accepted = accept(&mut listener, &slots) => accepted,
            () = &mut closing => break,
        };
        let served = graceful.watch(http(stream, router.clone(), limits));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::trace!(%error, "a connection was closed");
            }
            drop(slot);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &mut TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    let free = Arc::clone(slots).try_acquire_owned().ok();
    if free.is_none()
        && let Some(count) = FULL.count()
    {
        let why = "no further connection is accepted until one ends (limits.connections)";
        tracing::warn!(count, "{why}");
    }
    let slot = match free {
        Some(free) => Some(free),
        // The semaphore is never closed.
        None => Arc::clone(slots).acquire_owned().await.ok(),
    };
    // Logs what fails, and goes on.
    (Listener::accept(listener).await.0, slot)
}

fn http(
    stream: TcpStream,
    router: Router,
    limits: Limits,
) -> impl GracefulConnection<Error = hyper::Error> {
    let requests = Requests::default();
    let millis = |number: u32| Duration::from_millis(u64::from(number));
    let (header, idle) = (millis(limits.header_timeout_ms), millis(limits.idle_timeout_ms));
    let connection = Connection::new(stream, requests.clone(), header, idle);
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

/// How many connections may be open: the setting, or half of the files that the process may open.
/// Each request opens files of the database beside its connection.
fn connections(limit: u32, open_files: Option<u64>) -> usize {
    let half = open_files.map_or(u64::MAX, |files| (files / 2).max(1));
    let most = half.min(u64::from(limit));
    if most < u64::from(limit) {
        tracing::info!(most, "limits.connections is lowered to half of the open files (ulimit -n)");
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
    use super::connections;

    #[test]
    fn connections_leave_half_of_the_open_files() {
        let table = [
            (10_000, Some(256), 128),
            (100, Some(256), 100),
            (10_000, None, 10_000),
            (10, Some(1), 1),
        ];
        for (limit, files, expected) in table {
            assert_eq!(connections(limit, files), expected, "{limit} {files:?}");
        }
    }
}
