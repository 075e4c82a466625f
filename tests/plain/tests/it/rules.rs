//! What the recordings do not show, or show once, and clients must live with.

use rejoin_plain::{Clock, Config, Operation, PlainServer, Refusal, Request, Table, Trigger, demo};
use serde_json::{Value as Json, json};

use crate::ask::{ORDER, change, order, post, pushed, registered, server, snapshot};
use crate::session::{A, B};

#[test]
fn the_same_create_twice_is_a_conflict_with_the_own_row() {
    let mut server = server();
    pushed(&mut server, &[order("create", ORDER, json!({"ship_address": "mine"}))]);
    let answer = pushed(&mut server, &[order("create", ORDER, json!({"ship_address": "mine"}))]);
    assert_eq!(answer["rejected"][0]["reason_code"], "record_exists");
    assert_eq!(answer["rejected"][0]["server_version"]["data"]["ship_address"], "mine");
}

#[test]
fn an_update_of_nothing_is_applied_and_brings_no_version() {
    let mut server = server();
    pushed(&mut server, &[order("create", ORDER, json!({}))]);
    let before = server.row("orders", ORDER);
    for data in [json!({}), Json::Null] {
        let answer = pushed(&mut server, &[order("update", ORDER, data)]);
        assert_eq!(answer["accepted"][0]["status"], "applied");
        assert_eq!(answer["accepted"][0].get("server_updated_at"), None);
    }
    assert_eq!(server.row("orders", ORDER), before);
}

#[test]
fn what_the_driver_cannot_encode_is_refused_alone() {
    let mut server = server();
    let other = "00000000-0000-0000-0000-00000000000b";
    let answer = pushed(
        &mut server,
        &[order("create", ORDER, json!({"ship_address": 7})), order("create", other, json!({}))],
    );
    assert_eq!(answer["rejected"][0]["reason_code"], "create_failed");
    assert_eq!(answer["rejected"][0]["status"], "rejected_retryable");
    assert_eq!(answer["accepted"][0]["id"], other);
    assert_eq!(server.live("orders").len(), 1);
}

#[test]
fn a_whole_number_beyond_2_to_the_53rd_is_rounded_when_pushed_and_exact_when_written_by_sql() {
    let mut server = server();
    let big = 9_007_199_254_740_993_i64;
    pushed(&mut server, &[order("create", ORDER, json!({"total_cents": big}))]);
    assert_eq!(server.row("orders", ORDER).unwrap()["total_cents"], big - 1);
    server.update("orders", ORDER, &json!({"total_cents": big})).unwrap();
    let page = snapshot(&mut server, A, json!({}));
    assert_eq!(page["records"][0]["data"]["total_cents"], big);
    pushed(&mut server, &[order("update", ORDER, json!({"total_cents": big.to_string()}))]);
    assert_eq!(server.row("orders", ORDER).unwrap()["total_cents"], big, "as text it is exact");
}

#[test]
fn the_apps_trigger_alone_moves_updated_at() {
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
fn a_user_is_one_in_upper_and_lower_case() {
    let mut server = PlainServer::new(
        Config::new(vec![
            Table::owned("notes", "owner")
                .text_key()
                .column(rejoin_plain::Column::new("owner", "text"))
                .times(),
        ]),
        Clock::at(1),
    );
    registered(&mut server, "Ana", "c1");
    let note = change("notes", "create", "n1", json!({"owner": "somebody"}));
    let (status, _) =
        post(&mut server, "ANA", "push", json!({"client_id": "c1", "changes": [note]})).unwrap();
    assert_eq!(status, 200);
    assert_eq!(server.row("notes", "n1").unwrap()["owner"], "ana");
    assert_eq!(server.entries()[0].bucket, "user:ana");
}

#[test]
fn changes_are_read_at_pull_and_deletes_come_from_history() {
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
    let pull = |server: &mut PlainServer, checkpoint: i64, limit: i64| {
        let ask = json!({"client_id": "c1", "checkpoint": checkpoint, "limit": limit});
        post(server, A, "pull", ask).unwrap().1
    };
    let first = pull(&mut server, 0, 1);
    assert_eq!(first["changes"][0]["data"]["ship_address"], "2", "the row as it is now");
    let second = pull(&mut server, 1, 1);
    assert_eq!(second["deletes"][0]["id"], ORDER, "the row is alive, and this page deletes it");
    let whole = pull(&mut server, 0, 100);
    assert_eq!((whole["changes"].as_array().unwrap().len(), &whole["deletes"]), (1, &json!([])));
}

#[test]
fn policies_hide_what_is_not_ones_own() {
    let mut config = Config::new(demo::tables());
    config.row_level_security = true;
    let mut server = PlainServer::new(config, Clock::at(1));
    for (user, client) in [(A, "c1"), (B, "b1")] {
        registered(&mut server, user, client);
    }
    pushed(&mut server, &[order("create", ORDER, json!({}))]);
    let page = post(&mut server, B, "snapshot", json!({"client_id": "b1"})).unwrap().1;
    assert_eq!(page["records"], json!([]));
    server.config.row_level_security = false;
    let page = post(&mut server, B, "snapshot", json!({"client_id": "b1"})).unwrap().1;
    assert_eq!(page["records"][0]["id"], ORDER, "without policies everybody is told of everything");
}

#[test]
fn sql_on_the_side_keeps_the_databases_rules() {
    let mut server = server();
    let detail = json!({"id": ORDER, "order_id": ORDER});
    assert!(matches!(server.insert("order_details", &detail), Err(Refusal::Sql(_))));
    server.insert("orders", &json!({"id": ORDER, "user_id": A})).unwrap();
    server.insert("order_details", &detail).unwrap();
    assert!(matches!(server.remove("orders", ORDER), Err(Refusal::Sql(_))));
    assert!(matches!(
        server.insert("orders", &json!({"id": ORDER, "user_id": A})),
        Err(Refusal::Sql(_))
    ));
    assert_eq!(
        server.update("orders", "00000000-0000-0000-0000-00000000000b", &json!({})),
        Err(Refusal::NoRow)
    );
    let half = server.outside(|sql| {
        sql.update("orders", ORDER, &json!({"ship_address": "half"}))?;
        sql.insert("nowhere", &json!({}))
    });
    assert!(half.is_err());
    assert_eq!(server.row("orders", ORDER).unwrap()["ship_address"], "", "all statements or none");
}

#[test]
fn a_refusal_to_serve_says_more_in_its_header() {
    let mut server = server();
    let mut ask = |method: &str, path: &str| server.ask(A, method, path, Vec::new()).unwrap();
    assert_eq!(ask("GET", "/sync/push").header("allow"), Some("POST"));
    assert_eq!(ask("POST", "/sync/schema").header("allow"), Some("GET"));
    assert_eq!(ask("GET", "/sync/resync").status, 404);
    let health =
        Request { method: "GET".to_owned(), path: "/healthz".to_owned(), ..Request::default() };
    assert_eq!(server.handle(&health).unwrap().body, br#"{"status":"ok"}"#);
    server.outage(Some(rejoin_plain::Outage::TooMany(60)));
    assert_eq!(
        server.ask(A, "GET", "/sync/tables", Vec::new()).unwrap().header("Retry-After"),
        Some("60")
    );
}
