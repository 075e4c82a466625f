//! The whole client, against a server over sockets.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rejoin_core::{
    Client, Config, Error, FirstSync, InputFault, MutationState, Network, Origin, ParkReason,
    PatchKind, QueueFault, RowSyncState, Services, SyncFault, SyncState, TokenError, TokenProvider,
    Update, Value, block_on,
};
use rejoin_tests::{Backend, Proxy, Store};
use tempfile::TempDir;

/// No test waits longer than this; a longer wait is a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a free port, until it is dropped.
pub(crate) struct Served {
    pub(crate) url: String,
    /// All requests go through it, and are counted there.
    #[allow(dead_code)] // It checks the number when it is dropped.
    network: Option<Proxy>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Served {
    pub(crate) fn new(backend: &Backend) -> Self {
        let mut served = Self::uncounted(backend);
        let network = Proxy::before(&served.url);
        served.url.clone_from(&network.url);
        served.network = Some(network);
        served
    }

    /// A server whose clients may send any number of requests.
    pub(crate) fn uncounted(backend: &Backend) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = backend.server().clone();
        let serving = async move { server.serve(listener).await };
        drop(runtime.spawn(serving));
        Self { url, network: None, runtime: Some(runtime) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A device of one user.
pub(crate) struct Phone {
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
}

impl Phone {
    pub(crate) fn new(user: &str, url: Option<&str>) -> Self {
        Self::with(user, url, |_| {})
    }

    pub(crate) fn with(user: &str, url: Option<&str>, configure: impl FnOnce(&mut Config)) -> Self {
        Self::with_services(user, url, Services::default(), configure)
    }

    pub(crate) fn with_services(
        user: &str,
        url: Option<&str>,
        services: Services,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config::new(folder.path().join("app.db"));
        config.server = url.map(str::to_owned);
        config.user_id = Some(user.to_owned());
        config.sync_interval = Duration::from_hours(1);
        config.push_debounce = Duration::ZERO;
        configure(&mut config);
        let client = Client::open_with(config, services).wait().unwrap();
        Self { client, folder }
    }

    pub(crate) fn sync(&self) -> rejoin_core::SyncReport {
        self.client.sync().run(Some(PATIENCE)).wait().unwrap()
    }

    pub(crate) fn run(&self, sql: &str) -> usize {
        self.client.execute(sql, ()).wait().unwrap()
    }

    pub(crate) fn names(&self) -> String {
        names(&self.client.query("SELECT id, name FROM places ORDER BY id", ()).wait().unwrap())
    }
}

/// A server over sockets and a device of Ana's.
pub(crate) fn served_phone(store: Store) -> (Backend, Served, Phone) {
    let backend = Backend::on(store);
    let served = Served::new(&backend);
    let phone = Phone::new("ana", Some(&served.url));
    (backend, served, phone)
}

fn names(rows: &rejoin_core::RowBuffer) -> String {
    let name = |row: rejoin_core::Row<'_>| {
        format!("{}={}", row.get::<String>("id").unwrap(), row.get::<String>("name").unwrap())
    };
    rows.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn next<T>(updates: &mpsc::Receiver<T>) -> T {
    updates.recv_timeout(PATIENCE).expect("an update arrives")
}

#[test]
fn write_of_one_device_updates_watch_of_another() {
    let (_backend, served, one) = served_phone(Store::Sqlite);
    let two = Phone::new("ana", Some(&served.url));
    one.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    two.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    assert_eq!(two.client.status().first_sync, FirstSync::Done);

    let (sender, updates) = mpsc::channel();
    let sql = "SELECT id, name FROM places ORDER BY id";
    let watch = block_on(two.client.watch(sql, (), &["id"])).unwrap();
    let _subscription = watch.each(move |update| drop(sender.send(update.unwrap())));
    assert!(next(&updates).rows.is_empty());
    let (tell_change, changes) = mpsc::channel();
    let _changes = two.client.on_change(&["places"], move |change| drop(tell_change.send(change)));

    // The write starts a push by itself, and the server's event wakes the other device.
    one.run("INSERT INTO places (id, name) VALUES ('p1', 'Harbour')");
    let Update { rows, difference } = next(&updates);
    assert_eq!(names(&rows), "p1=Harbour");
    assert_eq!(difference.unwrap().added, [0]);
    let change = next(&changes);
    assert_eq!(change.origin, Origin::Remote);
    assert_eq!(change.tables["places"], Some(vec![Value::from("p1")]));
}

#[test]
fn rejected_write_is_parked_and_blocks_nothing() {
    let (backend, _served, phone) = served_phone(Store::Sqlite);
    phone.sync();
    phone.client.stop().wait().unwrap();
    phone.run("INSERT INTO places (id, name, score) VALUES ('bad', 'Nine', 9)");
    phone.run("INSERT INTO places (id, name, score) VALUES ('good', 'Four', 4)");
    assert_eq!(phone.client.queue().counts().wait().unwrap().pending, 2);

    // A list shows its badges; it is notified of verdicts, which change no row of its table.
    let (sender, updates) = mpsc::channel();
    let sql = "SELECT id, rejoin_row_state('places', id) AS state FROM places ORDER BY id";
    let watch = block_on(phone.client.watch(sql, (), &["id"])).unwrap();
    let _subscription = watch.each(move |update| drop(sender.send(update.unwrap())));
    let states = |update: &Update| -> Vec<String> {
        update.rows.iter().map(|row| row.get::<String>("state").unwrap()).collect()
    };
    assert_eq!(states(&next(&updates)), ["pending", "pending"]);

    let report = phone.sync();
    assert_eq!((report.accepted, report.parked, report.still_pending), (1, 1, 0));
    loop {
        let update = next(&updates);
        if states(&update).contains(&"synced".to_owned()) {
            break;
        }
    }
    assert_eq!(backend.see("SELECT id FROM places"), "good");
    let all = phone.client.queue().all().wait().unwrap();
    assert_eq!(phone.client.queue().parked().wait().unwrap(), all);
    assert_eq!(phone.client.queue().pending().wait().unwrap(), []);
    let [parked] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((parked.state, parked.reason), (MutationState::Parked, Some(ParkReason::Rejected)));
    let detail = parked.detail.as_ref().unwrap();
    assert_eq!(detail.code.as_deref(), Some("constraint.check"), "{parked:?}");
    let [row] = parked.rows.as_slice() else { panic!("{parked:?}") };
    assert_eq!((row.table.as_str(), &row.key), ("places", &Value::from("bad")));
    assert_eq!(row.operation, PatchKind::Insert);
    let score = row.columns.iter().find(|column| column.name == "score").unwrap();
    assert_eq!(score.new, Value::from(9));
    let state = |key| phone.client.queue().row_state("places", key).wait().unwrap();
    assert_eq!(state("bad"), RowSyncState::Parked);
    assert_eq!(state("good"), RowSyncState::Synced);

    phone.client.queue().discard(parked.id).wait().unwrap();
    assert!(phone.client.queue().all().wait().unwrap().is_empty());
    assert!(matches!(
        phone.client.queue().discard(parked.id).wait(),
        Err(Error::Queue(QueueFault::Unknown(_)))
    ));
    phone.run("INSERT INTO places (id, name) VALUES ('p9', 'Awaited')");
    let awaited = phone.client.queue().all().wait().unwrap()[0].id;
    let verdict = phone.client.queue().verdict(awaited, Some(PATIENCE)).wait().unwrap();
    assert_eq!(verdict, rejoin_core::Verdict::Accepted);
    let unsynced = phone.client.queue().row_state("nothing", "a").wait();
    assert!(matches!(unsynced, Err(Error::InvalidInput(InputFault::NotSynced(_)))));
}

#[test]
fn first_start_works_offline_with_bundled_schema() {
    let backend = Backend::new();
    let bundle = backend.manifest();
    let unreachable = "http://127.0.0.1:9"; // The port of "discard": nothing listens.
    let phone = Phone::with("ana", Some(unreachable), |config| config.schema = Some(bundle));
    phone.run("INSERT INTO places (id, name) VALUES ('p1', 'Offline')");
    assert_eq!(phone.names(), "p1=Offline");
    let offline = phone.client.sync().run(Some(PATIENCE)).wait();
    assert!(matches!(offline, Err(Error::Sync(SyncFault::Offline(_)))), "{offline:?}");
    let waiting = phone.client.sync().first_sync(Some(Duration::from_millis(50))).wait();
    assert!(matches!(waiting, Err(Error::Sync(SyncFault::Offline(_)))), "{waiting:?}");
    assert_eq!(phone.client.queue().counts().wait().unwrap().pending, 1);
    phone.client.shutdown().wait().unwrap();
}

#[test]
fn client_without_server_refuses_only_sync() {
    let phone = Phone::new("ana", None);
    phone.client.schema().create_table("draft", "id TEXT PRIMARY KEY").wait().unwrap();
    phone.run("INSERT INTO draft VALUES ('a')");
    let refused = phone.client.start().unwrap_err().to_string();
    assert_eq!(refused, "refused syncing: the configuration has no server");
    assert!(phone.client.sync().run(None).wait().is_err());
    phone.client.stop().wait().unwrap();
    assert_eq!(phone.client.status().state, SyncState::Idle);
}

#[test]
fn network_state_set_before_start_is_applied() {
    let (_backend, _served, phone) = served_phone(Store::Sqlite);
    phone.client.sync().set_network(Network { online: false, metered: false });
    let (sender, updates) = mpsc::channel();
    let _subscription = phone.client.on_status(move |status| drop(sender.send(status)));
    phone.client.start().unwrap();
    while !matches!(next(&updates).state, SyncState::Offline { retry_at_ms: None, .. }) {}
    phone.client.sync().set_network(Network { online: true, metered: false });
    while !matches!(next(&updates).state, SyncState::UpToDate { .. }) {}
}

#[test]
fn status_is_reported_at_once_and_at_each_change() {
    let (_backend, _served, phone) = served_phone(Store::Sqlite);
    let (sender, updates) = mpsc::channel();
    let subscription = phone.client.on_status(move |status| drop(sender.send(status)));
    assert_eq!(next(&updates).state, SyncState::Idle);
    for _ in 0..2 {
        phone.client.start().unwrap();
        phone.client.start().unwrap();
        while !matches!(next(&updates).state, SyncState::UpToDate { .. }) {}
        phone.client.stop().wait().unwrap();
        while next(&updates).state != SyncState::Stopped {}
    }
    assert_eq!(phone.client.status().first_sync, FirstSync::Done);
    drop(subscription);
    assert!(updates.recv_timeout(PATIENCE).is_err(), "the subscription drops its sender");
}

/// A token provider without a signed-in user, until one signs in.
#[derive(Debug, Default)]
struct SignIn {
    asked: Mutex<u32>,
}

impl TokenProvider for SignIn {
    fn token(&self, _refresh: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        *self.asked.lock().unwrap() += 1;
        async { Ok(None) }.boxed()
    }
}

#[test]
fn missing_token_is_reported_and_writes_are_kept() {
    let backend = Backend::new();
    let served = Served::new(&backend);
    let folder = TempDir::new().unwrap();
    let config = Config::new(folder.path().join("app.db"))
        .server(served.url.clone())
        .schema(backend.manifest());
    let sign_in = Arc::new(SignIn::default());
    let services = Services { tokens: Some(sign_in.clone()), ..Services::default() };
    let client = Client::open_with(config, services).wait().unwrap();
    client.execute("INSERT INTO places (id, name) VALUES ('p1', 'Kept')", ()).wait().unwrap();
    let refused = client.sync().run(Some(PATIENCE)).wait();
    assert!(matches!(refused, Err(Error::Sync(SyncFault::Unauthorized))), "{refused:?}");
    assert_eq!(client.status().state, SyncState::NeedsAuth);
    client.sync().credentials_changed().wait().unwrap();
    assert!(*sign_in.asked.lock().unwrap() >= 1);
    assert_eq!(client.queue().counts().wait().unwrap().pending, 1);
}

/// The pass with which syncing starts pushes pending mutations; a wait for that pass reports them.
#[test]
fn sync_and_wait_reports_pushes_of_the_first_pass() {
    let (_backend, _served, phone) = served_phone(Store::Sqlite);
    phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    phone.client.stop().wait().unwrap();
    phone.run("INSERT INTO places (id, name) VALUES ('p1', 'Harbour')");
    phone.run("INSERT INTO places (id, name) VALUES ('p2', 'Mill')");
    let report = phone.sync();
    assert_eq!((report.accepted, report.parked, report.still_pending), (2, 0, 0));
}

#[test]
fn server_changes_wait_for_interactive_transaction() {
    let (_backend, served, one) = served_phone(Store::Sqlite);
    let two = Phone::new("ana", Some(&served.url));
    one.sync();
    two.sync();
    let tx = two.client.begin().wait().unwrap();
    tx.execute("INSERT INTO places (id, name) VALUES ('p2', 'Mill')", ()).wait().unwrap();
    one.run("INSERT INTO places (id, name) VALUES ('p1', 'Harbour')");
    one.sync();
    let mut syncing = two.client.sync().run(Some(PATIENCE));
    for _ in 0..100 {
        let seen = tx.query("SELECT id FROM places", ()).wait().unwrap();
        assert_eq!(seen.len(), 1, "the state under a transaction does not change");
        assert!((&mut syncing).now_or_never().is_none());
    }
    tx.commit().wait().unwrap();
    syncing.wait().unwrap();
    assert_eq!(two.names(), "p1=Harbour p2=Mill");
    one.sync();
    assert_eq!(one.names(), "p1=Harbour p2=Mill");
}
