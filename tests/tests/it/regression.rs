//! Bugs that were found by reading the code against the models: each story failed before its fix.

use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device, Fault, Moment, Store};

use crate::places::places;
use crate::{apply, each_store};

const PLACES: &str = "SELECT id, name, note FROM places ORDER BY id";

/// A delete took the version of the base image when it was first sent. While an earlier edit of the row is uncertain,
/// that image has met no judgement (O6): the server saw "equal version" and removed an edit that nobody here had seen.
#[apply(each_store)]
fn a_delete_above_an_uncertain_edit_removes_no_foreign_edit(store: Store) {
    let (server, mut device) = places(store, 1, 3);
    device.sync(&server);
    device.write("UPDATE places SET note = 'mine' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    device.push_undecided(&server).unwrap();
    device.until(&server, Phase::Pulling).unwrap();
    device.write("DELETE FROM places WHERE id = 'p1'");
    let delete = device.queue()[1].id;
    // The foreign image comes while the first edit is uncertain, and meets no judgement.
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "Uncertain/1 Pending/1");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see(PLACES), "p1|theirs|mine", "the foreign edit stands");
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!(device.queue()[0].id, delete);
    assert_eq!(device.see(PLACES), "p1|theirs|mine");
}

/// A snapshot beside the tables began anew at every start of the app: register named the cursor that the log no longer
/// reaches, heard that it is worth nothing, and took that for news.
#[apply(each_store)]
fn a_staged_snapshot_is_resumed_by_the_next_start_of_the_app(store: Store) {
    let (server, mut device) = places(store, 9, 3);
    device.sync(&server);
    server.outside("UPDATE places SET note = 'later' WHERE id = 'p9'");
    server.clock.advance(400 * 86_400_000_000);
    Device::new("ana", 99).sync(&server);
    server.compact();
    let before = device.sent.len();
    let mut laid = 0;
    while laid < 2 {
        if device.step(&server).unwrap() == Moment::Leaving(Phase::Snapshot) {
            laid += 1;
        }
    }
    device.crash();
    device.sync(&server);
    let pages = device.sent[before..].iter().filter(|one| one.path == "/sync/snapshot").count();
    assert_eq!(device.see(PLACES), server.see(PLACES));
    assert_eq!(pages, 4, "nine rows by three, and the end; none of them twice");
}

/// A group that the server's own triggers cannot digest answered 500 for the whole request, for ever.
#[apply(each_store)]
fn a_group_that_makes_the_server_fail_blocks_no_other(store: Store) {
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

/// An edit that had no verdict, though the server had accepted it, was laid over one of the same device that the server
/// accepted after it: the app saw the older value, and what it wrote upon that was parked.
#[apply(each_store)]
fn what_follows_from_an_edit_without_a_verdict_waits_for_the_next_pass(store: Store) {
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
