//! Pull: rows and cursor are committed together, foreign images meet edits, access changes, pages
//! end with transactions.

use rejoin_core::sync::session::Phase;
use rejoin_protocol::wire::pull::PullRequest;
use rejoin_tests::{Backend, Device, Fault, Moment, Store};

use crate::places::{PLACES, each, places};
use crate::{apply, each_store};

fn two_places(store: Store) -> (Backend, Device) {
    let (server, mut device) = places(store, 2, 100);
    device.sync(&server);
    (server, device)
}

#[apply(each_store)]
fn pull_applies_writes_of_devices_and_outside_writers(store: Store) {
    let (server, mut device) = two_places(store);
    server.outside("UPDATE places SET name = 'by hand' WHERE id = 'p1'");
    server.outside("DELETE FROM places WHERE id = 'p2'");
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p3', 'new', 'ana')");
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p4', 'not hers', 'bob')");
    let report = device.sync(&server);
    assert_eq!(report.pulled, 3);
    assert_eq!(device.see(PLACES), "p1|by hand|n|3 p3|new|-|-");
}

#[apply(each_store)]
fn cursor_commits_with_its_rows(store: Store) {
    let (server, mut device) = two_places(store);
    server.outside("UPDATE places SET score = 5 WHERE id = 'p1'");
    device.until(&server, Phase::Pulling).unwrap();
    let broken = device.step_with(&server, |mut answer| {
        // A score that is not a number: the page is parsed as a message, and fails when it is
        // bound.
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains(",5,"), "{text}");
        answer.body = text.replace(",5,", ",\"five\",").into();
        answer
    });
    assert!(broken.is_err());
    assert_eq!(device.see(PLACES), "p1|A|n|3 p2|A|n|3");
    device.crash();
    device.sync(&server);
    assert_eq!(device.see(PLACES), "p1|A|n|5 p2|A|n|3");
}

#[apply(each_store)]
fn pull_detects_conflict_of_unsent_edit(store: Store) {
    let (server, mut device) = two_places(store);
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p2'");
    device.until(&server, Phase::Pulling).unwrap();
    // Written while the pull is in flight.
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p1'");
    device.write("UPDATE places SET score = 5 WHERE id = 'p2'");
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "Parked:Conflicted/1 Pending/1");
    assert_eq!(device.see(PLACES), "p1|theirs|n|3 p2|theirs|n|5");
    let detail = device.queue()[0].detail.clone().unwrap();
    assert!(detail.contains("theirs") && detail.contains("mine"), "both rows: {detail}");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see(PLACES), "p1|theirs|n|3 p2|theirs|n|5");
}

#[apply(each_store)]
fn rows_pushed_under_other_buckets_are_rechecked(store: Store) {
    let (server, mut device) = two_places(store);
    server.outside(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('b1', 'Bob', 'n', 1, 'bob')",
    );
    server.outside("INSERT INTO rejoin_bucket (user_id, bucket) VALUES ('ana', 'user:bob')");
    device.sync(&server);
    assert_eq!(device.see(PLACES), "b1|Bob|n|1 p1|A|n|3 p2|A|n|3");
    // Access is revoked when the push is answered, and granted again before the pull: the cursor
    // sees no change.
    device.write("UPDATE places SET name = 'hers?' WHERE id = 'b1'");
    device.until(&server, Phase::Pushing).unwrap();
    server.outside("DELETE FROM rejoin_bucket");
    device.step(&server).unwrap();
    assert_eq!(device.see(PLACES), "p1|A|n|3 p2|A|n|3");
    server.outside("INSERT INTO rejoin_bucket (user_id, bucket) VALUES ('ana', 'user:bob')");
    device.crash();
    device.sync(&server);
    assert_eq!(device.see(PLACES), "b1|Bob|n|1 p1|A|n|3 p2|A|n|3");
    // The recheck is requested once.
    device.sync(&server);
    let last: PullRequest =
        serde_json::from_slice(device.sent.last().unwrap().body.as_ref().unwrap()).unwrap();
    assert!(last.rejoin.unwrap().recheck.is_empty());
}

/// A pull names at most five hundred rows again; the pulls of one pass name them all.
#[apply(each_store)]
fn recheck_of_many_rows_completes_in_one_pass(store: Store) {
    const ROWS: usize = 601;
    const BOBS: &str = "SELECT count(*) FROM places WHERE name = 'Bob'";
    let (server, mut device) = two_places(store);
    let rows: Vec<String> =
        (0..ROWS).map(|number| format!("('b{number}', 'Bob', 'n', 1, 'bob')")).collect();
    server.outside(&format!(
        "INSERT INTO places (id, name, note, score, user_id) VALUES {}",
        rows.join(", ")
    ));
    let grant = "INSERT INTO rejoin_bucket (user_id, bucket) VALUES ('ana', 'user:bob')";
    server.outside(grant);
    device.sync(&server);
    assert_eq!(device.see(BOBS), ROWS.to_string());
    device.write("UPDATE places SET name = 'hers?' WHERE id LIKE 'b%'");
    device.until(&server, Phase::Pushing).unwrap();
    server.outside("DELETE FROM rejoin_bucket");
    device.step(&server).unwrap();
    assert_eq!(device.see(BOBS), "0");
    server.outside(grant);
    device.sync(&server);
    assert_eq!(device.see(BOBS), ROWS.to_string());
}

#[apply(each_store)]
fn transaction_larger_than_a_page_is_applied_whole(store: Store) {
    let server = Backend::on(store);
    let mut writer = Device::with("ana", 1, None, |config| config.page_size = 1_000);
    let mut reader = Device::with("ana", 2, None, |config| config.page_size = 7);
    writer.sync(&server);
    reader.sync(&server);
    writer.write(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
                  INSERT INTO places (id, name) SELECT printf('p%02d', i), 'new' FROM n",
    );
    writer.sync(&server);
    writer.write("DELETE FROM places WHERE id = 'p03'");
    writer.sync(&server);
    let mut seen = Vec::new();
    while let Moment::Leaving(_) = reader.step(&server).unwrap() {
        seen.push(reader.see("SELECT count(*) FROM places"));
    }
    seen.dedup();
    assert!(seen.iter().all(|count| ["0", "50", "49"].contains(&count.as_str())), "{seen:?}");
    assert_eq!(reader.see(PLACES), writer.see(PLACES));
}

/// A page has the rows as they are when it is read, so alone it can show a part of a transaction
/// that a later page names.
#[apply(each_store)]
fn pages_of_one_pull_are_applied_together(store: Store) {
    const SCORES: &str = "SELECT score FROM places ORDER BY id";
    let (server, mut reader) = places(store, 2, 1);
    reader.sync(&server);
    let mut writer = Device::new("ana", 9);
    writer.sync(&server);
    // A page of one entry names p1 only; the next transaction changes both rows.
    for sql in ["UPDATE places SET score = 4 WHERE id = 'p1'", "UPDATE places SET score = 5"] {
        writer.write(sql);
        writer.sync(&server);
    }
    let mut seen = Vec::new();
    while let Moment::Leaving(_) = reader.step(&server).unwrap() {
        seen.push(reader.see(SCORES));
    }
    assert!(seen.iter().all(|scores| ["3 3", "5 5"].contains(&scores.as_str())), "{seen:?}");
    assert_eq!(reader.see(SCORES), "5 5");
}

/// A page names rows by entries, and contains them as they are when it is read, which may be later
/// than its last entry. So a cursor from before the backup can be stored with rows from after it.
fn restore_before_state_of_a_page(store: Store) -> bool {
    let (mut server, mut device) = places(store, 2, 1);
    device.sync(&server);
    server.outside("UPDATE places SET name = 'C' WHERE id = 'p1'");
    server.outside("UPDATE places SET name = 'D' WHERE id = 'p2'");
    // A device has synced, so the backup contains the positions of its entries.
    Device::new("ana", 9).sync(&server);
    let backup = server.backup();
    server.outside("DELETE FROM places WHERE id = 'p1'");
    // A pass keeps its pages until the last. After three passes with a lost response, each page is
    // applied alone.
    for _ in 0..3 {
        device.until(&server, Phase::Pulling).unwrap();
        device.step(&server).unwrap();
        assert_eq!(device.see(PLACES), "p1|A|n|3 p2|A|n|3", "more pages follow");
        device.faults.push_back(Fault::AnswerLost);
        device.step(&server).unwrap_err();
    }
    device.until(&server, Phase::Pulling).unwrap();
    device.step(&server).unwrap();
    assert_eq!(
        device.see(PLACES),
        "p2|A|n|3",
        "the page of one entry shows what came after the backup"
    );
    server.restore(&backup);
    device.crash();
    device.sync(&server);
    device.see(PLACES) == "p1|C|n|3 p2|D|n|3"
}

/// The device keeps the cursor of a snapshot's first page, which a backup from before the last page
/// contains.
fn restore_before_last_snapshot_page(store: Store, is_first: bool, pages: usize) -> bool {
    let (mut server, mut device) = places(store, 2, 1);
    if !is_first {
        device.sync(&server);
        server.outside("UPDATE places SET score = 4 WHERE id = 'p1'");
        server.clock.advance(400 * 86_400_000_000);
        Device::new("ana", 9).sync(&server);
        server.compact();
    }
    device.until(&server, Phase::Snapshot).unwrap();
    device.step(&server).unwrap();
    let backup = server.backup();
    server.outside("UPDATE places SET name = 'never was' WHERE id = 'p2'");
    for _ in 0..pages {
        device.step(&server).unwrap();
    }
    server.restore(&backup);
    device.crash();
    device.sync(&server);
    device.see("SELECT id, name FROM places ORDER BY id") == "p1|A p2|A"
}

#[apply(each_store)]
fn restore_to_before_last_snapshot_page_is_detected(store: Store) {
    for is_first in [true, false] {
        let holds = |pages| restore_before_last_snapshot_page(store, is_first, pages);
        assert!((0..5).step_by(each(store, 2)).all(holds), "first: {is_first}");
    }
}

#[apply(each_store)]
fn restore_to_before_state_of_a_page_is_detected(store: Store) {
    assert!(restore_before_state_of_a_page(store));
}
