//! Shared pages that are stored in a folder for all servers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use macro_rules_attribute::apply;
use rejoin_server::{Server, TableConfig};

use crate::world::MORNING;

use super::{Backend, COUNTRIES, TABLES, Walk, World, fetch, standard};

const ENCODINGS: [&str; 4] = ["zstd", "gzip", "zstd;q=0, gzip", "identity"];

/// [`super::world`] with a page store.
fn world(backend: Backend, folder: &str) -> World {
    let configured = |mut config: rejoin_server::Config| {
        config.limits.page = 3;
        config.page_store = Some(folder.to_owned());
        standard(config)
    };
    let world = World::with(backend, TABLES, configured);
    world.write(COUNTRIES);
    world
}

fn folder() -> (tempfile::TempDir, String) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("pages/of/rejoin").to_str().unwrap().to_owned();
    (temporary, folder)
}

fn objects(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

/// Waits until so many pages are stored, and gives them the server's time.
async fn stored(folder: &str, count: usize) {
    // A page that is being written has a name with `#`.
    let is_whole = |path: &PathBuf| !path.to_str().unwrap().contains('#');
    while objects(folder).iter().filter(|path| is_whole(path)).count() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for path in objects(folder) {
        age(&path, 0);
    }
}

fn age(object: &Path, hours: u64) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(MORNING.unsigned_abs());
    let object = File::options().append(true).open(object).unwrap();
    object.set_modified(now - Duration::from_hours(hours)).unwrap();
}

/// The address of the first page.
async fn address(world: &World) -> String {
    let mut anna = world.device("anna", "a1").await;
    let mut walk = Walk::default();
    walk.step(&mut anna).await;
    walk.address
}

async fn get(
    server: &Server,
    address: &str,
    encoding: &str,
) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let named = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1"), ("Accept-Encoding", encoding)];
    let named: Vec<_> = named.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (status, mut headers, body) =
        server.handle("GET", &format!("/sync/pages/{address}"), &named, "").await;
    headers.sort();
    (status, headers, body.to_vec())
}

fn unpacked((_, headers, body): &(u16, Vec<(String, String)>, Vec<u8>)) -> String {
    let encoding = headers.iter().find(|(name, _)| name == "content-encoding");
    let body = match encoding.map(|(_, value)| value.as_str()) {
        Some("zstd") => zstd::decode_all(&**body).unwrap(),
        Some("gzip") => {
            let mut text = Vec::new();
            std::io::copy(&mut flate2::read::GzDecoder::new(&**body), &mut text).unwrap();
            text
        }
        _ => body.clone(),
    };
    String::from_utf8(body).unwrap()
}

#[apply(secured_stores!)]
async fn stored_page_is_served_by_every_server(backend: Backend) {
    let (_temporary, folder) = folder();
    let mut world = world(backend, &folder);
    let address = address(&world).await;
    let mut read = Vec::new();
    for encoding in ENCODINGS {
        world.restart();
        for path in objects(&folder) {
            fs::remove_file(path).unwrap();
        }
        read.push(get(&world.server, &address, encoding).await);
        stored(&folder, 1).await;
    }
    world.write("UPDATE countries SET name = 'later'");
    world.restart();
    for (encoding, first) in ENCODINGS.into_iter().zip(read) {
        let second = get(&world.server, &address, encoding).await;
        assert_eq!((first.0, second.0), (200, 200));
        let names = |headers: &[(String, String)]| {
            let varies = ["content-length", "cache-control"];
            let is_same = |(name, _): &&(String, String)| !varies.contains(&name.as_str());
            headers.iter().filter(is_same).cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&second.1), names(&first.1), "{encoding}");
        assert_eq!(unpacked(&second), unpacked(&first), "{encoding}");
        assert!(!unpacked(&second).contains("later"), "it is the stored page");
    }
    assert_eq!(get(&world.server, &address, "zstd").await.0, 200);
    let path = format!("/sync/pages/{address}");
    let (status, _, _) = world.send("GET", &path, &[("Rejoin-Protocol", "1")], "").await;
    assert_eq!(status, 401, "the server asks for credentials");
}

#[apply(secured_stores!)]
async fn first_sync_from_stored_pages_has_every_row(backend: Backend) {
    let (_temporary, folder) = folder();
    let world = world(backend, &folder);
    let mut first = world.device("anna", "a1").await;
    let mut walk = Walk::default();
    walk.finish(&mut first).await;
    stored(&folder, walk.addresses.len()).await;
    world.write("INSERT INTO countries(code, name) VALUES('PL', 'x')");
    let mut second = world.device("ben", "b1").await;
    let mut again = Walk::default();
    again.finish(&mut second).await;
    assert_eq!(again.pages, walk.pages);
    let names = |pulled: &str| pulled.contains("PL");
    assert!(names(&format!("{:?}", second.pull().await)), "the pull has what is newer");
}

#[apply(secured_stores!)]
async fn stored_page_is_read_again_after_a_day(backend: Backend) {
    let (_temporary, folder) = folder();
    let world = world(backend, &folder);
    let address = address(&world).await;
    get(&world.server, &address, "zstd").await;
    stored(&folder, 1).await;
    world.write("UPDATE countries SET name = 'later'");
    for (hours, is_later) in [(23, false), (25, true)] {
        age(&objects(&folder)[0], hours);
        let page = get(&world.server, &address, "zstd").await;
        assert_eq!(unpacked(&page).contains("later"), is_later, "{hours}");
        let cached = page.1.iter().find(|(name, _)| name == "cache-control").unwrap();
        let seconds = if is_later { 86_400 } else { 3_600 };
        assert_eq!(cached.1, format!("public, max-age={seconds}, immutable"));
    }
}

#[apply(secured_stores!)]
async fn broken_page_store_costs_no_page(backend: Backend) {
    let (_temporary, folder) = folder();
    let world = world(backend, &folder);
    let address = address(&world).await;
    let first = get(&world.server, &address, "zstd").await;
    stored(&folder, 1).await;
    let object = objects(&folder).remove(0);
    let whole = fs::read(&object).unwrap();
    for garbage in [&b""[..], b"without an end", b"{}\nnot compressed", &whole[1..]] {
        for encoding in ENCODINGS {
            fs::write(&object, garbage).unwrap();
            age(&object, 0);
            let page = get(&world.server, &address, encoding).await;
            assert_eq!((page.0, unpacked(&page)), (200, unpacked(&first)));
            while fs::read(&object).unwrap() != whole {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[apply(secured_stores!)]
async fn missing_page_store_costs_no_page(backend: Backend) {
    let (_temporary, folder) = folder();
    let world = world(backend, &folder);
    let address = address(&world).await;
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "no folder").unwrap();
    assert_eq!(get(&world.server, &address, "zstd").await.0, 200);
}

#[apply(stores!)]
async fn only_pages_are_stored(backend: Backend) {
    let (_temporary, folder) = folder();
    let world = world(backend, &folder);
    let mut anna = world.device("anna", "a1").await;
    for path in ["x", "../../app.db", "a.b"] {
        assert_eq!(fetch(&anna, &path.replace('/', "%2F")).await.0, 410);
    }
    let mut walk = Walk::default();
    walk.finish(&mut anna).await;
    stored(&folder, walk.addresses.len()).await;
    assert_eq!(objects(&folder).len(), walk.addresses.len());
}

#[test]
fn page_store_must_be_a_folder_or_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("app.db");
    let table = "CREATE TABLE tasks(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT)";
    rusqlite::Connection::open(&database).unwrap().execute_batch(table).unwrap();
    let file = database.join("pages").to_str().unwrap().to_owned();
    for place in ["", "s3://", "s3:///pages", "gs://bucket", &file] {
        let mut config = rejoin_server::Config::new(&database);
        config.tables.push(TableConfig::owned("tasks", "owner_id"));
        config.page_store = Some(place.to_owned());
        let error = Server::open(config).unwrap_err().to_string();
        assert!(error.contains("\n  page_store: "), "{place}: {error}");
    }
}
