//! An issuer's signing keys (JWKS): loaded, pinned to one algorithm each, and reloaded when they
//! may have changed.
//!
//! An unknown key id triggers a reload, at most every ten seconds. All keys are reloaded every five
//! minutes. If a reload fails, the previous keys stay valid for a day.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Request, Uri};
use bytes::Bytes;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::config::Jwks;
use crate::http;

/// Age after which the key set is reloaded.
const FRESH: Duration = Duration::from_mins(5);

/// Minimum interval between reloads for an unknown key id.
const AGAIN: Duration = Duration::from_secs(10);

/// How long the previous keys are used while reloads fail.
const HOLDS: Duration = Duration::from_hours(24);

/// Timeout of a request to the issuer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum size of a key set in bytes.
const LONGEST: usize = 1 << 20;

/// A key and the only algorithm accepted with it.
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) verifies: DecodingKey,
}

/// The keys of one source.
pub(super) struct Keys {
    source: Jwks,
    state: RwLock<State>,
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Arc<Vec<Key>>,
    read: Option<Instant>,
    tried: Option<Instant>,
    missed: Option<Instant>,
    failed: bool,
}

impl Keys {
    /// Loads a set that needs no network; any other is loaded by the first request.
    pub(super) fn new(source: &Jwks) -> Self {
        let keys = Self {
            source: source.clone(),
            state: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
        };
        let found = match source {
            Jwks::Text(text) => parse(text),
            Jwks::File(path) => read(path),
            Jwks::Url(_) => return keys,
        };
        keys.note(found);
        keys
    }

    /// The candidate keys of a token: the key with its id, or all keys if it names none.
    pub(super) fn of(&self, id: Option<&str>) -> (Arc<Vec<Key>>, Vec<usize>) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let holds = state.read.is_some_and(|read| read.elapsed() < HOLDS);
        let is_meant = |key: &Key| id.is_none() || key.id.as_deref() == id;
        let meant = state.keys.iter().enumerate().filter(|(_, key)| holds && is_meant(key));
        let meant = meant.map(|(at, _)| at).collect();
        (Arc::clone(&state.keys), meant)
    }

    /// Whether the set may be incomplete because the last load failed.
    pub(super) fn may_lack_some(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).failed
    }

    /// Whether the set must be reloaded before a token with this id is verified. `Some(true)`: the
    /// request waits for a reload that another request has started.
    fn wants(&self, id: Option<&str>) -> Option<bool> {
        if matches!(self.source, Jwks::Text(_)) {
            return None;
        }
        let knows = !self.of(id).1.is_empty();
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let since = |then: Option<Instant>| then.map_or(Duration::MAX, |then| then.elapsed());
        if !knows {
            return (since(state.missed) >= AGAIN).then_some(true);
        }
        let is_old = since(state.read) >= FRESH && since(state.tried) >= AGAIN;
        is_old.then_some(false)
    }

    /// Reloads the set if that can help to verify a token with this id.
    pub(super) async fn refresh(&self, id: Option<&str>) {
        let Some(must_wait) = self.wants(id) else { return };
        let _turn = match self.reading.try_lock() {
            Ok(turn) => turn,
            Err(_) if must_wait => self.reading.lock().await,
            Err(_) => return,
        };
        // Another request may have reloaded the set in the meantime.
        if self.wants(id).is_none() {
            return;
        }
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.tried = Some(Instant::now());
            if must_wait {
                state.missed = state.tried;
            }
        }
        let found = match &self.source {
            Jwks::Text(text) => parse(text),
            Jwks::File(path) => {
                let path = path.clone();
                let reading = tokio::task::spawn_blocking(move || read(&path)).await;
                reading.unwrap_or_else(|error| Err(error.to_string()))
            }
            Jwks::Url(url) => tokio::time::timeout(PATIENCE, fetch(url))
                .await
                .unwrap_or_else(|_| Err(String::from("no answer in time"))),
        };
        self.note(found);
    }

    fn note(&self, found: Result<Vec<Key>, String>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.failed = found.is_err();
        match found {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.read = Some(Instant::now());
            }
            Err(why) => tracing::warn!(why, "the keys that sign tokens are not read"),
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<Key>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.len() > LONGEST { Err(String::from("it is too long")) } else { parse(&text) }
}

async fn fetch(url: &str) -> Result<Vec<Key>, String> {
    let uri: Uri = url.parse().map_err(|_| String::from("the address is none"))?;
    let request = Request::get(uri).header("accept", "application/json").body(Bytes::new());
    let answer = http::ask(request.map_err(|error| error.to_string())?, LONGEST).await?;
    if !answer.status().is_success() {
        return Err(format!("the answer is {}", answer.status()));
    }
    parse(std::str::from_utf8(answer.body()).map_err(|error| error.to_string())?)
}

/// The usable keys of a set. Unusable keys are skipped.
pub(super) fn parse(text: &str) -> Result<Vec<Key>, String> {
    let set: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let keys = set.get("keys").and_then(Json::as_array).ok_or("there is no list of keys")?;
    let mut found = Vec::new();
    for key in keys.iter().take(100) {
        match key_of(key) {
            Ok(key) => found.push(key),
            Err(why) => tracing::debug!(why, "a key is left out"),
        }
    }
    if found.is_empty() {
        return Err(String::from(
            "no key can be used: RS256, ES256 and HS256, HS384, HS512 are known",
        ));
    }
    Ok(found)
}

fn key_of(key: &Json) -> Result<Key, String> {
    let key: Jwk = serde_json::from_value(key.clone()).map_err(|error| error.to_string())?;
    if key.common.public_key_use == Some(PublicKeyUse::Encryption) {
        return Err(String::from("it is for encryption"));
    }
    let said = key.common.key_algorithm;
    let algorithm = match (&key.algorithm, said) {
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (AlgorithmParameters::EllipticCurve(curve), None | Some(KeyAlgorithm::ES256))
            if curve.curve == EllipticCurve::P256 =>
        {
            Algorithm::ES256
        }
        (AlgorithmParameters::OctetKey(_), None | Some(KeyAlgorithm::HS256)) => Algorithm::HS256,
        (AlgorithmParameters::OctetKey(_), Some(KeyAlgorithm::HS384)) => Algorithm::HS384,
        (AlgorithmParameters::OctetKey(_), Some(KeyAlgorithm::HS512)) => Algorithm::HS512,
        _ => return Err(String::from("its algorithm is not known here")),
    };
    // Minimum length in base64url: 2,048 bits for RSA, the hash length for a secret.
    let is_short = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => rsa.n.len() < 2_048 / 6,
        AlgorithmParameters::OctetKey(secret) => {
            let least = match algorithm {
                Algorithm::HS512 => 64,
                Algorithm::HS384 => 48,
                _ => 32,
            };
            secret.value.len() * 3 / 4 < least
        }
        _ => false,
    };
    if is_short {
        return Err(String::from("it is too short"));
    }
    let verifies = DecodingKey::from_jwk(&key).map_err(|error| error.to_string())?;
    Ok(Key { id: key.common.key_id, algorithm, verifies })
}
