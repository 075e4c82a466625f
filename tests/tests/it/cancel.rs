//! Discard of a mutation that was sent and has no verdict: it is removed from the rows, cancelled
//! by its id, and reversed if the server had accepted it.

use std::sync::Arc;

use rejoin_core::engine::action::perform;
use rejoin_core::engine::rebase::decide;
use rejoin_core::sync::session::Phase;
use rejoin_core::{Actions, Error, QueueFault, VerdictKind};
use rejoin_tests::{Backend, Device, Fault, Store};
use serde_json::json;

use crate::places::{PLACES, faults, one_place};
use crate::{apply, each_store};

const LIVE: &str = "SELECT id, name, note, score FROM places WHERE deleted_at IS NULL ORDER BY id";

/// Discards the first mutation of the queue.
fn discard_first(device: &mut Device) {
    let id = device.queue()[0].id;
    decide::discard(device.engine(), id).unwrap();
}

#[apply(each_store)]
fn accepted_mutation_is_reversed_after_discard(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B', score = 4 WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    assert_eq!(server.see(PLACES), "p1|B|n|4");
    discard_first(&mut device);
    assert_eq!(device.see(PLACES), "p1|A|n|3", "out of the rows at once");
    assert_eq!(device.waiting(), "");
    device.crash();
    assert_eq!(device.see(PLACES), "p1|A|n|3");
    device.sync(&server);
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), server.see(PLACES)));
    assert_eq!(server.see(PLACES), "p1|A|n|3");
}

#[apply(each_store)]
fn late_request_of_discarded_mutation_is_refused(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.lose_push(&server, Fault::Late);
    discard_first(&mut device);
    device.sync(&server);
    device.deliver_late(&server);
    device.sync(&server);
    assert_eq!((server.see(PLACES), device.see(PLACES)), ("p1|A|n|3".into(), "p1|A|n|3".into()));
    assert_eq!(server.see("SELECT ending FROM rejoin_verdict"), "cancelled");
    assert_eq!(device.raw("SELECT count(*) FROM rejoin_cancel"), "0");
}

#[apply(each_store)]
fn withdrawal_survives_every_fault(store: Store) {
    for fault in faults(store) {
        for first in [Fault::AnswerLost, Fault::RequestLost] {
            let (server, mut device) = one_place(store);
            device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
            device.lose_push(&server, first);
            discard_first(&mut device);
            device.write("UPDATE places SET note = 'later' WHERE id = 'p1'");
            device.until(&server, Phase::Pushing).unwrap();
            device.faults.push_back(fault);
            let _ = device.step(&server);
            device.sync(&server);
            device.deliver_late(&server);
            device.sync(&server);
            let context = format!("{fault:?} after {first:?}");
            assert_eq!(
                (device.waiting(), device.see(PLACES)),
                (String::new(), server.see(PLACES)),
                "{context}"
            );
            assert_eq!(server.see(PLACES), "p1|A|later|3", "{context}");
        }
    }
}

#[apply(each_store)]
fn dependent_mutations_wait_for_the_withdrawal_verdict(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    discard_first(&mut device);
    device.write("UPDATE places SET name = 'C' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'other')");
    // The server cannot decide on the withdrawal, so it decides nothing else either.
    device.push_undecided(&server).unwrap();
    let _ = device.pass(&server);
    assert_eq!(server.see("SELECT id, name FROM places ORDER BY id"), "p1|B p2|other");
    assert_eq!(device.waiting(), "Pending/1");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(server.see("SELECT id, name FROM places ORDER BY id"), "p1|C p2|other");
    assert_eq!(device.see(PLACES), server.see(PLACES));
}

#[apply(each_store)]
fn discard_removes_sent_dependents_and_parks_unsent_ones(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (server, mut device) = one_place(store);
        device.write("INSERT INTO places (id, name) VALUES ('p2', 'new')");
        device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p2', 'monday')");
        device.write("UPDATE places SET name = 'newer' WHERE id = 'p2'");
        device.lose_push(&server, fault);
        device.write("INSERT INTO visits (id, place_id, day) VALUES ('v2', 'p2', 'friday')");
        discard_first(&mut device);
        assert_eq!(device.waiting(), "Parked:Depends/1", "{fault:?}");
        assert_eq!(device.see(PLACES), "p1|A|n|3");
        assert_eq!(device.see("SELECT count(*) FROM visits"), "0");
        device.sync(&server);
        assert_eq!(device.waiting(), "Parked:Depends/1", "{fault:?}");
        assert_eq!(server.see(LIVE), "p1|A|n|3", "{fault:?}");
        assert_eq!(server.see("SELECT id FROM visits WHERE deleted_at IS NULL"), "", "{fault:?}");
        assert_eq!(device.see(PLACES), server.see(LIVE));
    }
}

#[apply(each_store)]
fn reverse_reverts_only_own_values_still_present(store: Store) {
    let (server, mut device) = one_place(store);
    // An outside writer wrote the same value before: this device must not revert it.
    server.outside("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.write("UPDATE places SET name = 'B', note = 'mine', score = 4 WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    server.outside("UPDATE places SET note = 'theirs' WHERE id = 'p1'");
    discard_first(&mut device);
    device.sync(&server);
    assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|B|theirs|3".into()));
    assert_eq!(device.see(PLACES), server.see(PLACES));
}

#[apply(each_store)]
fn edit_of_sent_mutation_withdraws_it_first(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (server, mut device) = one_place(store);
        device.write("UPDATE places SET name = 'typo', note = 'm' WHERE id = 'p1'");
        device.lose_push(&server, fault);
        let id = device.queue()[0].id;
        let edit = decide::edit(device.engine(), id, |tx| {
            tx.execute("UPDATE places SET name = 'right' WHERE id = 'p1'", &[]).map(drop)
        });
        assert!(edit.unwrap().is_some());
        assert_eq!(device.see(PLACES), "p1|right|m|3");
        device.crash();
        device.sync(&server);
        assert_eq!(
            (device.waiting(), server.see(PLACES)),
            (String::new(), "p1|right|m|3".into()),
            "{fault:?}"
        );
    }
}

#[apply(each_store)]
fn discard_is_refused_if_server_cannot_withdraw(store: Store) {
    let (server, mut device) = one_place(store);
    device.crash();
    device.until(&server, Phase::Registering).unwrap();
    let older = |mut answer: rejoin_core::sync::session::Response| {
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains("\"cancel\""), "{text}");
        answer.body = text.replace(",\"cancel\"", "").into_bytes().into();
        answer
    };
    device.step_with(&server, older).unwrap();
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    let id = device.queue()[0].id;
    let refused = decide::discard(device.engine(), id);
    assert!(
        matches!(refused, Err(Error::Queue(QueueFault::Uncertain(other))) if other == id),
        "{refused:?}"
    );
    assert_eq!((device.waiting(), device.see(PLACES)), ("Uncertain/1".into(), "p1|B|n|3".into()));
}

/// Inserts a visit and decrements the place's room: two tables, all or nothing.
const BOOK: &str = r#"{"name": "book", "parameters": [{"name": "id", "type": "text"}],
    "statements": ["UPDATE places SET score = score - 1, note = 'booked' WHERE id = 'p1'",
        "INSERT INTO visits (id, place_id, day) VALUES (:id, 'p1', 'monday')"]}"#;

/// A discarded action that the server accepted without the device receiving the verdict.
fn discarded_accepted_action(store: Store, others: &str) -> (Backend, Device) {
    let (server, mut device) = one_place(store);
    perform::set_actions(device.engine(), Arc::new(Actions::new().declare(BOOK)), true).unwrap();
    perform::perform(device.engine(), "book", &json!({"id": "v1"})).unwrap();
    device.lose_push(&server, Fault::AnswerLost);
    if !others.is_empty() {
        server.outside(others);
    }
    discard_first(&mut device);
    assert_eq!(device.see(PLACES), "p1|A|n|3");
    (server, device)
}

const VISITS: &str = "SELECT id FROM visits WHERE deleted_at IS NULL";

#[apply(each_store)]
fn withdrawn_action_is_reversed_whole(store: Store) {
    // A column that the action did not write is no obstacle.
    for others in ["", "UPDATE places SET name = 'theirs' WHERE id = 'p1'"] {
        let (server, mut device) = discarded_accepted_action(store, others);
        device.sync(&server);
        let name = if others.is_empty() { "A" } else { "theirs" };
        assert_eq!(
            (device.waiting(), server.see(PLACES)),
            (String::new(), format!("p1|{name}|n|3"))
        );
        assert_eq!((server.see(VISITS), device.see(VISITS)), (String::new(), String::new()));
    }
}

#[apply(each_store)]
fn withdrawn_action_is_parked_whole_if_a_part_has_changed(store: Store) {
    let cases = [
        ("UPDATE places SET score = 1 WHERE id = 'p1'", "p1|A|booked|1", "v1"),
        // The very value from before was written by an outside writer.
        ("UPDATE places SET score = 3 WHERE id = 'p1'", "p1|A|booked|3", "v1"),
        ("UPDATE visits SET day = 'friday' WHERE id = 'v1'", "p1|A|booked|2", "v1"),
        (
            "UPDATE visits SET deleted_at = '2026-01-01T00:00:00.000000Z' WHERE id = 'v1'",
            "p1|A|booked|2",
            "",
        ),
    ];
    for (others, places, visits) in cases {
        let (server, mut device) = discarded_accepted_action(store, others);
        device.sync(&server);
        device.sync(&server);
        assert_eq!(device.waiting(), "Parked:Conflicted/1", "{others}");
        assert_eq!(
            (server.see(PLACES), server.see(VISITS)),
            (places.into(), visits.into()),
            "{others}"
        );
        assert_eq!(
            (device.see(PLACES), device.see(VISITS)),
            (places.into(), visits.into()),
            "{others}"
        );
        let reverse = device.queue()[0].clone();
        assert_eq!(reverse.effect.rows.len(), 2, "{others}: all of it");
        let entries = device.engine().verdicts(0, 10).unwrap().entries;
        let withdrawn = entries.iter().find(|one| one.kind == VerdictKind::Withdrawn).unwrap();
        assert_eq!(withdrawn.because_of, Some(reverse.id), "{others}");
        assert!(entries.iter().any(|one| one.id == reverse.id));
        // The app keeps the action's result, or insists.
        if places.contains("|1") {
            decide::retry(device.engine(), reverse.id).unwrap();
            device.sync(&server);
            assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|A|n|3".into()));
            assert_eq!((server.see(VISITS), device.see(VISITS)), (String::new(), String::new()));
        } else {
            decide::discard(device.engine(), reverse.id).unwrap();
            device.sync(&server);
            assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), places.to_owned()));
        }
    }
}

/// A retry counts no other writer's value as its own, as no action does.
#[apply(each_store)]
fn retried_reverse_of_an_action_goes_by_old_values_alone(store: Store) {
    let score = "UPDATE places SET score = 1 WHERE id = 'p1'";
    let (server, mut device) = discarded_accepted_action(store, score);
    device.sync(&server);
    let id = device.queue()[0].id;
    decide::retry(device.engine(), id).unwrap();
    server.outside(&score.replace("= 1", "= 3"));
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/2");
    assert_eq!((server.see(PLACES), server.see(VISITS)), ("p1|A|booked|3".into(), "v1".into()));
}

/// An edit that was sent on top of a withdrawn action compares the action's values: reversing the
/// action below it would create a conflict with the device itself.
#[apply(each_store)]
fn withdrawn_action_under_an_uncertain_edit_is_parked(store: Store) {
    let (server, mut device) = one_place(store);
    perform::set_actions(device.engine(), Arc::new(Actions::new().declare(BOOK)), true).unwrap();
    perform::perform(device.engine(), "book", &json!({"id": "v1"})).unwrap();
    device.write("UPDATE places SET note = 'later' WHERE id = 'p1'");
    device.lose_push(&server, Fault::AnswerLost);
    discard_first(&mut device);
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!((server.see(PLACES), server.see(VISITS)), ("p1|A|later|2".into(), "v1".into()));
    assert_eq!((device.see(PLACES), device.see(VISITS)), ("p1|A|later|2".into(), "v1".into()));
}
