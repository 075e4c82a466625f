//! The plain server of the stories, over the transport that devices use.

use std::time::Duration;

use rejoin_core::sync::session::{Phase, Request, Response};
use rejoin_plain::{Fault, Outage};
use rejoin_tests::{Peer, PlainBackend};
use serde_json::{Value as Json, json};

fn exchange(server: &PlainBackend, endpoint: &str, body: Option<Json>) -> Option<Response> {
    let request = Request {
        method: if body.is_some() { "POST" } else { "GET" },
        path: format!("/sync/{endpoint}"),
        extended: true,
        body: body.map(|body| body.to_string().into_bytes()),
        phase: Phase::Registering,
    };
    server.exchange("ana", &request)
}

fn register(server: &PlainBackend) -> Option<Response> {
    let body = json!({"client_id": "c1", "schema_version": 0, "schema_hash": ""});
    exchange(server, "register", Some(body))
}

#[test]
fn its_hash_and_ours_of_one_schema_are_equal_though_they_share_no_code() {
    let server = PlainBackend::new();
    let manifest = server.manifest();
    assert_eq!(manifest.hash(), manifest.schema_hash);
    assert_eq!(manifest.tables.len(), 2);
}

#[test]
fn it_says_nothing_of_our_extension() {
    let server = PlainBackend::new();
    let schema = exchange(&server, "schema", None).unwrap();
    let registered = register(&server).unwrap();
    for answer in [schema, registered] {
        assert_eq!(answer.status, 200);
        let json: Json = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json.get("rejoin"), None);
    }
    assert_eq!(exchange(&server, "digest", None).unwrap().status, 404);
}

#[test]
fn other_writers_change_its_tables_and_the_apps_trigger_moves_their_version() {
    for (server, moves) in [(PlainBackend::new(), true), (PlainBackend::without_trigger(), false)] {
        server.insert("places", &json!({"id": "p1", "name": "A", "score": 3, "user_id": "ana"}));
        let version = || server.see("places", &["updated_at"]);
        let before = version();
        server.update("places", "p1", &json!({"name": "B"}));
        assert_eq!(server.see("places", &["id", "name", "note", "score"]), "p1|B|-|3");
        assert_eq!(version() != before, moves);
        let refused = server.server().update("places", "p1", &json!({"score": 9}));
        assert!(refused.is_err(), "its CHECK is not in the manifest");
        server.soft_delete("places", "p1");
        assert_eq!(server.see("places", &["id"]), "");
        assert!(server.server().row("places", "p1").is_some());
        server.remove("places", "p1");
        assert_eq!(server.server().row("places", "p1"), None);
    }
}

#[test]
fn what_fails_in_it_reaches_the_device_as_over_the_network() {
    let server = PlainBackend::new();
    server.server().fail_next(Fault::HangsUpAfter);
    assert!(register(&server).is_none());
    assert!(server.server().client("ana", "c1").is_some(), "the work was done");
    server.server().outage(Some(Outage::TooMany(60)));
    let busy = register(&server).unwrap();
    assert_eq!((busy.status, busy.retry_after), (429, Some(Duration::from_mins(1))));
    server.server().outage(None);
    server.server().config.minimum_version = Some("2.0.0".to_owned());
    assert_eq!(register(&server).unwrap().status, 200, "a device that does not say its version");
    *server.app_version.borrow_mut() = Some("1.9.9".to_owned());
    assert_eq!(register(&server).unwrap().status, 426);
}
