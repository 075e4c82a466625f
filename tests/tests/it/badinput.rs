//! Bad input from the machine and from other programs: a full disk, a file that another program
//! writes, wrong clocks, enormous rows, values that cannot be synced. Each gives a typed error or
//! is harmless. Nothing is applied in part, nothing is lost, and the next try succeeds.
//!
//! Bad responses are in `hostile`, `hostile_push` and `bounds`; bad requests in the server's
//! `hostile`.

use rejoin_core::engine::rebase::decide;
use rejoin_core::engine::shortage;
use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::Phase;
use rejoin_core::{Error, InputFault, StorageFault};
use rejoin_tests::{Backend, Device, Moment};

use crate::hostile::state_of;

const SEE: &str = "SELECT id, name, note, score FROM places ORDER BY id";

/// A note of a hundred pages.
const LARGE: &str = "hex(randomblob(200000))";

#[track_caller]
fn check_in_sync(device: &mut Device, server: &Backend, what: &str) {
    assert_eq!(device.waiting(), "", "{what}");
    for table in ["places", "visits"] {
        let (ours, theirs) =
            (digest::digest(device.engine(), table).unwrap(), server.digest("ana", table));
        assert_eq!(ours, theirs, "{what}: {table}");
    }
    assert!(device.see(SEE) == server.see(SEE), "{what}");
}

/// The setup of a test.
type Begin<'a> = &'a dyn Fn() -> (Backend, Device);

fn one_place() -> Backend {
    let server = Backend::new();
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p1', 'A', 'ana')");
    server
}

/// A device that synced before and has pending writes, and a server with large changes.
fn diverged_device() -> (Backend, Device) {
    let server = one_place();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.write("UPDATE places SET score = 4 WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('mine', 'M')");
    server.outside(&format!(
        "UPDATE places SET note = {LARGE} WHERE id = 'p1';
         INSERT INTO places (id, name, note, user_id) VALUES ('theirs', 'T', {LARGE}, 'ana')"
    ));
    (server, device)
}

/// Continues until a step fails, which must change nothing, or the pass is over.
fn first_error(device: &mut Device, server: &Backend, what: &str) -> Option<Error> {
    for _ in 0..200 {
        let before = state_of(device);
        match device.step(server) {
            Ok(Moment::Finished(_)) => return None,
            Ok(Moment::Leaving(_)) => {}
            Err(error) => {
                assert_eq!(state_of(device), before, "{what}: in part");
                return Some(error.downcast().unwrap_or_else(|error| panic!("{what}: {error:#}")));
            }
        }
    }
    panic!("{what}: the pass does not end");
}

#[test]
fn full_disk_at_any_page_loses_nothing() {
    let rebuilt = || {
        let (mut server, mut device) = diverged_device();
        device.sync(&server);
        device.write("UPDATE places SET score = 5 WHERE id = 'p1'");
        server.alter(&format!(
            "ALTER TABLE places ADD COLUMN stars TEXT; UPDATE places SET note = {LARGE}"
        ));
        (server, device)
    };
    let table: [(&str, Begin<'_>); 3] = [
        ("a first sync", &|| (diverged_device().0, Device::new("ana", 2))),
        ("push and pull", &diverged_device),
        ("a rebuild beside the tables", &rebuilt),
    ];
    for (what, begin) in table {
        let (server, mut device) = begin();
        let mut full = 0;
        loop {
            // Existing pages stay; each round allows a few more.
            shortage::limit_room(device.engine(), Some(11 * (full / 2))).unwrap();
            let Some(error) = first_error(&mut device, &server, what) else { break };
            assert!(
                matches!(error, Error::Storage(StorageFault::Full)),
                "{what} {full}: {error:?}"
            );
            full += 1;
            assert!(full < 200, "{what}: it never ends");
        }
        assert!(full > 5, "{what}: it was full {full} times only");
        shortage::limit_room(device.engine(), None).unwrap();
        device.sync(&server);
        check_in_sync(&mut device, &server, what);
        let mine = server.see("SELECT count(*) FROM places WHERE id = 'mine'");
        assert_eq!(mine, if what == "a first sync" { "0" } else { "1" }, "{what}");
    }
}

#[test]
fn file_locked_by_another_program_is_a_temporary_error() {
    let new = || (one_place(), Device::new("ana", 1));
    let table: [(&str, Begin<'_>, Phase); 5] = [
        ("registering", &new, Phase::Registering),
        ("the schema", &new, Phase::FetchingSchema),
        ("the first page", &new, Phase::Snapshot),
        ("an answer to a push", &diverged_device, Phase::Pushing),
        ("a pull", &diverged_device, Phase::Pulling),
    ];
    for (what, begin, phase) in table {
        let (server, mut device) = begin();
        device.until(&server, phase).unwrap();
        shortage::fail_when_locked(device.engine()).unwrap();
        #[allow(clippy::disallowed_methods)] // Another program.
        let other = rusqlite::Connection::open(device.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = first_error(&mut device, &server, what).unwrap();
        assert!(matches!(error, Error::Storage(StorageFault::Locked { .. })), "{what}: {error:?}");
        let wrote = device.engine().execute("DELETE FROM places", &[]);
        assert!(
            phase != Phase::Pulling
                || matches!(wrote, Err(Error::Storage(StorageFault::Locked { .. }))),
            "{wrote:?}"
        );
        other.execute_batch("COMMIT").unwrap();
        device.sync(&server);
        check_in_sync(&mut device, &server, what);
    }
}

/// Microseconds since 1970.
const CLOCKS: [(&str, i64); 5] = [
    ("1970", 0),
    ("before 1970", -40_000_000_000_000_000),
    ("2100", 4_102_444_800_000_000),
    ("the end of 9999", 253_402_300_799_000_000),
    ("beyond what a date can say", i64::MAX - 1_000_000_000),
];

const TODAY: i64 = 1_767_225_600_000_000;

#[test]
fn wrong_device_clock_loses_nothing_and_wins_nothing() {
    for (what, clock) in CLOCKS {
        let server = one_place();
        let (mut wrong, mut right) = (Device::new("ana", 1), Device::new("ana", 2));
        wrong.host.set(clock);
        wrong.sync(&server);
        right.sync(&server);
        // A conflict is decided by the values, whichever clock is later.
        right.write("UPDATE places SET name = 'Right' WHERE id = 'p1'");
        right.sync(&server);
        wrong.write("UPDATE places SET name = 'Wrong' WHERE id = 'p1'");
        wrong.write(
            "INSERT INTO places (id, name, note) VALUES (rejoin_new_id(), 'New', rejoin_now())",
        );
        wrong.sync(&server);
        assert_eq!(wrong.waiting(), "Parked:Conflicted/1", "{what}");
        let parked = wrong.queue()[0].id;
        decide::discard(wrong.engine(), parked).unwrap();
        wrong.host.set(TODAY);
        wrong.write("UPDATE places SET name = 'Later' WHERE id = 'p1'");
        wrong.sync(&server);
        right.sync(&server);
        check_in_sync(&mut wrong, &server, what);
        check_in_sync(&mut right, &server, what);
        assert_eq!(server.see("SELECT name FROM places ORDER BY name"), "Later New", "{what}");
    }
}

#[test]
fn sync_continues_after_server_clock_jumps() {
    let server = one_place();
    let (mut one, mut two) = (Device::new("ana", 1), Device::new("ana", 2));
    one.sync(&server);
    two.sync(&server);
    let mut at = TODAY;
    for (number, clock) in [0, 4_102_444_800_000_000, 1, TODAY].into_iter().enumerate() {
        server.clock.advance(clock - at);
        at = clock;
        one.write(&format!("INSERT INTO places (id, name) VALUES ('n{number}', 'N')"));
        one.write(&format!("UPDATE places SET name = 'name {number}' WHERE id = 'p1'"));
        one.sync(&server);
        two.write(&format!("UPDATE places SET note = 'note {number}' WHERE id = 'p1'"));
        two.sync(&server);
        one.sync(&server);
        check_in_sync(&mut one, &server, &format!("clock {clock}"));
        check_in_sync(&mut two, &server, &format!("clock {clock}"));
    }
}

#[test]
fn ten_megabyte_rows_sync_in_both_directions() {
    let server = one_place();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    let ten = "hex(zeroblob(5000000))";
    server.outside(&format!(
        "INSERT INTO places (id, name, note, user_id) VALUES ('big', 'Big', {ten}, 'ana'), ('small', 'S', 'n', 'ana')"
    ));
    device.sync(&server);
    check_in_sync(&mut device, &server, "pulled");
    let mut other = Device::new("ana", 2);
    other.sync(&server);
    check_in_sync(&mut other, &server, "in a snapshot");

    device.write(&format!("INSERT INTO places (id, name, note) VALUES ('mine', 'M', {ten})"));
    device.write("UPDATE places SET name = 'Other' WHERE id = 'small'");
    device.sync(&server);
    assert_eq!(device.waiting(), "", "it is sent in parts");
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'small'"), "Other");
    check_in_sync(&mut device, &server, "pushed");
}

#[test]
fn unsyncable_local_write_is_refused_whole() {
    let server = one_place();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    let before = device.see(SEE);
    for (what, sql) in [
        ("a NUL", "UPDATE places SET name = 'a' || char(0) || 'b'"),
        ("a NUL in a key", "INSERT INTO places (id, name) VALUES ('a' || char(0), 'N')"),
        ("a key that is NULL", "INSERT INTO places (id, name) VALUES (NULL, 'N')"),
        ("a key of bytes", "INSERT INTO places (id, name) VALUES (x'00ff', 'N')"),
        ("half a character", "UPDATE places SET name = CAST(x'c3' AS TEXT)"),
        ("a lone surrogate", "UPDATE places SET name = CAST(x'eda080' AS TEXT)"),
        ("infinity", "UPDATE places SET score = 9e999"),
        ("minus infinity", "UPDATE places SET score = -9e999"),
        ("an integer beyond 64 bits", "UPDATE places SET score = 9223372036854775808"),
        ("a fraction", "UPDATE places SET score = 1.5"),
        ("words for a number", "UPDATE places SET score = 'many'"),
        ("bytes for text", "UPDATE places SET name = x'00'"),
        ("a day that is none", "UPDATE places SET created_at = '2026-02-30T00:00:00Z'"),
        ("a year too many", "UPDATE places SET created_at = '12026-02-03T00:00:00Z'"),
    ] {
        let together = device.engine().transaction(|tx| {
            tx.execute("INSERT INTO places (id, name) VALUES ('with it', 'W')", &[])?;
            tx.execute(sql, &[])
        });
        let refused = together.err().unwrap_or_else(|| panic!("{what} was taken"));
        assert!(
            matches!(
                refused,
                Error::InvalidInput(InputFault::Value { .. }) | Error::Constraint { .. }
            ),
            "{what}: {refused:?}"
        );
        assert_eq!((device.see(SEE), device.waiting()), (before.clone(), String::new()), "{what}");
    }
    device.write("UPDATE places SET name = 'Good'");
    device.sync(&server);
    check_in_sync(&mut device, &server, "the next write");
}

#[test]
fn invalid_server_rows_stop_no_device() {
    let table = [
        ("a NUL", "'bad', 'a' || char(0) || 'b', NULL"),
        ("a NUL in a key", "'bad' || char(0), 'B', NULL"),
        ("a key of bytes", "x'00ff', 'B', NULL"),
        ("a key of half a character", "CAST(x'c3' AS TEXT), 'B', NULL"),
        ("an empty key", "'', 'B', NULL"),
        ("a long key", "hex(zeroblob(100000)), 'B', NULL"),
        ("half a character", "'bad', 'B', CAST(x'c3' AS TEXT)"),
        ("a lone surrogate", "'bad', 'B', CAST(x'eda080' AS TEXT)"),
        ("bytes for text", "'bad', 'B', x'00ff'"),
        ("infinity", "'bad', 'B', 9e999"),
    ];
    for (what, values) in table {
        let server = one_place();
        let mut device = Device::new("ana", 1);
        device.sync(&server);
        server.outside(&format!(
            "INSERT INTO places (id, name, note, user_id) VALUES ({values}, 'ana'), ('good', 'G', 'n', 'ana')"
        ));
        device.write("UPDATE places SET score = 3 WHERE id = 'p1'");
        let mut new = Device::new("ana", 2);
        for (device, how) in [(&mut device, "pulled"), (&mut new, "in a snapshot")] {
            let passed = (0..3).map(|_| device.pass(&server)).find(Result::is_ok);
            assert!(passed.is_some(), "{what} {how}: {:?}", device.pass(&server));
            let good =
                device.see("SELECT name, score FROM places WHERE id IN ('good', 'p1') ORDER BY id");
            assert_eq!(good, "G|- A|3", "{what} {how}");
        }
        // Once the rows are corrected, all agree.
        server.outside("DELETE FROM places WHERE id NOT IN ('p1', 'good')");
        for device in [&mut device, &mut new] {
            device.sync(&server);
            check_in_sync(device, &server, what);
        }
    }
}
