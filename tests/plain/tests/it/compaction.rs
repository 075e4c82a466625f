//! Retention: what is forgotten of the log, and what clients are told of it.

use rejoin_plain::PlainServer;
use serde_json::{Value as Json, json};

use crate::ask::{ORDER, order, post, pushed, registered, server, snapshot};
use crate::session::A;

fn pull(server: &mut PlainServer, client: &str, checkpoint: i64) -> Json {
    post(server, A, "pull", json!({"client_id": client, "checkpoint": checkpoint})).unwrap().1
}

#[test]
fn a_client_that_has_everything_must_rebuild_after_a_compaction_and_a_write() {
    let mut server = server();
    pushed(&mut server, &[order("create", ORDER, json!({}))]);
    snapshot(&mut server, A, json!({}));
    assert_eq!(server.compact().deleted, 1);
    assert_eq!(
        pull(&mut server, "c1", 1).get("snapshot_required"),
        None,
        "an empty log is never ahead"
    );
    pushed(&mut server, &[order("update", ORDER, json!({"ship_address": "x"}))]);
    assert_eq!(pull(&mut server, "c1", 1)["snapshot_required"], true);
}

#[test]
fn a_deactivated_client_holds_no_entries_back_and_an_emptied_log_does_not_tell_it() {
    let mut server = server();
    registered(&mut server, A, "c2");
    pushed(&mut server, &[order("create", ORDER, json!({}))]);
    for client in ["c1", "c2"] {
        post(&mut server, A, "snapshot", json!({"client_id": client})).unwrap();
    }
    pushed(&mut server, &[order("update", ORDER, json!({"ship_address": "x"}))]);
    pull(&mut server, "c1", 1);
    assert_eq!(server.compact().safe_seq, 1, "the second client has not pulled");
    server.deactivate(A, "c2");
    assert_eq!(server.compact().safe_seq, 2);
    let page = pull(&mut server, "c2", 1);
    assert_eq!(page.get("snapshot_required"), None, "what it has missed is lost on it");
    assert_eq!(page["changes"], json!([]));
}

#[test]
fn a_snapshot_of_an_empty_log_takes_its_place_anew_on_every_page() {
    let mut server = server();
    for number in 1..=3 {
        let id = format!("00000000-0000-0000-0000-00000000000{number}");
        server.insert("orders", &json!({"id": id, "user_id": A})).unwrap();
    }
    server.compact_to(i64::MAX);
    let first = snapshot(&mut server, A, json!({"limit": 2}));
    assert_eq!((&first["checkpoint"], &first["has_more"]), (&json!(0), &json!(true)));
    let read = "00000000-0000-0000-0000-000000000001";
    server.update("orders", read, &json!({"ship_address": "missed"})).unwrap();
    let second = snapshot(&mut server, A, json!({"limit": 2, "cursor": first["cursor"]}));
    assert_eq!(second["checkpoint"], 4, "the change of a row of the first page is behind it");
}

#[test]
fn an_event_whose_family_is_gone_when_the_consumer_comes_is_lost() {
    let mut server = server();
    server.lag(true);
    server
        .outside(|sql| {
            sql.insert("orders", &json!({"id": ORDER, "user_id": A}))?;
            sql.insert("order_details", &json!({"id": ORDER, "order_id": ORDER}))?;
            sql.remove("order_details", ORDER)?;
            sql.remove("orders", ORDER)
        })
        .unwrap();
    server.lag(false);
    assert!(server.entries().iter().all(|entry| entry.table == "orders"), "{:?}", server.entries());
    assert_eq!(server.rule_failures().len(), 2);
}

#[test]
fn a_truncated_table_leaves_nothing_in_the_log() {
    let mut server = server();
    pushed(&mut server, &[order("create", ORDER, json!({}))]);
    server.truncate("orders");
    assert_eq!((server.live("orders").len(), server.entries().len()), (0, 1));
}
