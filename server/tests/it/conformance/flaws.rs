//! Deliberately broken servers, one fault each: the suite must fail in the matching scenario.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, response};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use serde_json::{Value, json};

use super::{TABLES, conformance, named, run, users_by_header};
use crate::world::{Backend, World};
use rejoin_server::{Config, TableConfig};

/// Changes the response of a path.
type Break = fn(&str, &mut response::Parts, &mut Value);

/// A broken server: its fault, how it is injected, and the scenario that must fail.
struct Flaw {
    what: &'static str,
    is: Break,
    fails: &'static str,
}

fn flaw(what: &'static str, fails: &'static str, is: Break) -> Flaw {
    Flaw { what, is, fails }
}

/// Changes every element of a list in the response.
fn each(answer: &mut Value, list: &str, mut change: impl FnMut(&mut Value)) {
    answer[list].as_array_mut().into_iter().flatten().for_each(&mut change);
}

fn drop_member(value: &mut Value, member: &str) {
    value.as_object_mut().map(|value| value.remove(member));
}

fn rounded(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_i64() => *value = json!(number.as_f64()),
        Value::Object(members) => members.values_mut().for_each(rounded),
        _ => {}
    }
}

fn of_gates() -> Vec<Flaw> {
    vec![
        flaw("no Allow", "gates/method", |_, parts, _| {
            parts.headers.remove("allow");
        }),
        flaw("403 for 401", "gates/no-identity", |_, parts, _| {
            if parts.status == StatusCode::UNAUTHORIZED {
                parts.status = StatusCode::FORBIDDEN;
            }
        }),
        flaw("a 409 without its code", "gates/other-schema", |_, _, answer| {
            drop_member(answer, "code");
        }),
        flaw("another member is named", "gates/member-missing", |_, _, answer| {
            if answer["error"] == "schema_version is required" {
                answer["error"] = json!("schema_hash is required");
            }
        }),
        flaw("500 for 404", "gates/unknown-device", |path, parts, _| {
            if path.ends_with("/pull") && parts.status == StatusCode::NOT_FOUND {
                parts.status = StatusCode::INTERNAL_SERVER_ERROR;
            }
        }),
        flaw("an extension for all peers", "register/answer", |path, _, answer| {
            if path.ends_with("/register")
                && answer.get("id").is_some()
                && answer["checkpoint"] == 0
            {
                answer["last_sync_at"] = answer["server_time"].clone();
            }
        }),
        flaw("a new id at each register", "register/again", |_, _, answer| {
            if answer.get("id").is_some() {
                answer["id"] = json!(uuid::Uuid::new_v4().to_string());
            }
        }),
        flaw("a column that is not in the hash", "schema/hash", |path, _, answer| {
            if path.ends_with("/schema") {
                answer["tables"][0]["columns"][1]["nullable"] = json!(false);
            }
        }),
        flaw("tables without dependencies", "schema/tables", |path, _, answer| {
            if path.ends_with("/tables") {
                each(answer, "tables", |table| drop_member(table, "dependencies"));
            }
        }),
    ]
}

fn of_push() -> Vec<Flaw> {
    vec![
        flaw("no version of what was deleted", "push/delete", |_, _, answer| {
            each(answer, "accepted", |result| drop_member(result, "server_deleted_at"));
        }),
        flaw(
            "a conflict without the row",
            "contest/base-is-old-and-the-clock-earlier",
            |_, _, answer| {
                each(answer, "rejected", |result| drop_member(result, "server_version"));
            },
        ),
        flaw("a conflict that is none", "push/create-of-a-live-row", |_, _, answer| {
            each(answer, "rejected", |result| result["status"] = json!("rejected_terminal"));
        }),
        flaw("another reason", "push/no-such-table", |_, _, answer| {
            each(answer, "rejected", |result| result["reason_code"] = json!("other"));
        }),
        flaw("500 for a bad record", "batch/poison-column", |_, parts, answer| {
            let mut is_bad = false;
            each(answer, "rejected", |result| is_bad |= result["reason_code"] == "invalid_data");
            if is_bad {
                parts.status = StatusCode::INTERNAL_SERVER_ERROR;
            }
        }),
        flaw("a position in a push", "push/no-such-row", |_, _, answer| {
            if answer.get("rejected").is_some_and(|rejected| rejected != &json!([])) {
                answer["checkpoint"] = json!(7);
            }
        }),
    ]
}

fn of_pull() -> Vec<Flaw> {
    vec![
        flaw("numbers through a double", "values/integer-of-64-bits", |_, _, answer| {
            each(answer, "changes", |record| rounded(&mut record["data"]));
        }),
        flaw("text without its case", "values/text", |_, _, answer| {
            each(answer, "changes", |record| {
                let lower = record["data"]["body"].as_str().unwrap_or_default().trim().to_owned();
                record["data"]["body"] = json!(lower);
            });
        }),
        flaw("every change twice", "pull/pages", |_, _, answer| {
            let again = answer["changes"].as_array().cloned().unwrap_or_default();
            if let Some(changes) = answer["changes"].as_array_mut() {
                changes.extend(again);
            }
        }),
        flaw("no deletes", "pull/made-and-deleted", |_, _, answer| {
            if answer.get("deletes").is_some() {
                answer["deletes"] = json!([]);
            }
        }),
        flaw("never more", "pull/usual-page", |path, _, answer| {
            if path.ends_with("/pull") {
                answer["has_more"] = json!(false);
            }
        }),
        flaw("an old version of a row", "pull/one-word-per-row", |_, _, answer| {
            each(answer, "changes", |record| {
                if record["data"]["body"] == "3" {
                    record["data"]["body"] = json!("2");
                }
            });
        }),
        flaw("a first pull as any other", "pull/first", |_, _, answer| {
            drop_member(answer, "snapshot_reason");
        }),
        flaw("a page without its last row", "snapshot/pages", |_, _, answer| {
            answer.get_mut("records").and_then(Value::as_array_mut).and_then(Vec::pop);
        }),
        flaw("a cursor on the last page", "snapshot/pages", |path, _, answer| {
            let rows = answer["records"].as_array().map_or(0, Vec::len);
            if path.ends_with("/snapshot") && rows > 0 && answer["has_more"] == false {
                answer["cursor"] = json!({"checkpoint": 1, "table_idx": 0, "after_id": "x"});
            }
        }),
        flaw("a checkpoint of each page", "snapshot/one-checkpoint", |path, _, answer| {
            static PAGES: AtomicI64 = AtomicI64::new(7);
            if path.ends_with("/snapshot") && answer["has_more"] == true {
                answer["checkpoint"] = json!(PAGES.fetch_add(1, Ordering::Relaxed));
            }
        }),
    ]
}

/// The same tables as the binary's, for the library's router with a layer in front.
fn world() -> World {
    World::with(Backend::Sqlite, TABLES, |config: Config| {
        config
            .with_table(TableConfig::owned("notes", "owner_id"))
            .with_table(TableConfig::child("lines", "notes", "note_id"))
            .with_table(TableConfig::global("countries"))
    })
}

/// Serves until the runtime is dropped; returns the address.
pub(super) fn serve(router: Router) -> (tokio::runtime::Runtime, String) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, router).await });
    (runtime, url)
}

async fn broken(
    is: impl Fn(&str, &mut response::Parts, &mut Value),
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let (mut parts, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
    // Each fault applies to one kind of response; a missing member stays missing.
    if answer.is_object() {
        is(&path, &mut parts, &mut answer);
    }
    parts.headers.remove("content-length");
    // Unchanged responses are passed through as they are, in member order.
    let is_changed = serde_json::from_slice::<Value>(&body).ok().as_ref() != Some(&answer);
    let bytes = if is_changed { answer.to_string().into_bytes() } else { body.to_vec() };
    Response::from_parts(parts, Body::from(bytes))
}

fn failed(router: Router, area: &str) -> (bool, Vec<String>) {
    let (_runtime, url) = serve(router);
    let mut arguments = users_by_header();
    // The log is never behind.
    arguments.extend(["--patience", "0", "--only", area].map(str::to_owned));
    let (succeeded, report) = conformance(&url, &arguments);
    (succeeded, named(&report, "failed"))
}

#[test]
fn each_broken_server_fails_its_scenario() {
    for flaw in of_gates().into_iter().chain(of_push()).chain(of_pull()) {
        let (what, fails, is) = (flaw.what, flaw.fails, flaw.is);
        let sound = world();
        let layer = from_fn(move |request: Request, next: Next| broken(is, request, next));
        let (succeeded, failed) = failed(sound.server.router().layer(layer), fails);
        assert!(!succeeded, "{what}");
        assert_eq!(failed, [fails], "{what}");
    }
}

/// All requests have the same user.
#[test]
fn server_that_mixes_up_users_fails() {
    let sound = world();
    let router = sound.server.router().layer(from_fn(|mut request: Request, next: Next| {
        if request.headers().contains_key("x-user-id") {
            request.headers_mut().insert("x-user-id", HeaderValue::from_static("anna"));
        }
        next.run(request)
    }));
    let (_, failed) = failed(router, "users/");
    let expected =
        ["devices", "pull", "snapshot", "update", "delete", "create-upon", "child", "owner"];
    assert_eq!(failed, expected.map(|name| format!("users/{name}")));
}

/// A change becomes readable two seconds after its push: too late for one wait, soon enough for
/// another.
#[test]
fn patience_bounds_the_wait_for_a_change() {
    for (patience, succeeds) in [("1", false), ("20", true)] {
        let sound = world();
        let pushed = Arc::new(Mutex::new(None::<Instant>));
        let layer =
            from_fn(move |request: Request, next: Next| late(pushed.clone(), request, next));
        let (_runtime, url) = serve(sound.server.router().layer(layer));
        let mut arguments = users_by_header();
        arguments.extend(["--only", "values/text", "--patience", patience].map(str::to_owned));
        let (succeeded, report) = conformance(&url, &arguments);
        assert_eq!(succeeded, succeeds, "{report:#}");
    }
}

/// A pull within two seconds of the first push returns no changes.
async fn late(pushed: Arc<Mutex<Option<Instant>>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path.ends_with("/push") {
        pushed.lock().unwrap().get_or_insert_with(Instant::now);
    }
    let is_early = pushed.lock().unwrap().is_some_and(|at| at.elapsed() < Duration::from_secs(2));
    if !path.ends_with("/pull") || !is_early {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let no_news = move |_: &str, _: &mut response::Parts, answer: &mut Value| {
        answer["changes"] = json!([]);
        answer["deletes"] = json!([]);
        answer["checkpoint"] = asked["checkpoint"].clone();
    };
    broken(no_news, Request::from_parts(parts, Body::from(body)), next).await
}

/// The report shows request and response without credentials.
#[test]
fn failure_report_contains_its_exchange() {
    let sound = world();
    let is: Break = |_, _, answer| drop_member(answer, "snapshot_reason");
    let layer = from_fn(move |request: Request, next: Next| broken(is, request, next));
    let (_runtime, url) = serve(sound.server.router().layer(layer));
    let mut arguments = users_by_header();
    arguments.extend(["--only", "pull/first"].map(str::to_owned));
    let (words, ended) = run(&url, &arguments);
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(
        lines[1],
        "failed          pull/first: `snapshot_reason` is null and should be \"initial_sync_required\""
    );
    assert!(lines[2].starts_with("    POST /sync/pull {\"checkpoint\":0,"), "{words}");
    assert!(lines[3].starts_with("    200 {"), "{words}");
    assert_eq!(lines[4], "0 passed, 1 failed, 0 not applicable");
    assert!(!words.contains("anna"), "{words}");
    assert!(ended.unwrap_err().contains("1 of 1 scenarios failed"));
}
