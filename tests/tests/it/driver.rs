//! The whole driver: engine, session, transport and server together, over sockets and with named
//! faults.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use rejoin_core::Error;
use rejoin_core::config::Config;
use rejoin_core::engine::{Engine, OpenOptions};
use rejoin_core::host::TestHost;
use rejoin_core::ids::MutationId;
use rejoin_core::runtime::Spawner;
use rejoin_core::sync::driver::{Driver, DriverConfig, Verdict};
use rejoin_core::sync::session::SessionConfig;
use rejoin_core::sync::status::SyncState;
use rejoin_core::sync::token::Credentials;
use rejoin_core::transport::http::ANSWER_LIMIT;
use rejoin_core::transport::{Fault, HttpResponse, HttpTransport, MemoryTransport, Transport};
use rejoin_core::writer::Writer;
use rejoin_server::{Admission, Endpoint, Gatekeeper, Incoming, Server};
use rejoin_tests::Backend;
use tempfile::TempDir;

const PLACES: &str = "SELECT coalesce(group_concat(id || '|' || name, ' '), '') FROM (SELECT * FROM places ORDER BY id)";

/// A device of Ana's with its driver.
struct Phone {
    driver: Driver,
    writer: Writer,
    _folder: TempDir,
}

impl Phone {
    /// Runs the first sync. The interval is a day, so that later passes have another cause.
    async fn new(seed: u64, transport: Arc<dyn Transport>) -> Self {
        let phone = Self::started(seed, transport).await;
        phone.driver.wait_for_first_sync(None).await.unwrap();
        phone
    }

    /// A device that was only just started.
    async fn started(seed: u64, transport: Arc<dyn Transport>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions { path: folder.path().join("app.db"), manifest: None };
        let host = Arc::new(TestHost::new(seed));
        let hosted = Arc::clone(&host);
        let writer =
            Writer::start(move || Engine::open(&options, Arc::clone(&hosted) as _)).await.unwrap();
        let session = SessionConfig {
            user_id: None,
            device_name: None,
            platform: "test".into(),
            app_version: "1.0.0".into(),
            page_size: 100,
            batch_size: 100,
        };
        let day = Duration::from_hours(24);
        let config = DriverConfig {
            sync_interval: day,
            app_version: "1.0.0".into(),
            ..DriverConfig::from(&Config::new("unused"))
        };
        let user = Credentials::User("ana".into());
        let spawner = Spawner::current();
        let mut driver =
            Driver::new(&spawner, writer.clone(), transport, user, session, config, host);
        driver.begin();
        Self { driver, writer, _folder: folder }
    }

    /// Writes as a client does, and returns the mutation's id.
    async fn write(&self, sql: String) -> MutationId {
        let wrote = self.writer.call(move |engine| {
            engine.execute(&sql, &[])?;
            Ok(engine.pending()?.last().expect("a mutation").id)
        });
        let id = wrote.await.unwrap();
        self.driver.local_write();
        id
    }

    async fn see(&self) -> String {
        let seen = self.writer.call(|engine| {
            let rows: Vec<String> = engine.open_reader()?.query(PLACES, &[], |row| row.get(0))?;
            Ok(rows.concat())
        });
        seen.await.unwrap()
    }

    async fn verdict(&self, id: MutationId) -> Verdict {
        self.driver.verdict(&self.writer, id, None).await.unwrap()
    }
}

/// Runs a test with a network, or with paused time so that waiting costs none.
fn run_test<R>(paused: bool, test: impl Future<Output = R>) -> R {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(paused).build().unwrap().block_on(test)
}

/// A transport to the server in this process.
fn in_memory(server: &Server) -> MemoryTransport {
    let server = server.clone();
    MemoryTransport::new(Arc::new(move |request| {
        let server = server.clone();
        async move {
            let body = request.body.unwrap_or_default();
            let answer = server.handle(request.method, &request.path, &request.headers, body).await;
            let (status, headers, body) = answer;
            HttpResponse { status, headers, body }
        }
        .boxed()
    }))
}

#[test]
fn driver_delivers_each_write_once_after_each_fault() {
    let faults = [
        Fault::RequestLost,
        Fault::AnswerLost,
        Fault::Doubled,
        Fault::Late(Duration::from_secs(3)),
        Fault::Late(Duration::from_secs(30)),
        Fault::Held,
        Fault::InternalError,
        Fault::Unavailable { retry_after: 7 },
        Fault::CutBody,
        Fault::Html,
    ];
    for (number, fault) in (10..).zip(faults) {
        let backend = Backend::new();
        run_test(true, async {
            let transport = in_memory(backend.server());
            let phone = Phone::new(number, Arc::new(transport.clone())).await;
            transport.fault_on("push", fault.clone());
            let id = phone.write("INSERT INTO places (id, name) VALUES ('p1', 'A')".into()).await;
            // No sync is requested: the retry is the driver's own.
            assert_eq!(phone.verdict(id).await, Verdict::Accepted, "{fault:?}");
            let second = phone.write("UPDATE places SET name = 'B' WHERE id = 'p1'".into()).await;
            assert_eq!(phone.verdict(second).await, Verdict::Accepted, "{fault:?}");
            // The delayed request arrives in the end, and changes nothing.
            transport.release().await;
            let report = phone.driver.sync_and_wait(None).await.unwrap();
            assert_eq!((report.parked, report.still_pending), (0, 0), "{fault:?}");
            assert_eq!(phone.see().await, "p1|B", "{fault:?}");
            assert_eq!(backend.see("SELECT id, name FROM places"), "p1|B", "{fault:?}");
            assert!(transport.is_calm());
        });
    }
}

/// A host that answers pushes with `Retry-After` a given number of times.
#[derive(Debug, Default)]
struct Host {
    says: Mutex<Vec<Admission>>,
}

impl Gatekeeper for Host {
    fn admit(&self, incoming: &Incoming<'_>) -> Admission {
        let mut says = self.says.lock().unwrap();
        let said = if incoming.endpoint == Endpoint::Push { says.pop() } else { None };
        said.unwrap_or(Admission::Admit)
    }
}

#[test]
fn driver_waits_for_retry_after() {
    // By itself a device would retry within a second.
    let retry_after = Duration::from_secs(2);
    let table =
        [Admission::TooManyRequests { retry_after }, Admission::Unavailable { retry_after }];
    for (number, says) in (20..).zip(table) {
        let host = Arc::new(Host::default());
        let mut backend = Backend::new();
        backend.guards(host.clone());
        run_test(false, async {
            let phone = Phone::new(number, Arc::new(in_memory(backend.server()))).await;
            host.says.lock().unwrap().push(says);
            let begun = tokio::time::Instant::now();
            let id = phone.write("INSERT INTO places (id, name) VALUES ('p1', 'A')".into()).await;
            assert_eq!(phone.verdict(id).await, Verdict::Accepted);
            let waited = begun.elapsed();
            assert!(waited >= retry_after, "{says:?}: {waited:?}");
        });
    }
}

#[test]
fn suspend_during_push_loses_and_doubles_nothing() {
    let backend = Backend::new();
    run_test(true, async {
        let transport = in_memory(backend.server());
        let phone = Phone::new(4, Arc::new(transport.clone())).await;
        transport.fault_on("push", Fault::Late(Duration::from_secs(9)));
        let id = phone.write("INSERT INTO places (id, name) VALUES ('p1', 'A')".into()).await;
        let mut status = phone.driver.status();
        status.wait_for(|status| status.state == SyncState::Pushing).await.unwrap();
        while backend.see("SELECT id FROM places").is_empty() {
            tokio::task::yield_now().await;
        }
        phone.driver.suspend().await;
        phone.writer.suspend().await.unwrap();
        assert!(matches!(
            phone.writer.call(|engine| engine.pending()).await,
            Err(Error::Suspended)
        ));
        phone.writer.resume_with(|_| Ok(())).await.unwrap();
        phone.driver.resume();
        assert_eq!(phone.verdict(id).await, Verdict::Accepted);
        assert_eq!(backend.see("SELECT id, name FROM places"), "p1|A");
        assert_eq!(phone.see().await, "p1|A");
    });
}

/// The connection over which a device registers; it gets no response.
async fn asked(listener: &tokio::net::TcpListener) -> tokio::net::TcpStream {
    let (socket, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        socket.readable().await.unwrap();
        let _ = socket.try_read_buf(&mut bytes);
    }
    assert!(bytes.starts_with(b"POST /sync/register"));
    socket
}

/// The other side sees only the end of the connection.
async fn is_closed(socket: &tokio::net::TcpStream) {
    loop {
        socket.readable().await.unwrap();
        match socket.try_read(&mut [0; 64]) {
            Ok(count) => break assert_eq!(count, 0),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
}

/// Repeatedly, and far below the timeout of a request.
#[test]
fn suspend_during_silent_request_closes_connection_at_once() {
    run_test(false, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let transport = Arc::new(HttpTransport::new(&url, ANSWER_LIMIT).unwrap());
        let phone = Phone::started(5, transport).await;
        for _ in 0..5 {
            let socket = asked(&listener).await;
            let suspended = async {
                phone.driver.suspend().await;
                phone.writer.suspend().await.unwrap();
            };
            tokio::time::timeout(Duration::from_secs(1), suspended).await.unwrap();
            is_closed(&socket).await;
            phone.writer.resume_with(|_| Ok(())).await.unwrap();
            phone.driver.resume();
        }
    });
}
