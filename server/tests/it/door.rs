//! Admission control: a host rejects requests with 429 or 503 before they are processed. The line of a
//! request in the log.

use macro_rules_attribute::apply;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rejoin_server::{Admission, Endpoint, Gatekeeper, Incoming};
use serde_json::json;

use crate::log_capture::LogCapture;
use crate::world::{Backend, TABLES, World, place, standard};

/// Gives the same answer to every request unless its app version is `let me in`, and records the
/// requests.
#[derive(Debug)]
struct Porter {
    says: Option<Admission>,
    came: Mutex<Vec<String>>,
}

impl Gatekeeper for Porter {
    fn admit(&self, incoming: &Incoming<'_>) -> Admission {
        let Incoming { endpoint, user, app_version } = incoming;
        self.came.lock().unwrap().push(format!("{user} {endpoint:?} {app_version}"));
        if *endpoint == Endpoint::Tables {
            return Admission::Admit;
        }
        self.says.expect("on purpose")
    }
}

fn with(backend: Backend, says: Option<Admission>) -> (World, Arc<Porter>) {
    let porter = Arc::new(Porter { says, came: Mutex::default() });
    let gatekeeper = Arc::clone(&porter);
    let world =
        World::with(backend, TABLES, |config| standard(config).with_gatekeeper(gatekeeper.clone()));
    (world, porter)
}

const PATHS: [(&str, &str); 7] = [
    ("POST", "/sync/register"),
    ("POST", "/sync/pull"),
    ("POST", "/sync/push"),
    ("POST", "/sync/snapshot"),
    ("GET", "/sync/schema"),
    ("GET", "/sync/digest?table=places"),
    ("GET", "/sync/events"),
];

#[apply(stores!)]
async fn rejected_request_carries_retry_after(backend: Backend) {
    let wait = Duration::from_millis(29_001);
    let table = [
        (
            Admission::TooManyRequests { retry_after: wait },
            429,
            "Too Many Requests",
            "too_many_requests",
        ),
        (Admission::Unavailable { retry_after: wait }, 503, "Service Unavailable", "unavailable"),
    ];
    for (says, status, words, code) in table {
        let (world, _) = with(backend, Some(says));
        for (method, path) in PATHS {
            // The body is invalid, but is not read.
            let plain = [("X-User-ID", "anna")];
            let (found, headers, answer) = world.send(method, path, &plain, "nonsense").await;
            assert_eq!(found, status, "{path}: {answer}");
            assert_eq!(answer, json!({"error": words, "retry_after": 30}), "{path}");
            let after = (String::from("retry-after"), String::from("30"));
            assert!(headers.contains(&after), "{path}: {headers:?}");
            let ours = [plain[0], ("Rejoin-Protocol", "1")];
            let (found, headers, answer) = world.send(method, path, &ours, "nonsense").await;
            assert_eq!((found, &answer["code"]), (status, &json!(code)), "{path}");
            assert_eq!((&answer["retryable"], &answer["retry_after"]), (&json!(true), &json!(30)));
            assert!(headers.contains(&after), "{path}: {headers:?}");
        }
    }
}

#[apply(stores!)]
async fn gatekeeper_is_called_once_per_authenticated_request(backend: Backend) {
    let (world, porter) = with(backend, Some(Admission::Admit));
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.snapshot(100).await;
    anna.pull().await;
    let headers = [("X-User-ID", "Ben"), ("X-App-Version", "1.2.3")];
    for path in ["/sync/schema", "/sync/tables", "/healthz"] {
        assert_eq!(world.send("GET", path, &headers, "").await.0, 200);
    }
    assert_eq!(world.send("GET", "/sync/schema", &[], "").await.0, 401);
    let came = std::mem::take(&mut *porter.came.lock().unwrap());
    let expected = [
        "anna Register ",
        "anna Push ",
        "anna Snapshot ",
        "anna Pull ",
        "Ben Schema 1.2.3",
        "Ben Tables 1.2.3",
    ];
    assert_eq!(came, expected);
}

#[apply(stores!)]
async fn gatekeeper_panic_is_answered_503(backend: Backend) {
    let (world, _) = with(backend, None);
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (status, _, answer) = world.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")));
    assert_eq!(world.send("GET", "/sync/tables", &headers, "").await.0, 200);
}

#[apply(stores!)]
async fn request_line_has_the_device_and_a_hash_of_the_user(backend: Backend) {
    let log = LogCapture::begin();
    let world = World::with(backend, TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let line =
        ["DEBUG", "answered", "/sync/snapshot", "status=200", "user=\"55579b55\"", "device=\"a1\""];
    assert!(log.count(&line) > 0);
    assert_eq!(log.count(&["DEBUG", "answered", "anna"]), 0, "no user's name");
}
