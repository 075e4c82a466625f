//! Configuration of authentication.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;

use super::reader::{ConfigReader, TableMembers};
use crate::error::Problem;

/// How requests are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A trusted header, for development: accepted on a loopback address only.
    Header {
        /// Its name; `X-User-ID` by default.
        name: String,
    },
    /// A JWT in `Authorization: Bearer`.
    Jwt(JwtConfig),
    /// The host program: its own layer around [`Server::router`](crate::Server::router) adds a
    /// [`User`](crate::User) to the request's extensions. Rust API only; a request without a user
    /// is refused.
    Host,
}

/// How a JWT is verified. One algorithm is pinned to each key; the algorithm named by the token is
/// ignored.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// The shared secret, at least as long as the algorithm's hash; unused if `keys` is set.
    pub secret: String,
    /// The secret's algorithm; HS256 by default.
    pub algorithm: JwtAlgorithm,
    /// The issuer's keys, instead of a secret.
    pub keys: Option<Jwks>,
    /// The claim that names the user; `sub` by default.
    pub user_claim: String,
    /// The only accepted issuer; `None` accepts any.
    pub issuer: Option<String>,
    /// The required audience; `None` accepts any.
    pub audience: Option<String>,
    /// Whether a token must have an expiry; `true` by default.
    pub require_expiry: bool,
    /// Allowed clock difference to the issuer in seconds; 0 by default, 300 at most.
    pub leeway_seconds: u32,
}

/// The algorithm of a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// Location of an issuer's keys (a JSON Web Key Set). RSA keys are pinned to RS256, P-256 keys to
/// ES256, and secrets to their `alg`; other keys are ignored.
#[derive(Clone, PartialEq, Eq)]
pub enum Jwks {
    /// A file; reloaded every five minutes, and when a token names an unknown key.
    File(PathBuf),
    /// A URL, https (http on a loopback address); reloaded like a file.
    Url(String),
    /// The key set itself.
    Text(String),
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => out.debug_tuple("File").field(path).finish(),
            Self::Url(url) => out.debug_tuple("Url").field(url).finish(),
            Self::Text(_) => out.write_str("Text"),
        }
    }
}

impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JwtConfig")
            .field("algorithm", &self.algorithm)
            .field("keys", &self.keys)
            .field("user_claim", &self.user_claim)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("require_expiry", &self.require_expiry)
            .field("leeway_seconds", &self.leeway_seconds)
            .finish_non_exhaustive() // Does not print the secret.
    }
}

impl JwtAlgorithm {
    /// The algorithm in the JWT library.
    pub(crate) fn pinned(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            _ => return None,
        })
    }

    /// The name, and the minimum length of a secret in bytes.
    fn asks(self) -> (&'static str, usize) {
        match self {
            Self::Hs256 => ("HS256", 32),
            Self::Hs384 => ("HS384", 48),
            Self::Hs512 => ("HS512", 64),
        }
    }
}

impl JwtConfig {
    /// HS256 with this secret. Issuer and audience are required, the user is in `sub`, and tokens
    /// must expire.
    pub fn new(
        secret: impl Into<String>,
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        Self {
            secret: secret.into(),
            algorithm: JwtAlgorithm::Hs256,
            keys: None,
            user_claim: String::from("sub"),
            issuer: Some(issuer.into()),
            audience: Some(audience.into()),
            require_expiry: true,
            leeway_seconds: 0,
        }
    }

    /// Like [`new`](Self::new), with the keys of an issuer.
    pub fn by_keys(keys: Jwks, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { keys: Some(keys), ..Self::new("", issuer, audience) }
    }

    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let mut tell = |key: &str, why: String| {
            problems.push(Problem::new(format!("auth.jwt.{key}"), why));
        };
        match &self.keys {
            Some(_) if !self.secret.is_empty() => {
                tell("secret", String::from("set a secret or the issuer's keys, not both"));
            }
            Some(Jwks::Url(url)) if !is_safe(url) => {
                let why = "keys are fetched by https, or by http from a loopback address";
                tell("jwks_url", String::from(why));
            }
            Some(_) => {}
            None => {
                let (name, least) = self.algorithm.asks();
                if self.secret.len() < least {
                    let why =
                        format!("the secret has fewer than {least} bytes: {name} needs as many");
                    tell("secret", why);
                }
            }
        }
        if self.user_claim.is_empty() {
            tell("user_claim", String::from("no claim is named"));
        }
        if self.leeway_seconds > 300 {
            tell("leeway_seconds", String::from("300 at most"));
        }
    }
}

/// Whether the connection protects the keys from being replaced in transit.
fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<axum::http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_here,
        _ => false,
    }
}

/// Reads `[auth]`.
pub(super) fn read(reader: &mut ConfigReader<'_>, mut auth: TableMembers) -> Auth {
    let header = reader.text(&mut auth, "header");
    let jwt = reader.table(&mut auth, "jwt").map(|jwt| read_jwt(reader, jwt));
    reader.leftover(&auth);
    match (header, jwt) {
        (Some(_), Some(jwt)) => {
            reader.problem("auth.header", "set the header or [auth.jwt], not both");
            Auth::Jwt(jwt)
        }
        (None, Some(jwt)) => Auth::Jwt(jwt),
        (Some(name), None) => Auth::Header { name },
        (None, None) => {
            reader.problem("auth", "set auth.header or [auth.jwt]");
            Auth::Header { name: String::from("X-User-ID") }
        }
    }
}

fn read_jwt(reader: &mut ConfigReader<'_>, mut jwt: TableMembers) -> JwtConfig {
    let mut config = JwtConfig::new("", "", "");
    let secret = reader.text(&mut jwt, "secret");
    let file = reader.text(&mut jwt, "jwks").map(|path| Jwks::File(PathBuf::from(path)));
    let url = reader.text(&mut jwt, "jwks_url").map(Jwks::Url);
    if file.is_some() && url.is_some() {
        reader.problem("auth.jwt.jwks_url", "the keys are in a file or at an address, not both");
    }
    config.keys = file.or(url);
    match secret {
        Some(secret) => config.secret = secret,
        None if config.keys.is_some() => {}
        None => {
            let why = "missing: set it, REJOIN_AUTH_JWT_SECRET, jwks or jwks_url";
            reader.problem("auth.jwt.secret", why);
            // Avoids a second problem for the missing secret.
            config.secret = "-".repeat(64);
        }
    }
    if let Some(name) = reader.text(&mut jwt, "algorithm") {
        match JwtAlgorithm::named(&name) {
            _ if config.keys.is_some() => {
                reader.problem("auth.jwt.algorithm", "each of the issuer's keys has its own");
            }
            Some(algorithm) => config.algorithm = algorithm,
            None => {
                reader.problem("auth.jwt.algorithm", "a secret's is HS256, HS384 or HS512");
            }
        }
    }
    config.issuer = named_or_any(reader, &mut jwt, "issuer", "any_issuer");
    config.audience = named_or_any(reader, &mut jwt, "audience", "any_audience");
    if let Some(claim) = reader.text(&mut jwt, "user_claim") {
        config.user_claim = claim;
    }
    if let Some(required) = reader.truth(&mut jwt, "require_expiry") {
        config.require_expiry = required;
    }
    if let Some(seconds) = reader.number(&mut jwt, "leeway_seconds") {
        config.leeway_seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    }
    reader.leftover(&jwt);
    config
}

/// Issuer and audience are required unless the file disables them explicitly.
fn named_or_any(
    reader: &mut ConfigReader<'_>,
    jwt: &mut TableMembers,
    name: &str,
    any: &str,
) -> Option<String> {
    let named = reader.text(jwt, name);
    let any_is_good = reader.truth(jwt, any).unwrap_or(false);
    match (&named, any_is_good) {
        (None, false) => {
            reader
                .problem(&format!("auth.jwt.{name}"), &format!("missing: set it, or {any} = true"));
        }
        (Some(_), true) => {
            reader.problem(&format!("auth.jwt.{any}"), &format!("{name} is set: one or the other"));
        }
        _ => {}
    }
    named
}
