//! The subscriptions to streams in the requests of a session.
//!
//! Each request to a server with streams has all of them, so the server keeps no state about them. Only
//! register and schema do not depend on them.

use rejoin_protocol::capability;
use rejoin_protocol::wire::subscription::{Subscription, header};

use super::{Next, Request, Session};
use crate::engine::{Engine, subscription};
use crate::error::Result;

const NO_STREAMS: &str = "this server has no streams; they need rejoin-server with [[streams]] in its \
    configuration";

impl Session {
    /// Adds the subscriptions to a request that is about to be sent.
    pub(super) fn with_subscriptions(&mut self, engine: &mut Engine, next: Next) -> Result<Next> {
        let Next::Send(request) = next else { return Ok(next) };
        self.pass.subscriptions = self.subscriptions(engine)?;
        Ok(Next::Send(Request { subscriptions: self.subscriptions_header(), ..request }))
    }

    /// Adds the subscriptions to a request that is sent before the last one has its response.
    pub(super) fn subscribed(&self, engine: &mut Engine, request: Request) -> Result<Request> {
        Ok(Request { subscriptions: to_header(&self.subscriptions(engine)?), ..request })
    }

    /// The header of the last request; `None` without subscriptions.
    pub(crate) fn subscriptions_header(&self) -> Option<String> {
        to_header(&self.pass.subscriptions)
    }

    /// At the end of a pass: a server without streams returns no states of subscriptions.
    pub(super) fn finish_subscriptions(&self, engine: &mut Engine) -> Result<()> {
        if self.has_streams() {
            return Ok(());
        }
        subscription::of_request(engine)?;
        subscription::remove_ended(engine, &[])?;
        subscription::refuse(engine, NO_STREAMS)
    }

    fn subscriptions(&self, engine: &mut Engine) -> Result<Vec<Subscription>> {
        if self.has_streams() { subscription::of_request(engine) } else { Ok(Vec::new()) }
    }

    fn has_streams(&self) -> bool {
        let welcome = self.welcome();
        welcome.is_some_and(|it| it.capabilities.iter().any(|name| name == capability::STREAMS))
    }
}

/// `subscribe` keeps within the limit of its length.
fn to_header(subscriptions: &[Subscription]) -> Option<String> {
    if subscriptions.is_empty() { None } else { header(subscriptions) }
}
