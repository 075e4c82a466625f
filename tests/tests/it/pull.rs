//! Pull: rows and cursor move together (I6), foreign images meet edits (O6), access changes (O9, C4), page ends (D15).

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
fn what_others_write_comes_with_a_pull_whoever_writes_it(store: Store) {
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
fn the_cursor_moves_with_the_rows_it_covers(store: Store) {
    let (server, mut device) = two_places(store);
    server.outside("UPDATE places SET score = 5 WHERE id = 'p1'");
    device.until(&server, Phase::Pulling).unwrap();
    let broken = device.step_with(&server, |mut answer| {
        // A score that is no number: the page is read as a message, and fails when it is bound.
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
fn an_edit_that_was_never_sent_is_judged_by_the_pull(store: Store) {
    let (server, mut device) = two_places(store);
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p2'");
    device.until(&server, Phase::Pulling).unwrap();
    // Written while the pull is on its way.
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
fn rows_answered_under_other_buckets_are_named_again(store: Store) {
    let (server, mut device) = two_places(store);
    server.outside(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('b1', 'Bob', 'n', 1, 'bob')",
    );
    server.outside("INSERT INTO rejoin_bucket (user_id, bucket) VALUES ('ana', 'user:bob')");
    device.sync(&server);
    assert_eq!(device.see(PLACES), "b1|Bob|n|1 p1|A|n|3 p2|A|n|3");
    // Access is taken away when the push is answered, and given back before the pull: the cursor sees no change.
    device.write("UPDATE places SET name = 'hers?' WHERE id = 'b1'");
    device.until(&server, Phase::Pushing).unwrap();
    server.outside("DELETE FROM rejoin_bucket");
    device.step(&server).unwrap();
    assert_eq!(device.see(PLACES), "p1|A|n|3 p2|A|n|3");
    server.outside("INSERT INTO rejoin_bucket (user_id, bucket) VALUES ('ana', 'user:bob')");
    device.crash();
    device.sync(&server);
    assert_eq!(device.see(PLACES), "b1|Bob|n|1 p1|A|n|3 p2|A|n|3");
    // It is asked once.
    device.sync(&server);
    let last: PullRequest =
        serde_json::from_slice(device.sent.last().unwrap().body.as_ref().unwrap()).unwrap();
    assert!(last.rejoin.unwrap().recheck.is_empty());
}

/// A pull names five hundred rows again at most; the pulls of one pass name them all.
#[apply(each_store)]
fn more_rows_than_one_pull_names_again_all_come_in_one_pass(store: Store) {
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
fn a_transaction_larger_than_a_page_comes_whole_or_not_at_all(store: Store) {
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

/// A page has rows as they are when it is read, so alone it can show a part of a transaction that a later page names.
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

/// A page names rows by entries, and brings them as they stand when it is read, which may be later than its last entry. So a
/// cursor of before the backup can stand upon rows of after it.
fn a_restore_behind_a_page_that_showed_more(store: Store) -> bool {
    let (mut server, mut device) = places(store, 2, 1);
    device.sync(&server);
    server.outside("UPDATE places SET name = 'C' WHERE id = 'p1'");
    server.outside("UPDATE places SET name = 'D' WHERE id = 'p2'");
    // Somebody has looked: the backup knows the positions of what is in it.
    Device::new("ana", 9).sync(&server);
    let backup = server.backup();
    server.outside("DELETE FROM places WHERE id = 'p1'");
    // A pass keeps its pages until the last. After three that lost an answer, each page is applied alone.
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

/// The device keeps the cursor of a snapshot's first page, and a backup of before the last page knows it.
fn a_restore_behind_pages_of_a_snapshot(store: Store, is_first: bool, pages: usize) -> bool {
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
fn a_server_restored_to_before_the_last_page_of_a_snapshot_is_found_out_though_the_cursor_is_older(
    store: Store,
) {
    for is_first in [true, false] {
        let holds = |pages| a_restore_behind_pages_of_a_snapshot(store, is_first, pages);
        assert!((0..5).step_by(each(store, 2)).all(holds), "first: {is_first}");
    }
}

#[apply(each_store)]
fn a_server_restored_to_before_what_a_page_showed_is_found_out_though_the_cursor_is_older(
    store: Store,
) {
    assert!(a_restore_behind_a_page_that_showed_more(store));
}
