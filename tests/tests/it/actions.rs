//! Actions of devices with a real server: the server evaluates what the action means, not the
//! values that it wrote.

use std::sync::Arc;

use rejoin_core::engine::EngineTransaction;
use rejoin_core::engine::action::perform;
use rejoin_core::engine::queue::mutation::ParkReason;
use rejoin_core::engine::rebase::decide;
use rejoin_core::ids::MutationId;
use rejoin_core::sync::session::Phase;
use rejoin_core::{Actions, Policy, Undone};
use rejoin_tests::{Backend, Device, Store};

use crate::places::faults;
use crate::{apply, each_store};
use serde_json::json;

const TAKE: &str = r#"{"name": "take", "parameters": [{"name": "n", "type": "integer"}],
    "preconditions": [{"sql": "SELECT score >= :n FROM places WHERE id = 'p1'", "message": "too few"}],
    "statements": ["UPDATE places SET score = score - :n WHERE id = 'p1'"]}"#;

const SCORE: &str = "SELECT score FROM places";

/// A server where a place of Ana's has this score.
fn server_with(store: Store, stock: i64) -> Backend {
    let server = Backend::on(store);
    server.outside(&format!(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('p1', 'A', 'n', {stock}, 'ana')"
    ));
    server
}

/// A server where Ana has one place with score five, and two places with a note.
fn server_with_three(store: Store) -> Backend {
    let server = server_with(store, 5);
    server.outside(
        "INSERT INTO places (id, name, note, user_id) VALUES ('p2', 'B', 'n', 'ana'), ('p3', 'C', 'n', 'ana')",
    );
    server
}

/// A synced device of Ana's with the action `take`.
fn device_with_take(server: &Backend, seed: u64) -> Device {
    let mut device = Device::new("ana", seed);
    device.sync(server);
    perform::set_actions(device.engine(), Arc::new(Actions::new().declare(TAKE)), true).unwrap();
    device
}

fn take(device: &mut Device, n: i64) {
    perform::perform(device.engine(), "take", &json!({"n": n})).unwrap();
}

/// A `take` that the other device's has made impossible is parked and takes nothing.
#[apply(each_store)]
fn two_devices_take_from_one_stock_until_it_is_empty(store: Store) {
    for (stock, left, reason) in [(5, "1", None), (3, "1", Some(ParkReason::Unreplayable))] {
        let server = server_with(store, stock);
        let [mut one, mut two] = [1, 2].map(|seed| device_with_take(&server, seed));
        take(&mut one, 2);
        take(&mut two, 2);
        one.sync(&server);
        two.sync(&server);
        two.sync(&server);
        assert_eq!((server.see(SCORE), two.see(SCORE)), (left.to_owned(), left.to_owned()));
        let parked: Vec<_> = two.queue().into_iter().map(|one| one.reason).collect();
        assert_eq!(parked, Vec::from_iter(reason.map(Some)));
    }
}

/// The policy would overwrite the row with the number that the action wrote. The app no longer has
/// the action, so it cannot run again.
#[apply(each_store)]
fn policy_does_not_apply_to_action_writes(store: Store) {
    let mut server = server_with(store, 5);
    server.govern("places", |table| table.policy = Policy::Rebase);
    let [mut one, mut two] = [1, 2].map(|seed| device_with_take(&server, seed));
    take(&mut one, 2);
    take(&mut two, 1);
    one.sync(&server);
    two.crash();
    perform::set_actions(two.engine(), Arc::new(Actions::new()), true).unwrap();
    two.sync(&server);
    two.sync(&server);
    assert_eq!(server.see(SCORE), "3");
    assert_eq!(two.queue()[0].reason, Some(ParkReason::Conflicted));
}

/// Writes the score into the note of one of two places, depending on the score.
const SCORE_IT: &str = r#"{"name": "score it", "statements": [
    "UPDATE places SET note = 'score ' || (SELECT score FROM places WHERE id = 'p1') WHERE id = (SELECT CASE WHEN score > 3 THEN 'p2' ELSE 'p3' END FROM places WHERE id = 'p1')"]}"#;

#[apply(each_store)]
fn edit_of_action_row_follows_the_action_rerun(store: Store) {
    for (score, notes) in [(4, "mine n"), (1, "n mine")] {
        let server = server_with_three(store);
        let mut device = device_with_take(&server, 1);
        let actions = Actions::new().declare(TAKE).declare(SCORE_IT);
        perform::set_actions(device.engine(), Arc::new(actions), true).unwrap();
        server.outside(&format!("UPDATE places SET score = {score} WHERE id = 'p1'"));
        // Both are written while the change is in flight.
        device.until(&server, Phase::Pulling).unwrap();
        perform::perform(device.engine(), "score it", &json!({})).unwrap();
        let place = if score > 3 { "p2" } else { "p3" };
        device.write(&format!("UPDATE places SET note = 'mine' WHERE id = '{place}'"));
        device.sync(&server);
        device.sync(&server);
        assert_eq!(device.waiting(), "");
        assert_eq!(server.see("SELECT note FROM places WHERE id > 'p1' ORDER BY id"), notes);
    }
}

#[apply(each_store)]
fn value_not_written_by_action_rerun_is_reverted(store: Store) {
    let server = server_with_three(store);
    let outcome = |meets: bool| {
        let mut device = device_with_take(&server, if meets { 2 } else { 1 });
        let actions = Actions::new().declare(TAKE).declare(SCORE_IT);
        perform::set_actions(device.engine(), Arc::new(actions), true).unwrap();
        server.outside("UPDATE places SET score = 1 WHERE id = 'p1'");
        if meets {
            server.outside("UPDATE places SET note = 'theirs' WHERE id = 'p2'");
        }
        device.until(&server, Phase::Pulling).unwrap();
        perform::perform(device.engine(), "score it", &json!({})).unwrap();
        device.write("UPDATE places SET note = 'mine' WHERE id = 'p2'");
        device.sync(&server);
        device.sync(&server);
        device.waiting()
    };
    assert_eq!(outcome(false), "");
    assert_eq!(server.see("SELECT note FROM places WHERE id > 'p1' ORDER BY id"), "mine score 1");
    server.outside("UPDATE places SET score = 5, note = 'n'");
    assert_eq!(outcome(true), "Parked:Conflicted/1", "no device has seen what they wrote");
    assert_eq!(server.see("SELECT note FROM places WHERE id = 'p2'"), "theirs");
}

#[apply(each_store)]
fn action_is_applied_once_after_each_fault(store: Store) {
    for fault in faults(store) {
        let server = server_with(store, 5);
        let mut device = device_with_take(&server, 1);
        take(&mut device, 2);
        device.faults.push_back(fault);
        let _ = device.pass(&server);
        server.outside("UPDATE places SET score = score - 1");
        device.deliver_late(&server);
        device.sync(&server);
        device.sync(&server);
        assert_eq!(
            (server.see(SCORE), device.see(SCORE)),
            ("2".to_owned(), "2".to_owned()),
            "{fault:?}"
        );
        assert_eq!(device.waiting(), "", "{fault:?}");
    }
}

/// Takes two of five, which the server accepts.
fn accepted_take(server: &Backend) -> (Device, MutationId) {
    let mut device = device_with_take(server, 1);
    let id = perform::perform(device.engine(), "take", &json!({"n": 2})).unwrap().id.unwrap();
    device.sync(server);
    assert_eq!(server.see(SCORE), "3");
    (device, id)
}

#[apply(each_store)]
fn undo_of_action_compares_old_values_only(store: Store) {
    let server = server_with(store, 5);
    let (mut device, id) = accepted_take(&server);
    // Two others were added: that there are five does not mean that the two are back.
    server.outside("UPDATE places SET score = 5");
    assert!(matches!(decide::undo(device.engine(), id), Ok(Undone::NewMutation(_))));
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!((server.see(SCORE), device.see(SCORE)), ("5".to_owned(), "5".to_owned()));
}

#[apply(each_store)]
fn action_is_undone_and_redone(store: Store) {
    let server = server_with(store, 5);
    let (mut device, id) = accepted_take(&server);
    for (undo, score) in [(true, "5"), (false, "3")] {
        let done = if undo {
            decide::undo(device.engine(), id)
        } else {
            decide::redo(device.engine(), id)
        };
        assert!(matches!(done, Ok(Undone::NewMutation(_))));
        device.sync(&server);
        assert_eq!((server.see(SCORE), device.waiting()), (score.to_owned(), String::new()));
        let pushed = device.sent.iter().rev().find(|request| request.path == "/sync/push").unwrap();
        let body = String::from_utf8_lossy(pushed.body.as_ref().unwrap()).into_owned();
        assert!(body.contains(r#""old_only":true"#), "{body}");
    }
}

#[apply(each_store)]
fn edit_of_an_action_overwrites_nothing(store: Store) {
    let mut server = server_with(store, 5);
    server.govern("places", |table| table.policy = Policy::Rebase);
    let mut device = device_with_take(&server, 1);
    let id = perform::perform(device.engine(), "take", &json!({"n": 2})).unwrap().id.unwrap();
    let edit =
        |tx: &mut EngineTransaction<'_>| tx.execute("UPDATE places SET score = 4", &[]).map(drop);
    decide::edit(device.engine(), id, edit).unwrap();
    server.outside("UPDATE places SET score = 1");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(
        (server.see(SCORE), device.waiting()),
        ("1".to_owned(), "Parked:Conflicted/1".to_owned())
    );
}

#[apply(each_store)]
fn actions_only_table_is_corrected_by_new_arguments_only(store: Store) {
    let server = server_with(store, 5);
    let mut device = device_with_take(&server, 1);
    let actions = Actions::new().declare(TAKE).only_by_actions("places");
    perform::set_actions(device.engine(), Arc::new(actions), true).unwrap();
    // The server refuses scores above five.
    let id = perform::perform(device.engine(), "take", &json!({"n": -3})).unwrap().id.unwrap();
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Rejected/1");
    let edit =
        |tx: &mut EngineTransaction<'_>| tx.execute("UPDATE places SET score = 5", &[]).map(drop);
    let refused = decide::edit(device.engine(), id, edit).unwrap_err();
    assert!(
        refused.to_string().contains("only actions write places; use perform_again()"),
        "{refused}"
    );
    let refused = decide::perform_again(device.engine(), id, &json!({"n": 9})).unwrap_err();
    assert_eq!(refused.to_string(), "action take: too few");
    let refused = decide::perform_again(device.engine(), id, &json!({"m": 9})).unwrap_err();
    assert_eq!(refused.to_string(), "action take: arguments: n is missing; m is no parameter");
    assert_eq!(
        (device.waiting(), device.see(SCORE)),
        ("Parked:Rejected/1".to_owned(), "5".to_owned())
    );
    let corrected = decide::perform_again(device.engine(), id, &json!({"n": 1})).unwrap();
    assert_ne!(corrected.id, Some(id));
    assert_eq!((device.waiting(), device.see(SCORE)), ("Pending/1".to_owned(), "4".to_owned()));
    device.crash();
    perform::set_actions(device.engine(), Arc::new(Actions::new().declare(TAKE)), true).unwrap();
    device.sync(&server);
    assert_eq!((server.see(SCORE), device.waiting()), ("4".to_owned(), String::new()));
}

#[apply(each_store)]
fn perform_again_of_pending_action_or_plain_edit(store: Store) {
    let server = server_with(store, 5);
    let mut device = device_with_take(&server, 1);
    let first = perform::perform(device.engine(), "take", &json!({"n": 2})).unwrap().id.unwrap();
    take(&mut device, 1);
    assert_eq!(device.see(SCORE), "2");
    decide::perform_again(device.engine(), first, &json!({"n": 3})).unwrap();
    assert_eq!(device.see(SCORE), "1");
    device.write("UPDATE places SET name = 'B'");
    let plain = device.queue().last().unwrap().id;
    let refused = decide::perform_again(device.engine(), plain, &json!({"n": 1})).unwrap_err();
    assert!(refused.to_string().contains("it is no action; edit it"), "{refused}");
    device.sync(&server);
    assert_eq!(
        (server.see("SELECT score, name FROM places"), device.waiting()),
        ("1|B".to_owned(), String::new())
    );
}
