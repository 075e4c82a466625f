//! The door: a host program is asked before a request is worked on, and may send its peer away for a while (429, 503).
//!
//! For limits by user, and for times when the work would be too much. Devices wait as they are told; a server without a
//! gatekeeper pays nothing for it.

use std::fmt::Debug;
use std::time::Duration;

/// Decides who comes in. Asked once for each request, when it is known who asks and that his app is recent enough, before the
/// body is read; on a thread that may wait. A panic lets nobody in: 503.
pub trait Gatekeeper: Send + Sync + Debug {
    /// What becomes of this request.
    fn admit(&self, incoming: &Incoming<'_>) -> Admission;
}

/// A request at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// What it is for.
    pub endpoint: Endpoint,
    /// Who asks.
    pub user: &'a str,
    /// His app's version, as the header `X-App-Version` says it; empty if it says nothing.
    pub app_version: &'a str,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// POST `/sync/register`.
    Register,
    /// POST `/sync/pull`.
    Pull,
    /// POST `/sync/push`.
    Push,
    /// POST `/sync/snapshot`.
    Snapshot,
    /// GET `/sync/tables`.
    Tables,
    /// GET `/sync/schema`.
    Schema,
    /// GET `/sync/digest`.
    Digest,
    /// GET `/sync/events`, whose answer stays open.
    Events,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is worked on.
    Admit,
    /// 429: this peer asks too often, and may come again after so long.
    TooManyRequests {
        /// Told in whole seconds, one at least.
        retry_after: Duration,
    },
    /// 503: nobody is served just now, and may come again after so long.
    Unavailable {
        /// Told in whole seconds, one at least.
        retry_after: Duration,
    },
}
