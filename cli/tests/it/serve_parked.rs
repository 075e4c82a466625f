//! `inspect --serve` of a file with conflicts and rejections of a real server.
//!
//! `cli/tests/inspection.json` is the recorded inspection that the test of the page's script shows
//! (`react-native/react/test/inspect-page.test.ts`). The test here keeps its form current.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rejoin_core::{Client, Config, Value};
use rejoin_server::Server;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::inspect;
use crate::served::serve;

const TABLE: &str = "CREATE TABLE tasks (
    id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, title TEXT NOT NULL CHECK (title <> 'refused'),
    n INTEGER, updated_at TEXT, deleted_at TEXT)";

/// The file of a device with a conflict, a rejected create, a pending create and a history.
async fn conflict(folder: &TempDir) -> PathBuf {
    let mut config =
        rejoin_server::Config::from_toml(rejoin_server::config::TEMPLATE, &[]).unwrap();
    config.database = folder.path().join("server.db");
    #[allow(clippy::disallowed_methods)] // The server's file is created without the engine.
    let database = rusqlite::Connection::open(&config.database).unwrap();
    database.execute_batch(TABLE).unwrap();
    let server = Server::open(config).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = server.clone();
    #[allow(clippy::disallowed_methods)] // The server of the test.
    let serving = tokio::spawn(async move { serving.serve(listener).await });

    let device = async |name: &str| {
        let file = folder.path().join(name);
        let client = Client::open(Config::new(file).server(&url).user_id("ana")).await.unwrap();
        client.sync().run(None).await.unwrap();
        client
    };
    let (phone, tablet) = (device("phone.db").await, device("tablet.db").await);
    let sync = async |client: &Client| client.sync().run(None).await.map(drop).unwrap();
    let insert = "INSERT INTO tasks (id, title, n) VALUES (?, ?, ?)";
    phone.execute(insert, ("a", "first", 1)).await.unwrap();
    sync(&phone).await;
    sync(&tablet).await;
    phone.stop().await.unwrap();
    tablet.execute("UPDATE tasks SET title = '<script>theirs</script>'", ()).await.unwrap();
    phone.execute("UPDATE tasks SET title = '<b>mine</b>', n = 2", ()).await.unwrap();
    phone.execute(insert, ("b", "refused", Value::Null)).await.unwrap();
    sync(&tablet).await;
    sync(&phone).await;
    phone.stop().await.unwrap();
    phone.execute(insert, ("c", "later", 9_007_199_254_740_993_i64)).await.unwrap();
    tablet.shutdown().await.unwrap();
    phone.shutdown().await.unwrap();
    server.shutdown();
    serving.await.unwrap().unwrap();
    folder.path().join("phone.db")
}

/// The paths of all members; an array is one member. The stored facts are left out.
fn form(json: &Json, path: &str, found: &mut BTreeSet<String>) {
    match json {
        Json::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| *name != "facts") {
                form(member, &format!("{path}/{name}"), found);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| form(item, &format!("{path}/-"), found)),
        _ => drop(found.insert(path.to_owned())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_mutations_are_served_with_both_values() {
    let folder = TempDir::new().unwrap();
    let file = conflict(&folder).await;
    let served = serve(&file);
    let (_, found) = served.json(&served.open());
    let printed: Json = serde_json::from_slice(&inspect(&file, &["--json"]).stdout).unwrap();
    assert_eq!(found, printed);
    let reasons: Vec<_> = (0..3).map(|at| found["queue"][at]["reason"].as_str()).collect();
    assert_eq!(reasons, [Some("conflicted"), Some("rejected"), None]);
    let conflict = &found["queue"][0]["detail"]["rows"][0];
    assert_eq!(conflict["mine"]["title"], "<b>mine</b>");
    assert_eq!(conflict["theirs"]["title"], "<script>theirs</script>");

    let recorded: Json = serde_json::from_str(include_str!("../inspection.json")).unwrap();
    let form = |json: &Json| {
        let mut found = BTreeSet::new();
        form(json, "", &mut found);
        found
    };
    let text = serde_json::to_string_pretty(&found).unwrap();
    assert_eq!(form(&recorded), form(&found), "record cli/tests/inspection.json again: {text}");
}

/// In a real browser, with its content security policy.
#[tokio::test(flavor = "multi_thread")]
async fn chromium_shows_parked_writes_first() {
    let folder = TempDir::new().unwrap();
    let served = serve(&conflict(&folder).await);
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let mut browser = std::process::Command::new("chromium");
    // As root it starts only without its sandbox.
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    // The page asks for its content after it is loaded.
    browser.args(["--no-first-run", "--virtual-time-budget=1000", "--dump-dom", &profile]);
    let shown = browser.arg(format!("http://127.0.0.1:{}{}", served.port, served.path)).output();
    let shown = shown.unwrap();
    let (dom, log) =
        (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    let place = |text: &str| dom.find(text).unwrap_or_else(|| panic!("no {text}: {dom}\n{log}"));
    let places = ["2 parked, 1 waiting", "Parked writes", "&lt;script&gt;theirs", "Pending writes"];
    assert!(places.map(place).is_sorted(), "{dom}");
    assert!(!log.contains("Content Security Policy"), "{log}");
}
