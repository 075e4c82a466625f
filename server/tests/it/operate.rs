//! Operator functions: compaction, device list, served schemas.

use std::time::Duration;

use macro_rules_attribute::apply;
use rejoin_server::{Clock, Config, Retention};
use serde_json::{Value, json};

use crate::world::{Backend, Device, TABLES, World, place, standard};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn keeping(batch: u32) -> impl Fn(Config) -> Config {
    move |config| standard(config).with_retention(Retention { batch, ..Retention::default() })
}

/// Pulls to the end, and once more later, so that the server records the position.
async fn read_all(device: &mut Device<'_>) {
    device.pull().await;
    device.world.clock.advance(2 * MINUTE);
    device.pull().await;
}

async fn write_some(device: &mut Device<'_>, prefix: &str, count: usize) {
    for number in 0..count {
        let id = format!("{prefix}{number}");
        device.accept(&format!("m-{id}"), json!([place(&id, "x")])).await;
    }
}

/// A device exactly where a compaction ended, and a row written after it.
async fn at_the_boundary(world: &World) -> Device<'_> {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    write_some(&mut anna, "p", 10).await;
    read_all(&mut anna).await;
    let head: i64 = anna.pull_page(10).await.checkpoint;
    let done = world.server.compact().unwrap();
    assert_eq!(done.watermark, head, "the device is at the boundary");
    assert!(done.entries >= 9, "{done:?}");
    anna.accept("last", json!([place("p99", "x")])).await;
    anna
}

#[apply(stores!)]
async fn device_at_the_compaction_boundary_keeps_reading(world: World) {
    let page = at_the_boundary(&world).await.pull_page(10).await;
    assert_eq!(page.snapshot_reason, None);
    assert_eq!(crate::world::named(&page), ["places/p99"]);
}

#[apply(stores!)]
async fn compaction_runs_in_batches(backend: Backend) {
    let world = World::with(backend, TABLES, keeping(3));
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    write_some(&mut anna, "p", 10).await;
    read_all(&mut anna).await;
    let entries = "SELECT count(*) FROM rejoin_changelog";
    let before: usize = world.one(entries).parse().unwrap();
    let done = world.server.compact().unwrap();
    assert_eq!((done.entries, world.one(entries).as_str()), (before - 1, "1"));
    // Batches of three, and one check each for verdicts, times and staged parts.
    assert_eq!(done.batches, (before - 1) / 3 + 1 + 3, "{done:?}");
    assert!(!done.elsewhere);
    let again = world.server.compact().unwrap();
    assert_eq!((again.entries, again.batches, again.watermark), (0, 4, done.watermark));
    let mut new = world.device("anna", "a2").await;
    assert_eq!(new.snapshot(3).await.len(), 10, "the rows are all there");
}

/// The paused server timer jumps ahead when the server is idle: an hour passes at once.
#[tokio::test(start_paused = true)]
async fn serve_compacts_at_its_start_and_every_hour() {
    let world = World::new(Backend::Sqlite);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    write_some(&mut anna, "p", 10).await;
    read_all(&mut anna).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = world.server.serve(listener);
    let steps = async {
        let at_start = until_compacted(&world).await;
        assert!(at_start < Duration::from_mins(30), "{at_start:?}");
        write_some(&mut anna, "q", 10).await;
        read_all(&mut anna).await;
        let later = until_compacted(&world).await;
        assert!(later > Duration::from_mins(30), "{later:?}");
    };
    tokio::select! {
        () = steps => (),
        ended = serving => panic!("{ended:?}"),
    }
}

/// Waits until the log has only its last entry; returns the time by the server's timer.
async fn until_compacted(world: &World) -> Duration {
    let begun = tokio::time::Instant::now();
    while world.one("SELECT count(*) FROM rejoin_changelog") != "1" {
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(begun.elapsed() < Duration::from_hours(2), "the log keeps its entries");
    }
    begun.elapsed()
}

#[apply(stores!)]
async fn inactive_device_does_not_hold_back_compaction(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        let retention = Retention { log_days: 7, ..Retention::default() };
        standard(config).with_retention(retention)
    });
    let mut quiet = world.device("anna", "quiet").await;
    quiet.snapshot(10).await;
    read_all(&mut quiet).await;
    let _registered_only = world.device("anna", "never pulled").await;
    let mut busy = world.device("anna", "busy").await;
    busy.snapshot(10).await;
    write_some(&mut busy, "p", 5).await;
    // The inactive device was seen at exactly the limit, and counts.
    world.clock.advance(7 * DAY - 2 * MINUTE);
    busy.pull().await;
    world.clock.advance(2 * MINUTE);
    busy.pull().await;
    assert_eq!(world.server.compact().unwrap().entries, 0);
    world.clock.advance(1);
    let done = world.server.compact().unwrap();
    assert!(done.entries >= 5, "{done:?}");
    let silent = |id: &str| {
        let clients = world.server.clients(None, 10).unwrap();
        clients.iter().find(|client| client.client_id == id).unwrap().is_silent
    };
    assert!(silent("quiet") && !silent("busy"));
    let page = quiet.pull_page(10).await;
    assert_eq!(page.snapshot_reason.as_deref(), Some("checkpoint_before_retention"));
    assert_eq!(quiet.snapshot(10).await.len(), 5);
}

#[apply(stores!)]
async fn devices_are_listed_with_their_lag(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    write_some(&mut anna, "p", 3).await;
    read_all(&mut anna).await;
    write_some(&mut anna, "q", 2).await;
    world.device("anna", "a2").await;
    world.device("Anna", "a1").await;
    let mut listed = Vec::new();
    let mut after: Option<(String, String)> = None;
    loop {
        let page = world.server.clients(after.as_ref().map(|(u, c)| (u.as_str(), c.as_str())), 1);
        let page = page.unwrap();
        let Some(client) = page.into_iter().next() else { break };
        after = Some((client.user.clone(), client.client_id.clone()));
        listed.push(client);
    }
    let names: Vec<(&str, &str)> =
        listed.iter().map(|client| (client.user.as_str(), client.client_id.as_str())).collect();
    assert_eq!(names, [("Anna", "a1"), ("anna", "a1"), ("anna", "a2")]);
    let [stranger, reader, second] = &listed[..] else { panic!() };
    assert_eq!((stranger.position, stranger.behind, stranger.needs_snapshot), (None, None, true));
    assert_eq!(second.last_pull_at, None);
    assert_eq!(reader.behind, Some(2));
    assert!(!reader.needs_snapshot && !reader.is_silent);
    assert!(reader.last_pull_at.is_some() && reader.last_push_at.is_some());
    assert_eq!(reader.seen_at, *reader.last_push_at.as_ref().unwrap());
    assert!(reader.created_at < reader.seen_at);
}

#[apply(stores!)]
async fn served_schemas_are_kept_and_listed(world: World) {
    let anna = world.device("anna", "a1").await;
    let first = world.server.manifests(10).unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].version, &first[0].hash), (anna.version, &anna.hash));
    world.write("ALTER TABLE countries ADD COLUMN anthem TEXT");
    let later = world.device("anna", "a1").await;
    let both = world.server.manifests(10).unwrap();
    let versions: Vec<i64> = both.iter().map(|version| version.version).collect();
    assert_eq!(versions, [later.version, anna.version]);
    assert!(both.iter().all(|version| version.created_at.ends_with('Z')));
    assert_eq!(world.server.manifests(1).unwrap(), both[..1]);
    let of = |version: Option<i64>| -> Value {
        serde_json::from_str(&world.server.manifest(version).unwrap().unwrap()).unwrap()
    };
    let (old, new) = (of(Some(anna.version)).to_string(), of(None).to_string());
    assert!(!old.contains("anthem") && new.contains("anthem"));
    assert_eq!(of(Some(later.version)), of(None));
    let printed = [Some(anna.version), None].map(|version| of(version)["schema_version"].clone());
    assert_eq!(printed, [anna.version, later.version]);
    assert_eq!(world.server.manifest(Some(99)).unwrap(), None);
}

/// The injected clock dates a schema, wherever it is detected first: in another year than the
/// system clock.
#[apply(stores!)]
async fn schema_is_dated_by_the_servers_clock(world: World) {
    let year = 365 * 24 * 60 * MINUTE;
    world.clock.advance(-20 * year);
    let mut dates = vec![rejoin_protocol::time::format(crate::world::MORNING)];
    let mut device = world.device("anna", "a1").await;
    for (column, reads) in [("anthem", true), ("flag", false)] {
        world.clock.advance(year);
        world.write(&format!("ALTER TABLE countries ADD COLUMN {column} TEXT"));
        if reads {
            assert_eq!(world.server.manifests(10).unwrap().len(), 2);
        } else {
            world.server.grant("anna", "b").unwrap();
        }
        device.register().await;
        dates.push(rejoin_protocol::time::format(world.clock.now()));
        let versions = world.server.manifests(10).unwrap();
        let seen: Vec<&str> = versions.iter().rev().map(|of| of.created_at.as_str()).collect();
        assert_eq!(seen, dates, "first seen by {}", if reads { "a read" } else { "a write" });
    }
}

/// A lost page is read again: the log is kept from the position the device asked from, not from the
/// page's end.
#[apply(stores!)]
async fn lost_page_is_read_again_after_a_compaction(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let mut other = world.device("anna", "a2").await;
    other.snapshot(10).await;
    write_some(&mut other, "p", 6).await;
    read_all(&mut other).await;
    world.clock.advance(2 * MINUTE);
    let before = anna.cursor.clone();
    assert!(anna.pull_page(3).await.has_more);
    anna.cursor.clone_from(&before);
    world.server.compact().unwrap();
    let page = anna.pull_page(3).await;
    assert_eq!(page.snapshot_reason, None);
    assert_eq!(crate::world::named(&page).len(), 3);
    world.clock.advance(2 * MINUTE);
    assert_eq!(anna.pull().await.len(), 3, "the other half");
}

#[test]
fn command_ends_quietly_when_its_reader_has_gone() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_rejoin-server"))
        .args(["migrations", "--print"])
        .stdout(writer)
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && said.is_empty(), "{said}");
}
