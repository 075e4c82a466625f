//! The switches: what a test can make the server do.

use rejoin_plain::{Clock, Config, Fault, PlainServer, demo};
use serde_json::{Value as Json, json};

use crate::ask::{ORDER, order, post, registered, server};
use crate::session::A;

fn push(server: &mut PlainServer) -> Option<u16> {
    let changes = [order("create", ORDER, json!({}))];
    post(server, A, "push", json!({"client_id": "c1", "changes": changes}))
        .map(|(status, _)| status)
}

#[test]
fn a_failure_comes_before_the_work_or_after_it() {
    for (fault, status, done) in [
        (Fault::FailsBeforeCommit, Some(500), 0),
        (Fault::FailsAfterCommit, Some(500), 1),
        (Fault::Transient, Some(503), 0),
        (Fault::HangsUpBefore, None, 0),
        (Fault::HangsUpAfter, None, 1),
    ] {
        let mut server = server();
        server.fail_next(fault);
        assert_eq!(push(&mut server), status, "{fault:?}");
        assert_eq!(
            (server.live("orders").len(), server.entries().len()),
            (done, done),
            "{fault:?}"
        );
        assert_eq!(push(&mut server), Some(200), "{fault:?} is over");
    }
}

#[test]
fn a_poisoned_record_fails_every_push_that_it_is_in_until_it_is_healed() {
    let mut server = server();
    let good = "00000000-0000-0000-0000-00000000000b";
    let ask = |server: &mut PlainServer, ids: &[&str]| {
        let changes: Vec<_> = ids.iter().map(|id| order("create", id, json!({}))).collect();
        post(server, A, "push", json!({"client_id": "c1", "changes": changes})).unwrap()
    };
    server.poison("orders", ORDER);
    let failed = (500, json!({"error": "failed to push changes"}));
    assert_eq!(ask(&mut server, &[good, ORDER]), failed);
    assert_eq!(ask(&mut server, &[ORDER]), failed);
    assert!(server.live("orders").is_empty());
    assert_eq!(ask(&mut server, &[good]).0, 200);
    server.heal();
    server.poison_when(|_, _, data| data["ship_address"] == "bad");
    assert_eq!(ask(&mut server, &[ORDER]).0, 200);
    let changes = [order("update", ORDER, json!({"ship_address": "bad"}))];
    assert_eq!(
        post(&mut server, A, "push", json!({"client_id": "c1", "changes": changes})),
        Some(failed)
    );
}

#[test]
fn a_pull_is_told_to_take_a_snapshot_once() {
    let mut server = server();
    post(&mut server, A, "snapshot", json!({"client_id": "c1"})).unwrap();
    server.require_snapshot();
    let pull = |server: &mut PlainServer| {
        let (status, body) =
            post(server, A, "pull", json!({"client_id": "c1", "checkpoint": 0})).unwrap();
        (status, body["snapshot_reason"].clone())
    };
    assert_eq!(pull(&mut server), (200, json!("checkpoint_before_retention")));
    assert_eq!(pull(&mut server), (200, Json::Null));
}

#[test]
fn a_client_that_is_forgotten_is_500_at_push_and_pull_and_404_at_a_snapshot() {
    let mut server = server();
    assert_eq!(push(&mut server), Some(200));
    server.forget_client(A, "c1");
    assert_eq!(push(&mut server), Some(500));
    for (endpoint, status) in
        [("pull", 500), ("snapshot", 404), ("register", 200), ("snapshot", 200)]
    {
        let answer = post(&mut server, A, endpoint, json!({"client_id": "c1"}));
        assert_eq!(answer.map(|(status, _)| status), Some(status), "{endpoint}");
    }
}

#[test]
fn a_consumer_that_lags_lets_a_snapshot_know_more_than_its_place() {
    let mut server = PlainServer::new(Config::new(demo::tables()), Clock::at(1));
    registered(&mut server, A, "c1");
    server.lag(true);
    assert_eq!(push(&mut server), Some(200));
    let page = post(&mut server, A, "snapshot", json!({"client_id": "c1"})).unwrap().1;
    assert_eq!((page["records"].as_array().unwrap().len(), &page["checkpoint"]), (1, &json!(0)));
    assert_eq!((server.behind(), server.entries().len()), (1, 0));
    server.lag(false);
    assert_eq!((server.behind(), server.entries().len()), (0, 1));
}
