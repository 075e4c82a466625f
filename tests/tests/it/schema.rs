//! Schema: fetched, adopted with pending mutations kept; gained columns filled by the server;
//! responses of another schema abandoned.

use rejoin_core::engine::rebase::decide;
use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::Phase;
use rejoin_protocol::manifest::Rule;
use rejoin_tests::{Backend, Fault, Store};

use crate::places::{compact_past_cursor, one_place};
use crate::{apply, each_store};

const PLACES: &str = "SELECT id, name, note FROM places ORDER BY id";

#[apply(each_store)]
fn gained_column_is_filled_by_the_server(store: Store) {
    let (mut server, mut device) = one_place(store);
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p2', 'B', 'ana')");
    device.sync(&server);
    device.write("UPDATE places SET name = 'pending' WHERE id = 'p1'");
    // No log entry names a row for it: the server's rows have its default.
    server.alter("ALTER TABLE places ADD COLUMN stars INTEGER DEFAULT 2");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (1, 0), "{}", device.waiting());
    assert_eq!(device.see("SELECT id, name, stars FROM places"), "p1|pending|2 p2|B|2");
    assert_eq!(digest::digest(device.engine(), "places").unwrap(), server.digest("ana", "places"));
}

/// No trigger is called for values that the statement rewrites, and the server goes on meanwhile.
#[apply(each_store)]
fn values_rewritten_by_a_schema_change_reach_the_device(store: Store) {
    let (server, mut device) = one_place(store);
    server.outside_by(
        "UPDATE places SET note = 'calm'",
        "CREATE TYPE mood AS ENUM ('calm', 'loud');
         ALTER TABLE places ALTER COLUMN note TYPE mood USING 'calm'",
    );
    device.sync(&server);
    assert_eq!(device.see(PLACES), "p1|A|calm");
    device.write("UPDATE places SET name = 'pending' WHERE id = 'p1'");
    server.outside_by(
        "UPDATE places SET note = 'quiet'",
        "ALTER TYPE mood RENAME VALUE 'calm' TO 'quiet'",
    );
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (1, 0), "{}", device.waiting());
    assert_eq!(device.see(PLACES), "p1|pending|quiet");
    assert_eq!(server.see(PLACES), "p1|pending|quiet");
    server.outside_by(
        "PRAGMA legacy_alter_table = ON;
         CREATE TABLE fresh (id TEXT PRIMARY KEY, name TEXT NOT NULL, note TEXT, score INTEGER, user_id TEXT NOT NULL,
                             created_at TEXT, updated_at TEXT, deleted_at TEXT);
         INSERT INTO fresh SELECT id, name, upper(note), score, user_id, created_at, updated_at, deleted_at FROM places;
         DROP TABLE places;
         ALTER TABLE fresh RENAME TO places",
        "ALTER TABLE places ALTER COLUMN note TYPE text USING upper(note::text)",
    );
    device.sync(&server);
    assert_eq!(device.see(PLACES), "p1|pending|QUIET");
    assert_eq!(digest::digest(device.engine(), "places").unwrap(), server.digest("ana", "places"));
}

/// Regression: rows created before the column was gained took this device's default when they were
/// applied again.
#[apply(each_store)]
fn older_row_takes_no_local_default_in_a_gained_column(store: Store) {
    let (mut server, mut device) = one_place(store);
    device.write("UPDATE places SET note = 'first' WHERE id = 'p1'");
    device.write_together(&[
        "INSERT INTO places (id, name) VALUES ('p2', 'made here')",
        "UPDATE places SET name = 'second' WHERE id = 'p1'",
    ]);
    server.alter("ALTER TABLE places ADD COLUMN stars INTEGER DEFAULT 2");
    device.until(&server, Phase::FetchingSchema).unwrap();
    device.step(&server).unwrap();
    assert_eq!(device.see("SELECT id, stars FROM places"), "p1|- p2|-");
    let first = device.queue()[0].id;
    decide::discard(device.engine(), first).unwrap();
    assert_eq!(device.see("SELECT id, stars FROM places"), "p1|- p2|-", "applied again");
    device.sync(&server);
    assert_eq!(device.see("SELECT id, name, stars FROM places"), "p1|second|2 p2|made here|2");
}

/// Regression: the delete was compared with the value that the server had filled into the column,
/// and parked.
#[apply(each_store)]
fn delete_of_own_row_is_accepted_after_a_gained_column(store: Store) {
    let (mut server, mut device) = one_place(store);
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'made here')");
    server.alter("ALTER TABLE places ADD COLUMN stars INTEGER DEFAULT 2");
    device.until(&server, Phase::FetchingSchema).unwrap();
    device.step(&server).unwrap();
    device.write("DELETE FROM places WHERE id = 'p2'");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (2, 0), "{}", device.waiting());
    assert_eq!(device.see(PLACES), "p1|A|n");
}

/// The delete depends on an edit, so it is compared by values, and the device has none in the new
/// column yet.
#[apply(each_store)]
fn delete_before_a_gained_column_is_filled_is_accepted(store: Store) {
    let (mut server, mut device) = one_place(store);
    server.alter("ALTER TABLE places ADD COLUMN stars INTEGER DEFAULT 2");
    device.until(&server, Phase::FetchingSchema).unwrap();
    device.step(&server).unwrap();
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.write("DELETE FROM places WHERE id = 'p1'");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (2, 0), "{}", device.waiting());
    assert_eq!(device.see(PLACES), "");
}

#[apply(each_store)]
fn changed_rules_are_fetched_at_the_next_register(store: Store) {
    let (mut server, mut device) = one_place(store);
    let too_long = "UPDATE places SET name = 'far too long' WHERE id = 'p1'";
    let rule = Rule::Check { name: "short".to_owned(), expression: "length(name) < 5".to_owned() };
    server.declare("places", rule);
    device.crash().sync(&server);
    assert!(!device.try_write(too_long), "the device has the rule now");
    assert_eq!(device.see(PLACES), "p1|A|n");
    device.crash().sync(&server);
    assert!(
        device.sent.iter().filter(|one| one.phase == Phase::FetchingSchema).count() <= 2,
        "once was enough"
    );
}

#[apply(each_store)]
fn gained_table_arrives_with_its_rows(store: Store) {
    let (mut server, mut device) = one_place(store);
    server.add_table(
        "CREATE TABLE tags (id TEXT PRIMARY KEY, label TEXT, user_id TEXT, updated_at TEXT, deleted_at TEXT);
         INSERT INTO tags (id, label, user_id) VALUES ('t1', 'old', 'ana');",
        "tags",
    );
    device.sync(&server);
    assert_eq!(device.see("SELECT id, label FROM tags"), "t1|old");
    assert_eq!(device.see(PLACES), "p1|A|n");
}

#[apply(each_store)]
fn response_of_another_schema_is_abandoned_whole(store: Store) {
    let (server, mut device) = one_place(store);
    server.outside("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.until(&server, Phase::Pulling).unwrap();
    device
        .step_with(&server, |mut answer| {
            let mut body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            body["schema_hash"] = "of tomorrow".into();
            answer.body = serde_json::to_vec(&body).unwrap().into();
            answer
        })
        .unwrap();
    assert_eq!(device.see(PLACES), "p1|A|n", "nothing of it was applied");
    device.sync(&server);
    assert_eq!(device.see(PLACES), "p1|C|n");
}

/// On an SQLite server a renamed column is another one (ADR 0039): the old one is removed, the
/// new one is added.
#[apply(each_store)]
fn renamed_column_is_gained_and_older_edits_are_pushed(store: Store) {
    let (mut server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'pending' WHERE id = 'p1'");
    server.alter("ALTER TABLE places RENAME COLUMN note TO remark");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (1, 0), "{}", device.waiting());
    let places = "SELECT id, name, remark FROM places";
    assert_eq!(
        (device.see(places), server.see(places)),
        ("p1|pending|n".into(), "p1|pending|n".into())
    );
    assert_eq!(digest::digest(device.engine(), "places").unwrap(), server.digest("ana", "places"));
}

/// Everything else continues: the insert never named the column, and the rename depends on no
/// parked edit.
#[apply(each_store)]
fn edit_of_removed_column_is_parked_whole(store: Store) {
    let (mut server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B', note = 'pending' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'new')");
    device.write("UPDATE places SET score = 4 WHERE id = 'p1'");
    server.alter("ALTER TABLE places DROP COLUMN note");
    device.crash();
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (2, 1), "{}", device.waiting());
    assert_eq!(device.waiting(), "Parked:Rejected/1");
    let seen = "SELECT id, name, score FROM places ORDER BY id";
    let rows = "p1|A|4 p2|new|-";
    assert_eq!((device.see(seen).as_str(), server.see(seen).as_str()), (rows, rows));
    // The app retries the remainder on the current rows.
    let id = device.queue()[0].id;
    decide::edit(device.engine(), id, |_| Ok(())).unwrap();
    device.sync(&server);
    assert_eq!((device.waiting().as_str(), server.see(seen).as_str()), ("", "p1|B|4 p2|new|-"));
}

#[apply(each_store)]
fn edits_of_removed_table_are_parked_or_get_their_verdict(store: Store) {
    let tags = "CREATE TABLE tags (id TEXT PRIMARY KEY, label TEXT, user_id TEXT, updated_at TEXT, deleted_at TEXT);";
    for (sent, arrived) in [(false, false), (true, false), (true, true)] {
        let (mut server, mut device) = one_place(store);
        server.add_table(tags, "tags");
        device.sync(&server);
        device.write_together(&[
            "INSERT INTO tags (id, label) VALUES ('t1', 'first')",
            "UPDATE places SET name = 'B' WHERE id = 'p1'",
        ]);
        if sent {
            let fault = if arrived { Fault::AnswerLost } else { Fault::RequestLost };
            device.lose_push(&server, fault);
        }
        device.write("UPDATE places SET note = 'later' WHERE id = 'p1'");
        server.remove_table("tags");
        device.crash();
        device.sync(&server);
        let (waiting, place) =
            if arrived { ("", "p1|B|later") } else { ("Parked:Refused/1", "p1|A|later") };
        assert_eq!(device.waiting(), waiting, "sent: {sent}, arrived: {arrived}");
        assert_eq!((device.see(PLACES).as_str(), server.see(PLACES).as_str()), (place, place));
    }
}

/// Regression: the snapshot looked up the rows of each edit, even if the server had removed the
/// table, and failed each time.
#[apply(each_store)]
fn snapshot_skips_edits_of_a_removed_table(store: Store) {
    let tags = "CREATE TABLE tags (id TEXT PRIMARY KEY, label TEXT, user_id TEXT, updated_at TEXT, deleted_at TEXT);";
    let (mut server, mut device) = one_place(store);
    server.add_table(tags, "tags");
    device.sync(&server);
    device.write("INSERT INTO tags (id, label) VALUES ('t1', 'first')");
    server.remove_table("tags");
    device.sync(&server);
    compact_past_cursor(&server, "UPDATE places SET note = 'later' WHERE id = 'p1'");
    device.sync(&server);
    assert_eq!(
        (device.see(PLACES).as_str(), device.waiting().as_str()),
        ("p1|A|later", "Parked:Refused/1")
    );
}

/// It was sent, so only a verdict can end it, and verdicts arrive in responses of the new schema.
/// The migration must not wait for it.
#[apply(each_store)]
fn uncertain_edit_of_removed_column_ends_by_its_verdict(store: Store) {
    for arrived in [true, false] {
        let (mut server, mut device) = one_place(store);
        device.write("UPDATE places SET note = 'sent' WHERE id = 'p1'");
        device.write("INSERT INTO places (id, name) VALUES ('p2', 'sent too')");
        device.lose_push(&server, if arrived { Fault::AnswerLost } else { Fault::RequestLost });
        server.alter("ALTER TABLE places DROP COLUMN note");
        device.sync(&server);
        device.write("UPDATE places SET name = 'later' WHERE id = 'p1'");
        device.sync(&server);
        let waiting = if arrived { "" } else { "Parked:Rejected/1" };
        let ids = "p1|later p2|sent too";
        assert_eq!(device.waiting(), waiting, "{:#?}", device.queue());
        assert_eq!(server.see("SELECT id, name FROM places ORDER BY id"), ids);
        assert_eq!(device.see("SELECT id, name FROM places ORDER BY id"), ids);
    }
}

/// Without the column the edit would be half of what the user wrote, so it is not sent.
#[apply(each_store)]
fn edit_with_a_removed_column_is_refused_whole(store: Store) {
    let (mut server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B', note = 'sent' WHERE id = 'p1'");
    device.lose_push(&server, Fault::RequestLost);
    server.alter("ALTER TABLE places DROP COLUMN note");
    device.crash();
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Rejected/1");
    assert_eq!(server.see("SELECT id, name FROM places"), "p1|A");
}

/// A deployment removes a column, and another adds one of the same name: an edit of the first is
/// never written to it.
#[apply(each_store)]
fn edit_of_removed_column_is_not_applied_to_its_namesake(store: Store) {
    let made_again = |server: &mut Backend| {
        server.alter("ALTER TABLE places DROP COLUMN note");
        server.alter("ALTER TABLE places ADD COLUMN note TEXT");
    };
    let (mut server, mut device) = one_place(store);
    device.write("UPDATE places SET note = 'of the first' WHERE id = 'p1'");
    made_again(&mut server);
    device.crash();
    device.sync(&server);
    assert_eq!((device.waiting().as_str(), &*server.see(PLACES)), ("Parked:Rejected/1", "p1|A|-"));
    // It was sent before the change, and arrives under the schema in which it was written.
    let (mut server, mut device) = one_place(store);
    device.write("UPDATE places SET note = 'of the first' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    made_again(&mut server);
    device.sync(&server);
    assert_eq!((device.waiting().as_str(), &*server.see(PLACES)), ("Parked:Rejected/1", "p1|A|-"));
}
