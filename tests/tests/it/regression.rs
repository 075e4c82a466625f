//! Regressions: bugs found by comparing the code with the models. Each test failed before its fix.

use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device, Fault, Moment, Store};

use crate::places::places;
use crate::{apply, each_store};

const PLACES: &str = "SELECT id, name, note FROM places ORDER BY id";

/// A delete took the version of the base image when it was first sent. While an earlier edit of the
/// row is uncertain, that image has not been checked for conflicts: the server saw "equal version"
/// and removed an edit that this device had never shown.
#[apply(each_store)]
fn delete_above_uncertain_edit_removes_no_foreign_edit(store: Store) {
    let (server, mut device) = places(store, 1, 3);
    device.sync(&server);
    device.write("UPDATE places SET note = 'mine' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    device.push_undecided(&server).unwrap();
    device.until(&server, Phase::Pulling).unwrap();
    device.write("DELETE FROM places WHERE id = 'p1'");
    let delete = device.queue()[1].id;
    // The foreign image arrives while the first edit is uncertain, and is not checked for
    // conflicts.
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "Uncertain/1 Pending/1");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see(PLACES), "p1|theirs|mine", "the foreign edit remains");
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!(device.queue()[0].id, delete);
    assert_eq!(device.see(PLACES), "p1|theirs|mine");
}

/// A staged snapshot restarted at every start of the app: register sent the compacted cursor, the
/// server answered that it is invalid, and the device took that for a new state.
#[apply(each_store)]
fn staged_snapshot_resumes_after_app_restart(store: Store) {
    let (server, mut device) = places(store, 9, 3);
    device.sync(&server);
    server.outside("UPDATE places SET note = 'later' WHERE id = 'p9'");
    server.clock.advance(400 * 86_400_000_000);
    Device::new("ana", 99).sync(&server);
    server.compact();
    let before = device.sent.len();
    let mut inserted = 0;
    while inserted < 2 {
        if device.step(&server).unwrap() == Moment::Leaving(Phase::Snapshot) {
            inserted += 1;
        }
    }
    device.crash();
    device.sync(&server);
    let pages = device.sent[before..].iter().filter(|one| one.path == "/sync/snapshot").count();
    assert_eq!(device.see(PLACES), server.see(PLACES));
    assert_eq!(pages, 4, "nine rows by three, and the end; none of them twice");
}

/// A group on which the server's own triggers fail caused a 500 for the whole request, forever.
#[apply(each_store)]
fn group_with_server_failure_blocks_no_other(store: Store) {
    let (server, mut device) = places(store, 2, 3);
    device.sync(&server);
    server.outside_by(
        "CREATE TRIGGER broken AFTER UPDATE ON places WHEN NEW.name = 'poison'
         BEGIN SELECT json_extract('no json', '$'); END",
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM no_such_function(); RETURN NULL; END $$;
         CREATE TRIGGER broken AFTER UPDATE ON places FOR EACH ROW WHEN (NEW.name = 'poison')
         EXECUTE FUNCTION broken()",
    );
    device.write("UPDATE places SET name = 'poison' WHERE id = 'p1'");
    device.write("UPDATE places SET name = 'innocent' WHERE id = 'p2'");
    let _ = device.pass(&server);
    let _ = device.pass(&server);
    assert_eq!(server.see(PLACES), "p1|A|n p2|innocent|n");
    assert_eq!(device.waiting(), "Uncertain/1");
    server.outside_by("DROP TRIGGER broken", "DROP TRIGGER broken ON places");
    device.sync(&server);
    assert_eq!(
        (device.waiting(), server.see(PLACES)),
        (String::new(), "p1|poison|n p2|innocent|n".into())
    );
}

/// An edit without a verdict, though accepted by the server, was applied over an edit of the same
/// device that the server accepted later. The app saw the older value, and its next write was
/// parked.
#[apply(each_store)]
fn dependents_of_edit_without_verdict_wait_for_next_pass(store: Store) {
    let server = Backend::on(store);
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p1', 'A', 'ana')");
    let mut device = Device::with("ana", 1, None, |config| config.batch_size = 1);
    device.sync(&server);
    device.write("UPDATE places SET name = 'first' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    device.write("UPDATE places SET name = 'second' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'other')");
    device.push_undecided(&server).unwrap();
    device.pass(&server).unwrap();
    assert_eq!(device.waiting(), "Uncertain/1 Pending/1", "the other row has gone");
    assert_eq!(device.see(PLACES), "p1|second|- p2|other|-");
    device.write("UPDATE places SET name = 'third' WHERE id = 'p1'");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(server.see(PLACES), "p1|third|- p2|other|-");
}
