//! Requests that were not recorded: those of other tests, and the setup of a recording.

use rejoin_plain::{Clock, Config, PlainServer, demo};
use serde_json::{Value as Json, json};

use crate::session::A;

/// Sends a POST with the current schema. Returns status and body, or `None` without a response.
pub(crate) fn post(
    server: &mut PlainServer,
    user: &str,
    endpoint: &str,
    mut body: Json,
) -> Option<(u16, Json)> {
    let answer = server.ask(user, "GET", "/sync/tables", Vec::new()).unwrap();
    let tables: Json = serde_json::from_slice(&answer.body).unwrap();
    for member in ["schema_version", "schema_hash"] {
        body[member] = tables[member].clone();
    }
    let body = body.to_string().into_bytes();
    let answer = server.ask(user, "POST", &format!("/sync/{endpoint}"), body)?;
    Some((answer.status, serde_json::from_slice(&answer.body).unwrap()))
}

/// Registers a client.
pub(crate) fn registered(server: &mut PlainServer, user: &str, client: &str) {
    let (status, body) = post(server, user, "register", json!({"client_id": client})).unwrap();
    assert_eq!(status, 200, "{body}");
}

/// The key of an order.
pub(crate) const ORDER: &str = "00000000-0000-0000-0000-00000000000a";

/// A server with the recorded tables and one client of user A.
pub(crate) fn server() -> PlainServer {
    let mut server =
        PlainServer::new(Config::new(demo::tables()), Clock::at(1_767_225_600_000_000));
    registered(&mut server, A, "c1");
    server
}

/// A push record of an order, from a client whose clock is far ahead.
pub(crate) fn order(operation: &str, id: &str, data: Json) -> Json {
    let mut change = json!({"id": id, "table_name": "orders", "operation": operation,
        "client_updated_at": "2100-01-01T00:00:00Z"});
    change["data"] = data;
    change
}

/// The response to a push of user A.
#[track_caller]
pub(crate) fn pushed(server: &mut PlainServer, changes: &[Json]) -> Json {
    let (status, body) =
        post(server, A, "push", json!({"client_id": "c1", "changes": changes})).unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

/// The response to a snapshot request of a user.
#[track_caller]
pub(crate) fn snapshot(server: &mut PlainServer, user: &str, mut ask: Json) -> Json {
    ask["client_id"] = json!("c1");
    let (status, body) = post(server, user, "snapshot", ask).unwrap();
    assert_eq!(status, 200, "{body}");
    body
}
