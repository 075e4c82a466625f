//! Shared pages in snapshots of devices: whatever happens to them, the device gets every row.

mod gateway;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::thread;

use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::{Phase, Request, Response};
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
fn check_in_sync(device: &mut Device, server: &Backend) {
    for table in ["countries", "places"] {
        let ours = digest::digest(device.engine(), table).unwrap();
        assert_eq!(ours, server.digest("ana", table), "{table}");
    }
}

/// Counts the requests of a snapshot that arrive.
struct RequestCounter<'a> {
    server: &'a Backend,
    pages: Cell<usize>,
}

impl Peer for RequestCounter<'_> {
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
    let counted = RequestCounter { server: &server, pages: Cell::new(0) };
    let report = device.sync(&counted);
    assert_eq!((report.pulled, pages(&device)), (10, (3, 2)));
    assert_eq!(counted.pages.get(), 5, "the requests made early were used");
    check_in_sync(&mut device, &server);
    server.outside("UPDATE countries SET name = 'y' WHERE code = 'FI'");
    device.sync(&server);
    check_in_sync(&mut device, &server);
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
            check_in_sync(&mut device, &server);
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
    check_in_sync(&mut device, &server);
}

type Answer = Box<dyn Fn(&Request) -> Option<Response>>;

/// A proxy that treats the paths of shared pages on its own.
struct PageProxy<'a> {
    server: &'a Backend,
    answer: Answer,
}

impl Peer for PageProxy<'_> {
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
        let report = device.pass(&PageProxy { server: &server, answer }).unwrap();
        assert!(report.first_sync_done, "{status} {body}");
        assert_eq!(pages(&device).0, 1, "{status} {body}");
        check_in_sync(&mut device, &server);
    }
}

/// A server with twelve tables for all users, of four rows each, and a new device.
fn twelve_tables() -> (Backend, Device) {
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
    let (server, mut device) = twelve_tables();
    let answer = Box::new(|_: &Request| Some(response(404, "<html>not found</html>")));
    let report = device.pass(&PageProxy { server: &server, answer }).unwrap();
    assert_eq!((report.pulled, pages(&device).0), (48, 3), "three refusals are enough");
}

/// The app may be killed after each pass.
#[test]
fn first_sync_passes_a_proxy_that_never_answers_for_shared_pages() {
    for is_killed in [false, true] {
        let (server, mut device) = twelve_tables();
        let proxy = PageProxy { server: &server, answer: Box::new(|_| None) };
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
struct CaptivePortal<'a> {
    server: &'a Backend,
    pages: Cell<usize>,
}

impl Peer for CaptivePortal<'_> {
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
    let portal = CaptivePortal { server: &server, pages: Cell::new(0) };
    for _ in 0..2 {
        device.pass(&portal).unwrap_err();
    }
    let before = pages(&device).0;
    device.sync(&server);
    assert_eq!(pages(&device).0, before + 2);
    check_in_sync(&mut device, &server);
}

/// The rows that a request of a snapshot asks for.
fn limit(request: &Request) -> i64 {
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    body["limit"].as_i64().unwrap()
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
    check_in_sync(&mut device, &server);
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
    device.pass(&PageProxy { server: &server, answer }).unwrap_err();
    device.sync(&server);
    assert_eq!(pages(&device).0, 4);
    check_in_sync(&mut device, &server);
}

/// Keeps each shared page for ever.
struct CachingProxy<'a> {
    server: &'a RefCell<Backend>,
    pages: RefCell<HashMap<String, Response>>,
    built: Cell<usize>,
}

impl Peer for CachingProxy<'_> {
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
    let cache = CachingProxy { server: &server, pages: RefCell::default(), built: Cell::new(0) };
    first.sync(&cache);
    server.borrow().outside("UPDATE countries SET name = 'y' WHERE code = 'FI'");
    server.borrow().outside("DELETE FROM countries WHERE code = 'DK'");
    server.borrow().outside("INSERT INTO countries (code, name) VALUES ('AX', 'x')");
    let mut second = Device::with("ana", 2, None, |config| config.page_size = 3);
    second.sync(&cache);
    assert_eq!((cache.built.get(), pages(&second).0), (3, 3));
    check_in_sync(&mut second, &server.borrow());
}

/// The rows of the cached pages are from a state that the server has lost.
#[apply(each_store)]
fn device_with_old_pages_of_a_restored_server_gets_its_rows(store: Store) {
    let (server, mut first) = countries(store);
    let backup = server.backup();
    let server = RefCell::new(server);
    let cache = CachingProxy { server: &server, pages: RefCell::default(), built: Cell::new(0) };
    // The address of the first page is the same before and after.
    server.borrow().outside("UPDATE countries SET name = 'lost'");
    first.sync(&cache);
    server.borrow_mut().restore(&backup);
    let mut second = Device::with("ana", 2, None, |config| config.page_size = 3);
    let _ = second.pass(&cache);
    assert!(pages(&second).0 > 0, "the cache has answered");
    second.sync(&cache);
    check_in_sync(&mut second, &server.borrow());
}

/// nginx as docs/scale.md configures it.
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
