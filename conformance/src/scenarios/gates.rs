//! Requests rejected before processing: methods, paths, credentials, bodies, versions, schemas,
//! unknown devices.

use serde_json::{Value, json};

use super::{Scenario, fixed, wire};
use crate::bench::Bench;
use crate::client::{Ask, Exchange};
use crate::expect::{self, ScenarioResult, equal, hold, is, skip};

const POSTS: [&str; 4] = ["/sync/register", "/sync/pull", "/sync/push", "/sync/snapshot"];
const GETS: [&str; 2] = ["/sync/schema", "/sync/tables"];

pub(crate) const ALL: &[Scenario] = &[
    wire("gates/health", health),
    wire("gates/method", method),
    wire("gates/path", path),
    wire("gates/no-identity", no_identity),
    wire("gates/wrong-token", wrong_token),
    wire("gates/body-is-no-object", body_is_no_object),
    wire("gates/member-missing", member_missing),
    wire("gates/member-of-another-type", member_of_another_type),
    wire("gates/unknown-member", unknown_member),
    wire("gates/other-schema", other_schema),
    wire("gates/no-schema-yet", no_schema_yet),
    wire("gates/old-app", old_app),
    fixed("gates/app-of-no-version", "500 at register", app_of_no_version),
    wire("gates/unknown-device-at-snapshot", unknown_device_at_snapshot),
    fixed("gates/unknown-device", "500 at push and pull", unknown_device),
];

fn refused(exchange: &Exchange, status: u16, error: &str) -> ScenarioResult {
    equal("the status", exchange.status, status)?;
    is(&exchange.json(), "error", error)
}

fn health(bench: &mut Bench) -> ScenarioResult {
    let ask =
        Ask { method: "GET", path: "/healthz".into(), headers: Vec::new(), body: String::new() };
    let answer = bench.ask(ask)?;
    equal("the status", answer.status, 200)?;
    is(&answer.json(), "status", "ok")
}

fn method(bench: &mut Bench) -> ScenarioResult {
    let wrong = POSTS.map(|path| (path, "GET", "POST")).into_iter();
    for (path, method, allowed) in wrong.chain(GETS.map(|path| (path, "POST", "GET"))) {
        let headers = bench.credentials(0);
        let body = if method == "POST" { String::from("{}") } else { String::new() };
        let answer = bench.ask(Ask { method, path: path.into(), headers, body })?;
        refused(&answer, 405, "method not allowed")?;
        equal("the header Allow", answer.header("allow"), Some(allowed))?;
    }
    Ok(())
}

fn path(bench: &mut Bench) -> ScenarioResult {
    let answer = bench.get("/sync/nowhere")?;
    equal("the status", answer.status, 404)
}

fn no_identity(bench: &mut Bench) -> ScenarioResult {
    for path in POSTS {
        let body = bench.framed("unregistered", json!({})).to_string();
        let ask = Ask { method: "POST", path: path.into(), headers: Vec::new(), body };
        unauthorized(&bench.ask(ask)?)?;
    }
    for path in GETS {
        let ask =
            Ask { method: "GET", path: path.into(), headers: Vec::new(), body: String::new() };
        unauthorized(&bench.ask(ask)?)?;
    }
    Ok(())
}

fn unauthorized(answer: &Exchange) -> ScenarioResult {
    equal("the status", answer.status, 401)?;
    expect::text(&answer.json(), "error").map(drop)
}

fn wrong_token(bench: &mut Bench) -> ScenarioResult {
    if !bench.by_token() {
        return skip("users are identified by a header");
    }
    let mut tampered = bench.credentials(0);
    for (_, value) in &mut tampered {
        // The last character belongs to the signature.
        let last = value.pop().unwrap_or('A');
        value.pop();
        value.push_str(if last == 'A' { "BB" } else { "AA" });
    }
    let nonsense = vec![("authorization".to_owned(), "Bearer nonsense".to_owned())];
    let no_bearer = vec![("authorization".to_owned(), "Basic YTpi".to_owned())];
    for headers in [tampered, nonsense, no_bearer] {
        let body = bench.framed("unregistered", json!({})).to_string();
        let ask = Ask { method: "POST", path: POSTS[0].into(), headers, body };
        unauthorized(&bench.ask(ask)?)?;
    }
    Ok(())
}

fn body_is_no_object(bench: &mut Bench) -> ScenarioResult {
    for path in POSTS {
        for body in ["{", "[]", "7", "null"] {
            let headers = bench.credentials(0);
            let ask = Ask { method: "POST", path: path.into(), headers, body: body.into() };
            refused(&bench.ask(ask)?, 400, "invalid request body")?;
        }
    }
    Ok(())
}

fn member_missing(bench: &mut Bench) -> ScenarioResult {
    let all = ["client_id", "schema_version", "schema_hash"];
    for path in POSTS {
        let needed =
            if path == "/sync/pull" || path == "/sync/snapshot" { &all[..] } else { &all[1..] };
        for at in 0..needed.len() {
            // All later members are missing too: the error names the first one.
            let mut body = bench.framed("c", json!({}));
            for name in &needed[at..] {
                body.as_object_mut().and_then(|body| body.remove(*name));
            }
            let answer = bench.post(0, path, &body)?;
            refused(&answer, 400, &format!("{} is required", needed[at]))?;
        }
    }
    Ok(())
}

fn member_of_another_type(bench: &mut Bench) -> ScenarioResult {
    for (path, member) in
        POSTS.map(|path| (path, "client_id")).into_iter().chain([("/sync/pull", "checkpoint")])
    {
        let mut body = bench.framed("c", json!({}));
        body[member] = json!({"a": 1});
        refused(&bench.post(0, path, &body)?, 400, "invalid request body")?;
    }
    Ok(())
}

fn unknown_member(bench: &mut Bench) -> ScenarioResult {
    let client_id = bench.new_client();
    let body = bench.framed(&client_id, json!({"of_tomorrow": {"a": [1]}}));
    bench.good(0, "/sync/register", &body).map(drop)
}

fn mismatch(bench: &Bench, answer: &Exchange) -> ScenarioResult {
    equal("the status", answer.status, 409)?;
    let body = answer.json();
    is(&body, "code", "schema_mismatch")?;
    expect::text(&body, "message")?;
    is(&body, "server_schema_version", bench.version)?;
    is(&body, "server_schema_hash", bench.hash.as_str())?;
    hold(body.get("error").is_none(), "a 409 has a member `error`")
}

fn other_schema(bench: &mut Bench) -> ScenarioResult {
    let client_id = bench.device(0)?;
    for path in POSTS {
        for (member, value) in
            [("schema_version", json!(bench.version + 1)), ("schema_hash", json!("other"))]
        {
            let mut body = bench.framed(&client_id, json!({}));
            body[member] = value;
            let answer = bench.post(0, path, &body)?;
            mismatch(bench, &answer)?;
        }
    }
    Ok(())
}

fn no_schema_yet(bench: &mut Bench) -> ScenarioResult {
    let none = json!({"schema_version": 0, "schema_hash": ""});
    let client_id = bench.new_client();
    let body = bench.framed(&client_id, none.clone());
    bench.good(0, "/sync/register", &body)?;
    for path in &POSTS[1..] {
        let body = bench.framed(&client_id, none.clone());
        let answer = bench.post(0, path, &body)?;
        mismatch(bench, &answer)?;
    }
    Ok(())
}

/// Registers with this app version; `None` if the server has no minimum version.
fn as_app(bench: &mut Bench, version: &str) -> ScenarioResult<Option<Exchange>> {
    let mut headers = bench.credentials(0);
    headers.push(("x-app-version".into(), "0.0.0".into()));
    let ask = Ask { method: "GET", path: GETS[0].into(), headers, body: String::new() };
    if bench.ask(ask)?.status == 200 {
        return Ok(None);
    }
    let client_id = bench.new_client();
    let body = bench.framed(&client_id, json!({"app_version": version}));
    bench.post(0, POSTS[0], &body).map(Some)
}

fn old_app(bench: &mut Bench) -> ScenarioResult {
    let Some(answer) = as_app(bench, "0.0.0")? else {
        return skip("the server accepts every app version");
    };
    refused(&answer, 426, "client upgrade required")?;
    for version in ["0.0.0", "banana"] {
        let mut headers = bench.credentials(0);
        headers.push(("x-app-version".into(), version.into()));
        let ask = Ask { method: "GET", path: GETS[0].into(), headers, body: String::new() };
        refused(&bench.ask(ask)?, 426, "client upgrade required")?;
    }
    Ok(())
}

fn app_of_no_version(bench: &mut Bench) -> ScenarioResult {
    match as_app(bench, "banana")? {
        None => skip("the server accepts every app version"),
        Some(answer) => refused(&answer, 426, "client upgrade required"),
    }
}

fn unknown_device_at_snapshot(bench: &mut Bench) -> ScenarioResult {
    let body = bench.framed("never-registered", json!({}));
    refused(&bench.post(0, "/sync/snapshot", &body)?, 404, "client not registered")
}

fn unknown_device(bench: &mut Bench) -> ScenarioResult {
    for path in ["/sync/pull", "/sync/push"] {
        let body: Value = bench.framed("never-registered", json!({}));
        refused(&bench.post(0, path, &body)?, 404, "client not registered")?;
    }
    Ok(())
}
