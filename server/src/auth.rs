//! Who asks: a JWT's claim, a header on a loopback address, or whom the host program names. Ids of users keep their case.
//!
//! A token is held to one algorithm (D31): the secret's, or the one of the key that it names. What it says of its own algorithm
//! decides nothing.

use axum::http::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rejoin_protocol::wire::code;
use serde_json::Value as Json;

use crate::config::{Auth, Jwks, JwtConfig};
use crate::error::{Fault, Problem, Refusal};

mod keys;

use keys::Keys;

/// A user, and until when the credentials hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user's id.
    pub(crate) user: String,
    /// Seconds since 1970 at which the token ends.
    pub(crate) expires: Option<i64>,
}

/// Checks credentials.
pub(crate) struct Authenticator {
    auth: Auth,
    trust: Trust,
}

/// What a token's signature is held to.
enum Trust {
    /// There are no tokens.
    Nothing,
    /// One secret, and its algorithm.
    Secret(DecodingKey, Algorithm),
    /// The keys of an issuer.
    Keys(Keys),
}

/// The user of a request, as the host program has found him out: its own layer puts this among the request's extensions.
///
/// Believed with [`Auth::Host`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: String,
    /// Seconds since 1970 at which that ends; event streams end with it.
    pub expires: Option<i64>,
}

impl User {
    /// This user, without an end.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), expires: None }
    }
}

/// What is wrong with the keys that a configuration names, as far as no network is needed to see it.
pub(crate) fn problems(auth: &Auth) -> Vec<Problem> {
    let Auth::Jwt(JwtConfig { keys: Some(source), .. }) = auth else { return Vec::new() };
    let read = match source {
        Jwks::Text(text) => keys::parse(text),
        Jwks::File(path) => keys::read(path),
        Jwks::Url(_) => return Vec::new(),
    };
    read.err().map(|why| Problem::new("auth.jwt.jwks", why)).into_iter().collect()
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authenticator").field("auth", &self.auth).finish_non_exhaustive()
    }
}

fn unauthorized(message: &str) -> Fault {
    Refusal::new(401, code::UNAUTHORIZED, message).into()
}

/// The token of a request.
fn bearer<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    header("authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
}

impl Authenticator {
    pub(crate) fn new(auth: &Auth) -> Self {
        let trust = match auth {
            Auth::Jwt(JwtConfig { keys: Some(source), .. }) => Trust::Keys(Keys::new(source)),
            Auth::Jwt(jwt) => {
                let key = DecodingKey::from_secret(jwt.secret.as_bytes());
                Trust::Secret(key, jwt.algorithm.pinned())
            }
            Auth::Header { .. } | Auth::Host => Trust::Nothing,
        };
        Self { auth: auth.clone(), trust }
    }

    /// Reads the keys of the issuer again, if the token of a request asks for that. Waits for the issuer, not for long.
    pub(crate) async fn refresh(&self, headers: &HeaderMap) {
        let Trust::Keys(keys) = &self.trust else { return };
        let find = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(Ok(header)) = bearer(find).map(decode_header) else { return };
        keys.refresh(header.kid.as_deref()).await;
    }

    /// The user that a request names. `header` finds a header's value; `now` is in microseconds since 1970.
    pub(crate) fn identify<'a>(
        &self,
        header: impl Fn(&str) -> Option<&'a str>,
        host: Option<&User>,
        now: i64,
    ) -> Result<Identity, Fault> {
        match &self.auth {
            Auth::Header { name } => {
                let user = header(name).ok_or_else(|| unauthorized("missing user identity"))?;
                Ok(Identity { user: checked(user)?, expires: None })
            }
            Auth::Host => {
                let user = host.ok_or_else(|| unauthorized("missing user identity"))?;
                Ok(Identity { user: checked(&user.id)?, expires: user.expires })
            }
            Auth::Jwt(jwt) => {
                let token = bearer(header)
                    .ok_or_else(|| unauthorized("missing or malformed authorization header"))?;
                from_claims(jwt, &self.claims(jwt, token)?, now / 1_000_000)
            }
        }
    }

    /// What a token says, once its signature, its issuer and its audience are good.
    fn claims(&self, jwt: &JwtConfig, token: &str) -> Result<Json, Fault> {
        match &self.trust {
            Trust::Nothing => Err(unauthorized("invalid token")),
            Trust::Secret(key, algorithm) => {
                verified(jwt, token, key, *algorithm).ok_or_else(|| unauthorized("invalid token"))
            }
            Trust::Keys(known) => {
                let header = decode_header(token).map_err(|_| unauthorized("invalid token"))?;
                let (keys, meant) = known.of(header.kid.as_deref());
                let mut candidates = meant.iter().filter_map(|at| keys.get(*at));
                let found =
                    candidates.find_map(|key| verified(jwt, token, &key.verifies, key.algorithm));
                // Nothing is said against a token whose key may be one that could not be read.
                if found.is_none() && meant.is_empty() && known.may_lack_some() {
                    return Err(Fault::Transient(String::from("the issuer's keys are not here")));
                }
                found.ok_or_else(|| unauthorized("invalid token"))
            }
        }
    }
}

/// The claims of a token that this key signed with this algorithm, for us.
fn verified(jwt: &JwtConfig, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Json> {
    let mut validation = Validation::new(algorithm);
    // Times are compared below, against the clock that was injected.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    match &jwt.issuer {
        Some(issuer) => {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert(String::from("iss"));
        }
        None => validation.iss = None,
    }
    match &jwt.audience {
        Some(audience) => {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert(String::from("aud"));
        }
        None => validation.validate_aud = false,
    }
    let decoded = decode::<Json>(token, key, &validation)
        .inspect_err(|error| tracing::debug!(%error, "refused"))
        .ok()?;
    // RFC 7515, 4.1.11: a header that must be understood, and none is.
    decoded.header.crit.is_none().then_some(decoded.claims)
}

fn from_claims(jwt: &JwtConfig, claims: &Json, now: i64) -> Result<Identity, Fault> {
    let leeway = i64::from(jwt.leeway_seconds);
    // A number may have a fraction; what is no number is no time.
    #[allow(clippy::cast_possible_truncation)]
    // To whole seconds, and a time beyond all bounds to the last one.
    let seconds = |name: &str| {
        let value = claims.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
    };
    let expires = seconds("exp");
    let is_over = match expires {
        Some(end) => end.saturating_add(leeway) <= now,
        None => jwt.require_expiry || claims.get("exp").is_some(),
    };
    let starts = claims.get("nbf").map(|_| seconds("nbf").unwrap_or(i64::MAX));
    if is_over || starts.is_some_and(|start| start > now.saturating_add(leeway)) {
        return Err(unauthorized("invalid token"));
    }
    let user = match claims.get(&jwt.user_claim) {
        Some(Json::String(user)) => user.clone(),
        Some(Json::Number(number)) => number.to_string(),
        _ => return Err(unauthorized("token missing user claim")),
    };
    // Its streams last as long as it is believed.
    let expires = expires.map(|end| end.saturating_add(leeway));
    Ok(Identity { user: checked(&user)?, expires })
}

/// A user id names a bucket and an owner: not empty, not endless, nothing unseen in it.
fn checked(user: &str) -> Result<String, Fault> {
    if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
        return Err(unauthorized("missing user identity"));
    }
    Ok(user.to_owned())
}
