//! Staged snapshots: staged, merged, resumed; and another epoch.

use std::time::Duration;

use rejoin_core::engine::rebase::decide;
use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::Phase;
use rejoin_core::value::Value;
use rejoin_tests::{Backend, Device, Moment, Store};

use crate::places::{self, IDS, each, pages, places};
use crate::{apply, each_store};

const DAY: i64 = 86_400_000_000;
const STAGED: &str = "SELECT count(*) FROM sqlite_master WHERE name GLOB 'rejoin_staging_*'";

/// A server with nine places, and a synced device with a page size of three.
fn nine_places(store: Store) -> (Backend, Device) {
    let (server, mut device) = places(store, 9, 3);
    device.sync(&server);
    (server, device)
}

fn compact_past_cursor(server: &Backend) {
    places::compact_past_cursor(server, "UPDATE places SET note = 'later' WHERE id = 'p9'");
}

/// The device has the server's rows, and the staging tables are gone.
#[track_caller]
fn check_in_sync(device: &mut Device, server: &Backend) {
    places::check_in_sync(device, server);
    assert_eq!(device.raw(STAGED), "0");
}

/// Applies every page and the tail; only the comparison and the merge remain.
#[track_caller]
fn stage_all_pages(device: &mut Device, server: &Backend) {
    loop {
        device.until(server, Phase::Snapshot).unwrap();
        device.step(server).unwrap();
        if device.sent.last().is_some_and(|sent| sent.path == "/sync/pull") {
            return;
        }
    }
}

#[apply(each_store)]
fn long_absence_causes_a_staged_snapshot(store: Store) {
    let (server, mut device) = nine_places(store);
    server.outside("UPDATE places SET name = 'changed' WHERE id = 'p2'");
    server.outside("DELETE FROM places WHERE id = 'p4'");
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p41', 'new', 'ana')");
    compact_past_cursor(&server);
    device.write("UPDATE places SET score = 5 WHERE id = 'p1'");
    pages(&mut device, &server, 2);
    assert_eq!(device.see(IDS), "p1 p2 p3 p4 p5 p6 p7 p8 p9", "nothing shows before the merge");
    let report = device.sync(&server);
    assert_eq!(report.parked, 0);
    check_in_sync(&mut device, &server);
    assert_eq!(device.see("SELECT score FROM places WHERE id = 'p1'"), "5");
}

#[apply(each_store)]
fn merge_writes_and_reports_only_differences(store: Store) {
    let (server, mut device) = nine_places(store);
    server.outside("UPDATE places SET name = 'changed' WHERE id = 'p2'");
    compact_past_cursor(&server);
    stage_all_pages(&mut device, &server);
    let changes = device.listen();
    let report = device.sync(&server);
    check_in_sync(&mut device, &server);
    assert_eq!(report.pulled, 2, "p2 and p9");
    let changes = changes.lock().unwrap();
    let keys: Vec<Value> = changes
        .iter()
        .filter_map(|change| change.tables.get("places")?.clone())
        .flatten()
        .collect();
    assert_eq!(keys, [Value::from("p2"), Value::from("p9")]);
}

#[apply(each_store)]
fn staged_snapshot_resumes_after_a_crash_at_any_step(store: Store) {
    for crash_at in (0..12).step_by(each(store, 4)) {
        let (server, mut device) = nine_places(store);
        server.outside("UPDATE places SET name = 'changed' WHERE id = 'p2'");
        server.outside("DELETE FROM places WHERE id = 'p4'");
        compact_past_cursor(&server);
        device.write("UPDATE places SET score = 5 WHERE id = 'p1'");
        for _ in 0..crash_at {
            if matches!(device.step(&server).unwrap(), Moment::Finished(_)) {
                break;
            }
        }
        device.write("UPDATE places SET note = 'mine' WHERE id = 'p6'");
        device.crash();
        device.sync(&server);
        device.sync(&server);
        assert_eq!(device.waiting(), "", "{crash_at}");
        check_in_sync(&mut device, &server);
        assert_eq!(server.see("SELECT note FROM places WHERE id = 'p6'"), "mine");
    }
}

#[apply(each_store)]
fn pushes_between_pages_update_base_and_staging(store: Store) {
    let (server, mut device) = nine_places(store);
    compact_past_cursor(&server);
    pages(&mut device, &server, 1);
    device.write("UPDATE places SET name = 'acked' WHERE id = 'p2'");
    device.until(&server, Phase::Pushing).unwrap();
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "");
    assert_eq!(device.staged("places", "name", "p2"), "acked");
    device.sync(&server);
    check_in_sync(&mut device, &server);
}

#[apply(each_store)]
fn merge_detects_conflict_of_pending_edit(store: Store) {
    let (server, mut device) = nine_places(store);
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p2'");
    server.outside("DELETE FROM places WHERE id = 'p3'");
    compact_past_cursor(&server);
    stage_all_pages(&mut device, &server);
    assert_eq!(device.raw(STAGED), "2", "the tail is here, the merge is not");
    // Never sent: written between the last request and the merge.
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p2'");
    device.write("UPDATE places SET note = 'mine' WHERE id = 'p3'");
    device.write("UPDATE places SET note = 'mine' WHERE id = 'p5'");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1 Parked:Conflicted/1");
    check_in_sync(&mut device, &server);
    assert_eq!(device.see("SELECT note FROM places WHERE id = 'p5'"), "mine");
}

#[apply(each_store)]
fn discard_between_comparison_and_merge_hides_nothing(store: Store) {
    let (server, mut device) = nine_places(store);
    server.outside("UPDATE places SET name = 'same' WHERE id = 'p2'");
    compact_past_cursor(&server);
    stage_all_pages(&mut device, &server);
    device.write("UPDATE places SET name = 'same' WHERE id = 'p2'");
    let id = device.queue()[0].id;
    device.local_slice();
    decide::discard(device.engine(), id).unwrap();
    device.sync(&server);
    check_in_sync(&mut device, &server);
}

#[apply(each_store)]
fn resync_between_last_page_and_merge_removes_no_row(store: Store) {
    let (server, mut device) = nine_places(store);
    compact_past_cursor(&server);
    device.write("UPDATE places SET score = 5 WHERE id = 'p1'");
    stage_all_pages(&mut device, &server);
    device.resync();
    while !matches!(device.step(&server).unwrap(), Moment::Finished(_)) {
        assert_eq!(device.see(IDS), "p1 p2 p3 p4 p5 p6 p7 p8 p9");
    }
    check_in_sync(&mut device, &server);
}

#[apply(each_store)]
fn another_epoch_rebuilds_before_any_push(store: Store) {
    let (mut server, mut device) = nine_places(store);
    let backup = server.backup();
    server.outside("UPDATE places SET name = 'lost by the restore' WHERE id = 'p2'");
    device.sync(&server);
    let old = device.engine().meta("epoch").unwrap();
    server.restore(&backup);
    device.write("UPDATE places SET note = 'pending' WHERE id = 'p5'");
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'pending')");
    let before = device.sent.len();
    device.crash();
    device.sync(&server);
    assert_ne!(device.engine().meta("epoch").unwrap(), old);
    let phases: Vec<Phase> = device.sent[before..].iter().map(|one| one.phase).collect();
    let snapshot = phases.iter().rposition(|phase| *phase == Phase::Snapshot).unwrap();
    let push = phases.iter().position(|phase| *phase == Phase::Pushing).unwrap();
    assert!(snapshot < push, "{phases:?}");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    check_in_sync(&mut device, &server);
    assert_eq!(server.see("SELECT note FROM places WHERE id = 'p5'"), "pending");
    assert_eq!(device.see("SELECT name FROM places WHERE id = 'p2'"), "A");
}

#[apply(each_store)]
fn push_to_a_restored_server_applies_nothing(store: Store) {
    let (mut server, mut device) = nine_places(store);
    let mut other = Device::new("ana", 2);
    other.sync(&server);
    let backup = server.backup();
    server.outside("UPDATE places SET name = 'lost by the restore' WHERE id = 'p2'");
    device.sync(&server);
    other.sync(&server);
    device.write("UPDATE places SET note = 'pending' WHERE id = 'p5'");
    device.until(&server, Phase::Pushing).unwrap();
    server.restore(&backup);
    // Another device detects it first, so that the epoch differs when the push arrives.
    other.crash();
    other.sync(&server);
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "Uncertain/1");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    check_in_sync(&mut device, &server);
    assert_eq!(server.see("SELECT note FROM places WHERE id = 'p5'"), "pending");
}

#[apply(each_store)]
fn restore_between_push_and_next_pull_is_detected(store: Store) {
    let (mut server, mut device) = nine_places(store);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted, then lost')");
    device.until(&server, Phase::Pushing).unwrap();
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "");
    // The device's cursor is older than the backup: it alone would show nothing.
    server.restore(&backup);
    device.crash();
    device.sync(&server);
    device.sync(&server);
    check_in_sync(&mut device, &server);
}

/// The restored server gets back what it had accepted.
#[track_caller]
fn check_restored(server: &Backend, device: &mut Device) {
    device.sync(server);
    device.sync(server);
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'q1'"), "accepted, then lost");
    check_in_sync(device, server);
}

#[apply(each_store)]
fn wrong_device_clock_keeps_what_a_restore_lost(store: Store) {
    let (mut server, mut device) = nine_places(store);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted, then lost')");
    device.sync(&server);
    device.host.advance(Duration::from_hours(24 * 400));
    device.write("UPDATE places SET note = 'a year later' WHERE id = 'p9'");
    device.sync(&server);
    server.restore(&backup);
    check_restored(&server, &mut device);
    assert_eq!(server.see("SELECT note FROM places WHERE id = 'p9'"), "a year later");
}

#[apply(each_store)]
fn restore_after_a_long_absence_loses_nothing(store: Store) {
    let (mut server, mut device) = nine_places(store);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted, then lost')");
    device.sync(&server);
    server.restore(&backup);
    server.clock.advance(40 * DAY);
    device.host.advance(Duration::from_hours(24 * 40));
    // The restored server accepts this before the pull that detects the restore.
    device.write("UPDATE places SET note = 'later' WHERE id = 'p9'");
    check_restored(&server, &mut device);
}

#[apply(each_store)]
fn history_expires_after_thirty_days_of_server_time(store: Store) {
    let (server, mut device) = nine_places(store);
    for note in ["first", "second"] {
        device.write(&format!("UPDATE places SET note = '{note}' WHERE id = 'p9'"));
        device.sync(&server);
        server.clock.advance(31 * DAY);
    }
    assert_eq!(device.raw("SELECT count(*) FROM rejoin_history"), "1");
}

#[apply(each_store)]
fn restore_with_a_schema_change_is_detected(store: Store) {
    let (mut server, mut device) = nine_places(store);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted, then lost')");
    device.sync(&server);
    server.restore(&backup);
    server.alter("ALTER TABLE places ADD COLUMN height INTEGER");
    device.write("UPDATE places SET note = 'later' WHERE id = 'p9'");
    check_restored(&server, &mut device);
}

#[apply(each_store)]
fn restore_between_push_and_last_page_is_detected(store: Store) {
    let mut server = Backend::on(store);
    server.outside(
        "INSERT INTO places (id, name, user_id) VALUES ('p1', 'A', 'ana'), ('p2', 'B', 'ana')",
    );
    let mut device = Device::with("ana", 1, None, |config| config.page_size = 1);
    device.until(&server, Phase::Snapshot).unwrap();
    device.step(&server).unwrap();
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted, then lost')");
    device.until(&server, Phase::Pushing).unwrap();
    device.step(&server).unwrap();
    server.restore(&backup);
    server.outside("UPDATE places SET name = 'C' WHERE id = 'p2'");
    server.outside("UPDATE places SET name = 'D' WHERE id = 'p2'");
    check_restored(&server, &mut device);
}

#[apply(each_store)]
fn accepted_edits_are_offered_to_restored_server_first(store: Store) {
    let (mut server, mut device) = nine_places(store);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('q1', 'accepted')");
    device.write("UPDATE places SET name = 'accepted' WHERE id = 'p2'");
    device.write("UPDATE places SET name = 'accepted' WHERE id = 'p3'");
    device.write("DELETE FROM places WHERE id = 'p4'");
    device.sync(&server);
    server.restore(&backup);
    server.outside("UPDATE places SET name = 'newer' WHERE id = 'p3'");
    device.write("UPDATE places SET note = 'pending' WHERE id = 'q1'");
    device.crash();
    device.until(&server, Phase::Pushing).unwrap();
    assert_eq!(device.waiting(), "Sent/1 Sent/1 Sent/1 Sent/1 Sent/1");
    assert_eq!(device.see("SELECT name FROM places WHERE id = 'p2'"), "accepted", "seen meanwhile");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (4, 1), "compared, never forced");
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    check_in_sync(&mut device, &server);
    assert_eq!(device.see(IDS), "p1 p2 p3 p5 p6 p7 p8 p9 q1");
    assert_eq!(server.see("SELECT name, note FROM places WHERE id = 'q1'"), "accepted|pending");
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'p3'"), "newer");
    // It happens once.
    device.crash();
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
}

/// Regression (seed 9031004): the last page has the buckets of the first, and pages between them
/// had others.
#[apply(each_store)]
fn bucket_changed_twice_between_pages_gives_right_rows(store: Store) {
    const GRANT: &str = "INSERT INTO rejoin_bucket (user_id, bucket) VALUES ('ana', 'user:bob')";
    const TAKE: &str = "DELETE FROM rejoin_bucket";
    for is_held_at_first in [false, true] {
        let server = Backend::on(store);
        server.outside(
            "INSERT INTO places (id, name, user_id) VALUES ('p1', 'A', 'ana'), ('p2', 'B', 'ana'),
               ('p3', 'C', 'bob'), ('p4', 'D', 'bob'), ('p5', 'E', 'ana'), ('p6', 'F', 'ana')",
        );
        let mut changes = [GRANT, TAKE];
        if is_held_at_first {
            server.outside(GRANT);
            changes.reverse();
        }
        let mut device = Device::with("ana", 1, None, |config| config.page_size = 1);
        pages(&mut device, &server, 2);
        server.outside(changes[0]);
        pages(&mut device, &server, 3);
        server.outside(changes[1]);
        device.sync(&server);
        let rows = if is_held_at_first { "p1 p2 p3 p4 p5 p6" } else { "p1 p2 p5 p6" };
        assert_eq!(device.see(IDS), rows);
        assert_eq!(
            digest::digest(device.engine(), "places").unwrap(),
            server.digest("ana", "places")
        );
    }
}
