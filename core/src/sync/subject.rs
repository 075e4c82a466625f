//! The user of a request's credentials, as far as a device can read it: the user header, or the
//! `sub` claim of a JWT.
//!
//! Pure, without verification. It only detects a token of another user before anything of a file is
//! sent with it, if no server reports the user. For an opaque token, the token provider names the
//! user ([`Keyring::signer`](super::token::Keyring::signer)).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rejoin_protocol::USER_HEADER;
use serde_json::Value as Json;

use crate::sync::token::{BEARER, Header};

/// The user of a request's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Signer {
    /// No credentials: a gateway in front of the server identifies the user.
    #[default]
    Unsigned,
    /// This user.
    User(String),
    /// An unknown user: neither the token nor its provider names it.
    Unknown,
}

/// The user of a header; `None` for an opaque token.
pub(crate) fn of(header: Option<&Header>) -> Option<String> {
    let (name, value) = header?;
    if name.eq_ignore_ascii_case(USER_HEADER) {
        return Some(value.clone());
    }
    let token = value.strip_prefix(BEARER)?;
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Json = serde_json::from_slice(&bytes).ok()?;
    match claims.get("sub")? {
        Json::String(subject) if !subject.is_empty() => Some(subject.clone()),
        Json::Number(subject) => Some(subject.to_string()),
        _ => None,
    }
}

/// Whether a plain v0.1.2 server, which lower-cases user names, treats two names as equal.
pub(crate) fn same(left: &str, right: &str) -> bool {
    left == right || left.to_lowercase() == right.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(claims: &str) -> Option<String> {
        let claims = URL_SAFE_NO_PAD.encode(claims);
        of(Some(&("authorization".into(), format!("Bearer e30.{claims}.c2ln"))))
    }

    #[test]
    fn subject_is_read_from_a_jwt_and_not_from_other_tokens() {
        let table = [
            (r#"{"sub":"Ana"}"#, Some("Ana")),
            (r#"{"exp":1,"sub":"a\u00df?>"}"#, Some("a\u{df}?>")),
            (r#"{"sub":42}"#, Some("42")),
            (r#"{"sub":""}"#, None),
            (r#"{"sub":null}"#, None),
            (r#"{"sub":["ana"]}"#, None),
            (r#"{"user":"ana"}"#, None),
            ("[]", None),
            ("no JSON", None),
        ];
        for (claims, subject) in table {
            assert_eq!(named(claims).as_deref(), subject, "{claims}");
        }
        let header = |name: &str, value: &str| of(Some(&(name.into(), value.into())));
        assert_eq!(header("x-user-id", "ana"), Some("ana".into()));
        for opaque in ["Bearer opaque", "Bearer a.b", "Bearer e30.e30.e30.e30", "Basic e30.e30.e30"]
        {
            assert_eq!(header("authorization", opaque), None, "{opaque}");
        }
        assert_eq!(
            header("authorization", "Bearer e30.eyJzdWIiOiJhbmEifQ==.x"),
            Some("ana".into())
        );
        assert_eq!(of(None), None);
    }

    #[test]
    fn names_that_differ_in_case_are_equal() {
        assert!(same("Ana", "aNA") && same("\u{c4}nna", "\u{e4}nna") && !same("ana", "anna"));
    }
}
