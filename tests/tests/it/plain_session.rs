//! A session with a plain server: register, schema, refusals, and a server that gains or loses our
//! extensions.

use rejoin_core::sync::session::Phase;
use rejoin_core::{Error, SyncFault};
use rejoin_plain::{Config, Outage};
use rejoin_tests::{Backend, Device, Fault, PlainBackend, Store};
use serde_json::{Value, json};

use crate::plain_story::{notes, take_paths};

fn bodies(device: &Device) -> Vec<(String, Value)> {
    let sent = device.sent.iter();
    sent.map(|one| {
        let body = one.body.as_deref().unwrap_or(b"null");
        (one.path.clone(), serde_json::from_slice(body).unwrap())
    })
    .collect()
}

#[test]
fn plain_server_receives_no_extension_but_the_greeting() {
    let server = notes();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.write("INSERT INTO notes (id, user_id) VALUES ('n1', 'ana')");
    device.sync(&server);
    for (path, body) in bodies(&device) {
        let greeting = path == "/sync/register";
        assert_eq!(body.get("rejoin").is_some(), greeting, "{path} {body}");
    }
    let extended = device.sent.iter().filter(|one| one.extended);
    assert!(extended.map(|one| one.path.as_str()).all(|path| path == "/sync/register"));
}

#[test]
fn refusals_of_plain_server_have_typed_errors() {
    let table: [(Outage, u16, bool); 3] = [
        (Outage::Closed, 503, true),
        (Outage::TooMany(7), 429, true),
        (Outage::Maintenance(9), 503, true),
    ];
    for (outage, status, retryable) in table {
        let server = notes();
        let mut device = Device::new("ana", 1);
        device.sync(&server);
        server.server().outage(Some(outage));
        let error = device.pass(&server).unwrap_err();
        let Some(Error::Sync(SyncFault::Server { status: was, retryable: may, .. })) =
            error.downcast_ref()
        else {
            panic!("{outage:?}: {error}")
        };
        assert_eq!((*was, *may), (status, retryable), "{outage:?}");
        server.server().outage(None);
        device.pass(&server).unwrap();
    }
    let server = notes();
    let mut device = Device::new("ana", 1);
    server.server().config.minimum_version = Some("2.0.0".to_owned());
    let error = device.pass(&server).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(Error::Sync(SyncFault::UpgradeRequired(_)))),
        "{error}"
    );
    let mut anonymous = Device::new("", 1);
    let error = anonymous.pass(&notes()).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Sync(SyncFault::Unauthorized))), "{error}");
}

#[test]
fn plain_schema_creates_the_tables_of_the_sdk() {
    let server = PlainBackend::with(Config::new(rejoin_plain::demo::tables()));
    let mut device = Device::new("11111111-1111-1111-1111-111111111111", 1);
    device.sync(&server);
    let refused = [
        // No device pushes to it.
        "INSERT INTO products (id, name) VALUES ('5a5a5a5a-0000-4000-8000-000000000001', 'x')",
        // NOT NULL without a default.
        "INSERT INTO order_details (id) VALUES ('5a5a5a5a-0000-4000-8000-000000000001')",
    ];
    for sql in refused {
        assert!(!device.try_write(sql), "{sql}");
    }
    device.write(
        "INSERT INTO categories (id, user_id, name) VALUES
         ('5a5a5a5a-0000-4000-8000-000000000001', NULL, 'tools')",
    );
    let made = device.see("SELECT description, search_tags, deleted_at FROM categories");
    assert_eq!(made, "|[]|-", "portable defaults, an empty array as one");
    let times = device.see("SELECT created_at FROM categories");
    assert!(times.ends_with('Z') && times.contains('T'), "{times}");
    // The server fills in the owner.
    device.write("INSERT INTO orders (id) VALUES ('5a5a5a5a-0000-4000-8000-000000000002')");
}

#[test]
fn plain_server_ignores_case_of_user_ids() {
    let server = notes();
    let user = |name: &str| Some(name.to_owned());
    let mut device = Device::with("Ana", 1, None, |config| config.user_id = user("Ana"));
    device.sync(&server);
    device.reconfigure(|config| config.user_id = user("ana"));
    device.sync(&server);
    device.reconfigure(|config| config.user_id = user("bob"));
    let error = device.pass(&server).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::WrongUser { pending: 0 })), "{error}");
}

#[test]
fn upgraded_server_is_detected_and_causes_a_snapshot() {
    let plain = PlainBackend::new();
    plain.insert("places", &json!({"id": "p1", "name": "first", "user_id": "ana"}));
    let mut device = Device::new("ana", 1);
    device.sync(&plain);
    device.until(&plain, Phase::Pulling).unwrap();
    device.write("INSERT INTO places (id, name, user_id) VALUES ('p2', 'mine', 'ana')");
    let ours = Backend::new();
    ours.outside("INSERT INTO places (id, name, user_id) VALUES ('p1', 'second', 'ana')");
    device.crash();
    device.sync(&ours);
    device.sync(&ours);
    assert_eq!(device.see("SELECT id, name FROM places ORDER BY id"), "p1|second p2|mine");
    assert_eq!(ours.see("SELECT id FROM places ORDER BY id"), "p1 p2");
    assert_eq!(device.engine().meta("peer").unwrap(), None);
    // And back: its cursor is invalid on the other server.
    plain.update("places", "p1", &json!({"name": "third"}));
    device.crash();
    device.sync(&plain);
    assert_eq!(device.see("SELECT name FROM places WHERE id = 'p1'"), "third");
    assert_eq!(device.engine().meta("epoch").unwrap(), None);
}

#[test]
fn server_kind_is_not_checked_again_within_an_hour() {
    let server = notes();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    take_paths(&mut device);
    device.sync(&server);
    assert!(!take_paths(&mut device).contains("register"));
    device.host.advance(std::time::Duration::from_secs(3700));
    device.sync(&server);
    assert!(take_paths(&mut device).starts_with("register"));
}

/// A place on each of two servers; the second is the upgrade of the first.
fn places() -> (PlainBackend, Backend) {
    let plain = PlainBackend::new();
    plain.insert("places", &json!({"id": "p1", "name": "first", "user_id": "ana"}));
    (plain, Backend::new())
}

#[test]
fn record_sent_before_upgrade_is_resolved_as_a_record() {
    for arrived in [true, false] {
        let (plain, ours) = places();
        let mut device = Device::new("ana", 1);
        device.sync(&plain);
        // Two edits are sent as one record: as groups, the first would conflict with the result of
        // both.
        device.write("UPDATE places SET name = 'second' WHERE id = 'p1'");
        device.write("UPDATE places SET name = 'third' WHERE id = 'p1'");
        device.until(&plain, Phase::Pushing).unwrap();
        let fault = if arrived { Fault::AnswerLost } else { Fault::RequestLost };
        device.faults.push_back(fault);
        device.step(&plain).unwrap_err();
        device.write("INSERT INTO places (id, name, user_id) VALUES ('p2', 'later', 'ana')");
        let name = if arrived { "third" } else { "first" };
        ours.outside(&format!(
            "INSERT INTO places (id, name, user_id) VALUES ('p1', '{name}', 'ana')"
        ));
        device.crash();
        device.sent.clear();
        device.sync(&ours);
        let pushes: Vec<bool> = bodies(&device)
            .iter()
            .filter(|(path, _)| path == "/sync/push")
            .map(|(_, body)| body.get("rejoin").is_some())
            .collect();
        assert_eq!(pushes.first(), Some(&false), "arrived {arrived}: the record first, plainly");
        assert_eq!(pushes.last(), Some(&true), "arrived {arrived}: then the group");
        assert_eq!(device.engine().meta("peer").unwrap(), None);
        device.sync(&ours);
        let waiting = device.waiting();
        let seen = (device.see("SELECT id, name FROM places ORDER BY id"), waiting.as_str());
        if arrived {
            assert_eq!(seen, ("p1|third p2|later".to_owned(), ""));
        } else {
            // The version that it edited belongs to another server: only its values show whether it
            // was applied.
            assert_eq!(ours.see("SELECT id FROM places ORDER BY id"), "p1 p2");
            assert!(!waiting.contains("Uncertain"), "{waiting}");
        }
    }
}

#[test]
fn group_sent_before_downgrade_is_recognised() {
    let (plain, ours) = places();
    ours.outside("INSERT INTO places (id, name, user_id) VALUES ('p1', 'first', 'ana')");
    let mut device = Device::new("ana", 1);
    device.sync(&ours);
    device.write("UPDATE places SET name = 'second' WHERE id = 'p1'");
    device.lose_push(&ours, Fault::AnswerLost);
    device.write("UPDATE places SET note = 'later' WHERE id = 'p1'");
    plain.update("places", "p1", &json!({"name": "second"}));
    device.crash();
    device.sync(&plain);
    device.sync(&plain);
    assert_eq!(device.waiting(), "");
    assert_eq!(plain.see("places", &["id", "name", "note"]), "p1|second|later");
    assert_eq!(device.see("SELECT id, name, note FROM places"), "p1|second|later");
}

/// Regression: it belonged to no epoch, and so to another one than the present.
#[test]
fn edit_accepted_before_upgrade_is_not_offered_again() {
    let plain = PlainBackend::new();
    plain.insert("places", &json!({"id": "p1", "name": "first", "user_id": "ana"}));
    let mut device = Device::new("ana", 1);
    device.sync(&plain);
    device.write("UPDATE places SET name = 'second' WHERE id = 'p1'");
    device.sync(&plain);
    assert_eq!(plain.see("places", &["name"]), "second");
    let mut ours = Backend::over(
        Store::Sqlite,
        "INSERT INTO places (id, name, user_id) VALUES ('p1', 'second', 'ana')",
    );
    device.crash();
    device.sync(&ours);
    // An outside writer reverts the edit, and the backup contains the reverted row.
    ours.outside("UPDATE places SET name = 'first' WHERE id = 'p1'");
    device.sync(&ours);
    let backup = ours.backup();
    device.write("UPDATE places SET note = 'later' WHERE id = 'p1'");
    device.sync(&ours);
    ours.restore(&backup);
    device.sync(&ours);
    device.sync(&ours);
    let sql = "SELECT name, note FROM places";
    assert_eq!(
        ours.see(sql),
        "first|later",
        "only mutations accepted after the backup are offered again"
    );
    assert_eq!((device.see(sql), device.waiting()), ("first|later".to_owned(), String::new()));
}
