//! No request loop without progress: the number of requests that a whole client sends in some time
//! without success.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use rejoin_core::transport::{HttpResponse, MemoryTransport};
use rejoin_core::{Client, Config, Services};
use rejoin_tests::{Backend, undecided};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::client::PATIENCE;

/// A server that decides nothing while `decides` is false, and the number of pushes sent to it.
fn undecided_server(backend: &Backend) -> (MemoryTransport, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (server, decides) = (backend.server().clone(), Arc::new(AtomicBool::new(true)));
    let sent = Arc::new(AtomicUsize::new(0));
    let (says, counts) = (Arc::clone(&decides), Arc::clone(&sent));
    let transport = MemoryTransport::new(Arc::new(move |request| {
        let (server, decides) = (server.clone(), says.load(Ordering::SeqCst));
        counts.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = request.body.unwrap_or_default();
            if request.path == "/sync/push" && !decides {
                return HttpResponse::json(200, undecided(&body).body);
            }
            let answer = server.handle(request.method, &request.path, &request.headers, body).await;
            let (status, headers, body) = answer;
            HttpResponse { status, headers, body }
        }
        .boxed()
    }));
    (transport, decides, sent)
}

/// A device whose first sync is over, with all passes that follow from it.
fn settled(transport: MemoryTransport) -> (TempDir, Client) {
    let folder = TempDir::new().unwrap();
    let config = Config::new(folder.path().join("app.db"))
        .user_id("ana")
        .sync_interval(Duration::from_hours(1))
        .push_debounce(Duration::ZERO);
    let services = Services { transport: Some(Arc::new(transport)), ..Services::default() };
    let client = Client::open_with(config, services).wait().unwrap();
    client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    (folder, client)
}

/// Queue changes by the exchange itself are not writes of the app, which would start another pass.
#[test]
fn accepted_push_starts_no_second_pass() {
    let backend = Backend::new();
    let (transport, _, _) = undecided_server(&backend);
    let (_folder, client) = settled(transport.clone());
    transport.take_seen();
    client.execute("INSERT INTO places (id, name) VALUES ('p1', 'A')", ()).wait().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let seen: Vec<String> = transport.take_seen().into_iter().map(|one| one.path).collect();
    assert_eq!(seen, ["/sync/push", "/sync/pull"]);
    assert_eq!(backend.see("SELECT id, name FROM places"), "p1|A");
}

/// A mutation that the server never decides is sent with backoff.
#[test]
fn undecided_push_is_sent_with_backoff_by_the_client() {
    let backend = Backend::new();
    let (transport, decides, sent) = undecided_server(&backend);
    let (_folder, client) = settled(transport);
    decides.store(false, Ordering::SeqCst);
    sent.store(0, Ordering::SeqCst);
    client.execute("INSERT INTO places (id, name) VALUES ('p1', 'A')", ()).wait().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(50));
        let requests = sent.load(Ordering::SeqCst);
        assert!(requests <= 40, "{requests} requests in {:?}", begun.elapsed());
    }
    assert!(sent.load(Ordering::SeqCst) >= 2, "it is sent again");
    decides.store(true, Ordering::SeqCst);
    let report = client.sync().run(Some(PATIENCE)).wait().unwrap();
    assert_eq!((report.accepted, report.still_pending), (1, 0));
    assert_eq!(backend.see("SELECT id, name FROM places"), "p1|A");
}
