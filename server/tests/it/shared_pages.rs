//! Shared pages: the same for all devices, kept by caches, and never a reason to lose a row.

mod stored;

use std::collections::BTreeSet;

use macro_rules_attribute::apply;
use rejoin_protocol::wire::snapshot::SnapshotResponse;
use rejoin_server::TableConfig;
use serde_json::{Value, json};

use crate::world::{Backend, Device, TABLES, World, objects, place, standard};

const COUNTRIES: &str =
    "INSERT INTO countries(code, name) VALUES('DK', 'x'), ('EE', 'x'), ('FI', 'x'), ('IS', 'x'),
    ('LT', 'x'), ('LV', 'x'), ('NO', 'x'), ('SE', 'x');";

/// A server whose pages have three rows, with eight countries, which all users may read.
fn world(backend: Backend) -> World {
    let small = |mut config: rejoin_server::Config| {
        config.limits.page = 3;
        standard(config)
    };
    let world = World::with(backend, TABLES, small);
    world.write(COUNTRIES);
    world
}

/// A snapshot of a device that takes shared pages.
#[derive(Default)]
struct Walk {
    cursor: Value,
    /// The address that the last response named.
    address: String,
    /// Whether the page at this address is next.
    is_shared: bool,
    names: Vec<String>,
    /// Bounds of the ranges of countries.
    ranges: Vec<(Option<String>, Option<String>)>,
    /// The addresses of the shared pages, and their text.
    addresses: Vec<String>,
    pages: Vec<String>,
    ended: bool,
}

impl Walk {
    async fn step(&mut self, device: &mut Device<'_>) {
        let page = if self.is_shared {
            let (status, _, page) = fetch(device, &self.address).await;
            assert_eq!(status, 200, "{page}");
            self.addresses.push(self.address.clone());
            self.pages.push(page.to_string());
            page
        } else {
            self.ask(device, true).await
        };
        self.take(device, serde_json::from_value(page).unwrap());
    }

    /// Requests the next page from the server itself.
    async fn ask(&self, device: &mut Device<'_>, shared: bool) -> Value {
        let rejoin = json!({"epoch": device.epoch, "shared": shared, "page": self.address});
        let body = json!({"cursor": self.cursor, "limit": 3, "rejoin": rejoin});
        let (status, page) = device.post("/sync/snapshot", body).await;
        assert_eq!(status, 200, "{page}");
        page
    }

    fn take(&mut self, device: &mut Device<'_>, page: SnapshotResponse) {
        let answer = page.rejoin.unwrap();
        assert!(!answer.restart);
        let was_shared = self.is_shared;
        self.is_shared = !answer.page.is_empty() && (page.has_more || !was_shared);
        self.address = answer.page;
        self.names.extend(objects(&answer.sets).into_iter().map(|(name, _)| name));
        let ranges = answer.ranges.into_iter().filter(|range| range.table_name == "countries");
        self.ranges.extend(ranges.map(|range| (range.after, range.through)));
        if was_shared {
            return;
        }
        device.cursor = answer.pull_cursor;
        self.ended = !page.has_more;
        self.cursor = serde_json::to_value(page.cursor).unwrap();
    }

    async fn finish(&mut self, device: &mut Device<'_>) {
        while !self.ended {
            self.step(device).await;
        }
    }
}

async fn fetch(device: &Device<'_>, address: &str) -> (u16, Vec<(String, String)>, Value) {
    let path = format!("/sync/pages/{address}");
    let headers = [("X-User-ID", device.user.as_str()), ("Rejoin-Protocol", "1")];
    device.world.send("GET", &path, &headers, "").await
}

async fn whole(device: &mut Device<'_>) -> Walk {
    let mut walk = Walk::default();
    walk.finish(device).await;
    walk
}

#[apply(secured_stores!)]
async fn snapshot_with_shared_pages_has_every_row_and_key_once(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a1").await;
    for number in 0..5 {
        anna.accept(&format!("m{number}"), json!([place(&format!("p{number}"), "x")])).await;
    }
    let ordinary: Vec<String> = anna.snapshot(3).await;
    let walk = whole(&mut anna).await;
    assert_eq!(walk.names, ordinary);
    assert_eq!(walk.pages.len(), 3);
    let begins: Vec<_> = walk.ranges.iter().skip(1).map(|(after, _)| after.clone()).collect();
    let ends: Vec<_> = walk.ranges.iter().map(|(_, through)| through.clone()).collect();
    assert_eq!((&walk.ranges[0].0, ends.last()), (&None, Some(&None)));
    assert_eq!(begins, ends[..ends.len() - 1]);
}

#[apply(secured_stores!)]
async fn devices_get_the_same_pages_until_the_log_has_grown(backend: Backend) {
    let world = world(backend);
    let (mut anna, mut ben) = (world.device("anna", "a1").await, world.device("ben", "b1").await);
    let first = whole(&mut anna).await;
    anna.accept("m1", json!([place("p1", "x")])).await;
    let mut second = Walk::default();
    second.step(&mut ben).await;
    second.step(&mut ben).await;
    let (ours, theirs) = (&first.names[..3], &second.names[..]);
    assert_eq!((&second.addresses[0], ours), (&first.addresses[0], theirs), "also after a write");
    world.write(
        "INSERT INTO places(id, owner_id, name) WITH RECURSIVE n(i) AS
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             SELECT 'q' || i, 'anna', 'x' FROM n",
    );
    let mut third = Walk::default();
    third.step(&mut ben).await;
    assert_ne!(third.address, second.addresses[0], "a later beginning: fewer entries to pull");
    second.finish(&mut ben).await;
    assert_eq!(second.names.len(), 8);
}

#[apply(secured_stores!)]
async fn changes_around_shared_pages_come_with_the_next_pull(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a1").await;
    world.write("UPDATE countries SET name = 'y' WHERE code = 'FI'");
    let mut walk = Walk::default();
    walk.step(&mut anna).await;
    walk.step(&mut anna).await;
    world.write(
        "UPDATE countries SET name = 'z' WHERE code = 'DK'; DELETE FROM countries WHERE code = 'EE';
         INSERT INTO countries(code, name) VALUES('AX', 'x'), ('ZZ', 'x');",
    );
    walk.finish(&mut anna).await;
    assert!(walk.names.contains(&String::from("countries/ZZ")));
    let pulled: BTreeSet<String> = anna.pull().await.into_iter().collect();
    for expected in ["countries/DK", "-countries/EE", "countries/AX"] {
        assert!(pulled.contains(expected), "{expected} in {pulled:?}");
    }
}

#[apply(secured_stores!)]
async fn device_leaves_shared_pages_at_any_page(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a1").await;
    for steps in 1..4 {
        let mut walk = Walk::default();
        for _ in 0..steps {
            walk.step(&mut anna).await;
        }
        walk.is_shared = false;
        while !walk.ended {
            let page = walk.ask(&mut anna, false).await;
            walk.take(&mut anna, serde_json::from_value(page).unwrap());
            assert!(!walk.is_shared, "it asked for none");
        }
        let names: BTreeSet<_> = walk.names.iter().collect();
        assert_eq!((walk.names.len(), names.len()), (8, 8), "after {steps}");
    }
}

#[apply(secured_stores!)]
async fn only_large_tables_of_all_users_are_shared_and_only_on_request(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a1").await;
    let page = Walk::default().ask(&mut anna, false).await;
    assert_eq!(page["rejoin"].get("page"), None);
    world.write("DELETE FROM countries WHERE code > 'FI'");
    for number in 0..5 {
        anna.accept(&format!("m{number}"), json!([place(&format!("p{number}"), "x")])).await;
    }
    let walk = whole(&mut anna).await;
    assert_eq!((walk.names.len(), walk.pages.len()), (8, 0), "three countries fit in a page");
}

#[apply(secured_stores!)]
async fn pages_are_public_and_their_errors_are_not(backend: Backend) {
    let world = world(backend);
    let anna = &mut world.device("anna", "a1").await;
    let mut walk = Walk::default();
    walk.step(anna).await;
    let header = |headers: &[(String, String)], name: &str| {
        headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    let (status, headers, page) = fetch(anna, &walk.address).await;
    let public = Some(String::from("public, max-age=86400, immutable"));
    assert_eq!((status, header(&headers, "cache-control")), (200, public));
    let end: Value = serde_json::from_str(&header(&headers, "rejoin-page-end").unwrap()).unwrap();
    assert_eq!((&end["rejoin"]["page"], &end["has_more"]), (&page["rejoin"]["page"], &json!(true)));
    assert!(header(&headers, "vary").is_some(), "also uncompressed");
    let (body, signature) = walk.address.split_once('.').unwrap();
    let private = Some(String::from("private, no-store"));
    for bad in [format!("{body}.0{signature}"), String::from("x"), anna.cursor.clone()] {
        let (status, headers, error) = fetch(anna, &bad).await;
        assert_eq!((status, &error["code"]), (410, &json!("page_gone")));
        assert_eq!(header(&headers, "cache-control"), private);
    }
    let path = format!("/sync/pages/{}", walk.address);
    let nothing = [("X-User-ID", "anna"), ("Accept-Encoding", "identity;q=0")];
    let (status, headers, _) = world.send("GET", &path, &nothing, "").await;
    assert_eq!((status, header(&headers, "cache-control")), (406, private.clone()));
    for headers in [&[("Rejoin-Protocol", "1")][..], &[]] {
        let (status, headers, _) = world.send("GET", &path, headers, "").await;
        assert_eq!((status, header(&headers, "cache-control")), (401, private.clone()));
    }
}

#[apply(postgres_stores!)]
async fn pages_end_with_their_schema(backend: Backend) {
    let world = world(backend);
    world.write("ALTER TABLE visits ADD COLUMN last TEXT");
    let mut anna = world.device("anna", "a1").await;
    let mut walk = Walk::default();
    walk.step(&mut anna).await;
    // Another column of this name: the hash of the schema is the same, its version is not.
    world.write("ALTER TABLE visits DROP COLUMN last; ALTER TABLE visits ADD COLUMN last TEXT");
    assert_eq!(fetch(&anna, &walk.address).await.0, 410);
    let (version, hash) = (anna.version, anna.hash.clone());
    anna.register().await;
    assert_eq!((anna.version, &anna.hash), (version + 1, &hash));
    let later = whole(&mut anna).await;
    assert_ne!(later.addresses[0], walk.address, "a cache has pages of the old version");
}

#[apply(secured_stores!)]
async fn shared_pages_have_live_rows_by_any_key(backend: Backend) {
    let tables =
        "CREATE TABLE numbers(id INTEGER PRIMARY KEY, name TEXT, updated_at TEXT, deleted_at TEXT);
        CREATE TABLE words(id TEXT PRIMARY KEY, updated_at TEXT);";
    let world = World::with(backend, tables, |mut config| {
        config.limits.page = 3;
        config.with_table(TableConfig::global("numbers")).with_table(TableConfig::global("words"))
    });
    let long = "l".repeat(3_000);
    world.write(&format!(
        "INSERT INTO numbers(id, name, deleted_at) VALUES(-9, 'x', NULL), (2, 'x', NULL), (7, 'x', '2026-01-01'),
             (10, 'x', NULL), (300, 'x', NULL);
         INSERT INTO words(id) VALUES('a\"'), ('b'), ('b\u{f6} /?%'), ('c'), ('d'), ('{long}'), ('z')"
    ));
    let mut anna = world.device("anna", "a1").await;
    let ordinary = anna.snapshot(3).await;
    let mut walk = Walk::default();
    while !walk.ended {
        if walk.is_shared && fetch(&anna, &walk.address).await.0 == 410 {
            walk.is_shared = false; // The key is too long for an address.
        }
        walk.step(&mut anna).await;
    }
    assert_eq!(walk.names, ordinary);
    assert_eq!(walk.names[..4], ["numbers/-9", "numbers/2", "numbers/10", "numbers/300"]);
    assert_eq!((walk.names.len(), walk.pages.len()), (11, 3));
}

#[apply(secured_stores!)]
async fn pages_end_with_their_log(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a1").await;
    let mut walk = Walk::default();
    walk.step(&mut anna).await;
    walk.step(&mut anna).await;
    for number in 0..3 {
        anna.accept(&format!("m{number}"), json!([place("p1", "x")])).await;
        let gone = json!([crate::world::erase("p1", "x")]);
        anna.accept(&format!("d{number}"), gone).await;
    }
    world.clock.advance(40 * 86_400_000_000);
    world.server.compact().unwrap();
    assert_eq!(fetch(&anna, &walk.address).await.0, 410);
    let page = walk.ask(&mut anna, true).await;
    assert_eq!(page["rejoin"]["restart"], true);
    assert_eq!(whole(&mut anna).await.names.len(), 8, "a new snapshot has a later beginning");
}

/// A cache passes on a page that was read before the database was restored. The device has begun before or after that.
#[apply(secured_stores!)]
async fn page_of_a_lost_state_starts_a_new_epoch(backend: Backend) {
    for begins_later in [false, true] {
        lose_a_state(world(backend), begins_later).await;
    }
}

async fn lose_a_state(mut world: World, begins_later: bool) {
    let anna = world.device("anna", "a1").await;
    let (epoch, backup) = (anna.epoch.clone(), world.backup());
    let mut anna = world.device("anna", "a1").await;
    let mut walk = Walk::default();
    walk.step(&mut anna).await;
    world.write("INSERT INTO countries(code, name) VALUES('AX', 'x')");
    walk.step(&mut anna).await;
    assert_eq!(walk.names[0], "countries/AX");
    world.config = backup;
    world.restart();
    for number in 0..5 {
        world.write(&format!("INSERT INTO countries(code, name) VALUES('B{number}', 'x')"));
    }
    let mut anna = world.device("anna", "a1").await;
    assert_eq!(anna.epoch, epoch, "nothing has shown the loss yet");
    if begins_later {
        let mut second = Walk::default();
        second.step(&mut anna).await;
        assert_eq!(second.address, walk.addresses[0]);
        walk.cursor = second.cursor;
    }
    let page = walk.ask(&mut anna, true).await;
    assert_eq!(page["rejoin"]["restart"], true);
    assert_ne!(page["rejoin"]["epoch"], json!(epoch));
}
