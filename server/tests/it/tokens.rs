//! Tokens verified by an issuer's keys, which change while the server runs; one algorithm per key;
//! users set by the host.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rejoin_server::{Auth, Config, Jwks, JwtAlgorithm, JwtConfig, Server, ServerError, User};
use serde_json::{Value, json};

use crate::world::{Backend, MORNING, TABLES, World, standard};

const NOW: i64 = MORNING / 1_000_000;

fn keys() -> Value {
    serde_json::from_str(include_str!("keys.json")).unwrap()
}

fn set(names: &[&str]) -> Value {
    let keys = keys();
    json!({ "keys": names.iter().map(|name| keys[name]["public"].clone()).collect::<Vec<_>>() })
}

fn private(name: &str) -> Vec<u8> {
    STANDARD.decode(keys()[name]["private"].as_str().unwrap()).unwrap()
}

/// A token for Anna, signed by one of the keys.
fn signed(name: &str, kid: Option<&str>) -> String {
    let (algorithm, key) = match name {
        "curve" => (Algorithm::ES256, EncodingKey::from_ec_der(&private(name))),
        _ => (Algorithm::RS256, EncodingKey::from_rsa_der(&private(name))),
    };
    token(algorithm, &key, kid, NOW + 60)
}

fn token(algorithm: Algorithm, key: &EncodingKey, kid: Option<&str>, end: i64) -> String {
    let header = Header { kid: kid.map(Into::into), ..Header::new(algorithm) };
    let claims = json!({"sub": "anna", "iss": "https://issuer", "aud": "app", "exp": end});
    encode(&header, &claims, key).unwrap()
}

fn believing(keys: Jwks) -> World {
    let jwt = JwtConfig::by_keys(keys, "https://issuer", "app");
    World::with(Backend::Sqlite, TABLES, move |config| standard(config).with_jwt(jwt.clone()))
}

async fn status(world: &World, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    world.send("GET", "/sync/schema", &headers, "").await.0
}

#[tokio::test]
async fn key_is_accepted_with_its_own_algorithm_only() {
    let mut keys = set(&["first", "second", "short", "curve"]);
    let list = keys["keys"].as_array_mut().unwrap();
    list[1]["alg"] = json!("PS256");
    list.push(json!({"kty": "OKP", "crv": "Ed25519", "kid": "odd", "x": "AAAA"}));
    list.push(json!({"kty": "something new"}));
    list.push(json!({"kty": "oct", "kid": "own", "alg": "HS384", "k": "c".repeat(64)}));
    let world = believing(Jwks::Text(keys.to_string()));
    let own = EncodingKey::from_base64_secret(&"c".repeat(64)).unwrap();
    // Uses the public key as an HMAC secret: a well-known attack.
    let modulus = keys["keys"][0]["n"].as_str().unwrap();
    let public = EncodingKey::from_secret(modulus.as_bytes());
    let first = EncodingKey::from_rsa_der(&private("first"));
    let end = NOW + 60;
    let table = [
        ("by its id", signed("first", Some("first")), 200),
        ("by none", signed("first", None), 200),
        ("by a curve", signed("curve", Some("curve")), 200),
        ("by a secret of the set", token(Algorithm::HS384, &own, Some("own"), end), 200),
        ("by the id of another", signed("first", Some("curve")), 401),
        ("by an unknown key id", signed("first", Some("other")), 401),
        ("another algorithm", token(Algorithm::RS384, &first, Some("first"), end), 401),
        ("another of a secret", token(Algorithm::HS256, &own, Some("own"), end), 401),
        ("the public key as a secret", token(Algorithm::HS256, &public, Some("first"), end), 401),
        ("the same without an id", token(Algorithm::HS256, &public, None, end), 401),
        ("a key for what is not known here", signed("second", Some("second")), 401),
        ("a key that is too short", signed("short", Some("short")), 401),
        ("over", token(Algorithm::RS256, &first, Some("first"), NOW), 401),
        ("no token", String::from("x.y.z"), 401),
    ];
    for (what, token, expected) in table {
        assert_eq!(status(&world, &token).await, expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn key_file_is_reloaded_for_an_unknown_key_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set(&["first"]).to_string()).unwrap();
    let world = believing(Jwks::File(path.clone()));
    assert_eq!(status(&world, &signed("first", Some("first"))).await, 200);
    assert_eq!(status(&world, &signed("second", Some("second"))).await, 401);
    std::fs::write(&path, set(&["second"]).to_string()).unwrap();
    assert_eq!(status(&world, &signed("second", Some("second"))).await, 401, "asked just now");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(status(&world, &signed("second", Some("second"))).await, 200);
    assert_eq!(status(&world, &signed("first", Some("first"))).await, 401, "it was taken away");
    // A temporarily invalid file keeps the previous keys valid for a day.
    std::fs::write(&path, "{").unwrap();
    tokio::time::advance(Duration::from_secs(400)).await;
    assert_eq!(status(&world, &signed("second", Some("second"))).await, 200);
    assert_eq!(
        status(&world, &signed("first", Some("first"))).await,
        503,
        "the key set may be incomplete"
    );
    tokio::time::advance(Duration::from_hours(25)).await;
    assert_eq!(
        status(&world, &signed("second", Some("second"))).await,
        503,
        "no key set is available"
    );
    std::fs::write(&path, set(&["second"]).to_string()).unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(status(&world, &signed("second", Some("second"))).await, 200);
}

/// An issuer that returns this answer to every request, and counts requests.
fn issuer(answer: &Arc<Mutex<String>>) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys?of=all", listener.local_addr().unwrap());
    let (answer, asked) = (Arc::clone(answer), Arc::new(Mutex::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            assert!(head.starts_with("GET /keys?of=all HTTP/1.1\r\n"), "{head}");
            *count.lock().unwrap() += 1;
            stream.write_all(answer.lock().unwrap().as_bytes()).unwrap();
        }
    });
    (url, asked)
}

fn good(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn key_url_is_fetched_when_needed_at_a_limited_rate() {
    let away = String::from("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let answer = Arc::new(Mutex::new(good(&set(&["first"]))));
    let (url, asked) = issuer(&answer);
    let world = believing(Jwks::Url(url.clone()));
    assert_eq!(*asked.lock().unwrap(), 0, "a start needs no network");
    assert_eq!(status(&world, &signed("first", Some("first"))).await, 200);
    assert_eq!(status(&world, &signed("first", None)).await, 200);
    assert_eq!(*asked.lock().unwrap(), 1);
    for _ in 0..5 {
        assert_eq!(status(&world, &signed("second", Some("second"))).await, 401);
    }
    assert_eq!(*asked.lock().unwrap(), 1, "no further request within ten seconds");
    *answer.lock().unwrap() = away;
    let early = believing(Jwks::Url(url));
    assert_eq!(status(&early, &signed("first", Some("first"))).await, 503);
    let closed = believing(Jwks::Url(String::from("http://127.0.0.1:1/")));
    assert_eq!(status(&closed, &signed("first", Some("first"))).await, 503);
}

#[tokio::test]
async fn secret_algorithm_and_clock_leeway_are_configurable() {
    let secret = "a secret of at least sixty-four bytes, for the longest of the hashes";
    let world = World::with(Backend::Sqlite, TABLES, |config| {
        let mut jwt = JwtConfig::new(secret, "https://issuer", "app");
        (jwt.algorithm, jwt.leeway_seconds) = (JwtAlgorithm::Hs512, 30);
        standard(config).with_jwt(jwt)
    });
    let key = EncodingKey::from_secret(secret.as_bytes());
    let claims = |more: Value| {
        let mut claims = json!({"sub": "anna", "iss": "https://issuer", "aud": "app", "exp": NOW});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        encode(&Header::new(Algorithm::HS512), &claims, &key).unwrap()
    };
    let table = [
        (token(Algorithm::HS512, &key, None, NOW - 29), 200),
        (token(Algorithm::HS512, &key, None, NOW - 30), 401),
        (token(Algorithm::HS256, &key, None, NOW + 60), 401),
        (token(Algorithm::HS384, &key, None, NOW + 60), 401),
        (claims(json!({"nbf": NOW + 30})), 200),
        (claims(json!({"nbf": NOW + 31})), 401),
        (claims(json!({"nbf": "tomorrow"})), 401),
        (claims(json!({"exp": "never"})), 401),
        (claims(json!({"exp": serde_json::from_str::<Value>(&format!("{NOW}.5")).unwrap()})), 200),
    ];
    for (at, (token, expected)) in table.into_iter().enumerate() {
        assert_eq!(status(&world, &token).await, expected, "{at}");
    }
}

#[tokio::test]
async fn host_layer_sets_the_user() {
    use axum::Extension;
    use tower::ServiceExt as _;
    let world = World::with(Backend::Sqlite, TABLES, |config| {
        let mut config = standard(config);
        config.auth = Auth::Host;
        config
    });
    let headers = [("X-User-ID", "anna"), ("Authorization", "Bearer x")];
    assert_eq!(world.send("GET", "/sync/schema", &headers, "").await.0, 401, "no user was set");
    let answer = async |user: User| {
        let router = world.server.router().layer(Extension(user));
        let router = axum::Router::new().nest("/api", router);
        let request = axum::http::Request::get("/api/sync/schema").body(axum::body::Body::empty());
        router.oneshot(request.unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(answer(User::new("anna")).await, 200);
    assert_eq!(answer(User::new("")).await, 401);
}

#[test]
fn key_source_without_keys_is_reported_at_start() {
    let with = |jwt: &str| {
        let text = format!(
            "database = \"a.db\"\n[auth.jwt]\nissuer = \"i\"\naudience = \"a\"\n{jwt}\n[[tables]]\nname = \"t\"\nowner_column = \"o\"\n"
        );
        Config::from_toml(&text, &[])
    };
    let table = [
        ("jwks_url = \"http://issuer.example/keys\"", "auth.jwt.jwks_url"),
        ("jwks_url = \"keys.json\"", "auth.jwt.jwks_url"),
        ("jwks = \"k.json\"\njwks_url = \"https://issuer/keys\"", "auth.jwt.jwks_url"),
        ("jwks = \"k.json\"\nalgorithm = \"HS256\"", "auth.jwt.algorithm"),
        ("jwks = \"k.json\"\nsecret = \"0123456789abcdef0123456789abcdef\"", "auth.jwt.secret"),
        (
            "secret = \"0123456789abcdef0123456789abcdef\"\nalgorithm = \"none\"",
            "auth.jwt.algorithm",
        ),
        ("secret = \"0123456789abcdef0123456789abcdef\"\nalgorithm = \"HS384\"", "auth.jwt.secret"),
        ("jwks = \"k.json\"\nleeway_seconds = 301", "auth.jwt.leeway_seconds"),
        ("", "auth.jwt.secret"),
    ];
    for (jwt, place) in table {
        let problems = with(jwt).unwrap_err();
        assert_eq!(problems[0].place, place, "{jwt}: {problems:?}");
        assert_eq!(problems.len(), 1, "{jwt}: {problems:?}");
    }
    let good = with("jwks = \"k.json\"\nleeway_seconds = 5").unwrap();
    let Auth::Jwt(jwt) = &good.auth else { panic!() };
    assert_eq!(jwt.keys, Some(Jwks::File(PathBuf::from("k.json"))));
    assert!(with("jwks_url = \"https://issuer.example/keys\"").is_ok());
    assert!(with("jwks_url = \"http://[::1]:8080/keys\"").is_ok());
    let Err(ServerError::Config(problems)) = Server::open(good) else { panic!("it opened") };
    assert_eq!(problems[0].place, "auth.jwt.jwks", "the file is not there");
    let text = Jwks::Text(String::from("{\"keys\": [\"a secret\"]}"));
    assert!(!format!("{text:?}").contains("secret"));
}
