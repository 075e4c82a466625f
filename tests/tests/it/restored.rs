//! Servers that were restored from a backup, or came back empty, where neither cursor nor log can
//! show it.

use rejoin_core::engine::reset;
use rejoin_core::engine::reset::Keep;
use rejoin_core::sync::session::{PassReport, Phase};
use rejoin_core::{Error, InputFault};
use rejoin_tests::{Backend, Device, Store};

use crate::places::{PLACES, check_in_sync, compact_past_cursor, pages, places};
use crate::{apply, each_store};

const ALL: &str = "UPDATE places SET score = 5";

/// A server with nine places, and a synced device that has added one after the backup.
fn device_ahead_of_backup(store: Store) -> (Backend, Device, rejoin_tests::Backup) {
    let (server, mut device) = places(store, 9, 100);
    device.sync(&server);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted, then lost')");
    device.sync(&server);
    (server, device, backup)
}

#[track_caller]
fn check_restored(server: &Backend, device: &mut Device) {
    device.sync(server);
    device.sync(server);
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'q1'"), "accepted, then lost");
    assert_eq!(device.waiting(), "");
    check_in_sync(device, server);
}

/// The position of the cursor is assigned again, to another entry, and compacted: no tag can show
/// that it differs.
#[apply(each_store)]
fn restore_and_compaction_past_the_cursor_lose_no_edit(store: Store) {
    for edits_before in [false, true] {
        let (mut server, mut device, backup) = device_ahead_of_backup(store);
        server.restore(&backup);
        compact_past_cursor(&server, ALL);
        if edits_before {
            device.write("UPDATE places SET note = 'later' WHERE id = 'p9'");
        }
        check_restored(&server, &mut device);
    }
}

/// The same with a snapshot in between, whose cursor is newer than the edit.
#[apply(each_store)]
fn snapshot_keeps_the_log_tip_of_accepted_edits(store: Store) {
    let (mut server, mut device, _) = device_ahead_of_backup(store);
    let early = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q2', 'accepted, then lost')");
    device.sync(&server);
    compact_past_cursor(&server, ALL);
    device.sync(&server);
    assert!(device.sent.iter().filter(|one| one.phase == Phase::Snapshot).count() > 1);
    server.restore(&early);
    compact_past_cursor(&server, ALL);
    server.outside(ALL);
    compact_past_cursor(&server, ALL);
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'q2'"), "accepted, then lost");
    check_in_sync(&mut device, &server);
}

/// A device that was away for long, with a server that was never restored, rebuilds and starts no
/// epoch.
#[apply(each_store)]
fn absence_alone_starts_no_epoch(store: Store) {
    let (server, mut device, _) = device_ahead_of_backup(store);
    let epoch = device.engine().meta("epoch").unwrap();
    for _ in 0..2 {
        compact_past_cursor(&server, ALL);
        device.sync(&server);
        assert_eq!(device.engine().meta("epoch").unwrap(), epoch);
        check_in_sync(&mut device, &server);
    }
}

/// The pages after a push contain later changes than the push; a restore to between the two is
/// detected by the tip on each page.
#[apply(each_store)]
fn restore_between_a_push_and_a_later_page_is_detected(store: Store) {
    for is_first in [true, false] {
        let (mut server, mut device) = places(store, 3, 1);
        if !is_first {
            device.sync(&server);
            compact_past_cursor(&server, ALL);
        }
        pages(&mut device, &server, 1);
        device.write("INSERT INTO places (id, name) VALUES ('q1', 'pushed')");
        device.until(&server, Phase::Pushing).unwrap();
        device.step(&server).unwrap();
        let backup = server.backup();
        server.outside("UPDATE places SET name = 'lost by the restore' WHERE id = 'p2'");
        pages(&mut device, &server, 2);
        server.restore(&backup);
        server.outside("UPDATE places SET note = 'new' WHERE id = 'p3'");
        device.sync(&server);
        device.sync(&server);
        check_in_sync(&mut device, &server);
        assert_eq!(device.see("SELECT name FROM places WHERE id = 'p2'"), "A", "{is_first}");
    }
}

/// The position of the last page is in the restored log as well: only the response to the push
/// shows the restore.
#[apply(each_store)]
fn restore_to_before_a_push_between_pages_is_detected(store: Store) {
    let (mut server, mut device) = places(store, 3, 1);
    pages(&mut device, &server, 1);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted, then lost')");
    device.until(&server, Phase::Pushing).unwrap();
    device.step(&server).unwrap();
    server.restore(&backup);
    server.outside("UPDATE places SET note = 'new' WHERE id = 'p3'");
    check_restored(&server, &mut device);
}

/// The device keeps its rows and offers nothing until its app resets it, or the old server is back.
#[apply(each_store)]
fn empty_server_at_the_same_url_removes_no_device_rows(store: Store) {
    for resets in [false, true] {
        let (mut server, mut device, _) = device_ahead_of_backup(store);
        device.write("UPDATE places SET note = 'waits' WHERE id = 'p1'");
        let lost = server.backup();
        let rows = device.see(PLACES);
        let empty = Backend::on(store);
        server.restore(&empty.backup());
        for _ in 0..3 {
            device.crash();
            let error = device.pass(&server).unwrap_err();
            let refused = matches!(
                error.downcast_ref(),
                Some(Error::InvalidInput(InputFault::Refused { .. }))
            );
            assert!(refused && error.to_string().contains("places"), "{error}");
            assert_eq!(device.see(PLACES), rows, "nothing is wiped");
            assert_eq!(server.see("SELECT count(*) FROM places"), "0", "nothing is offered");
        }
        if resets {
            reset::reset(device.engine(), Keep::Pending, &[]).unwrap();
            device.sync(&server);
            device.sync(&server);
            assert_eq!(server.see("SELECT name FROM places"), "accepted, then lost");
        } else {
            server.restore(&lost);
            device.sync(&server);
            device.sync(&server);
            assert_eq!(device.waiting(), "");
            assert_eq!(server.see("SELECT note FROM places WHERE id = 'p1'"), "waits");
        }
        check_in_sync(&mut device, &server);
    }
}

/// Another server whose tables are filled is accepted: only what it lacks is lost.
#[apply(each_store)]
fn other_server_with_filled_tables_is_accepted(store: Store) {
    let (mut server, mut device, _) = device_ahead_of_backup(store);
    let (other, _) = places(store, 9, 100);
    server.restore(&other.backup());
    check_restored(&server, &mut device);
}

/// A server whose backup lacks `columns`, restored and given the column `again`; and the report of
/// a device with a pending insert that wrote `tint`.
fn restored_before_columns(store: Store, columns: &[&str], again: &str) -> (Backend, PassReport) {
    let add = |column: &&str| format!("ALTER TABLE places ADD COLUMN {column} TEXT");
    let (mut server, mut device) = places(store, 1, 100);
    device.sync(&server);
    let backup = server.backup();
    columns.iter().map(add).for_each(|sql| server.alter(&sql));
    device.sync(&server);
    device.write("INSERT INTO places (id, name, tint) VALUES ('q1', 'made here', 'red')");
    server.restore(&backup);
    server.alter(&add(&again));
    let report = device.sync(&server);
    (server, report)
}

/// Regression (seed 7003148): the next column got the identity of the lost one.
#[apply(each_store)]
fn restored_server_reuses_no_column_identity(store: Store) {
    let (server, report) = restored_before_columns(store, &["tint"], "remark");
    assert_eq!((report.accepted, report.parked), (0, 1));
    assert_eq!(server.see("SELECT count(*) FROM places WHERE remark = 'red'"), "0");
}

#[apply(each_store)]
fn column_added_again_after_a_restore_keeps_its_identity(store: Store) {
    let (server, report) = restored_before_columns(store, &["remark", "tint"], "tint");
    assert_eq!((report.accepted, report.parked), (1, 0));
    assert_eq!(server.see("SELECT name, tint FROM places WHERE id = 'q1'"), "made here|red");
}
