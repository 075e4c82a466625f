//! Wake-ups: hello, changed, bye.

use macro_rules_attribute::apply;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{Request, Response};
use futures_util::StreamExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rejoin_server::{JwtConfig, Limits, Server, SystemClock};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{Backend, TABLES, World, place, standard};

pub(crate) struct Listening {
    stream: BodyDataStream,
    text: String,
}

impl Listening {
    pub(crate) async fn start(server: &Server, header: (&str, &str)) -> Self {
        Self::with(server, &[header]).await
    }

    pub(crate) async fn with(server: &Server, headers: &[(&str, &str)]) -> Self {
        let request = Request::get("/sync/events?client_id=c");
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = server.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event, as `name data`; `None` at the stream's end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        // One timeout for the whole wait: an idle stream still sends keep-alive messages.
        let event = tokio::time::timeout(Duration::from_secs(15), self.read_event()).await;
        event.expect("no event within the timeout")
    }

    async fn read_event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.replace("event: ", "").replace("\ndata: ", " ");
                let rest = rest.to_owned();
                self.text = rest;
                if !event.starts_with(':') {
                    return Some(event);
                }
                continue;
            }
            let chunk = self.stream.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[apply(stores!)]
async fn listener_gets_changes_and_the_end_of_the_server(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let mut listening = Listening::start(&world.server, ("X-User-ID", "anna")).await;
    let hello = listening.next().await.unwrap();
    assert_eq!(hello, format!("hello {}", json!({"epoch": anna.epoch})));
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    world.write("UPDATE places SET name = 'Pier'");
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    world.server.shutdown();
    assert_eq!(listening.next().await.unwrap(), "bye {\"reason\":\"shutdown\"}");
    assert_eq!(listening.next().await, None);
}

#[apply(stores!)]
async fn commits_are_coalesced_for_a_slow_listener(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let mut listening = Listening::start(&world.server, ("X-User-ID", "anna")).await;
    listening.next().await.unwrap();
    for number in 0..5 {
        anna.accept(&format!("m{number}"), json!([place(&format!("p{number}"), "x")])).await;
    }
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    world.server.shutdown();
    assert_eq!(listening.next().await.unwrap(), "bye {\"reason\":\"shutdown\"}");
}

#[apply(stores!)]
async fn stream_ends_with_its_token(backend: Backend) {
    let secret = "a secret of at least thirty-two bytes";
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_jwt(JwtConfig::new(secret, "i", "a"))
    });
    let server = Server::open_at(world.config.clone(), std::sync::Arc::new(SystemClock)).unwrap();
    let now = rejoin_server::Clock::now(&SystemClock) / 1_000_000;
    let claims = json!({"sub": "anna", "iss": "i", "aud": "a", "exp": now + 1});
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let mut listening =
        Listening::start(&server, ("Authorization", &format!("Bearer {token}"))).await;
    assert!(listening.next().await.unwrap().starts_with("hello"));
    assert_eq!(listening.next().await.unwrap(), "bye {\"reason\":\"token_expired\"}");
    assert_eq!(listening.next().await, None);
    let again = open(&server, &[("Authorization", &format!("Bearer {token}"))]).await;
    let (status, _, body) = read(again).await;
    assert_eq!((status, &body["code"]), (401, &json!("unauthorized")), "it needs a new token");
}

/// Requests an event stream.
async fn open(server: &Server, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get("/sync/events").header("Rejoin-Protocol", "1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// Reads a refusal: status, `Retry-After` and body.
async fn read(response: Response<Body>) -> (u16, Option<String>, Value) {
    let (parts, body) = response.into_parts();
    assert_ne!(parts.status, 200, "a stream has no end");
    let retry_after = parts.headers.get("retry-after").map(|value| value.to_str().unwrap().into());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), retry_after, serde_json::from_slice(&body).unwrap())
}

#[apply(stores!)]
async fn interval_of_the_pings_is_a_number_of_seconds(backend: Backend) {
    let world = World::with(backend, TABLES, standard);
    let ask = async |ping: &str| {
        let request = Request::get(format!("/sync/events?client_id=c&ping={ping}"));
        let request = request.header("Rejoin-Protocol", "1").header("X-User-ID", "anna");
        world.server.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    for ping in ["480", "0", "18446744073709551615"] {
        assert_eq!(ask(ping).await.status(), 200, "{ping}");
    }
    let (status, _, body) = read(ask("soon").await).await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid_request")), "{body}");
}

#[apply(stores!)]
async fn streams_opened_at_once_all_get_a_change(world: World) {
    const STREAMS: usize = 150;
    let users: Vec<String> = (0..STREAMS).map(|number| format!("user{number}")).collect();
    let opens = users.iter().map(|user| Listening::start(&world.server, ("X-User-ID", user)));
    let mut streams = futures_util::future::join_all(opens).await;
    for stream in &mut streams {
        assert!(stream.next().await.unwrap().starts_with("hello"));
    }
    world.write("INSERT INTO countries(code, name) VALUES('ch', 'Switzerland')");
    let nexts = streams.iter_mut().map(Listening::next);
    let events = futures_util::future::join_all(nexts).await;
    assert_eq!(events, vec![Some(String::from("changed {}")); STREAMS]);
}

#[apply(stores!)]
async fn stream_above_the_limit_of_its_user_is_refused(backend: Backend) {
    let limits = Limits { streams_per_user: 2, ..Limits::default() };
    let world = World::with(backend, TABLES, |config| standard(config).with_limits(limits));
    let anna = [("X-User-ID", "anna")];
    let first = open(&world.server, &anna).await;
    let second = open(&world.server, &anna).await;
    assert_eq!([first.status(), second.status()], [200, 200]);
    let (status, retry_after, body) = read(open(&world.server, &anna).await).await;
    assert_eq!((status, retry_after.as_deref()), (429, Some("60")));
    assert_eq!((&body["code"], &body["retryable"]), (&json!("too_many_streams"), &json!(true)));
    assert_eq!(open(&world.server, &[("X-User-ID", "ben")]).await.status(), 200);
    drop(first);
    assert_eq!(open(&world.server, &anna).await.status(), 200, "one has ended");
}

#[tokio::test]
async fn stream_opens_with_a_distant_token_expiry() {
    let secret = "a secret of at least thirty-two bytes";
    let world = World::with(Backend::Sqlite, TABLES, |config| {
        standard(config).with_jwt(JwtConfig::new(secret, "i", "a"))
    });
    let claims = json!({"sub": "anna", "iss": "i", "aud": "a", "exp": i64::MAX});
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let opened = open(&world.server, &[("Authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(opened.status(), 200);
}
