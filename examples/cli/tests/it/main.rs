//! Two devices of one user run the to-do list against a server with the documented setup.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A test: starts processes and opens the server's file.

use std::path::Path;
use std::process::Command;

use rejoin_core::{Client, block_on};
use rejoin_server::{Config, Server};
use tempfile::TempDir;

const TABLE: &str = include_str!("../../tasks.sql");
const BUNDLE: &str = include_str!("../../schema.json");

/// A server with the table and the configuration that `rejoin-server init` writes.
fn server(folder: &TempDir) -> Server {
    let text = rejoin_server::config::TEMPLATE;
    let mut config = Config::from_toml(text, &[]).unwrap();
    config.database = folder.path().join("app.db");
    rusqlite::Connection::open(&config.database).unwrap().execute_batch(TABLE).unwrap();
    Server::open(config).unwrap()
}

/// Runs the command as a device and returns its output.
fn todo(file: &Path, url: &str, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_todo"))
        .args(words)
        .env("TODO_FILE", file)
        .env("TODO_SERVER", url)
        .env("TODO_USER", "ana")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {text}{errors}");
    text
}

/// As a widget or an app extension reads the file of the app.
#[test]
fn read_only_client_follows_another_process() {
    let folder = TempDir::new().unwrap();
    let (file, unreachable) = (folder.path().join("one.db"), "http://127.0.0.1:9");
    todo(&file, unreachable, &["list"]);
    let reader = Client::open_read_only(&file).wait().unwrap();
    let list = "SELECT title, rejoin_row_state('tasks', id) FROM tasks";
    let mut watch = block_on(reader.watch(list, (), &[])).unwrap();
    assert!(block_on(watch.next()).unwrap().unwrap().rows.is_empty());
    todo(&file, unreachable, &["add", "buy", "milk"]);
    let update = block_on(watch.next()).unwrap().unwrap();
    let row = update.rows.row(0).unwrap();
    assert_eq!((row.get::<&str>(0).unwrap(), row.get::<&str>(1).unwrap()), ("buy milk", "pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_share_a_list_and_work_offline() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (folder.path().join("one.db"), folder.path().join("two.db"));
    let unreachable = "http://127.0.0.1:9";
    assert_eq!(
        todo(&one, unreachable, &["add", "buy", "milk"]),
        "offline; the change is queued\n 1 [ ] buy milk  (pending)\n"
    );

    let server = server(&folder);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(listener).await }
    });
    // The commands block, so they run outside of the server's async threads.
    tokio::task::spawn_blocking(move || {
        assert_eq!(todo(&one, &url, &["sync"]), "sent 1, received 1\n 1 [ ] buy milk\n");
        assert!(todo(&two, &url, &["sync"]).ends_with(" 1 [ ] buy milk\n"));
        assert!(todo(&two, &url, &["done", "1"]).ends_with(" 1 [x] buy milk\n"));
        assert!(todo(&one, &url, &["sync"]).ends_with(" 1 [x] buy milk\n"));
        let long = "x".repeat(201);
        let refused = todo(&one, &url, &["add", &long]);
        let why = "not accepted: CHECK constraint failed: length(title) <= 200\n";
        assert!(refused.ends_with(why) && !refused.contains("xx"), "{refused}");
        assert_eq!(todo(&two, &url, &["remove", "1"]).lines().count(), 1);
        assert!(todo(&two, &url, &["list"]).is_empty());
    })
    .await
    .unwrap();
    server.shutdown();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn bundled_schema_equals_the_schema_of_the_server() {
    let folder = TempDir::new().unwrap();
    let headers = [("rejoin-protocol", "1"), ("x-user-id", "ana")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (status, _, body) =
        server(&folder).handle("GET", "/sync/schema", &headers, bytes::Bytes::new()).await;
    assert_eq!(status, 200);
    let served: rejoin_core::Manifest = serde_json::from_slice(&body).unwrap();
    let bundled: rejoin_core::Manifest = serde_json::from_str(BUNDLE).unwrap();
    let text = serde_json::to_string_pretty(&served).unwrap();
    assert_eq!(bundled.tables, served.tables, "the server's schema is: {text}");
    assert_eq!(bundled.schema_hash, served.schema_hash);
}
