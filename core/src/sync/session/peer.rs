//! The exchange with one kind of server after the register; one implementation per kind.
//!
//! A peer creates push, pull and snapshot requests and interprets the responses. The session
//! handles register, the schema and the limits of a pass.

use std::fmt::Debug;
use std::time::Duration;

use rejoin_protocol::Manifest;
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};

use super::pass::{Next, Pass};
use crate::engine::Engine;
use crate::error::{Error, Result, SyncFault};
use crate::sync::request::{Request, Response, SessionConfig};
use crate::sync::rows::answer::NextStep;
use crate::sync::subject::Signer;

/// The error for a response without a request.
pub(super) fn unrequested() -> Error {
    Error::Sync(SyncFault::Protocol("a response arrived, but no request is in flight".to_owned()))
}

/// One kind of server. Durable state is in the engine's file; a peer keeps the state of a pass.
pub(super) trait Peer: Debug + Send {
    /// Whether the server supports the extensions; then every request announces them.
    fn is_extended(&self) -> bool;

    /// What the server reported about itself; `None` for a plain server.
    fn welcome(&self) -> Option<&Welcome>;

    /// Handles a register response. Returns whether the device's schema rules are current.
    ///
    /// # Errors
    /// `WrongUser` or `Refused` if the file belongs to another user or server.
    fn registered(
        &mut self,
        engine: &mut Engine,
        config: &SessionConfig,
        who: &Signer,
        answer: RegisterResponse,
    ) -> Result<bool>;

    /// Completes the server's schema by what it lacks.
    fn complete(&self, manifest: Manifest, engine: &Engine) -> Manifest;

    /// Whether the next pass must begin with a registration.
    fn must_register(&self, engine: &Engine) -> bool;

    /// Starts a pass: resets the state of the last one.
    fn start_pass(&mut self);

    /// The next request of a push or pull, or a slice of local work; `None` after a change of the
    /// pass's step. A push is committed as sent before this returns it.
    ///
    /// # Errors
    /// Those of the engine's file; `Protocol` for a log without an end.
    fn next(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>>;

    /// The request for the page that follows the one with this end, the last requested one. `took`: the
    /// time of its response, if it has arrived. `next` returns the same request after the response was
    /// applied, unless something else comes first.
    ///
    /// # Errors
    /// Those of the engine's file.
    fn ahead(
        &mut self,
        _engine: &mut Engine,
        _pass: &mut Pass,
        _end: &[u8],
        _took: Option<Duration>,
    ) -> Result<Option<Request>> {
        Ok(None)
    }

    /// Applies the response to the last request, completely or not at all.
    ///
    /// # Errors
    /// As `Session::answered`; the mutations of `Pass::unanswered` are uncertain then.
    fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<NextStep>;

    /// The last request has no response after this time, but the server may have processed it. `None` if it
    /// was not sent.
    fn lost(&mut self, engine: &mut Engine, took: Option<Duration>) -> Result<()>;

    /// Another step comes first: collected responses are requested again.
    fn turned(&mut self);
}
