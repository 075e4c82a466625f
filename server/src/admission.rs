//! Admission control: a host program's [`Gatekeeper`] can reject a request with 429 or 503 before
//! it is processed.
//!
//! Use it for per-user limits and for load shedding. Devices wait for the returned time before they
//! retry.

use std::fmt::Debug;
use std::time::Duration;

/// Decides whether a request is processed. Called once per request, on a blocking thread, after the
/// user is authenticated and the app version checked, and before the body is read. A panic is
/// answered with 503.
pub trait Gatekeeper: Send + Sync + Debug {
    /// Decides about this request.
    fn admit(&self, incoming: &Incoming<'_>) -> Admission;
}

/// A request before admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The authenticated user.
    pub user: &'a str,
    /// The app version from the header `X-App-Version`; empty if the header is missing.
    pub app_version: &'a str,
}

/// The endpoint of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// POST `/sync/register`.
    Register,
    /// POST `/sync/pull`.
    Pull,
    /// POST `/sync/push`.
    Push,
    /// POST `/sync/stage`.
    Stage,
    /// POST `/sync/snapshot`.
    Snapshot,
    /// GET `/sync/tables`.
    Tables,
    /// GET `/sync/schema`.
    Schema,
    /// GET `/sync/digest`.
    Digest,
    /// POST `/log/publish`.
    LogPublish,
    /// POST `/log/fetch`.
    LogFetch,
    /// POST `/log/snapshot`.
    LogSnapshot,
    /// POST `/log/rows`.
    LogRows,
    /// POST `/log/correct`.
    LogCorrect,
    /// GET `/sync/events`, whose response stays open.
    Events,
}

impl Endpoint {
    /// Whether such requests write what their user has sent.
    pub(crate) fn is_push(self) -> bool {
        matches!(self, Self::Push | Self::LogPublish | Self::LogCorrect)
    }

    /// Whether only Rejoin devices send such requests.
    pub(crate) fn is_extended(self) -> bool {
        matches!(
            self,
            Self::Stage
                | Self::LogPublish
                | Self::LogFetch
                | Self::LogSnapshot
                | Self::LogRows
                | Self::LogCorrect
        )
    }
}

/// The decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Process the request.
    Admit,
    /// 429: the client sends too many requests.
    TooManyRequests {
        /// Sent as `Retry-After` in whole seconds, at least one.
        retry_after: Duration,
    },
    /// 503: the server is temporarily unavailable.
    Unavailable {
        /// Sent as `Retry-After` in whole seconds, at least one.
        retry_after: Duration,
    },
}
