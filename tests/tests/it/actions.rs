//! Actions of devices before a real server: what counts is what was meant, not which value it came to (O1, O7).

use std::sync::Arc;

use rejoin_core::engine::Transaction;
use rejoin_core::engine::queue::mutation::ParkReason;
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

/// A server where a place of Ana's has so many.
fn server_with(store: Store, stock: i64) -> Backend {
    let server = Backend::on(store);
    server.outside(&format!(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('p1', 'A', 'n', {stock}, 'ana')"
    ));
    server
}

/// A server where Ana has five at one place, and two places with a note.
fn server_with_three(store: Store) -> Backend {
    let server = server_with(store, 5);
    server.outside(
        "INSERT INTO places (id, name, note, user_id) VALUES ('p2', 'B', 'n', 'ana'), ('p3', 'C', 'n', 'ana')",
    );
    server
}

/// A device of Ana's, in step, that can take.
fn taker(server: &Backend, seed: u64) -> Device {
    let mut device = Device::new("ana", seed);
    device.sync(server);
    device.engine().set_actions(Arc::new(Actions::new().declare(TAKE)), true).unwrap();
    device
}

fn take(device: &mut Device, n: i64) {
    device.engine().perform("take", &json!({"n": n})).unwrap();
}

/// A taking that the other has made impossible is parked and takes nothing.
#[apply(each_store)]
fn two_devices_take_of_one_stock_while_it_lasts(store: Store) {
    for (stock, left, reason) in [(5, "1", None), (3, "1", Some(ParkReason::Unreplayable))] {
        let server = server_with(store, stock);
        let [mut one, mut two] = [1, 2].map(|seed| taker(&server, seed));
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

/// Where the policy lays an edit over whatever has come, it would lay the number that the taking came to. The app does not
/// know the action any more, so that it cannot run again.
#[apply(each_store)]
fn a_policy_is_for_plain_edits_and_not_for_what_an_action_wrote(store: Store) {
    let mut server = server_with(store, 5);
    server.govern("places", |table| table.policy = Policy::Rebase);
    let [mut one, mut two] = [1, 2].map(|seed| taker(&server, seed));
    take(&mut one, 2);
    take(&mut two, 1);
    one.sync(&server);
    two.crash();
    two.engine().set_actions(Arc::new(Actions::new()), true).unwrap();
    two.sync(&server);
    two.sync(&server);
    assert_eq!(server.see(SCORE), "3");
    assert_eq!(two.queue()[0].reason, Some(ParkReason::Conflicted));
}

/// Writes the score into the note of one place or the other, whichever it says.
const SCORE_IT: &str = r#"{"name": "score it", "statements": [
    "UPDATE places SET note = 'score ' || (SELECT score FROM places WHERE id = 'p1') WHERE id = (SELECT CASE WHEN score > 3 THEN 'p2' ELSE 'p3' END FROM places WHERE id = 'p1')"]}"#;

#[apply(each_store)]
fn an_edit_upon_what_an_action_wrote_stands_upon_what_it_writes_in_another_run(store: Store) {
    for (score, notes) in [(4, "mine n"), (1, "n mine")] {
        let server = server_with_three(store);
        let mut device = taker(&server, 1);
        let actions = Actions::new().declare(TAKE).declare(SCORE_IT);
        device.engine().set_actions(Arc::new(actions), true).unwrap();
        server.outside(&format!("UPDATE places SET score = {score} WHERE id = 'p1'"));
        // Both are written while the news of it is on its way.
        device.until(&server, Phase::Pulling).unwrap();
        device.engine().perform("score it", &json!({})).unwrap();
        let place = if score > 3 { "p2" } else { "p3" };
        device.write(&format!("UPDATE places SET note = 'mine' WHERE id = '{place}'"));
        device.sync(&server);
        device.sync(&server);
        assert_eq!(device.waiting(), "");
        assert_eq!(server.see("SELECT note FROM places WHERE id > 'p1' ORDER BY id"), notes);
    }
}

#[apply(each_store)]
fn a_value_that_an_action_writes_no_more_gives_way_to_the_one_before_it(store: Store) {
    let server = server_with_three(store);
    let story = |meets: bool| {
        let mut device = taker(&server, if meets { 2 } else { 1 });
        let actions = Actions::new().declare(TAKE).declare(SCORE_IT);
        device.engine().set_actions(Arc::new(actions), true).unwrap();
        server.outside("UPDATE places SET score = 1 WHERE id = 'p1'");
        if meets {
            server.outside("UPDATE places SET note = 'theirs' WHERE id = 'p2'");
        }
        device.until(&server, Phase::Pulling).unwrap();
        device.engine().perform("score it", &json!({})).unwrap();
        device.write("UPDATE places SET note = 'mine' WHERE id = 'p2'");
        device.sync(&server);
        device.sync(&server);
        device.waiting()
    };
    assert_eq!(story(false), "");
    assert_eq!(server.see("SELECT note FROM places WHERE id > 'p1' ORDER BY id"), "mine score 1");
    server.outside("UPDATE places SET score = 5, note = 'n'");
    assert_eq!(story(true), "Parked:Conflicted/1", "nobody has seen what they wrote");
    assert_eq!(server.see("SELECT note FROM places WHERE id = 'p2'"), "theirs");
}

#[apply(each_store)]
fn whatever_becomes_of_the_request_it_is_taken_once(store: Store) {
    for fault in faults(store) {
        let server = server_with(store, 5);
        let mut device = taker(&server, 1);
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
fn took_two(server: &Backend) -> (Device, MutationId) {
    let mut device = taker(server, 1);
    let id = device.engine().perform("take", &json!({"n": 2})).unwrap().id.unwrap();
    device.sync(server);
    assert_eq!(server.see(SCORE), "3");
    (device, id)
}

#[apply(each_store)]
fn the_undo_of_an_action_goes_by_old_values_alone(store: Store) {
    let server = server_with(store, 5);
    let (mut device, id) = took_two(&server);
    // Two others have come: that there are five is not that the two are back.
    server.outside("UPDATE places SET score = 5");
    assert!(matches!(device.engine().undo(id), Ok(Undone::By(_))));
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!((server.see(SCORE), device.see(SCORE)), ("5".to_owned(), "5".to_owned()));
}

#[apply(each_store)]
fn what_an_action_took_is_put_back_and_taken_again(store: Store) {
    let server = server_with(store, 5);
    let (mut device, id) = took_two(&server);
    for (undo, score) in [(true, "5"), (false, "3")] {
        let done = if undo { device.engine().undo(id) } else { device.engine().redo(id) };
        assert!(matches!(done, Ok(Undone::By(_))));
        device.sync(&server);
        assert_eq!((server.see(SCORE), device.waiting()), (score.to_owned(), String::new()));
        let pushed = device.sent.iter().rev().find(|request| request.path == "/sync/push").unwrap();
        let body = String::from_utf8_lossy(pushed.body.as_ref().unwrap()).into_owned();
        assert!(body.contains(r#""old_only":true"#), "{body}");
    }
}

#[apply(each_store)]
fn what_was_made_of_an_action_by_an_edit_goes_over_nothing(store: Store) {
    let mut server = server_with(store, 5);
    server.govern("places", |table| table.policy = Policy::Rebase);
    let mut device = taker(&server, 1);
    let id = device.engine().perform("take", &json!({"n": 2})).unwrap().id.unwrap();
    let edit = |tx: &mut Transaction<'_>| tx.execute("UPDATE places SET score = 4", &[]).map(drop);
    device.engine().edit(id, edit).unwrap();
    server.outside("UPDATE places SET score = 1");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(
        (server.see(SCORE), device.waiting()),
        ("1".to_owned(), "Parked:Conflicted/1".to_owned())
    );
}

#[apply(each_store)]
fn an_action_in_a_table_of_actions_is_mended_by_other_arguments_only(store: Store) {
    let server = server_with(store, 5);
    let mut device = taker(&server, 1);
    let actions = Actions::new().declare(TAKE).only_by_actions("places");
    device.engine().set_actions(Arc::new(actions), true).unwrap();
    // The server refuses scores above five.
    let id = device.engine().perform("take", &json!({"n": -3})).unwrap().id.unwrap();
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Rejected/1");
    let edit = |tx: &mut Transaction<'_>| tx.execute("UPDATE places SET score = 5", &[]).map(drop);
    let refused = device.engine().edit(id, edit).unwrap_err();
    assert!(
        refused.to_string().contains("only actions write places; use perform_again()"),
        "{refused}"
    );
    let refused = device.engine().perform_again(id, &json!({"n": 9})).unwrap_err();
    assert_eq!(refused.to_string(), "action take: too few");
    let refused = device.engine().perform_again(id, &json!({"m": 9})).unwrap_err();
    assert_eq!(refused.to_string(), "action take: arguments: n is missing; m is no parameter");
    assert_eq!(
        (device.waiting(), device.see(SCORE)),
        ("Parked:Rejected/1".to_owned(), "5".to_owned())
    );
    let mended = device.engine().perform_again(id, &json!({"n": 1})).unwrap();
    assert_ne!(mended.id, Some(id));
    assert_eq!((device.waiting(), device.see(SCORE)), ("Pending/1".to_owned(), "4".to_owned()));
    device.crash();
    device.engine().set_actions(Arc::new(Actions::new().declare(TAKE)), true).unwrap();
    device.sync(&server);
    assert_eq!((server.see(SCORE), device.waiting()), ("4".to_owned(), String::new()));
}

#[apply(each_store)]
fn an_action_that_waits_is_performed_again_below_nobody_and_what_is_none_is_refused(store: Store) {
    let server = server_with(store, 5);
    let mut device = taker(&server, 1);
    let first = device.engine().perform("take", &json!({"n": 2})).unwrap().id.unwrap();
    take(&mut device, 1);
    assert_eq!(device.see(SCORE), "2");
    device.engine().perform_again(first, &json!({"n": 3})).unwrap();
    assert_eq!(device.see(SCORE), "1");
    device.write("UPDATE places SET name = 'B'");
    let plain = device.queue().last().unwrap().id;
    let refused = device.engine().perform_again(plain, &json!({"n": 1})).unwrap_err();
    assert!(refused.to_string().contains("it is no action; edit it"), "{refused}");
    device.sync(&server);
    assert_eq!(
        (server.see("SELECT score, name FROM places"), device.waiting()),
        ("1|B".to_owned(), String::new())
    );
}
