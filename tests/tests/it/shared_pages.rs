//! Shared pages in snapshots of devices: whatever happens to them, the device gets every row.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rejoin_core::Services;
use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::{Phase, Request, Response};
use rejoin_core::transport::{
    EventStream, HttpRequest, HttpResponse, HttpTransport, Transport, TransportError,
};
use rejoin_protocol::wire::path;
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Moment, Nginx, Peer, Store, cases};
use serde_json::Value;

use crate::client::{PATIENCE, Phone, Served};
use crate::{apply, each_store};

const TABLES: &str = "
    CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
    CREATE TABLE places (id TEXT PRIMARY KEY, name TEXT, user_id TEXT, updated_at TEXT);
    INSERT INTO countries (code, name) VALUES ('DK', 'x'), ('EE', 'x'), ('FI', 'x'), ('IS', 'x'), ('LT', 'x'),
        ('LV', 'x'), ('NO', 'x'), ('SE', 'x');
    INSERT INTO places (id, name, user_id) VALUES ('p1', 'x', 'ana'), ('p2', 'x', 'ana'), ('p3', 'x', 'ben');
";

fn tables() -> Vec<TableConfig> {
    vec![TableConfig::global("countries"), TableConfig::owned("places", "user_id")]
}

/// A server with eight countries for all users, and a new device; pages have three rows.
fn countries(store: Store) -> (Backend, Device) {
    let server = Backend::made(store, TABLES, tables(), Limits { page: 3, ..Limits::default() });
    (server, Device::with("ana", 1, None, |config| config.page_size = 3))
}

#[track_caller]
fn in_step(device: &mut Device, server: &Backend) {
    for table in ["countries", "places"] {
        let ours = digest::digest(device.engine(), table).unwrap();
        assert_eq!(ours, server.digest("ana", table), "{table}");
    }
}

/// Counts the requests of a snapshot that arrive.
struct Counted<'a> {
    server: &'a Backend,
    pages: Cell<usize>,
}

impl Peer for Counted<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let is_page = request.path == path::SNAPSHOT || request.path.starts_with(path::PAGES);
        self.pages.set(self.pages.get() + usize::from(is_page));
        self.server.exchange(user, request)
    }
}

/// The requests of shared pages, and those of the snapshot.
fn pages(device: &Device) -> (usize, usize) {
    let count = |start: &str| device.sent.iter().filter(|one| one.path.starts_with(start)).count();
    (count(path::PAGES), count(path::SNAPSHOT))
}

#[apply(each_store)]
fn first_sync_gets_the_rows_of_all_users_in_shared_pages(store: Store) {
    let (server, mut device) = countries(store);
    let counted = Counted { server: &server, pages: Cell::new(0) };
    let report = device.sync(&counted);
    assert_eq!((report.pulled, pages(&device)), (10, (3, 2)));
    assert_eq!(counted.pages.get(), 5, "the requests made early were used");
    in_step(&mut device, &server);
    server.outside("UPDATE countries SET name = 'y' WHERE code = 'FI'");
    device.sync(&server);
    in_step(&mut device, &server);
}

#[apply(each_store)]
fn shared_pages_survive_every_fault_and_crash_in_every_exchange(store: Store) {
    let each = if store == Store::Postgres && cases(1) == 1 { 5 } else { 1 };
    for (number, fault) in Fault::ALL.into_iter().chain([Fault::TooLarge]).enumerate() {
        for at in (2 + number % each..8).step_by(each) {
            let (server, mut device) = countries(store);
            device.faults.extend(std::iter::repeat_n(Fault::Doubled, at).chain([fault]));
            // The pass ends with the fault, if it is one of the network.
            let _ = device.pass(&server);
            server.outside("DELETE FROM countries WHERE code = 'EE'");
            device.crash();
            device.deliver_late(&server);
            device.sync(&server);
            in_step(&mut device, &server);
        }
    }
}

#[apply(each_store)]
fn later_snapshot_removes_rows_that_shared_pages_lack(store: Store) {
    let (server, mut device) = countries(store);
    device.sync(&server);
    server.outside("DELETE FROM countries WHERE code IN ('DK', 'IS', 'SE')");
    server.clock.advance(400 * 86_400_000_000);
    let mut other = Device::new("ana", 99);
    other.sync(&server);
    server.clock.advance(120_000_000);
    other.sync(&server);
    server.compact();
    let before = pages(&device);
    device.sync(&server);
    assert!(pages(&device).0 > before.0, "from shared pages");
    in_step(&mut device, &server);
}

type Answer = Box<dyn Fn(&Request) -> Option<Response>>;

/// A proxy that treats the paths of shared pages on its own.
struct Proxied<'a> {
    server: &'a Backend,
    answer: Answer,
}

impl Peer for Proxied<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        if request.path.starts_with(path::PAGES) {
            return (self.answer)(request);
        }
        self.server.exchange(user, request)
    }
}

/// Pages that a cache has kept too long.
const OTHER_VERSION: &str = r#"{"records":[],"checkpoint":0,"has_more":true,"schema_version":77,"schema_hash":"x",
    "rejoin":{"request":0,"epoch":"e","page":"p.q"}}"#;
const OTHER_EPOCH: &str = r#"{"records":[],"checkpoint":0,"has_more":true,"schema_version":1,"schema_hash":"HASH",
    "rejoin":{"request":0,"epoch":"e","page":"p.q"}}"#;

fn response(status: u16, body: &'static str) -> Response {
    Response { status, body: body.into(), ..Response::default() }
}

#[test]
fn first_sync_passes_a_proxy_that_does_not_know_shared_pages() {
    let bodies = [
        (404, "<html>not found</html>"),
        (403, ""),
        (502, "<html>bad gateway</html>"),
        (500, r#"{"code":"internal","retryable":true}"#),
        (410, r#"{"code":"page_gone"}"#),
        (200, "<html>an app</html>"),
        (200, r#"{"status":"ok"}"#),
        (413, ""),
        (200, OTHER_VERSION),
        (200, OTHER_EPOCH),
        (409, r#"{"code":"epoch","epoch":"e"}"#),
        (409, r#"{"code":"schema_mismatch"}"#),
    ];
    for (status, body) in bodies {
        let (server, mut device) = countries(Store::Sqlite);
        let body = body.replace("HASH", &server.manifest().schema_hash);
        let page = Response { status, body: body.clone().into(), ..Response::default() };
        let answer = Box::new(move |_: &Request| Some(page.clone()));
        let report = device.pass(&Proxied { server: &server, answer }).unwrap();
        assert!(report.first_sync_done, "{status} {body}");
        assert_eq!(pages(&device).0, 1, "{status} {body}");
        in_step(&mut device, &server);
    }
}

/// A server with twelve tables for all users, of four rows each, and a new device.
fn twelve() -> (Backend, Device) {
    let names: Vec<String> = (0..12).map(|number| format!("t{number:02}")).collect();
    let sql = names.iter().map(|name| {
        format!(
            "CREATE TABLE {name} (code TEXT PRIMARY KEY, updated_at TEXT);
             INSERT INTO {name} (code) VALUES ('a'), ('b'), ('c'), ('d');"
        )
    });
    let tables = names.iter().map(TableConfig::global).collect();
    let limits = Limits { page: 3, ..Limits::default() };
    let server = Backend::made(Store::Sqlite, &sql.collect::<String>(), tables, limits);
    (server, Device::with("ana", 1, None, |config| config.page_size = 3))
}

#[test]
fn many_tables_pass_a_proxy_that_does_not_know_shared_pages() {
    let (server, mut device) = twelve();
    let answer = Box::new(|_: &Request| Some(response(404, "<html>not found</html>")));
    let report = device.pass(&Proxied { server: &server, answer }).unwrap();
    assert_eq!((report.pulled, pages(&device).0), (48, 3), "three refusals are enough");
}

/// The app may be killed after each pass.
#[test]
fn first_sync_passes_a_proxy_that_never_answers_for_shared_pages() {
    for is_killed in [false, true] {
        let (server, mut device) = twelve();
        let proxy = Proxied { server: &server, answer: Box::new(|_| None) };
        for pass in 1.. {
            if device.pass(&proxy).is_ok() {
                assert_eq!(pass, 4, "three lost pages are enough");
                break;
            }
            if is_killed {
                device.crash();
            }
        }
        assert_eq!(pages(&device).0, 3);
    }
}

/// A network that signs in the user before anything else, from the second shared page on.
struct Portal<'a> {
    server: &'a Backend,
    pages: Cell<usize>,
}

impl Peer for Portal<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let is_page = request.path.starts_with(path::PAGES);
        self.pages.set(self.pages.get() + usize::from(is_page));
        if self.pages.get() >= 2 {
            return Some(response(200, "<html>sign in</html>"));
        }
        self.server.exchange(user, request)
    }
}

#[test]
fn portal_during_a_first_sync_does_not_end_shared_pages() {
    let (server, mut device) = countries(Store::Sqlite);
    let portal = Portal { server: &server, pages: Cell::new(0) };
    for _ in 0..2 {
        device.pass(&portal).unwrap_err();
    }
    let before = pages(&device).0;
    device.sync(&server);
    assert_eq!(pages(&device).0, before + 2);
    in_step(&mut device, &server);
}

/// A gateway that refuses shared pages, requests for more than this number of rows, and responses with more than the
/// second.
struct Narrow<'a>(&'a Backend, i64, usize);

impl Peer for Narrow<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        if request.path.starts_with(path::PAGES) {
            return Some(response(404, r#"{"error":"no route"}"#));
        }
        let refused = Some(response(500, r#"{"error":"too much"}"#));
        if request.path == path::SNAPSHOT && limit(request) > self.1 {
            return refused;
        }
        let answer = self.0.exchange(user, request)?;
        if request.path == path::SNAPSHOT && rows_of(&answer) > self.2 {
            return refused;
        }
        Some(Response { took: Duration::ZERO, ..answer })
    }
}

/// The rows that a request of a snapshot asks for.
fn limit(request: &Request) -> i64 {
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    body["limit"].as_i64().unwrap()
}

/// The number of rows in a page.
fn rows_of(page: &Response) -> usize {
    let body: Value = serde_json::from_slice(&page.body).unwrap();
    let sets = body["rejoin"]["sets"].as_array().into_iter().flatten();
    sets.map(|set| set["rows"].as_array().map_or(0, Vec::len)).sum()
}

/// A server with so many rows in this shared table and in places, and a new device whose pages begin with 100 rows.
fn with_rows(shared: &str, codes: usize, places: usize, page: usize) -> (Backend, Device) {
    let codes: Vec<String> = (0..codes).map(|at| format!("('c{at}')")).collect();
    let rows: Vec<String> = (0..places).map(|at| format!("('p{at}', 'ana')")).collect();
    let sql = format!(
        "CREATE TABLE {shared} (code TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
         CREATE TABLE places (id TEXT PRIMARY KEY, name TEXT, user_id TEXT, updated_at TEXT);
         INSERT INTO {shared} (code) VALUES {};
         INSERT INTO places (id, user_id) VALUES {}",
        codes.join(", "),
        rows.join(", ")
    );
    let tables = vec![TableConfig::global(shared), TableConfig::owned("places", "user_id")];
    let server = Backend::made(Store::Sqlite, &sql, tables, Limits { page, ..Limits::default() });
    let mut device = Device::bundled("ana", 1, server.manifest());
    device.reconfigure(|config| config.page_size = 100);
    (server, device)
}

#[test]
fn first_sync_passes_a_gateway_that_refuses_shared_and_large_pages() {
    // Of shared tables before and after the other one.
    for (shared, requested, responded) in [("countries", 200, 10_000), ("regions", 10_000, 400)] {
        let (server, mut device) = with_rows(shared, 1_500, 300, 10_000);
        device.reconfigure(|config| config.page_size = 1_000);
        let narrow = Narrow(&server, requested, responded);
        let passes = (0..50).take_while(|_| device.pass(&narrow).is_err()).count();
        assert!(passes < 40, "{passes} passes failed with {shared}");
        let theirs = [shared, "places"].map(|table| server.digest("ana", table));
        assert_eq!(
            [shared, "places"].map(|table| digest::digest(device.engine(), table).unwrap()),
            theirs
        );
    }
}

/// Answers the requests of shared pages as a gateway that does not know them, or is not reached by them.
#[derive(Debug)]
struct Gateway {
    inner: HttpTransport,
    /// `None`: they are not sent.
    status: Option<u16>,
    is_open: Arc<AtomicBool>,
    passed: Arc<AtomicUsize>,
}

impl Transport for Gateway {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let is_page = request.path.starts_with(path::PAGES);
        if !is_page || self.is_open.load(Relaxed) {
            self.passed.fetch_add(usize::from(is_page), Relaxed);
            return self.inner.send(request);
        }
        let Some(status) = self.status else {
            return async { Err(TransportError::Unreachable("by the test".to_owned())) }.boxed();
        };
        let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        let body = "<html>an app</html>".into();
        let answer = HttpResponse { status, headers, body };
        async { Ok(answer) }.boxed()
    }

    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        self.inner.events(request)
    }
}

/// Ana's phone behind a gateway, what opens the gateway, and the number of shared pages that pass it.
fn behind_gateway(
    backend: &Backend,
    status: Option<u16>,
) -> (Served, Phone, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let served = Served::new(backend);
    let inner = HttpTransport::new(&served.url, 1 << 26).unwrap();
    let (is_open, passed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let gateway =
        Gateway { inner, status, is_open: Arc::clone(&is_open), passed: Arc::clone(&passed) };
    let services = Services { transport: Some(Arc::new(gateway)), ..Services::default() };
    let phone = Phone::with_services("ana", Some(&served.url), services, |_| ());
    (served, phone, is_open, passed)
}

#[test]
fn first_sync_of_an_app_passes_a_gateway_that_answers_with_a_page() {
    for status in [200, 302] {
        let (backend, _) = countries(Store::Sqlite);
        let (_served, phone, ..) = behind_gateway(&backend, Some(status));
        assert_eq!(phone.sync().pulled, 10, "{status}");
    }
}

#[test]
fn passes_without_a_network_do_not_end_shared_pages() {
    let (backend, _) = countries(Store::Sqlite);
    let (_served, phone, is_open, passed) = behind_gateway(&backend, None);
    for _ in 0..4 {
        phone.client.sync().and_wait(Some(PATIENCE)).wait().unwrap_err();
    }
    is_open.store(true, Relaxed);
    phone.sync();
    assert_eq!(passed.load(Relaxed), 3);
}

#[test]
fn shared_page_that_was_held_back_is_no_failure() {
    let (server, mut device) = countries(Store::Sqlite);
    for _ in 0..4 {
        device.until(&server, Phase::Snapshot).unwrap();
        if device.next_path() == Some(path::SNAPSHOT) {
            device.step(&server).unwrap();
            device.prepare().unwrap();
        }
        device.hold_back().unwrap();
    }
    device.sync(&server);
    assert_eq!(pages(&device).0, 3);
    in_step(&mut device, &server);
}

/// The next page is requested early, or after a mutation that the server cannot decide.
#[test]
fn size_of_pages_does_not_follow_from_a_short_shared_page() {
    for has_undecided in [false, true] {
        let (server, mut device) = with_rows("countries", 101, 500, 100);
        if has_undecided {
            device.write("INSERT INTO places (id, name) VALUES ('p500', 'x')");
            device.push_undecided(&server).unwrap();
        }
        while !matches!(device.step(&server).unwrap(), Moment::Finished(_)) {}
        let asked = device.sent.iter().filter(|one| one.path == path::SNAPSHOT);
        let sizes: Vec<i64> = asked.map(limit).collect();
        assert!(sizes.len() > 2 && sizes.iter().all(|size| *size >= 100), "{sizes:?}");
    }
}

#[test]
fn busy_server_does_not_end_shared_pages() {
    let (server, mut device) = countries(Store::Sqlite);
    let answer = Box::new(|_: &Request| Some(response(503, r#"{"code":"unavailable"}"#)));
    device.pass(&Proxied { server: &server, answer }).unwrap_err();
    device.sync(&server);
    assert_eq!(pages(&device).0, 4);
    in_step(&mut device, &server);
}

/// Keeps each shared page for ever.
struct Keeping<'a> {
    server: &'a RefCell<Backend>,
    pages: RefCell<HashMap<String, Response>>,
    built: Cell<usize>,
}

impl Peer for Keeping<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let ask = || self.server.borrow().exchange(user, request);
        if !request.path.starts_with(path::PAGES) {
            return ask();
        }
        if let Some(page) = self.pages.borrow().get(&request.path) {
            return Some(page.clone());
        }
        self.built.set(self.built.get() + 1);
        let page = ask()?;
        if page.status == 200 {
            self.pages.borrow_mut().insert(request.path.clone(), page.clone());
        }
        Some(page)
    }
}

#[apply(each_store)]
fn device_gets_later_changes_after_old_pages_of_a_cache(store: Store) {
    let (server, mut first) = countries(store);
    let server = RefCell::new(server);
    let cache = Keeping { server: &server, pages: RefCell::default(), built: Cell::new(0) };
    first.sync(&cache);
    server.borrow().outside("UPDATE countries SET name = 'y' WHERE code = 'FI'");
    server.borrow().outside("DELETE FROM countries WHERE code = 'DK'");
    server.borrow().outside("INSERT INTO countries (code, name) VALUES ('AX', 'x')");
    let mut second = Device::with("ana", 2, None, |config| config.page_size = 3);
    second.sync(&cache);
    assert_eq!((cache.built.get(), pages(&second).0), (3, 3));
    in_step(&mut second, &server.borrow());
}

/// The rows of the cached pages are from a state that the server has lost.
#[apply(each_store)]
fn device_with_old_pages_of_a_restored_server_gets_its_rows(store: Store) {
    let (server, mut first) = countries(store);
    let backup = server.backup();
    let server = RefCell::new(server);
    let cache = Keeping { server: &server, pages: RefCell::default(), built: Cell::new(0) };
    // The address of the first page is the same before and after.
    server.borrow().outside("UPDATE countries SET name = 'lost'");
    first.sync(&cache);
    server.borrow_mut().restore(&backup);
    let mut second = Device::with("ana", 2, None, |config| config.page_size = 3);
    let _ = second.pass(&cache);
    assert!(pages(&second).0 > 0, "the cache has answered");
    second.sync(&cache);
    in_step(&mut second, &server.borrow());
}

/// nginx as docs/server.md configures it.
#[test]
fn nginx_gets_each_page_once_for_all_devices() {
    let limits = Limits { page: 1_000, ..Limits::default() };
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
        INSERT INTO countries (code, name) SELECT 'c' || i, 'x' FROM n";
    let server = Backend::made(Store::Sqlite, &format!("{TABLES};{rows}"), tables(), limits);
    let network = Served::uncounted(&server);
    let folder = tempfile::tempdir().unwrap();
    let cache = Nginx::cache(&network.url, folder.path());
    let sync = |user: &str| {
        let phone = Phone::new(user, Some(&cache.url));
        phone.client.start().unwrap();
        phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
        let rows = phone.client.query("SELECT count(*) AS n FROM countries", ()).wait().unwrap();
        rows.iter().next().unwrap().get::<i64>("n").unwrap()
    };
    thread::scope(|scope| {
        let phones: Vec<_> =
            (0..20).map(|number| scope.spawn(move || sync(&format!("user {number}")))).collect();
        for phone in phones {
            assert_eq!(phone.join().unwrap(), 2_508);
        }
    });
    server.outside("INSERT INTO countries (code, name) VALUES ('AX', 'x')");
    assert_eq!(sync("late"), 2_509, "the pull has what is newer than the pages");
    let requests = cache.requests();
    let count = |what: &str| requests.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("/sync/pages/"), count("MISS")), (63, 3), "{requests:#?}");
}
