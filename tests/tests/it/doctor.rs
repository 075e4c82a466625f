//! The check of a device's rows against the server's, and their repair, for both models.

use std::path::Path;

use rejoin_core::sync::doctor;
use rejoin_core::sync::session::Response;
use rejoin_core::{DoctorReport, Error, InputFault, TableCheck};
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Moment, Store};

use crate::client::{PATIENCE, served_phone};
use crate::{apply, each_store};

const TABLES: &str =
    "CREATE TABLE seats(id TEXT PRIMARY KEY, event TEXT, note TEXT, number BIGINT);
    CREATE TABLE \"halls & rooms\"(id BIGINT PRIMARY KEY, owner_id TEXT, name TEXT,
                        updated_at TEXT NOT NULL, deleted_at TEXT)";
const SEATS: &str = "SELECT id, note, number FROM seats ORDER BY id";
const HALLS: &str = "SELECT id, name FROM \"halls & rooms\" ORDER BY id";

/// A server with 40 rows of each model, and a device of their user.
fn server_and_device(store: Store) -> (Backend, Device) {
    let tables = vec![
        TableConfig::log("seats", "event", "event:"),
        TableConfig::owned("halls & rooms", "owner_id"),
    ];
    let server = Backend::made(store, TABLES, tables, Limits::default());
    server.server().grant("ana", "event:e1").unwrap();
    let mut device = Device::with("ana", 1, None, |config| config.page_size = 7);
    device.sync(&server);
    for at in 0..40 {
        device.write(&format!("INSERT INTO seats VALUES ('s{at:02}', 'e1', 'free', {at})"));
        device
            .write(&format!("INSERT INTO \"halls & rooms\"(id, name) VALUES ({at}, 'hall {at}')"));
    }
    device.sync(&server);
    (server, device)
}

/// Changes rows of the file as a failing disk would: nothing is captured.
fn damage(path: &Path, sql: &str) {
    #[allow(clippy::disallowed_methods)] // A failing disk.
    let file = rusqlite::Connection::open(path).unwrap();
    let query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
    let triggers: Vec<(String, String)> = {
        let mut found = file.prepare(query).unwrap();
        let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let drops = triggers.iter().map(|(name, _)| format!("DROP TRIGGER \"{name}\";"));
    let creates = triggers.iter().map(|(_, sql)| format!("{sql};"));
    let steps: Vec<String> = drops.chain([format!("{sql};")]).chain(creates).collect();
    file.execute_batch(&format!("BEGIN; {} COMMIT;", steps.concat())).unwrap();
}

/// Checks the device, as `Client::sync().doctor()` does.
pub(super) fn check(device: &mut Device, server: &Backend) -> DoctorReport {
    let number = doctor::request(device.engine()).unwrap();
    device.sync(server);
    doctor::report(device.engine(), number).unwrap()
}

fn table(table: &str, rows: u64, differing: u64, repaired: u64) -> TableCheck {
    TableCheck { table: table.to_owned(), rows, differing, repaired }
}

#[apply(each_store)]
fn damaged_rows_are_found_and_repaired_by_row(store: Store) {
    let (server, mut device) = server_and_device(store);
    let sound = [table("halls & rooms", 40, 0, 0), table("seats", 40, 0, 0)];
    assert_eq!(check(&mut device, &server).tables, sound);

    damage(device.path(), "UPDATE \"halls & rooms\" SET name = 'lost' WHERE id = 3");
    damage(device.path(), "DELETE FROM \"halls & rooms\" WHERE id IN (5, 6)");
    damage(device.path(), "INSERT INTO \"halls & rooms\"(id, name) VALUES (99, 'nowhere')");
    let before = device.sent.len();
    let found = check(&mut device, &server);
    assert_eq!(found.tables, [table("halls & rooms", 39, 4, 4), table("seats", 40, 0, 0)]);
    assert_eq!(device.see(HALLS), server.see(HALLS));
    let again = device.sent[before..].iter().filter(|request| request.path == "/sync/snapshot");
    assert_eq!(again.count(), 0, "rows are fetched by name");
    assert_eq!(check(&mut device, &server).tables, sound);
}

/// Regression: the server counted the value, the device the NULL that it gets.
#[apply(each_store)]
fn value_that_is_sent_as_null_is_no_difference(store: Store) {
    let tables = "CREATE TABLE levels(id TEXT PRIMARY KEY, owner_id TEXT, level DOUBLE PRECISION,
                  updated_at TEXT, deleted_at TEXT)";
    let configs = vec![TableConfig::owned("levels", "owner_id")];
    let server = Backend::made(store, tables, configs, Limits::default());
    let insert = |level: &str| {
        format!(
            "INSERT INTO levels(id, owner_id, level) VALUES ('l1', 'ana', {level}), ('l2', 'ana', 1.5)"
        )
    };
    server.outside_by(&insert("9e999"), &insert("'NaN'"));
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    assert_eq!(device.see("SELECT id, level FROM levels"), "l1|- l2|1.5");
    assert_eq!(check(&mut device, &server).tables, [table("levels", 2, 0, 0)]);
}

fn requests(device: &Device, path: &str) -> usize {
    device.sent.iter().filter(|request| request.path == path).count()
}

#[apply(each_store)]
fn damaged_rows_of_the_log_are_found_and_repaired_by_row(store: Store) {
    let (server, mut device) = server_and_device(store);
    let snapshots = requests(&device, "/log/snapshot");
    damage(device.path(), "UPDATE seats SET note = 'lost' WHERE id = 's03'");
    damage(device.path(), "DELETE FROM seats WHERE id = 's05'");
    damage(device.path(), "INSERT INTO seats VALUES ('s99', 'e1', 'nowhere', 1)");
    let found = check(&mut device, &server);
    assert_eq!(found.tables, [table("halls & rooms", 40, 0, 0), table("seats", 40, 3, 3)]);
    assert_eq!(device.see(SEATS), server.see(SEATS));
    assert_eq!(requests(&device, "/log/rows"), 1);
    assert_eq!(requests(&device, "/log/snapshot"), snapshots, "no other row is fetched");
    assert_eq!(check(&mut device, &server).tables[1], table("seats", 40, 0, 0));
}

#[apply(each_store)]
fn rows_of_the_log_with_a_long_history_are_repaired_by_a_snapshot(store: Store) {
    let (server, mut device) = server_and_device(store);
    for letter in 'a'..='e' {
        let long = format!("printf('%.*c', 1000000, '{letter}')");
        device.write(&format!("UPDATE seats SET note = {long} WHERE id = 's03'"));
    }
    device.sync(&server);
    let snapshots = requests(&device, "/log/snapshot");
    damage(device.path(), "UPDATE seats SET note = 'lost' WHERE id IN ('s03', 's04')");
    let found = check(&mut device, &server);
    assert_eq!(found.tables[1], table("seats", 40, 2, 2));
    assert_eq!(device.see(SEATS), server.see(SEATS));
    assert!(requests(&device, "/log/snapshot") > snapshots);
}

#[apply(each_store)]
fn very_many_rows_of_the_log_are_repaired_by_a_snapshot(store: Store) {
    let (server, mut device) = server_and_device(store);
    device.write(
        "INSERT INTO seats WITH RECURSIVE many(n) AS (SELECT 40 UNION ALL SELECT n + 1 FROM many LIMIT 1060)
         SELECT 's' || n, 'e1', 'free', n FROM many",
    );
    device.sync(&server);
    damage(device.path(), "DELETE FROM seats WHERE number >= 50");
    let found = check(&mut device, &server);
    assert_eq!(found.tables[1], table("seats", 50, 1_050, 1_050));
    assert_eq!(device.see(SEATS), server.see(SEATS));
    assert_eq!(requests(&device, "/log/rows"), 0);
}

#[apply(each_store)]
fn edits_amid_a_check_are_no_damage_and_survive_the_repair(store: Store) {
    let (server, mut device) = server_and_device(store);
    damage(device.path(), "UPDATE \"halls & rooms\" SET name = 'lost' WHERE id IN (3, 4)");
    damage(device.path(), "UPDATE seats SET note = 'lost', number = -1 WHERE id = 's03'");
    let number = doctor::request(device.engine()).unwrap();
    let mut has_edited = false;
    while !matches!(device.step(&server).unwrap(), Moment::Finished(_)) {
        let is_checking =
            device.sent.last().is_some_and(|one| one.path.starts_with("/sync/digest"));
        if is_checking && !has_edited {
            has_edited = true;
            device.write("UPDATE \"halls & rooms\" SET name = 'mine' WHERE id = 4");
            device.write("UPDATE \"halls & rooms\" SET name = 'mine' WHERE id = 7");
            device.write("INSERT INTO \"halls & rooms\"(id, name) VALUES (50, 'new')");
            device.write("DELETE FROM \"halls & rooms\" WHERE id = 8");
            device.write("UPDATE seats SET note = 'mine' WHERE id = 's07'");
        }
    }
    let found = doctor::report(device.engine(), number).unwrap().tables;
    let differing: Vec<_> = found.iter().map(|one| (one.differing, one.repaired)).collect();
    assert_eq!(differing, [(2, 2), (1, 1)], "{found:?}");
    let edited = "SELECT id, name FROM \"halls & rooms\" WHERE id IN (3, 4, 7, 8, 50) ORDER BY id";
    // The edit of a damaged row was made on a wrong value: the user decides, as in any conflict.
    assert_eq!(device.waiting(), "Parked:Conflicted/1 Pending/1 Pending/1 Pending/1");
    assert_eq!(device.see(edited), "3|hall 3 4|hall 4 7|mine 50|new");
    assert_eq!(device.see("SELECT note FROM seats WHERE id IN ('s03', 's07')"), "free mine");
    device.sync(&server);
    let there = edited.replace("id IN", "deleted_at IS NULL AND id IN");
    assert_eq!(device.see(edited), server.see(&there));
    assert_eq!(device.see(SEATS), server.see(SEATS));
}

#[apply(each_store)]
fn rows_that_are_newer_on_the_server_are_no_damage(store: Store) {
    let (server, mut device) = server_and_device(store);
    let mut other = Device::with("ana", 2, None, |_| {});
    other.sync(&server);
    let number = doctor::request(device.engine()).unwrap();
    // The other device's writes arrive after the pull of this pass and before its digests.
    let mut has_written = false;
    while !matches!(device.step(&server).unwrap(), Moment::Finished(_)) {
        let is_fetched = device.sent.last().is_some_and(|one| one.path == "/log/fetch");
        if is_fetched && !has_written {
            has_written = true;
            other.write("UPDATE \"halls & rooms\" SET name = name || '!' WHERE id < 9");
            other.write("UPDATE seats SET number = number + 100 WHERE number < 9");
            other.sync(&server);
        }
    }
    let found = doctor::report(device.engine(), number).unwrap().tables;
    assert_eq!(found, [table("halls & rooms", 40, 0, 0), table("seats", 40, 0, 0)]);
    let asked = device.sent.iter().filter(|one| one.path.contains("slice=0"));
    assert_eq!(asked.count(), 2, "both tables differed at first");
    assert_eq!(device.see(HALLS), server.see(HALLS));
    assert_eq!(device.see(SEATS), server.see(SEATS));
}

#[apply(each_store)]
fn check_that_is_cut_off_does_not_stop_the_sync_and_can_be_repeated(store: Store) {
    let (server, mut device) = server_and_device(store);
    server.outside(
        "WITH RECURSIVE n(n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM n WHERE n < 4600)
         INSERT INTO \"halls & rooms\"(id, owner_id, name, updated_at)
         SELECT n, 'ana', 'hall', '2026-11-20T08:00:00Z' FROM n",
    );
    device.sync(&server);
    assert_eq!(device.see("SELECT count(*) FROM \"halls & rooms\""), "4541");
    damage(device.path(), "UPDATE \"halls & rooms\" SET name = 'lost' WHERE id IN (200, 4000)");
    let number = doctor::request(device.engine()).unwrap();
    let mut is_cut = false;
    while !matches!(device.step(&server).unwrap(), Moment::Finished(_)) {
        let is_listing = device.sent.last().is_some_and(|one| one.path.contains("slice="));
        if is_listing && !is_cut {
            is_cut = true;
            device.crash();
        }
    }
    assert!(is_cut && doctor::report(device.engine(), number).is_err());
    assert_eq!(doctor::due(device.engine()).unwrap(), None);
    let found = check(&mut device, &server).tables;
    assert_eq!(found, [table("halls & rooms", 4541, 2, 2), table("seats", 40, 0, 0)]);
    assert_eq!(device.see(HALLS), server.see(HALLS));
}

#[test]
fn client_checks_and_repairs_and_fetches_everything_again() {
    let (backend, _served, phone) = served_phone(Store::Sqlite);
    phone.sync();
    for id in ["p1", "p2"] {
        phone.run(&format!("INSERT INTO places (id, name) VALUES ('{id}', 'Quay')"));
    }
    let doctor = || phone.client.sync().doctor(Some(PATIENCE)).wait().unwrap().tables;
    assert!(doctor().iter().all(|check| check.differing == 0));

    let path = phone.folder.path().join("app.db");
    damage(&path, "UPDATE places SET name = 'lost' WHERE id = 'p1'");
    let places = doctor().into_iter().find(|check| check.table == "places");
    assert_eq!(places, Some(table("places", 2, 1, 1)));
    assert_eq!(phone.names(), "p1=Quay p2=Quay");

    damage(&path, "DELETE FROM places");
    phone.run("INSERT INTO places (id, name) VALUES ('p3', 'Pier')");
    let report = phone.client.sync().resync(Some(PATIENCE)).wait().unwrap();
    assert_eq!((report.parked, report.still_pending), (0, 0));
    assert_eq!(phone.names(), "p1=Quay p2=Quay p3=Pier");
    assert_eq!(backend.see("SELECT count(*) FROM places"), "3");
}

#[test]
fn check_within_a_transaction_is_refused() {
    let (_backend, _served, phone) = served_phone(Store::Sqlite);
    let client = phone.client.clone();
    let inside = phone.client.transaction(move |_| {
        let doctor = client.sync().doctor(None).wait().map(drop);
        Ok((doctor, client.sync().resync(None).wait().map(drop)))
    });
    let (doctor, resync) = inside.wait().unwrap();
    for refused in [doctor, resync] {
        assert!(matches!(refused, Err(Error::InvalidInput(InputFault::Reentrant))), "{refused:?}");
    }
}

#[apply(each_store)]
fn refused_check_fails_once_and_later_passes_sync(store: Store) {
    let (server, mut device) = server_and_device(store);
    doctor::request(device.engine()).unwrap();
    let refuse = |answer: Response| {
        let is_digest = answer.body.windows(8).any(|part| part == b"\"slices\"");
        if !is_digest {
            return answer;
        }
        let body = r#"{"code": "invalid_request", "message": "no", "error": "no"}"#;
        Response { status: 400, body: body.into(), ..Response::default() }
    };
    let failed = loop {
        match device.step_with(&server, refuse) {
            Ok(Moment::Leaving(_)) => {}
            Ok(Moment::Finished(_)) => panic!("no check"),
            Err(error) => break error,
        }
    };
    assert!(failed.to_string().contains("no"), "{failed:#}");
    assert!(device.sent.last().unwrap().path.starts_with("/sync/digest"));
    assert_eq!(doctor::due(device.engine()).unwrap(), None);
    device.write("UPDATE seats SET note = 'goes on' WHERE id = 's01'");
    device.pass(&server).unwrap();
    assert_eq!(server.see("SELECT note FROM seats WHERE id = 's01'"), "goes on");
}
