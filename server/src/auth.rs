//! Who asks: a JWT's claim, or a header on a loopback address. Ids of users keep their case.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use rejoin_protocol::wire::code;
use serde_json::Value as Json;

use crate::config::{Auth, JwtConfig};
use crate::error::{Fault, Refusal};

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
    key: Option<DecodingKey>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authenticator").field("auth", &self.auth).finish_non_exhaustive()
    }
}

fn unauthorized(message: &str) -> Fault {
    Refusal::new(401, code::UNAUTHORIZED, message).into()
}

impl Authenticator {
    pub(crate) fn new(auth: &Auth) -> Self {
        let key = match auth {
            Auth::Jwt(jwt) => Some(DecodingKey::from_secret(jwt.secret.as_bytes())),
            Auth::Header { .. } => None,
        };
        Self { auth: auth.clone(), key }
    }

    /// The user that a request names. `header` finds a header's value; `now` is in microseconds since 1970.
    pub(crate) fn identify<'a>(
        &self,
        header: impl Fn(&str) -> Option<&'a str>,
        now: i64,
    ) -> Result<Identity, Fault> {
        match (&self.auth, &self.key) {
            (Auth::Header { name }, _) => {
                let user = header(name).ok_or_else(|| unauthorized("missing user identity"))?;
                Ok(Identity { user: checked(user)?, expires: None })
            }
            (Auth::Jwt(jwt), Some(key)) => {
                let token = header("authorization")
                    .and_then(|value| value.split_once(' '))
                    .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                    .map(|(_, token)| token.trim())
                    .ok_or_else(|| unauthorized("missing or malformed authorization header"))?;
                from_token(jwt, key, token, now / 1_000_000)
            }
            (Auth::Jwt(_), None) => Err(unauthorized("invalid token")),
        }
    }
}

fn from_token(
    jwt: &JwtConfig,
    key: &DecodingKey,
    token: &str,
    now: i64,
) -> Result<Identity, Fault> {
    let mut validation = Validation::new(Algorithm::HS256);
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
    let claims = decode::<Json>(token, key, &validation)
        .map_err(|error| {
            tracing::debug!(%error, "token refused");
            unauthorized("invalid token")
        })?
        .claims;
    let seconds = |name: &str| claims.get(name).and_then(Json::as_i64);
    let expires = seconds("exp");
    let is_over = match expires {
        Some(end) => end <= now,
        None => jwt.require_expiry,
    };
    if is_over || seconds("nbf").is_some_and(|start| start > now) {
        return Err(unauthorized("invalid token"));
    }
    let user = match claims.get(&jwt.user_claim) {
        Some(Json::String(user)) => user.clone(),
        Some(Json::Number(number)) => number.to_string(),
        _ => return Err(unauthorized("token missing user claim")),
    };
    Ok(Identity { user: checked(&user)?, expires })
}

/// A user id names a bucket and an owner: not empty, not endless, nothing unseen in it.
fn checked(user: &str) -> Result<String, Fault> {
    if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
        return Err(unauthorized("missing user identity"));
    }
    Ok(user.to_owned())
}
