//! Rows that a table had before it became a table of the log.

use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Store};

use super::{SEATS, TABLES, devices, server, settle};
use crate::{apply, each_store};

const ROWS: &str = "INSERT INTO seats VALUES ('s0', 'e2', NULL, 'hidden', 0),
    ('s1', 'e1', 'ana', 'it''s', 1), ('s2', 'e1', NULL, NULL, NULL)";

#[apply(each_store)]
fn rows_from_before_the_log_reach_devices_and_take_entries(store: Store) {
    let tables = vec![TableConfig::log("seats", "event", "event:")];
    let server = Backend::made(store, &format!("{TABLES}; {ROWS}"), tables, Limits::default());
    server.server().grant("ana", "event:e1").unwrap();
    let [mut phone, mut second] = devices(&server, ["ana", "ana"]);
    assert_eq!(phone.see(SEATS), "s1|e1|ana|it's|1 s2|e1|-|-|-");
    phone.write("UPDATE seats SET note = 'new' WHERE id = 's2'");
    phone.write("DELETE FROM seats WHERE id = 's1'");
    phone.sync(&server);
    second.sync(&server);
    assert_eq!(second.see(SEATS), "s2|e1|-|new|-");
    assert_eq!(server.see(SEATS), "s0|e2|-|hidden|0 s2|e1|-|new|-");
}

/// More rows than one statement of the server has.
#[apply(each_store)]
fn table_with_many_rows_is_whole(store: Store) {
    let rows: Vec<String> =
        (0..1_000).map(|number| format!("('s{number:04}', 'e1', NULL, '', {number})")).collect();
    let sql = format!("{TABLES}; INSERT INTO seats VALUES {}", rows.join(", "));
    let tables = vec![TableConfig::log("seats", "event", "event:")];
    let server = Backend::made(store, &sql, tables, Limits::default());
    server.server().grant("ana", "event:e1").unwrap();
    let [mut phone] = devices(&server, ["ana"]);
    let sum = "SELECT count(*), sum(number) FROM seats";
    assert_eq!(phone.see(sum), "1000|499500");
}

/// The rows of the log are not taken as rows from before it.
#[apply(each_store)]
fn restart_keeps_the_log(store: Store) {
    let mut server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(&server);
    let before = server.server().log_status().unwrap();
    server.restart();
    assert_eq!(server.server().log_status().unwrap(), before);
    phone.write("DELETE FROM seats");
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "");
}

#[apply(each_store)]
fn table_that_is_added_to_a_log_brings_its_rows_to_devices_that_know_the_log(store: Store) {
    let mut server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.sync(&server);
    phone.write("UPDATE seats SET number = 2");
    let sql = "CREATE TABLE tickets(id BIGINT PRIMARY KEY, event TEXT);
        INSERT INTO tickets VALUES (7, 'e1'), (8, 'e2'), (-9, 'e1')";
    server.add(sql, TableConfig::log("tickets", "event", "event:"));
    phone.sync(&server);
    assert_eq!(phone.see("SELECT id FROM tickets ORDER BY id"), "-9 7");
    phone.write("DELETE FROM tickets WHERE id = 7");
    settle(&server, &mut [phone]);
    assert_eq!(server.see("SELECT id, event FROM tickets ORDER BY id"), "-9|e1 8|e2");
}

/// SQLite allows NULL and bytes in a text key. Such a row has no name in the log.
#[test]
fn row_without_a_usable_key_is_left_out() {
    let rows =
        "INSERT INTO seats VALUES (NULL, 'e1', 'none', '', 0), (x'00', 'e1', 'bytes', '', 1)";
    for further in ["", "; INSERT INTO seats VALUES ('s1', 'e1', 'ana', '', 2)"] {
        let sql = format!("{TABLES}; {rows}{further}");
        let tables = vec![TableConfig::log("seats", "event", "event:")];
        let server = Backend::of(&sql, tables, Limits::default());
        server.server().grant("ana", "event:e1").unwrap();
        let [mut phone] = devices(&server, ["ana"]);
        let expected = if further.is_empty() { "" } else { "s1|e1|ana||2" };
        assert_eq!(phone.see(SEATS), expected);
    }
}

/// The server numbers parents among its tables of rows.
#[apply(each_store)]
fn table_of_the_log_sorted_before_a_parent_does_not_hide_its_children(store: Store) {
    let sql = "CREATE TABLE seats(id TEXT PRIMARY KEY, event TEXT);
        CREATE TABLE tasks(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT NOT NULL);
        CREATE TABLE tags(id TEXT PRIMARY KEY, task_id TEXT NOT NULL REFERENCES tasks(id),
                          updated_at TEXT NOT NULL)";
    let tables = vec![
        TableConfig::owned("tasks", "owner_id"),
        TableConfig::child("tags", "tasks", "task_id"),
        TableConfig::log("seats", "event", "event:"),
    ];
    let server = Backend::made(store, sql, tables, Limits::default());
    let mut devices = devices(&server, ["ana", "ana"]);
    devices[0].write_together(&[
        "INSERT INTO tasks (id) VALUES ('t')",
        "INSERT INTO tags (id, task_id) VALUES ('g', 't')",
    ]);
    for device in &mut devices {
        device.sync(&server);
        device.sync(&server);
        assert_eq!(device.see("SELECT id FROM tags"), "g");
    }
}
