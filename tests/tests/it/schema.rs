//! Schema: fetched, adopted with pending work kept, gained columns filled by the server (S1, S3), answers of another
//! schema abandoned (S4).

use rejoin_core::mutant::Mutant;
use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device};

use crate::caught;

const PLACES: &str = "SELECT id, name, note FROM places ORDER BY id";

fn one_place() -> (Backend, Device) {
    let server = Backend::new();
    server.outside("INSERT INTO places (id, name, note, user_id) VALUES ('p1', 'A', 'n', 'ana')");
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    (server, device)
}

#[test]
fn a_bundled_schema_lets_the_app_start_offline() {
    let server = Backend::new();
    let mut device = Device::bundled("ana", 1, server.manifest());
    device.write("INSERT INTO places (id, name) VALUES ('p1', 'offline')");
    device.sync(&server);
    assert_eq!(server.see("SELECT id, name, user_id FROM places"), "p1|offline|ana");
    assert!(device.sent.iter().all(|one| one.phase != Phase::FetchingSchema), "it was known");
}

#[test]
fn a_column_that_is_gained_is_filled_by_the_server_not_by_a_default() {
    caught(Mutant::LocalBackfill, || {
        let (mut server, mut device) = one_place();
        server.outside("INSERT INTO places (id, name, user_id) VALUES ('p2', 'B', 'ana')");
        device.sync(&server);
        device.write("UPDATE places SET name = 'pending' WHERE id = 'p1'");
        // No entry of the log names a row for it: the server's rows have it by its default.
        server.alter("ALTER TABLE places ADD COLUMN stars INTEGER DEFAULT 2");
        let report = device.sync(&server);
        assert_eq!((report.accepted, report.parked), (1, 0), "{}", device.waiting());
        assert_eq!(device.see("SELECT id, name, stars FROM places"), "p1|pending|2 p2|B|2");
        assert_eq!(device.engine().digest("places").unwrap(), server.digest("ana", "places"));
    });
}

#[test]
fn a_table_that_is_gained_comes_with_its_rows() {
    let (mut server, mut device) = one_place();
    server.add_table(
        "CREATE TABLE tags (id TEXT PRIMARY KEY, label TEXT, user_id TEXT, updated_at TEXT, deleted_at TEXT);
         INSERT INTO tags (id, label, user_id) VALUES ('t1', 'old', 'ana');",
        "tags",
    );
    device.sync(&server);
    assert_eq!(device.see("SELECT id, label FROM tags"), "t1|old");
    assert_eq!(device.see(PLACES), "p1|A|n");
}

#[test]
fn a_push_under_an_old_schema_is_sent_again_after_the_migration() {
    let (mut server, mut device) = one_place();
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    server.alter("ALTER TABLE places ADD COLUMN stars INTEGER");
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "Uncertain/1");
    device.sync(&server);
    assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|B|n".to_owned()));
    assert_eq!(device.see("SELECT id, name, stars FROM places"), "p1|B|-");
}

#[test]
fn an_answer_of_another_schema_is_abandoned_whole() {
    caught(Mutant::OtherSchemaApplied, || {
        let (server, mut device) = one_place();
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
    });
}

#[test]
fn an_effect_older_than_a_rename_finds_its_column() {
    let (server, mut device) = one_place();
    device.write("UPDATE places SET note = 'pending' WHERE id = 'p1'");
    let written = device.queue()[0].effect.clone();
    device.sync(&server);
    assert_eq!(written.rows[0].columns.len(), 1);
    assert_eq!(server.see(PLACES), "p1|A|pending");
}
