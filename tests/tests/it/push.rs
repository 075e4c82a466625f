//! Push: groups, attempts, verdicts, and what is uncertain (O1 to O5, R9 to R11).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rejoin_core::engine::queue::mutation::State;
use rejoin_core::sync::session::Phase;
use rejoin_protocol::wire::push::{Operation, PushRequest};
use rejoin_tests::{Device, Fault, Moment, Store};

use crate::{apply, each_store, one_place};

const PLACES: &str = "SELECT id, name, note, score FROM places ORDER BY id";

/// The pushes that a device has sent.
fn pushes(device: &Device) -> Vec<PushRequest> {
    let pushes = device.sent.iter().filter(|request| request.phase == Phase::Pushing);
    pushes.map(|one| serde_json::from_slice(one.body.as_ref().unwrap()).unwrap()).collect()
}

#[apply(each_store)]
fn an_edit_reaches_the_server_and_another_device(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B', score = 4 WHERE id = 'p1'");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked, report.still_pending), (1, 0, 0));
    let mut other = Device::new("ana", 2);
    other.sync(&server);
    assert_eq!(other.see(PLACES), "p1|B|n|4");
    assert_eq!(server.see(PLACES), "p1|B|n|4");
    assert_eq!(device.waiting(), "");
}

#[apply(each_store)]
fn only_changed_columns_and_what_they_were_are_sent(store: Store) {
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
fn different_columns_of_a_row_merge_and_the_same_column_conflicts(store: Store) {
    let (server, mut one) = one_place(store);
    let mut two = Device::new("ana", 2);
    two.sync(&server);
    one.write("UPDATE places SET name = 'one' WHERE id = 'p1'");
    two.write("UPDATE places SET note = 'two' WHERE id = 'p1'");
    one.sync(&server);
    two.sync(&server);
    assert_eq!(two.see(PLACES), "p1|one|two|3");
    one.write("UPDATE places SET score = 4 WHERE id = 'p1'");
    two.write("UPDATE places SET score = 5 WHERE id = 'p1'");
    one.sync(&server);
    two.sync(&server);
    one.sync(&server);
    assert_eq!(two.waiting(), "Parked:Conflicted/1");
    assert_eq!((one.see(PLACES), two.see(PLACES)), (server.see(PLACES), server.see(PLACES)));
    assert_eq!(server.see(PLACES), "p1|one|two|4");
}

#[apply(each_store)]
fn a_mutation_is_accepted_whole_or_not_at_all(store: Store) {
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
fn a_lost_answer_is_no_second_application(store: Store) {
    for fault in Fault::ALL {
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
fn what_is_uncertain_is_sent_again_byte_for_byte(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("DELETE FROM places WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'new')");
    device.until(&server, Phase::Pushing).unwrap();
    device.faults.push_back(Fault::RequestLost);
    device.step(&server).unwrap_err();
    // A pull between the two sends renews the row's version, and none of it may slip into the group.
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
fn a_repeated_verdict_brings_the_row_as_it_now_stands(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    device.faults.push_back(Fault::AnswerLost);
    device.step(&server).unwrap_err();
    server.outside("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.until(&server, Phase::Pulling).unwrap();
    assert_eq!(device.see(PLACES), "p1|C|n|3", "the image of now, not of then");
    device.sync(&server);
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), server.see(PLACES)));
}

#[apply(each_store)]
fn sent_is_committed_before_the_first_byte_leaves(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    // The request is on the wire, and the process dies.
    device.crash();
    assert_eq!(device.waiting(), "Uncertain/1");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
}

#[apply(each_store)]
fn an_answer_is_one_transaction(store: Store) {
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
fn an_answer_that_nobody_waits_for_is_not_applied(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    device.faults.push_back(Fault::AnswerLost);
    device.step(&server).unwrap_err();
    let late = server.answer("ana", device.sent.last().unwrap());
    device.unexpected(late.clone()).unwrap_err();
    assert_eq!(device.waiting(), "Uncertain/1");
    // Nor is it the answer to another request, which has another number.
    device.until(&server, Phase::Pushing).unwrap();
    device.step_with(&server, |_| late).unwrap_err();
    assert_eq!(device.waiting(), "Uncertain/1");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
}

#[apply(each_store)]
fn an_uncertain_edit_is_not_judged_before_its_verdict(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.write("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.write("UPDATE places SET name = 'D' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    device.faults.push_back(Fault::AnswerLost);
    device.step(&server).unwrap_err();
    // Its own row comes back by a pull; the next push is lost on its way, so the pull comes first.
    device.pull_only(&server);
    assert_eq!(device.waiting(), "Uncertain/1 Uncertain/1 Uncertain/1");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(device.see(PLACES), "p1|D|n|3");
}

#[apply(each_store)]
fn what_stands_on_a_refused_mutation_is_blocked_and_parked_with_it(store: Store) {
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
    assert_eq!(server.see("SELECT id FROM places ORDER BY id"), "p1 p3");
    assert_eq!(device.see("SELECT id FROM places ORDER BY id"), "p1 p3");
    assert_eq!(server.see("SELECT count(*) FROM visits"), "0");
}

#[apply(each_store)]
fn a_child_waits_for_its_parents_verdict(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'parent')");
    device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p2', 'monday')");
    device.sync(&server);
    let push = pushes(&device).pop().unwrap().rejoin.unwrap();
    assert_eq!(push.groups[1].after, [push.groups[0].id.clone()]);
    assert_eq!(server.see("SELECT id, place_id FROM visits"), "v1|p2");
}

#[apply(each_store)]
fn a_correction_of_a_refused_value_takes_its_place(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET score = 9 WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    device.write("UPDATE places SET score = 4 WHERE id = 'p1'");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Rejected/1");
    assert_eq!(device.queue().len(), 1, "the correction was accepted: {}", device.waiting());
    assert_eq!(server.see(PLACES), "p1|A|n|4");
    assert_eq!(device.see(PLACES), "p1|A|n|4");
}

#[apply(each_store)]
fn a_correction_sent_with_the_refused_value_takes_its_place_too(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET score = 9 WHERE id = 'p1'");
    device.write("UPDATE places SET score = 4 WHERE id = 'p1'");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.queue().len(), 1, "the correction was accepted: {}", device.waiting());
    assert_eq!(server.see(PLACES), "p1|A|n|4");
}

#[apply(each_store)]
fn a_delete_names_the_version_of_the_base_row_not_what_the_app_wrote(store: Store) {
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
fn an_edit_made_in_flight_stays(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    device.write("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.step(&server).unwrap();
    assert_eq!(device.see(PLACES), "p1|C|n|3");
    assert_eq!(device.waiting(), "Pending/1");
    device.sync(&server);
    assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|C|n|3".to_owned()));
}

#[apply(each_store)]
fn a_delete_against_an_edit_is_parked_with_the_row_kept(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("DELETE FROM places WHERE id = 'p1'");
    server.outside("UPDATE places SET name = 'edited' WHERE id = 'p1'");
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!(device.see(PLACES), "p1|edited|n|3");
    assert_eq!(server.see(PLACES), "p1|edited|n|3");
}

#[apply(each_store)]
fn a_soft_delete_is_a_delete_and_goes_when_it_is_accepted(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET deleted_at = '2026-01-01T00:00:00.000000Z' WHERE id = 'p1'");
    assert_eq!(device.see("SELECT id FROM places"), "p1", "visible until it is accepted");
    device.sync(&server);
    assert_eq!(device.see("SELECT id FROM places"), "");
    assert_eq!(server.see("SELECT count(*) FROM places WHERE deleted_at IS NOT NULL"), "1");
}

#[apply(each_store)]
fn a_batch_that_is_too_large_is_halved_and_what_is_too_large_alone_is_parked(store: Store) {
    let (server, mut device) = one_place(store);
    for number in 0..4 {
        device.write(&format!("INSERT INTO places (id, name) VALUES ('n{number}', 'new')"));
    }
    device.until(&server, Phase::Pushing).unwrap();
    // Four, then two, then one: too large each time; the first alone is the culprit.
    device.faults.extend([Fault::TooLarge, Fault::TooLarge, Fault::TooLarge]);
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked), (3, 1));
    assert_eq!(device.waiting(), "Parked:Refused/1");
    assert_eq!(server.see("SELECT id FROM places ORDER BY id"), "n1 n2 n3 p1");
}

#[apply(each_store)]
fn a_request_never_names_an_attempt_lower_than_before(store: Store) {
    let (server, mut device) = one_place(store);
    let mut highest = std::collections::HashMap::new();
    device.write("UPDATE places SET score = 9 WHERE id = 'p1'");
    device.write("UPDATE places SET score = 4, name = 'B' WHERE id = 'p1'");
    device.faults.extend([Fault::RequestLost, Fault::AnswerLost]);
    device.sync(&server);
    device.sync(&server);
    let mut request = 0;
    for push in pushes(&device) {
        let ask = push.rejoin.unwrap();
        assert!(ask.request > request, "requests rise");
        request = ask.request;
        for group in ask.groups {
            let known = highest.entry(group.id).or_insert(group.attempt);
            assert!(group.attempt >= *known);
            *known = group.attempt;
        }
    }
}

#[apply(each_store)]
fn two_devices_of_one_user_push_at_once(store: Store) {
    let (server, mut one) = one_place(store);
    let mut two = Device::new("ana", 2);
    two.sync(&server);
    for number in 0..5 {
        one.write(&format!("INSERT INTO places (id, name) VALUES ('a{number}', 'one')"));
        two.write(&format!("INSERT INTO places (id, name) VALUES ('b{number}', 'two')"));
    }
    one.write("UPDATE places SET name = 'one' WHERE id = 'p1'");
    two.write("UPDATE places SET name = 'two' WHERE id = 'p1'");
    one.until(&server, Phase::Pushing).unwrap();
    two.until(&server, Phase::Pushing).unwrap();
    assert_eq!(two.step(&server).unwrap(), Moment::Leaving(Phase::Pushing));
    assert_eq!(one.step(&server).unwrap(), Moment::Leaving(Phase::Pushing));
    for device in [&mut one, &mut two] {
        device.sync(&server);
    }
    for device in [&mut one, &mut two] {
        device.sync(&server);
    }
    assert_eq!(one.see(PLACES), server.see(PLACES));
    assert_eq!(two.see(PLACES), server.see(PLACES));
    let parked = |device: &mut Device| {
        device.queue().iter().filter(|mutation| mutation.state == State::Parked).count()
    };
    assert_eq!((parked(&mut one), parked(&mut two)), (1, 0));
    assert_eq!(server.see("SELECT count(*) FROM places"), "11");
}
