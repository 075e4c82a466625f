//! The stream of verdicts: each outcome of each mutation once, reported until the app acknowledges
//! it.

use std::sync::mpsc;
use std::time::Duration;

use rejoin_core::engine::queue::verdict::KEPT;
use rejoin_core::engine::rebase::decide;
use rejoin_core::engine::reset;
use rejoin_core::sync::session::Phase;
use rejoin_core::{ColumnValues, Keep, ParkReason, VerdictEntry, VerdictKind, Verdicts};
use rejoin_tests::{Device, Fault, Store};

use crate::client::{PATIENCE, served_phone};
use crate::places::one_place;
use crate::{apply, each_store};

fn entries(device: &mut Device) -> Vec<VerdictEntry> {
    device.engine().verdicts(0, 100).unwrap().entries
}

fn kinds(device: &mut Device) -> Vec<VerdictKind> {
    entries(device).into_iter().map(|entry| entry.kind).collect()
}

/// A trigger of the server that fails, and its removal.
const BROKEN_IN_SQLITE: [&str; 2] = [
    "CREATE TRIGGER broken AFTER INSERT ON places WHEN NEW.name = 'poison'
     BEGIN SELECT json_extract('no json', '$'); END",
    "DROP TRIGGER broken",
];
const BROKEN_IN_POSTGRES: [&str; 2] = [
    "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN IF NEW.name = 'poison' THEN PERFORM no_such_function(); END IF; RETURN NULL; END $$;
     CREATE TRIGGER broken AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION broken()",
    "DROP TRIGGER broken ON places",
];

#[apply(each_store)]
fn server_fault_parks_its_chain_and_one_retry_frees_it(store: Store) {
    let (server, mut device) = one_place(store);
    server.outside_by(BROKEN_IN_SQLITE[0], BROKEN_IN_POSTGRES[0]);
    device.engine().set_fault_limit(3, Duration::from_hours(1));
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'poison')");
    device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p2', 'monday')");
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    let ids: Vec<_> = device.queue().iter().map(|mutation| mutation.id).collect();
    for pass in 1..=5 {
        let report = device.pass(&server).unwrap();
        let parked = if pass == 4 { 2 } else { 0 };
        assert_eq!((report.accepted, report.parked), (u64::from(pass == 1), parked), "{pass}");
    }
    assert_eq!(device.waiting(), "Parked:ServerFault/1 Parked:Depends/5");
    let detail = device.queue()[0].detail.clone().unwrap();
    assert!(detail.contains("log_id") && detail.contains("could not decide"), "{detail}");
    assert_eq!(device.see("SELECT id, name FROM places ORDER BY id"), "p1|B");
    server.outside_by(BROKEN_IN_SQLITE[1], BROKEN_IN_POSTGRES[1]);
    assert_eq!(decide::retry_chain(device.engine(), ids[0]).unwrap(), ids[..2]);
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(server.see("SELECT id, place_id FROM visits"), "v1|p2");
}

#[apply(each_store)]
fn each_mutation_has_one_verdict_with_its_reason(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'good')");
    device.write("INSERT INTO places (id, name, score) VALUES ('p3', 'bad', 9)");
    device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p3', 'monday')");
    let ids: Vec<_> = device.queue().iter().map(|mutation| mutation.id).collect();
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    device.faults.push_back(Fault::AnswerLost); // Sent twice, it has one verdict.
    device.step(&server).unwrap_err();
    device.sync(&server);
    let mut entries = entries(&mut device);
    assert!(entries.is_sorted_by_key(|entry| entry.number));
    entries.sort_by_key(|entry| ids.iter().position(|id| *id == entry.id));
    assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
    let parked = VerdictKind::Parked;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(
        kinds,
        [
            parked(ParkReason::Conflicted),
            VerdictKind::Accepted,
            parked(ParkReason::Rejected),
            parked(ParkReason::Depends)
        ]
    );
    let both = entries[0].detail.as_ref().unwrap();
    let [row] = both.rows.as_slice() else { panic!("{both:?}") };
    let name = |side: &Option<ColumnValues>| side.as_ref().unwrap()["name"].clone();
    assert_eq!((row.table.as_str(), &row.key), ("places", &"p1".into()));
    assert_eq!((name(&row.mine), name(&row.theirs)), ("mine".into(), "theirs".into()));
    let refused = entries[2].detail.as_ref().unwrap();
    assert_eq!(refused.code.as_deref(), Some("constraint.check"));
    assert_eq!(entries[3].because_of, Some(ids[2]));
}

#[apply(each_store)]
fn verdict_leaves_detail_above_64_kib_to_pending(store: Store) {
    let (server, mut device) = one_place(store);
    let long = "x".repeat(64 * 1024);
    device.write(&format!("UPDATE places SET name = '{long}' WHERE id = 'p1'"));
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    device.sync(&server);
    let verdicts = entries(&mut device);
    assert_eq!(verdicts[0].kind, VerdictKind::Parked(ParkReason::Conflicted));
    assert_eq!(verdicts[0].detail, None);
    let pending = device.queue();
    let detail = pending[0].detail.as_deref().unwrap();
    assert!(detail.contains(&long) && detail.contains("theirs"));
}

#[apply(each_store)]
fn verdict_is_reported_until_acknowledged(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name, score) VALUES ('p3', 'bad', 9)");
    device.sync(&server);
    let first = entries(&mut device);
    assert_eq!(first.len(), 2);
    device.crash();
    assert_eq!(entries(&mut device), first, "the process died before it was dealt with");
    device.engine().acknowledge_verdicts(first[0].number).unwrap();
    device.crash();
    assert_eq!(entries(&mut device), first[1..]);
    let far = i64::MAX; // Verdicts that do not exist yet cannot be acknowledged.
    device.engine().acknowledge_verdicts(far).unwrap();
    device.write("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.sync(&server);
    assert_eq!(kinds(&mut device), [VerdictKind::Accepted]);
    assert_eq!(device.engine().verdicts(0, 9).unwrap().missed, 0);
}

#[apply(each_store)]
fn new_attempt_has_its_own_verdict_and_discard_has_none(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p1'");
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    device.sync(&server);
    let id = device.queue()[0].id;
    decide::retry(device.engine(), id).unwrap();
    device.sync(&server);
    let ends: Vec<_> =
        entries(&mut device).into_iter().map(|e| (e.id, e.attempt, e.kind)).collect();
    let parked = VerdictKind::Parked(ParkReason::Conflicted);
    assert_eq!(ends, [(id, 1, parked), (id, 2, VerdictKind::Accepted)]);
    device.write("UPDATE places SET name = 'never mind' WHERE id = 'p1'");
    let id = device.queue()[0].id;
    decide::discard(device.engine(), id).unwrap();
    device.sync(&server);
    assert_eq!(entries(&mut device).len(), 2);
}

#[apply(each_store)]
fn discarded_sent_mutation_ends_withdrawn(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (server, mut device) = one_place(store);
        device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
        device.lose_push(&server, fault);
        let id = device.queue()[0].id;
        decide::discard(device.engine(), id).unwrap();
        assert_eq!(kinds(&mut device), []);
        device.sync(&server);
        let entries = entries(&mut device);
        assert_eq!((entries[0].id, entries[0].kind), (id, VerdictKind::Withdrawn), "{fault:?}");
        match entries.as_slice() {
            [one] => assert_eq!((one.because_of, fault), (None, Fault::RequestLost)),
            [one, reverse] => {
                assert_eq!((one.because_of, fault), (Some(reverse.id), Fault::AnswerLost));
                assert_eq!(reverse.kind, VerdictKind::Accepted);
            }
            _ => panic!("{entries:?}"),
        }
    }
}

#[apply(each_store)]
fn acceptance_before_a_restore_is_not_reported_twice(store: Store) {
    let (mut server, mut device) = one_place(store);
    let backup = server.backup();
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.sync(&server);
    assert_eq!(kinds(&mut device), [VerdictKind::Accepted]);
    server.restore(&backup);
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see("SELECT name FROM places"), "B", "offered again");
    assert_eq!(kinds(&mut device), [VerdictKind::Accepted]);
}

#[apply(each_store)]
fn verdicts_are_bounded_and_dropped_ones_counted(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.sync(&server);
    let first = entries(&mut device)[0].number;
    // As if as many had followed since.
    device.crash();
    device.raw(&format!(
        "UPDATE sqlite_sequence SET seq = seq + {} WHERE name = 'rejoin_verdict'",
        KEPT - 1
    ));
    device.crash();
    device.write("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.sync(&server);
    let news = device.engine().verdicts(0, 9).unwrap();
    assert_eq!(news.entries.len(), 1, "the oldest went");
    assert_eq!(news.entries[0].number, first + KEPT);
    assert_eq!(news.missed, u64::try_from(KEPT).unwrap());
}

#[apply(each_store)]
fn subscription_delivers_stored_and_new_verdicts(store: Store) {
    let (_backend, _served, phone) = served_phone(store);
    phone.sync();
    phone.run("INSERT INTO places (id, name) VALUES ('p1', 'good')");
    phone.sync();
    let listen = || {
        let (sender, entries) = mpsc::channel();
        let subscription = phone.client.queue().watch_verdicts(move |news| drop(sender.send(news)));
        (subscription, entries)
    };
    let (subscription, entries) = listen();
    let first = entries.recv_timeout(PATIENCE).unwrap().entries;
    assert_eq!(first[0].kind, VerdictKind::Accepted);
    phone.run("INSERT INTO places (id, name, score) VALUES ('p2', 'bad', 9)");
    phone.sync();
    let second = entries.recv_timeout(PATIENCE).unwrap().entries;
    assert_eq!(second[0].kind, VerdictKind::Parked(ParkReason::Rejected));
    phone.client.queue().acknowledge_verdicts(first[0].number).wait().unwrap();
    drop(subscription);
    let (_subscription, entries) = listen();
    assert_eq!(entries.recv_timeout(PATIENCE).unwrap().entries, second, "not acknowledged");
    assert_eq!(phone.client.queue().verdicts(100).wait().unwrap().entries, second);
}

#[test]
fn subscription_made_while_suspended_delivers_after_resume() {
    let (_backend, _served, phone) = served_phone(Store::Sqlite);
    phone.sync();
    phone.run("INSERT INTO places (id, name, score) VALUES ('p1', 'bad', 9)");
    phone.sync();
    phone.client.sync().suspend().wait().unwrap();
    let (sender, entries) = mpsc::channel();
    let queue = phone.client.queue();
    let _subscription = queue.watch_verdicts(move |news| drop(sender.send(news)));
    phone.client.sync().resume().wait().unwrap();
    let news = entries.recv_timeout(PATIENCE).unwrap().entries;
    assert_eq!(news[0].kind, VerdictKind::Parked(ParkReason::Rejected));
}

#[apply(each_store)]
fn reset_hides_former_users_verdicts(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.sync(&server);
    reset::reset(device.engine(), Keep::Local, &[]).unwrap();
    assert_eq!(device.engine().verdicts(0, 9).unwrap(), Verdicts::default());
    device.sync(&server);
    device.write("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.sync(&server);
    let news = device.engine().verdicts(0, 9).unwrap();
    assert_eq!((news.entries.len(), news.missed), (1, 0));
}
