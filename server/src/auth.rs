//! Authentication: the user comes from a JWT claim, from a header on a loopback address, or from
//! the host program. User ids are case-sensitive.
//!
//! A token is verified with exactly one algorithm: that of the secret, or that of the key it names.
//! The algorithm in the token's own header is never used to select one.

use std::net::IpAddr;

use axum::http::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rejoin_protocol::wire::code;
use serde_json::Value as Json;

use crate::config::{Auth, Jwks, JwtConfig};
use crate::error::{Fault, Problem, Refusal};

mod keys;

use keys::Keys;

/// A user and the expiry of the credentials.
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

/// How a token's signature is verified.
enum Trust {
    /// Tokens are not used.
    Nothing,
    /// A shared secret and its algorithm.
    Secret(DecodingKey, Algorithm),
    /// An issuer's key set.
    Keys(Keys),
}

/// The user of a request as authenticated by the host program, whose own layer adds it to the
/// request's extensions.
///
/// Used with [`Auth::Host`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: String,
    /// Expiry in seconds since 1970; event streams end at that time.
    pub expires: Option<i64>,
}

impl User {
    /// This user, without an expiry.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), expires: None }
    }
}

/// The problems of the configured keys that can be found without network access.
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

/// The bearer token of a request.
fn bearer<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    header("authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
}

/// Whether a `Host` is an IP address or `localhost`. The page of a website whose name leads to this
/// machine would send that name.
fn is_local(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
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

    /// Reloads the issuer's keys if the request's token requires it. The wait is bounded.
    pub(crate) async fn refresh(&self, headers: &HeaderMap) {
        let Trust::Keys(keys) = &self.trust else { return };
        let find = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(Ok(header)) = bearer(find).map(decode_header) else { return };
        keys.refresh(header.kid.as_deref()).await;
    }

    /// Returns the user of a request. `header` returns a header's value; `now` is in microseconds
    /// since 1970.
    pub(crate) fn identify<'a>(
        &self,
        header: impl Fn(&str) -> Option<&'a str>,
        host: Option<&User>,
        now: i64,
    ) -> Result<Identity, Fault> {
        match &self.auth {
            Auth::Header { name } => {
                if !header("host").is_none_or(is_local) {
                    let message = "the header `Host` names neither an IP address nor localhost: use one of them, or tokens";
                    return Err(unauthorized(message));
                }
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

    /// Returns a token's claims after verifying signature, issuer and audience.
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
                // The key may be in a set that could not be read: do not report the token as
                // invalid.
                if found.is_none() && meant.is_empty() && known.may_lack_some() {
                    return Err(Fault::Transient(String::from("the issuer's keys are not here")));
                }
                found.ok_or_else(|| unauthorized("invalid token"))
            }
        }
    }
}

/// Returns the claims if this key signed the token with this algorithm for the configured issuer
/// and audience.
fn verified(jwt: &JwtConfig, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Json> {
    let mut validation = Validation::new(algorithm);
    // Times are compared below, against the injected clock.
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
    // RFC 7515, 4.1.11: a token with critical headers is rejected, because none is supported.
    decoded.header.crit.is_none().then_some(decoded.claims)
}

fn from_claims(jwt: &JwtConfig, claims: &Json, now: i64) -> Result<Identity, Fault> {
    let leeway = i64::from(jwt.leeway_seconds);
    // The number may have a fraction; a value that is not a number is not a time.
    #[allow(clippy::cast_possible_truncation)]
    // Converts to whole seconds and clamps out-of-range times.
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
    // The event stream stays open as long as the token is accepted.
    let expires = expires.map(|end| end.saturating_add(leeway));
    Ok(Identity { user: checked(&user)?, expires })
}

/// Validates a user id, which names a bucket and an owner: not empty, of bounded length, without
/// invisible characters.
fn checked(user: &str) -> Result<String, Fault> {
    if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
        return Err(unauthorized("missing user identity"));
    }
    Ok(user.to_owned())
}
