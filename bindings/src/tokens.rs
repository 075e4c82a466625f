//! The app's token provider, as the core asks it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rejoin_core::TokenError;

use crate::error::{Result, calm};

/// Gives the token that names the user.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait TokenProvider: Send + Sync {
    /// The token to send as `Authorization: Bearer`, or nothing when nobody is signed in.
    ///
    /// Asked at the start of each pass with `refresh` false: answer from memory. With `refresh` true the server has refused
    /// the last one: get a new one. An exception means "not now", and it is asked again later; so does no answer within a
    /// minute. Local work goes on meanwhile.
    async fn token(&self, refresh: bool) -> Result<Option<String>>;

    /// The user that a token of this provider names, or nothing if that is not known.
    ///
    /// Asked only for a token that the engine cannot read, which is any but a JWT with a `sub`. A plain Synchro server never
    /// says whose a token is: without an answer nothing is synced with one. A Rejoin server says it itself. An exception and
    /// silence are treated as those of `token`.
    async fn subject(&self, token: String) -> Result<Option<String>>;
}

/// What the core holds.
pub(crate) struct ForeignTokens(pub(crate) Arc<dyn TokenProvider>);

impl fmt::Debug for ForeignTokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ForeignTokens(..)")
    }
}

impl rejoin_core::TokenProvider for ForeignTokens {
    fn token(&self, refresh: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let provider = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = calm(async move { provider.token(refresh).await }).await;
            answer.map_err(|error| TokenError(error.to_string()))
        })
    }

    fn subject(&self, token: &str) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let (provider, token) = (Arc::clone(&self.0), token.to_owned());
        Box::pin(async move {
            let answer = calm(async move { provider.subject(token).await }).await;
            answer.map_err(|error| TokenError(error.to_string()))
        })
    }
}
