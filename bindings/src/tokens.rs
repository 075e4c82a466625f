//! The app's token provider.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rejoin_core::TokenError;

use crate::error::{Result, calm};

/// Provides the token that identifies the user.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait TokenProvider: Send + Sync {
    /// The token for `Authorization: Bearer`, or nothing if no user is signed in.
    ///
    /// Called at the start of each pass with `refresh` false: return a cached token. With `refresh`
    /// true the server has rejected the last one: get a new one. An exception, or no result within
    /// a minute, means "not now": it is called again later. Local work continues meanwhile.
    async fn token(&self, refresh: bool) -> Result<Option<String>>;

    /// The user of a token, or nothing if unknown.
    ///
    /// Called only for a token that is not a JWT with a `sub` claim. A plain Synchro server never
    /// reports the user of a token: without a result, nothing is synced with it. A Rejoin server
    /// reports it. Exceptions and timeouts are treated as those of `token`.
    async fn subject(&self, token: String) -> Result<Option<String>>;
}

/// The core's adapter for the app's token provider.
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
