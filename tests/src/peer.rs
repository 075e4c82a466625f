//! The other side of an exchange: a server of either kind.

use rejoin_core::sync::session::{Request, Response};

/// The other side of an exchange.
pub trait Peer {
    /// The answer to a request of `user`; `None` if the connection ends without one.
    fn exchange(&self, user: &str, request: &Request) -> Option<Response>;
}
