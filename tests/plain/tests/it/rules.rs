//! Behaviour of the real server that the recordings do not cover.

use rejoin_plain::{Clock, Config, Operation, PlainServer, Trigger, demo};
use serde_json::{Value as Json, json};

use crate::ask::{ORDER, order, post, pushed, registered, server, snapshot};
use crate::session::A;

fn pull(server: &mut PlainServer, client: &str, checkpoint: i64, limit: i64) -> Json {
    let ask = json!({"client_id": client, "checkpoint": checkpoint, "limit": limit});
    post(server, A, "pull", ask).unwrap().1
}

#[test]
fn only_app_trigger_changes_updated_at() {
    for (trigger, moved, alike) in [
        (Trigger::LeftAlone, false, true),
        (Trigger::TransactionTime, true, true),
        (Trigger::ClockTime, true, false),
    ] {
        let tables = demo::tables().into_iter().map(|table| table.trigger(trigger)).collect();
        let mut server = PlainServer::new(Config::new(tables), Clock::at(1));
        registered(&mut server, A, "c1");
        let other = "00000000-0000-0000-0000-00000000000b";
        let both = |operation: &str, data: &Json| {
            [order(operation, ORDER, data.clone()), order(operation, other, data.clone())]
        };
        pushed(&mut server, &both("create", &json!({})));
        let created = server.row("orders", ORDER).unwrap()["updated_at"].clone();
        let answer = pushed(&mut server, &both("update", &json!({"ship_address": "x"})));
        assert_eq!(answer["accepted"].as_array().map(Vec::len), Some(2), "{trigger:?}");
        let version = |id: &str| server.row("orders", id).unwrap()["updated_at"].clone();
        assert_eq!(server.row("orders", ORDER).unwrap()["ship_address"], "x");
        assert_eq!(version(ORDER) != created, moved, "{trigger:?}");
        assert_eq!(version(ORDER) == version(other), alike, "{trigger:?}");
    }
}

#[test]
fn pull_reads_current_rows_and_historical_deletes() {
    let mut server = server();
    pushed(&mut server, &[order("create", ORDER, json!({"ship_address": "1"}))]);
    pushed(&mut server, &[order("delete", ORDER, Json::Null)]);
    pushed(&mut server, &[order("create", ORDER, json!({"ship_address": "2"}))]);
    let operations: Vec<_> = server.entries().iter().map(|entry| entry.operation).collect();
    assert_eq!(
        operations,
        [Operation::Create, Operation::Delete, Operation::Delete, Operation::Create]
    );
    snapshot(&mut server, A, json!({}));
    let first = pull(&mut server, "c1", 0, 1);
    assert_eq!(first["changes"][0]["data"]["ship_address"], "2", "the current row");
    let second = pull(&mut server, "c1", 1, 1);
    assert_eq!(second["deletes"][0]["id"], ORDER, "the row is live, but this page deletes it");
    let whole = pull(&mut server, "c1", 0, 100);
    assert_eq!((whole["changes"].as_array().unwrap().len(), &whole["deletes"]), (1, &json!([])));
}

#[test]
fn deactivated_client_is_not_notified_of_compacted_log() {
    let mut server = server();
    registered(&mut server, A, "c2");
    pushed(&mut server, &[order("create", ORDER, json!({}))]);
    for client in ["c1", "c2"] {
        post(&mut server, A, "snapshot", json!({"client_id": client})).unwrap();
    }
    pushed(&mut server, &[order("update", ORDER, json!({"ship_address": "x"}))]);
    pull(&mut server, "c1", 1, 100);
    assert_eq!(server.compact().safe_seq, 1, "the second client has not pulled");
    server.deactivate(A, "c2");
    assert_eq!(server.compact().safe_seq, 2);
    let page = pull(&mut server, "c2", 1, 100);
    assert_eq!(page.get("snapshot_required"), None, "the missed entries are lost");
    assert_eq!(page["changes"], json!([]));
}

#[test]
fn event_of_row_with_deleted_parent_is_lost() {
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
