//! A failing store or client does not fill a server's log with a line per request.

use macro_rules_attribute::apply;
use rejoin_server::Limits;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::events::Listening;
use crate::log_capture::LogCapture;
use crate::world::{Backend, TABLES, World, place, standard};

#[apply(stores!)]
async fn failures_of_one_kind_log_one_line(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { wait_ms: 0, ..Limits::default() })
    });
    let mut anna = world.device("anna", "a1").await;
    let _holder = world.hold("BEGIN IMMEDIATE", "BEGIN; LOCK TABLE places");
    let log = LogCapture::begin();
    let group = anna.group("m1", &json!([place("p1", "x")]));
    let push = json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": [group]}});
    for _ in 0..50 {
        assert_eq!(anna.post("/sync/push", push.clone()).await.0, 503);
    }
    assert_eq!([log.count(&["busy"]), log.count(&[])], [1, 1]);
}

#[tokio::test]
async fn readiness_checks_during_an_outage_log_one_line_postgres() {
    let world = World::postgres(TABLES, standard);
    let log = LogCapture::begin();
    world.database().close();
    for _ in 0..10 {
        assert!(!world.server.readiness().is_ready());
    }
    assert_eq!(log.count(&["not ready"]), 1);
    world.database().reopen();
}

/// A process may run several servers, and tests do.
#[tokio::test]
async fn each_server_logs_its_own_refusals() {
    let log = LogCapture::begin();
    let limits = Limits {
        devices_per_user: 1,
        streams_per_user: 1,
        header_timeout_ms: 100,
        ..Limits::default()
    };
    for servers in 1..=2 {
        let world =
            World::with(Backend::Sqlite, TABLES, |config| standard(config).with_limits(limits));
        let anna = [("X-User-ID", "anna")];
        world.device("anna", "a1").await;
        let hello = json!({"client_id": "a2", "schema_version": 0, "schema_hash": "", "rejoin": {"protocol": 1}});
        let _stream = Listening::start(&world.server, anna[0]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = world.server.clone();
        let serving = tokio::spawn(async move { server.serve(listener).await });
        for _ in 0..2 {
            let refused = world.send("POST", "/sync/register", &anna, hello.to_string()).await;
            assert_eq!(refused.0, 403);
            assert_eq!(world.send("GET", "/sync/events", &anna, "").await.0, 429);
            // Closed without a request.
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        }
        world.server.shutdown();
        serving.await.unwrap().unwrap();
        for kind in ["devices of users", "refused event streams", "request header"] {
            assert_eq!(log.count(&[kind]), servers, "{kind}");
        }
    }
}
