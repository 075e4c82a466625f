//! Push: groups, attempts, verdicts, and uncertain mutations.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use rejoin_core::engine::rebase::decide;
use rejoin_core::sync::session::{Phase, Request, Response};
use rejoin_protocol::wire::path;
use rejoin_protocol::wire::push::{Operation, PushRequest};
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Peer, Store, cases};

use crate::junk::changed;
use crate::places::{PLACES, faults, one_place};
use crate::{apply, each_store};

/// The pushes that a device has sent.
fn pushes(device: &Device) -> Vec<PushRequest> {
    let pushes = device.sent.iter().filter(|request| request.phase == Phase::Pushing);
    pushes.map(|one| serde_json::from_slice(one.body.as_ref().unwrap()).unwrap()).collect()
}

#[apply(each_store)]
fn push_sends_changed_columns_with_old_values(store: Store) {
    let (server, mut device) = one_place(store);
    device.write(
        "UPDATE places SET name = 'B', updated_at = '2199-01-01T00:00:00.000000Z' WHERE id = 'p1'",
    );
    device.sync(&server);
    let push = pushes(&device).pop().unwrap();
    assert!(push.changes.is_empty());
    let change = &push.rejoin.unwrap().groups[0].changes[0];
    assert_eq!(change.operation, Operation::Update);
    assert_eq!(change.data.as_ref().unwrap().get(), r#"{"name":"B"}"#);
    assert_eq!(change.old.as_ref().unwrap().get(), r#"{"name":"A"}"#);
}

#[apply(each_store)]
fn mutation_is_accepted_or_rejected_as_a_whole(store: Store) {
    let (server, mut device) = one_place(store);
    device.write_together(&[
        "UPDATE places SET name = 'B' WHERE id = 'p1'",
        "INSERT INTO places (id, name, score) VALUES ('p2', 'too much', 9)",
    ]);
    device.write("INSERT INTO places (id, name) VALUES ('p3', 'innocent')");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (1, 1));
    assert_eq!(device.waiting(), "Parked:Rejected/1");
    assert_eq!(server.see("SELECT id, name FROM places ORDER BY id"), "p1|A p3|innocent");
    assert_eq!(device.see("SELECT id, name FROM places ORDER BY id"), "p1|A p3|innocent");
    let detail = device.queue()[0].detail.clone().unwrap();
    assert!(detail.contains("constraint.check"), "{detail}");
}

#[apply(each_store)]
fn lost_response_causes_no_second_application(store: Store) {
    for fault in faults(store) {
        let (server, mut device) = one_place(store);
        device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
        device.until(&server, Phase::Pushing).unwrap();
        device.faults.push_back(fault);
        let failed = device.step(&server).is_err();
        assert_eq!(failed, fault != Fault::Doubled, "{fault:?}");
        device.sync(&server);
        device.deliver_late(&server);
        device.sync(&server);
        assert_eq!(device.waiting(), "", "{fault:?}");
        assert_eq!(device.see(PLACES), "p1|B|n|3", "{fault:?}");
        let times = "SELECT count(*) FROM rejoin_changelog WHERE record_id = 'p1'";
        assert_eq!(server.see(times), "2", "{fault:?}: one insert, one update");
    }
}

#[apply(each_store)]
fn uncertain_mutation_is_resent_unchanged(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("DELETE FROM places WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'new')");
    device.lose_push(&server, Fault::RequestLost);
    // A pull between the two sends renews the row's version, which must not change the sent group.
    server.outside("UPDATE places SET note = 'foreign' WHERE id = 'p1'");
    device.faults.push_back(Fault::RequestLost);
    device.pass(&server).unwrap_err();
    device.crash();
    device.sync(&server);
    let groups: Vec<String> = pushes(&device)
        .into_iter()
        .map(|push| serde_json::to_string(&push.rejoin.unwrap().groups).unwrap())
        .collect();
    assert!(groups.len() >= 3);
    assert_eq!(groups[0], groups[1]);
    assert_eq!(groups[1], groups[2]);
}

#[apply(each_store)]
fn repeated_verdict_carries_the_current_row(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    server.outside("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.until(&server, Phase::Pulling).unwrap();
    assert_eq!(device.see(PLACES), "p1|C|n|3", "the current image, not the old one");
    device.sync(&server);
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), server.see(PLACES)));
}

#[apply(each_store)]
fn sent_state_is_committed_before_sending(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    // The request is in flight, and the process ends.
    device.crash();
    assert_eq!(device.waiting(), "Uncertain/1");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
}

#[apply(each_store)]
fn push_response_is_applied_in_one_transaction(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'new')");
    device.write("INSERT INTO places (id, name, score) VALUES ('p3', 'bad', 9)");
    device.until(&server, Phase::Pushing).unwrap();
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = commits.clone();
    device.engine().on_commit(Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    device.step(&server).unwrap();
    assert_eq!(commits.load(Ordering::SeqCst), 1);
}

#[apply(each_store)]
fn response_to_an_abandoned_request_is_not_applied(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    let late = server.answer("ana", device.sent.last().unwrap());
    device.unexpected(late.clone()).unwrap_err();
    assert_eq!(device.waiting(), "Uncertain/1");
    // Nor does it match another request, which has another number.
    device.until(&server, Phase::Pushing).unwrap();
    device.step_with(&server, |_| late).unwrap_err();
    assert_eq!(device.waiting(), "Uncertain/1");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
}

#[apply(each_store)]
fn uncertain_edit_has_no_conflict_before_its_verdict(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.write("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.write("UPDATE places SET name = 'D' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    // Its own row arrives by a pull; the next push is lost, so the pull comes first.
    device.pull_only(&server);
    assert_eq!(device.waiting(), "Uncertain/1 Uncertain/1 Uncertain/1");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(device.see(PLACES), "p1|D|n|3");
}

#[apply(each_store)]
fn dependents_of_rejected_mutation_are_parked_with_it(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("INSERT INTO places (id, name, score) VALUES ('p2', 'bad', 9)");
    device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p2', 'monday')");
    device.write("UPDATE places SET name = 'worse' WHERE id = 'p2'");
    device.write("INSERT INTO places (id, name) VALUES ('p3', 'innocent')");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (1, 3));
    let queue = device.queue();
    let reasons: Vec<String> =
        queue.iter().map(|mutation| format!("{:?}", mutation.reason.unwrap())).collect();
    assert_eq!(reasons, ["Rejected", "Depends", "Depends"]);
    assert_eq!(queue[2].because_of, Some(queue[0].id));
    let push = pushes(&device).remove(0).rejoin.unwrap();
    assert_eq!(push.groups[1].after, [push.groups[0].id.clone()], "the child waits for its parent");
    assert_eq!(server.see("SELECT id FROM places ORDER BY id"), "p1 p3");
    assert_eq!(device.see("SELECT id FROM places ORDER BY id"), "p1 p3");
    assert_eq!(server.see("SELECT count(*) FROM visits"), "0");
}

/// Whether the correction is written before the push or while it is in flight.
#[apply(each_store)]
fn correction_of_rejected_value_replaces_it(store: Store) {
    for in_flight in [false, true] {
        let (server, mut device) = one_place(store);
        device.write("UPDATE places SET score = 9 WHERE id = 'p1'");
        if in_flight {
            device.until(&server, Phase::Pushing).unwrap();
        }
        device.write("UPDATE places SET score = 4 WHERE id = 'p1'");
        for _ in 0..2 {
            device.sync(&server);
        }
        assert_eq!(device.waiting(), "Parked:Rejected/1", "the correction was accepted");
        assert_eq!(
            (server.see(PLACES), device.see(PLACES)),
            ("p1|A|n|4".into(), "p1|A|n|4".into())
        );
    }
}

#[apply(each_store)]
fn delete_sends_version_of_the_base_row(store: Store) {
    let (server, mut device) = one_place(store);
    device.write_together(&[
        "UPDATE places SET updated_at = '2199-01-01T00:00:00.000000Z' WHERE id = 'p1'",
        "DELETE FROM places WHERE id = 'p1'",
    ]);
    let version = server.see("SELECT updated_at FROM places");
    device.sync(&server);
    let push = pushes(&device).pop().unwrap().rejoin.unwrap();
    let change = push.groups.last().unwrap().changes[0].clone();
    assert_eq!(change.operation, Operation::Delete);
    assert_eq!(change.version, Some(version));
    assert_eq!(server.see("SELECT count(*) FROM places WHERE deleted_at IS NOT NULL"), "1");
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), String::new()));
}

#[apply(each_store)]
fn oversized_batch_is_halved_and_oversized_mutation_staged(store: Store) {
    let (server, mut device) = one_place(store);
    for number in 0..4 {
        device.write(&format!("INSERT INTO places (id, name) VALUES ('n{number}', 'new')"));
    }
    device.until(&server, Phase::Pushing).unwrap();
    // Four, then two, then one: too large each time; only the first alone is the cause.
    device.faults.extend([Fault::TooLarge, Fault::TooLarge, Fault::TooLarge]);
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked, device.waiting()), (4, 0, String::new()));
    assert_eq!(server.see("SELECT id FROM places ORDER BY id"), "n0 n1 n2 n3 p1");
    let staged = device.sent.iter().filter(|one| one.path.starts_with(path::STAGE)).count();
    assert_eq!(staged, 2, "a question and one part");
}

#[apply(each_store)]
fn staged_mutation_that_the_server_refuses_as_too_large_is_parked(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("INSERT INTO places (id, name) VALUES ('n1', 'new')");
    device.until(&server, Phase::Pushing).unwrap();
    device.faults.push_back(Fault::TooLarge);
    device.step(&server).unwrap();
    device.until(&server, Phase::Pushing).unwrap();
    while device.next_path() != Some(path::PUSH) {
        device.step(&server).unwrap();
        device.until(&server, Phase::Pushing).unwrap();
    }
    device.faults.push_back(Fault::TooLarge);
    device.step(&server).unwrap();
    device.write("INSERT INTO places (id, name) VALUES ('n2', 'other')");
    device.sync(&server); // What was written during a push is for the next one.
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Refused/1");
    assert_eq!(server.see("SELECT id FROM places ORDER BY id"), "n2 p1");
    assert!(device.sent.len() < 20, "{} requests", device.sent.len());
}

/// In two threads after a barrier: of two edits of one value one wins, and all others are applied.
#[apply(each_store)]
fn concurrent_pushes_of_one_user_accept_one_edit_of_a_value(store: Store) {
    let (server, one) = one_place(store);
    let mut two = Device::new("ana", 2);
    two.sync(&server);
    let (mut devices, names) = ([one, two], ["one", "two"]);
    let rounds = cases(if store == Store::Sqlite { 10 } else { 4 });
    for round in 0..rounds {
        for (device, name) in devices.iter_mut().zip(names) {
            device.write(&format!("INSERT INTO places (id, name) VALUES ('{name}{round}', 'new')"));
            device.write(&format!("UPDATE places SET name = '{name}{round}' WHERE id = 'p1'"));
            device.until(&server, Phase::Pushing).unwrap();
        }
        let (begin, server) = (Barrier::new(2), &server);
        std::thread::scope(|scope| {
            for device in &mut devices {
                scope.spawn(|| {
                    begin.wait();
                    device.sync(server);
                });
            }
        });
        for device in &mut devices {
            device.sync(server);
        }
        let waiting = devices.each_mut().map(Device::waiting);
        let winner = usize::from(!waiting[0].is_empty());
        assert_eq!(waiting[winner], "", "{waiting:?}");
        assert_eq!(waiting[1 - winner], "Parked:Conflicted/1");
        let name = server.see("SELECT name FROM places WHERE id = 'p1'");
        assert_eq!(name, format!("{}{round}", names[winner]));
        for device in &mut devices {
            for parked in device.queue() {
                decide::discard(device.engine(), parked.id).unwrap();
            }
            assert_eq!(device.see(PLACES), server.see(PLACES));
        }
    }
    assert_eq!(server.see("SELECT count(*) FROM places"), (1 + 2 * rounds).to_string());
    let accepted = "SELECT count(*) FROM rejoin_verdict WHERE ending = 'accepted'";
    assert_eq!(server.see(accepted), (3 * rounds).to_string(), "each mutation once");
}

/// A server that has time for three groups of a push.
#[derive(Debug)]
struct BusyServer<'a>(&'a Backend);

impl Peer for BusyServer<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let mut request = request.clone();
        let body = request.body.as_deref().unwrap_or_default();
        let mut push: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let groups =
            push["rejoin"]["groups"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let (done, rest) = groups.split_at(groups.len().min(3));
        push["rejoin"]["groups"] = done.into();
        if groups.is_empty() {
            return self.0.exchange(user, &request);
        }
        request.body = Some(serde_json::to_vec(&push).unwrap());
        let response = self.0.exchange(user, &request)?;
        Some(changed(&response, |json| {
            let verdicts = json["rejoin"]["verdicts"].as_array_mut().unwrap();
            verdicts.extend(rest.iter().map(|group| {
                serde_json::json!({"id": group["id"], "attempt": group["attempt"], "verdict": "retry",
                    "code": "unfinished", "retryable": true})
            }));
        }))
    }
}

#[test]
fn unfinished_groups_are_sent_again_in_the_same_pass() {
    let (server, mut device) = one_place(Store::Sqlite);
    for number in 0..10 {
        device.write(&format!("INSERT INTO places (id, name) VALUES ('n{number}', 'new')"));
    }
    let report = device.pass(&BusyServer(&server)).unwrap();
    assert_eq!((report.accepted, device.waiting()), (10, String::new()));
    let sent: Vec<usize> =
        pushes(&device).iter().map(|push| push.rejoin.as_ref().unwrap().groups.len()).collect();
    assert_eq!(sent, [10, 7, 4, 1]);
    assert_eq!(server.see(PLACES), device.see(PLACES));
}

/// The response has no room for all of them, and a page of a pull neither.
#[apply(each_store)]
fn rows_that_a_response_leaves_out_are_pulled(store: Store) {
    let tables = vec![TableConfig::owned("places", "user_id")];
    let limits = Limits { body: 20_000, page_bytes: 20_000, ..Limits::default() };
    let server = Backend::made(store, rejoin_tests::tables::SERVER, tables, limits);
    for number in 10..30 {
        server.outside(&format!(
            "INSERT INTO places (id, name, note, user_id) VALUES ('p{number}', 'A', '{}', 'ana')",
            "x".repeat(6_000)
        ));
    }
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    server.outside("UPDATE places SET score = 4");
    device.write("UPDATE places SET name = 'B'");
    let report = device.sync(&server);
    assert_eq!((report.accepted, device.waiting()), (1, String::new()));
    assert_eq!(device.see(PLACES), server.see(PLACES));
    assert!(device.see(PLACES).contains("|4"));
}
