//! A peer: what a device exchanges with one kind of server after it has registered. One implementation for each kind.
//!
//! A peer decides what the next push, pull or snapshot request says and what the answer means. Registration, the schema and
//! the bounds of a pass are the session's.

use std::fmt::Debug;

use rejoin_protocol::Manifest;
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};

use super::pass::{Next, Pass};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::request::{Response, SessionConfig};
use crate::sync::rows::answer::Turn;
use crate::sync::subject::Signer;

/// The error for a response without a request.
pub(super) fn unrequested() -> Error {
    Error::Protocol("a response arrived, but no request is in flight".to_owned())
}

/// One kind of server. All that must survive a crash is in the engine's file; a peer remembers a pass.
pub(super) trait Peer: Debug + Send {
    /// Whether the server knows our extensions: then every request says that the device does.
    fn is_extended(&self) -> bool;

    /// What the server says about itself; `None` for one that says nothing.
    fn welcome(&self) -> Option<&Welcome>;

    /// Takes the answer to a registration. Whether the rules of the schema that the device has are still the server's.
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

    /// Completes the schema that the server sent by what it does not say.
    fn complete(&self, manifest: Manifest, engine: &Engine) -> Manifest;

    /// Whether the next pass must begin with a registration.
    fn must_register(&self, engine: &Engine) -> bool;

    /// A pass begins: what only the last one needed is forgotten.
    fn start_pass(&mut self);

    /// The next request of a push or a pull, or a slice of local work; `None` if the pass has another step now. A push is
    /// committed as sent before this returns it (O5).
    ///
    /// # Errors
    /// Those of the engine's file; `Protocol` for a log without an end.
    fn next(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>>;

    /// Takes the answer to the last request: applies the whole of it, or nothing.
    ///
    /// # Errors
    /// As `Session::answered`; the mutations of `Pass::unanswered` are uncertain then.
    fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<Turn>;

    /// The last request has no answer, but the server may have read it.
    fn lost(&mut self);

    /// Another step comes first: what was kept of earlier answers is asked for again.
    fn turned(&mut self);
}
