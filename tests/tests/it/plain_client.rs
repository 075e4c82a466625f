//! Plain v0.1.2 clients on the companion server, alone and beside a Rejoin device, with the
//! clients' own defects.

use rejoin_tests::plain_client::Sdk;
use rejoin_tests::{Backend, Device, PlainClient};

/// 2026-01-01T00:00:00Z, where the server's clock begins.
const NOW: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;

const PLACES: &str =
    "SELECT id, name, note, score FROM places WHERE deleted_at IS NULL ORDER BY id";
const VISITS: &str = "SELECT id, place_id, day FROM visits WHERE deleted_at IS NULL ORDER BY id";

/// A client of Ana's whose clock is the server's.
fn client(sdk: Sdk, name: &str, page: i64) -> PlainClient {
    let mut client = PlainClient::new(sdk, "ana", name, page);
    client.set_clock(NOW);
    client
}

/// A server, and a client of Ana's that has synced with it.
fn started(sdk: Sdk) -> (Backend, PlainClient) {
    let (server, mut app) = (Backend::new(), client(sdk, "s", 100));
    app.cycle(&server).unwrap();
    (server, app)
}

/// Advances all clocks.
fn later(server: &Backend, seconds: i64, clients: &mut [&mut PlainClient], at: &mut i64) {
    *at += seconds * SECOND;
    server.clock.advance(seconds * SECOND);
    for client in clients {
        client.set_clock(*at);
    }
}

#[test]
fn two_sdks_and_a_rejoin_device_share_rows() {
    let server = Backend::new();
    let (mut swift, mut kotlin) = (client(Sdk::Swift, "s", 2), client(Sdk::Kotlin, "k", 3));
    let mut ours = Device::new("ana", 1);
    let mut at = NOW;
    swift.cycle(&server).unwrap();
    swift.write(
        "INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x'), ('p2', 'Pier', 'x')",
    );
    swift.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p1', 'monday')");
    swift.cycle(&server).unwrap();
    kotlin.cycle(&server).unwrap();
    ours.sync(&server);
    assert_eq!(kotlin.see(PLACES), "p1|Quay|-|- p2|Pier|-|-");
    later(&server, 60, &mut [&mut swift, &mut kotlin], &mut at);
    ours.write("UPDATE places SET note = 'wet' WHERE id = 'p1'");
    ours.sync(&server);
    kotlin.write("DELETE FROM visits WHERE id = 'v1'");
    kotlin.write("UPDATE places SET score = 3 WHERE id = 'p2'");
    kotlin.cycle(&server).unwrap();
    swift.cycle(&server).unwrap();
    ours.sync(&server);
    server.outside("UPDATE places SET name = 'Old pier' WHERE id = 'p2'");
    for _ in 0..2 {
        swift.cycle(&server).unwrap();
        kotlin.cycle(&server).unwrap();
        ours.sync(&server);
    }
    let places = "p1|Quay|wet|- p2|Old pier|-|3";
    assert_eq!(server.see(PLACES), places);
    assert_eq!((swift.see(PLACES), kotlin.see(PLACES)), (places.to_owned(), places.to_owned()));
    let live = |sql: &str| sql.replace(" WHERE deleted_at IS NULL", "");
    assert_eq!(ours.see(&live(PLACES)), places);
    assert_eq!((swift.see(VISITS), kotlin.see(VISITS)), (String::new(), String::new()));
    assert_eq!(ours.see(&live(VISITS)), "");
    for app in [swift, kotlin] {
        assert_eq!(app.strangers, Vec::<String>::new());
    }
}

#[test]
fn device_behind_the_watermark_rebuilds_and_pushes_first() {
    let server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 2);
    let mut ours = Device::new("ana", 1);
    app.cycle(&server).unwrap();
    ours.sync(&server);
    let mut at = NOW;
    for number in 0..5 {
        ours.write(&format!("INSERT INTO places (id, name) VALUES ('o{number}', 'theirs')"));
        later(&server, 40 * 86_400, &mut [&mut app], &mut at);
        ours.sync(&server);
        ours.sync(&server);
    }
    server.compact();
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'kept', 'x')");
    app.cycle(&server).unwrap();
    assert_eq!(app.see("SELECT count(*) FROM places"), "6");
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'p1'"), "kept");
    assert_eq!(app.strangers, Vec::<String>::new());
}

#[test]
fn added_column_does_not_stop_an_old_sdk() {
    let (mut server, mut app) = started(Sdk::Swift);
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x')");
    app.cycle(&server).unwrap();
    server.alter("ALTER TABLE places ADD COLUMN colour TEXT DEFAULT 'grey'");
    app.write("UPDATE places SET name = 'Dock' WHERE id = 'p1'");
    server.outside(
        "INSERT INTO places (id, name, user_id, colour) VALUES ('p2', 'Pier', 'ana', 'red')",
    );
    app.cycle(&server).unwrap();
    assert_eq!(app.see("SELECT id, name FROM places ORDER BY id"), "p1|Dock p2|Pier");
    assert_eq!(
        server.see("SELECT id, name, colour FROM places ORDER BY id"),
        "p1|Dock|grey p2|Pier|red"
    );
    app.stop();
    app.cycle(&server).unwrap();
    assert_eq!(app.strangers, Vec::<String>::new());
}
