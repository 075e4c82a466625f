//! Requests that were not recorded: those of tests of their own, and what set a recording up.

use rejoin_plain::PlainServer;
use serde_json::Value as Json;

/// A POST under the current schema: status and body, or nothing if nobody answers.
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
    let (status, body) =
        post(server, user, "register", serde_json::json!({"client_id": client})).unwrap();
    assert_eq!(status, 200, "{body}");
}
