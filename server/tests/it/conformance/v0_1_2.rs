//! The suite against v0.1.2, as simulated by the scripted server of `tests/plain`: `wire` scenarios
//! pass, and exactly the `fixed` ones fail.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use rejoin_plain::{Clock, Column, Config, PlainServer, demo};
use serde_json::Value;

use super::flaws::serve;
use super::{conformance, named};

const USERS: [&str; 2] =
    ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"];

fn plain() -> PlainServer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let mut tables = demo::tables();
    tables[0].add(Column::new("paid", "boolean").nullable());
    tables[0].add(Column::new("blob", "bytea").nullable());
    tables[0].add(Column::new("tags", "text[]").nullable());
    tables[0].add(Column::new("weight", "numeric").nullable());
    let mut config = Config::new(tables);
    config.minimum_version = Some("1.0.0".to_owned());
    PlainServer::new(config, Clock::at(i64::try_from(now).unwrap()))
}

async fn answer(server: Arc<Mutex<PlainServer>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let asked = rejoin_plain::Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: headers.collect(),
        body,
    };
    let mut server = server.lock().unwrap();
    if asked.path.ends_with("/pull") {
        // Each pull sees more of a log that lags.
        let events = 1 + server.behind() / 4;
        server.consume(events);
    }
    let Some(answered) = server.handle(&asked) else {
        // Drops the connection within the body.
        let broken =
            futures_util::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("dropped"))]);
        return Response::new(Body::from_stream(broken));
    };
    let mut response = Response::builder().status(answered.status);
    for (name, value) in &answered.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answered.body)).unwrap()
}

/// The scenarios that v0.1.2 fails.
const FAILED: &[&str] = &[
    "gates/app-of-no-version",
    "gates/unknown-device",
    "push/data-are-null",
    "push/base-of-sqlite",
    "batch/poison-column",
    "batch/poison-text",
    "batch/child-before-parent",
    "batch/child-without-parent",
    "values/integer-of-64-bits",
    "values/fraction-in-an-integer",
    "values/boolean-as-number",
    "values/array-as-text",
    "values/bytes-as-base64",
    "pull/ahead-of-the-log",
    "pull/quiet-device-goes-on",
    "snapshot/cursor-that-is-none",
    "users/snapshot",
    "users/update",
    "users/delete",
    "users/create-upon",
    "users/child",
];

/// The report of the suite against this server.
fn report_on(server: PlainServer) -> (bool, Value) {
    let server = Arc::new(Mutex::new(server));
    let router =
        Router::new().fallback(move |request: Request| answer(Arc::clone(&server), request));
    let (_runtime, url) = serve(router);
    let users = USERS.map(|user| [String::from("--header"), format!("X-User-ID: {user}")]).concat();
    conformance(&url, &users)
}

#[test]
fn v0_1_2_passes_wire_scenarios_and_fails_fixed_ones() {
    let (succeeded, report) = report_on(plain());
    assert!(!succeeded);
    let failed: Vec<_> = report["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|scenario| scenario["outcome"] == "failed")
        .collect();
    for scenario in &failed {
        assert!(scenario["fixes"].is_string(), "{scenario:#}");
    }
    assert_eq!(named(&report, "failed"), FAILED);
}

/// The log is behind the tables, and returns the states of a row one after the other.
#[test]
fn suite_waits_for_a_log_that_is_behind() {
    let mut server = plain();
    server.log_rows();
    server.lag(true);
    let (_, report) = report_on(server);
    assert_eq!(named(&report, "failed"), FAILED, "{report:#}");
}
