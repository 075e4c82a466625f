//! Stories of plain v0.1.2 clients on our server, alone and beside a Rejoin device; their own defects included.

use rejoin_tests::plain_client::{PlainError, Sdk};
use rejoin_tests::{Backend, Device, Fault, PlainClient};

/// 2026-01-01T00:00:00Z, where the server's clock begins.
const NOW: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;

const PLACES: &str =
    "SELECT id, name, note, score FROM places WHERE deleted_at IS NULL ORDER BY id";
const VISITS: &str = "SELECT id, place_id, day FROM visits WHERE deleted_at IS NULL ORDER BY id";

/// A client of ana's whose clock is the server's.
fn client(sdk: Sdk, name: &str, page: i64) -> PlainClient {
    let mut client = PlainClient::new(sdk, "ana", name, page);
    client.set_clock(NOW);
    client
}

/// Time passes for everybody.
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
fn a_child_that_is_sent_before_its_parent_arrives_with_it() {
    let server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 100);
    app.cycle(&server).unwrap();
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x')");
    app.set_clock(NOW + SECOND);
    app.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p1', 'monday')");
    app.set_clock(NOW + 2 * SECOND);
    // The edit moves the parent behind its child in the SDK's queue.
    app.write("UPDATE places SET note = 'wet' WHERE id = 'p1'");
    app.cycle(&server).unwrap();
    assert_eq!((server.see(VISITS), app.waiting()), ("v1|p1|monday".to_owned(), 0));
}

#[test]
fn a_child_that_is_pushed_before_its_parents_page_waits_in_the_sdks_queue() {
    let server = Backend::new();
    let mut app = client(Sdk::Kotlin, "k", 100);
    app.batch = 1;
    app.cycle(&server).unwrap();
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x')");
    app.write("INSERT INTO visits (id, place_id) VALUES ('v1', 'p1')");
    app.set_clock(NOW + SECOND);
    app.write("UPDATE places SET note = 'wet' WHERE id = 'p1'");
    assert_eq!(app.cycle(&server), Err(PlainError::Retryable(None)));
    assert_eq!((app.waiting(), app.dropped.len()), (2, 0));
    // The next edit of the child lets the parent go first.
    app.set_clock(NOW + 2 * SECOND);
    app.write("UPDATE visits SET day = 'monday' WHERE id = 'v1'");
    app.cycle(&server).unwrap();
    assert_eq!((server.see(VISITS), app.waiting()), ("v1|p1|monday".to_owned(), 0));
}

/// An SDK does not pull while a record may be sent again.
#[test]
fn an_orphan_does_not_hold_its_device_up_for_ever() {
    let server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 100);
    app.cycle(&server).unwrap();
    app.write("INSERT INTO visits (id, place_id) VALUES ('v1', 'nowhere')");
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x')");
    assert_eq!(app.cycle(&server), Err(PlainError::Retryable(None)));
    assert_eq!(server.see(PLACES), "p1|Quay|-|-", "the others are not held up at all");
    assert_eq!(app.cycle(&server), Err(PlainError::Retryable(None)));
    let mut at = NOW;
    later(&server, 601, &mut [&mut app], &mut at);
    app.cycle(&server).unwrap();
    assert_eq!(app.dropped[0]["reason_code"], "create_failed");
}

#[test]
fn a_bad_record_harms_no_other() {
    let server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 100);
    app.cycle(&server).unwrap();
    app.write(
        "INSERT INTO places (id, name, score, user_id) VALUES ('p1', 'a', 1, 'x'), ('p2', 'b', 9, 'x'), ('p3', 'c', 2, 'x')",
    );
    app.cycle(&server).unwrap();
    assert_eq!(server.see("SELECT id FROM places ORDER BY id"), "p1 p3");
    assert_eq!((app.waiting(), app.dropped.len()), (0, 1));
    assert_eq!(app.dropped[0]["reason_code"], "create_failed");
}

#[test]
fn an_answer_that_was_lost_is_a_conflict_that_changes_nothing() {
    let server = Backend::new();
    let mut app = client(Sdk::Kotlin, "k", 100);
    app.cycle(&server).unwrap();
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x')");
    app.begin_cycle();
    assert_eq!(app.step(&server, Some(Fault::AnswerLost)), Some(Err(PlainError::Retryable(None))));
    app.cycle(&server).unwrap();
    assert_eq!(app.conflicts.len(), 1);
    assert_eq!(
        (app.see(PLACES), server.see(PLACES)),
        ("p1|Quay|-|-".to_owned(), "p1|Quay|-|-".to_owned())
    );
}

/// v0.1.2 answers 400 to it, for ever.
#[test]
fn a_base_in_sqlites_own_form_is_read() {
    let server = Backend::new();
    let mut app = client(Sdk::Kotlin, "k", 100);
    app.cycle(&server).unwrap();
    app.write(
        "INSERT INTO places (id, name, user_id, updated_at) VALUES ('p1', 'Quay', 'x', '2026-01-01 00:00:00');
         UPDATE places SET note = 'wet' WHERE id = 'p1';
         INSERT INTO places (id, name, user_id, updated_at) VALUES ('p2', 'Pier', 'x', '');
         UPDATE places SET note = 'dry' WHERE id = 'p2'",
    );
    app.cycle(&server).unwrap();
    assert_eq!(server.see(PLACES), "p1|Quay|wet|- p2|Pier|dry|-");
}

#[test]
fn a_device_that_is_behind_the_log_rebuilds_and_pushes_first() {
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
fn a_restored_server_is_seen_by_its_position_and_costs_a_rebuild() {
    let mut server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 100);
    app.cycle(&server).unwrap();
    let backup = server.backup();
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'after the backup', 'x')");
    app.cycle(&server).unwrap();
    app.cycle(&server).unwrap();
    server.restore(&backup);
    app.cycle(&server).unwrap();
    assert_eq!(app.see(PLACES), server.see(PLACES));
    assert_eq!(app.see(PLACES), "");
}

#[test]
fn a_column_that_came_does_not_stop_an_sdk_that_does_not_know_it() {
    let mut server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 100);
    app.cycle(&server).unwrap();
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

#[test]
fn a_schema_that_took_something_away_stops_the_sdk_until_the_app_starts_it_again() {
    let mut server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 100);
    app.cycle(&server).unwrap();
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x')");
    app.cycle(&server).unwrap();
    server.alter("ALTER TABLE places DROP COLUMN note");
    assert_eq!(app.cycle(&server), Err(PlainError::SchemaMismatch));
    assert_eq!(
        app.cycle(&server),
        Err(PlainError::SchemaMismatch),
        "it does not look again by itself"
    );
    app.stop();
    app.cycle(&server).unwrap();
    assert_eq!(app.see("SELECT id, name FROM places"), "p1|Quay");
    assert_eq!(app.strangers, Vec::<String>::new());
}

#[test]
fn an_old_app_is_refused_and_keeps_its_queue() {
    let mut server = Backend::new();
    let mut app = client(Sdk::Swift, "s", 100);
    app.cycle(&server).unwrap();
    server.require("2.0.0");
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'Quay', 'x')");
    assert_eq!(app.cycle(&server), Err(PlainError::UpgradeRequired));
    assert_eq!((app.waiting(), server.see(PLACES)), (1, String::new()));
    app.app_version = "2.0.0".to_owned();
    app.cycle(&server).unwrap();
    assert_eq!(server.see(PLACES), "p1|Quay|-|-");
    assert_eq!(app.strangers, Vec::<String>::new());
}

/// The SDK's own defect: what the server has is not what the app wrote, and nothing is lost on the server.
#[test]
fn an_edit_during_a_push_stays_on_its_device_until_the_next_one() {
    let server = Backend::new();
    let mut app = client(Sdk::Kotlin, "k", 100);
    app.cycle(&server).unwrap();
    app.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'first', 'x')");
    app.begin_cycle();
    app.write("UPDATE places SET name = 'second' WHERE id = 'p1'");
    while let Some(done) = app.step(&server, None) {
        done.unwrap();
    }
    assert_eq!((app.waiting(), server.see("SELECT name FROM places")), (0, "first".to_owned()));
    app.set_clock(NOW + SECOND);
    app.write("UPDATE places SET note = 'more' WHERE id = 'p1'");
    app.cycle(&server).unwrap();
    assert_eq!(server.see("SELECT name, note FROM places"), "second|more");
}

#[test]
fn strangers_rows_are_neither_seen_nor_written() {
    let server = Backend::new();
    let mut ana = client(Sdk::Swift, "a", 100);
    let mut ben = PlainClient::new(Sdk::Swift, "ben", "b", 100);
    ben.set_clock(NOW);
    ana.cycle(&server).unwrap();
    ben.cycle(&server).unwrap();
    ana.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'ana', 'ben')");
    ana.cycle(&server).unwrap();
    ben.cycle(&server).unwrap();
    assert_eq!(ben.see(PLACES), "");
    ben.write("INSERT INTO places (id, name, user_id) VALUES ('p1', 'ben', 'ben')");
    ben.write("INSERT INTO visits (id, place_id) VALUES ('v1', 'p1')");
    assert_eq!(ben.cycle(&server), Err(PlainError::Retryable(None)));
    assert_eq!(server.see("SELECT name, user_id FROM places"), "ana|ana");
    assert_eq!(server.see(VISITS), "");
    assert_eq!(ben.dropped[0]["reason_code"], "record_not_found");
}
