//! Authentication, app version check and admission of a request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Extensions, HeaderMap};
use rejoin_protocol::SUBSCRIPTIONS_HEADER;
use rejoin_protocol::wire::{ErrorBody, code};

use crate::admission::{Admission, Endpoint, Gatekeeper, Incoming};
use crate::auth::Identity;
use crate::engine::Caller;
use crate::error::{Fault, Refusal};
use crate::observe::Sender;
use crate::{Shared, User};

/// Returns the user and the expiry of the credentials.
pub(super) async fn enter(
    shared: &Arc<Shared>,
    (headers, extensions): (&HeaderMap, &Extensions),
    extended: bool,
    endpoint: Endpoint,
) -> Result<(Caller, Option<i64>), Fault> {
    let Identity { user, expires } = identified(shared, headers, extensions).await?;
    Sender::of(extensions).is_user(&user);
    let app_version = header(headers, "x-app-version").unwrap_or_default();
    if let Err(fault) = shared.engine.check_app_version(app_version) {
        if shared.config.hooks.is_some() {
            let (shared, app_version) = (Arc::clone(shared), app_version.to_owned());
            return Err(waiting(move || {
                shared.engine.tell_incompatible(&fault, &user, None, &app_version);
                fault
            })
            .await?);
        }
        return Err(fault);
    }
    if let Some(gatekeeper) = shared.config.gatekeeper.as_ref() {
        let (gatekeeper, app_version) = (Arc::clone(gatekeeper), app_version.to_owned());
        let asked = user.clone();
        waiting(move || {
            let (user, app_version) = (asked.as_str(), app_version.as_str());
            ask(&*gatekeeper, &Incoming { endpoint, user, app_version })
        })
        .await??;
    }
    let subscriptions = header(headers, SUBSCRIPTIONS_HEADER);
    let subscriptions = shared.engine.streams.asked(subscriptions)?;
    Ok((Caller { user, extended, is_admitted: false, subscriptions }, expires))
}

async fn identified(
    shared: &Shared,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Identity, Fault> {
    if !shared.is_header_trusted() {
        return Err(Refusal::new(401, code::UNAUTHORIZED, "missing user identity").into());
    }
    shared.authenticator.refresh(headers).await;
    let (host, now) = (extensions.get::<User>(), shared.engine.clock.now());
    shared.authenticator.identify(|name| header(headers, name), host, now)
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Runs host code on a thread that may block.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::Internal(error.to_string()))
}

fn ask(gatekeeper: &dyn Gatekeeper, incoming: &Incoming<'_>) -> Result<(), Fault> {
    let Ok(said) = catch_unwind(AssertUnwindSafe(|| gatekeeper.admit(incoming))) else {
        return Err(Fault::Transient(String::from("the gatekeeper panicked")));
    };
    // The plain protocol's message depends on the status.
    let (status, code, words, wait) = match said {
        Admission::Admit => return Ok(()),
        Admission::TooManyRequests { retry_after } => {
            (429, code::TOO_MANY_REQUESTS, "Too Many Requests", retry_after)
        }
        Admission::Unavailable { retry_after } => {
            (503, code::UNAVAILABLE, "Service Unavailable", retry_after)
        }
    };
    let body = ErrorBody { retry_after: Some(seconds(wait)), ..ErrorBody::default() };
    Err(Refusal { retryable: true, body, ..Refusal::new(status, code, words) }.into())
}

/// Rounds up to whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    let part = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(part).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::seconds;

    #[test]
    fn retry_after_rounds_up_to_whole_seconds() {
        let table = [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (30_000, 30)];
        for (millis, expected) in table {
            assert_eq!(seconds(Duration::from_millis(millis)), expected, "{millis}");
        }
        assert_eq!(seconds(Duration::MAX), u64::MAX);
    }
}
