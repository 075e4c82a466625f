//! Credentials: the header on loopback; JWT with HS256, issuer, audience and expiry.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use macro_rules_attribute::apply;
use rejoin_server::{JwtConfig, Server, ServerError};
use serde_json::{Value, json};

use crate::world::{Backend, MORNING, TABLES, World, standard};

const SECRET: &str = "a secret of at least thirty-two bytes";
const NOW: i64 = MORNING / 1_000_000;

fn token(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn claims(more: &Value) -> Value {
    let mut claims = json!({"sub": "anna", "iss": "https://issuer", "aud": "app", "exp": NOW + 60});
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn world(backend: Backend, change: impl Fn(&mut JwtConfig)) -> World {
    World::with(backend, TABLES, |config| {
        let mut jwt = JwtConfig::new(SECRET, "https://issuer", "app");
        change(&mut jwt);
        standard(config).with_jwt(jwt)
    })
}

async fn status(world: &World, authorization: &str) -> (u16, Value) {
    let headers = [("Authorization", authorization)];
    let (status, _, body) = world.send("GET", "/sync/schema", &headers, "").await;
    (status, body["error"].clone())
}

#[apply(stores!)]
async fn token_must_be_signed_for_this_server_and_unexpired(backend: Backend) {
    let world = world(backend, |_| ());
    let sign = |more: Value| token(&claims(&more), SECRET, Algorithm::HS256);
    let critical = |names: &[&str]| {
        let crit = Some(names.iter().map(|name| String::from(*name)).collect());
        let header = Header { crit, ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        encode(&header, &claims(&json!({})), &key).unwrap()
    };
    let table = [
        ("good", sign(json!({})), 200),
        (
            "another secret",
            token(&claims(&json!({})), "another secret of thirty-two bytes", Algorithm::HS256),
            401,
        ),
        ("another algorithm", token(&claims(&json!({})), SECRET, Algorithm::HS512), 401),
        ("another issuer", sign(json!({"iss": "https://other"})), 401),
        ("no issuer", sign(json!({"iss": null})), 401),
        ("another audience", sign(json!({"aud": "other"})), 401),
        ("no audience", sign(json!({"aud": null})), 401),
        ("several audiences", sign(json!({"aud": ["other", "app"]})), 200),
        ("over", sign(json!({"exp": NOW})), 401),
        ("no end", sign(json!({"exp": null})), 401),
        ("not yet", sign(json!({"nbf": NOW + 5})), 401),
        ("no user", sign(json!({"sub": null})), 401),
        ("an empty user", sign(json!({"sub": ""})), 401),
        ("a user that is a number", sign(json!({"sub": 7})), 200),
        ("an unknown critical header", critical(&["policy"]), 401),
        ("a critical header without a name", critical(&[]), 401),
        ("none", String::from("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIn0."), 401),
    ];
    for (what, token, expected) in table {
        let (found, error) = status(&world, &format!("Bearer {token}")).await;
        assert_eq!(found, expected, "{what}: {error}");
    }
    let (found, error) = status(&world, "Basic abc").await;
    assert_eq!((found, error), (401, json!("missing or malformed authorization header")));
    let (found, ..) = world.send("GET", "/sync/schema", &[("X-User-ID", "anna")], "").await;
    assert_eq!(found, 401, "the header is nothing beside a token");
    let (found, ..) = world.send("GET", "/healthz", &[], "").await;
    assert_eq!(found, 200);
}

#[apply(stores!)]
async fn optional_claims_may_be_missing(backend: Backend) {
    let world = world(backend, |jwt| {
        jwt.issuer = None;
        jwt.audience = None;
        jwt.require_expiry = false;
        jwt.user_claim = String::from("uid");
    });
    let bare = token(&json!({"uid": "Anna"}), SECRET, Algorithm::HS256);
    let bearer = format!("bearer {bare}");
    let headers = [("Authorization", bearer.as_str())];
    let body = json!({"client_id": "c", "schema_version": 0, "schema_hash": "", "rejoin": {}});
    let (status, _, answer) =
        world.send("POST", "/sync/register", &headers, body.to_string()).await;
    assert_eq!((status, &answer["rejoin"]["subject"]), (200, &json!("Anna")));
}

#[apply(stores!)]
async fn user_header_is_trusted_on_loopback_only(world: World) {
    let (status, _, answer) = world.send("GET", "/sync/schema", &[], "").await;
    assert_eq!((status, answer), (401, json!({"error": "missing user identity"})));
    let mut config = world.config.clone();
    config.listen = "0.0.0.0:0".parse().unwrap();
    let Err(ServerError::Config(problems)) = Server::open(config) else { panic!("it opened") };
    assert_eq!(problems[0].place, "listen");
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    assert!(matches!(world.server.serve(listener).await, Err(ServerError::NotLoopback(_))));
}

#[test]
fn secret_is_not_printed() {
    let jwt = JwtConfig::new(SECRET, "i", "a");
    assert!(!format!("{jwt:?}").contains("secret of"));
}

/// A website whose name leads to this machine would send its own name.
#[apply(stores!)]
async fn user_header_is_trusted_with_a_local_host_only(world: World) {
    for (host, expected) in [
        ("127.0.0.1:7878", 200),
        ("10.0.2.2:7878", 200),
        ("[::1]:7878", 200),
        ("::1", 200),
        ("localhost", 200),
        ("LocalHost:7878", 200),
        ("rebound.example", 401),
        ("rebound.example:7878", 401),
        ("127.0.0.1.example", 401),
        ("localhost.example:80", 401),
        ("", 401),
    ] {
        let headers = [("X-User-ID", "anna"), ("Host", host)];
        let (status, _, body) = world.send("GET", "/sync/schema", &headers, "").await;
        assert_eq!(status, expected, "{host}: {body}");
    }
}
