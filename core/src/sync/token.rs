//! Credentials: calls the app's token provider rarely and never twice at once.
//!
//! A token that the server refused is renewed once, for all failed requests; a token that cannot be
//! renewed is not sent again. No token is ever printed. This module decides which header to send;
//! the driver decides when to call it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rejoin_protocol::USER_HEADER;
use tokio::sync::Mutex;

use crate::error::{Error, Result, SyncFault};
use crate::runtime::{Foreign, Spawner};
use crate::slow::Calls;
use crate::sync::subject::{self, Signer};

/// Provides the token that identifies the user; implemented by the app.
pub trait TokenProvider: Send + Sync + fmt::Debug + 'static {
    /// The token for `Authorization: Bearer`; `None` if no user is signed in.
    ///
    /// Called at the start of each pass with `refresh` false: return a cached token. With `refresh`
    /// true the server has refused the last one: get a new one. An error means "not now" and is
    /// retried with backoff; local work continues. The future is dropped when syncing is stopped or
    /// suspended. It may call the client; it must not block its thread.
    fn token(&self, refresh: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>>;

    /// The user of a token; `None`, the default, if unknown.
    ///
    /// Called only for a token that is not a JWT with a `sub` claim. A plain Synchro server never
    /// reports the user of a token: without a result, nothing is synced with it
    /// ([`InputFault::Refused`](crate::InputFault::Refused)), because it may belong to another user than the file. A Rejoin server
    /// reports it. Errors and timeouts are treated as those of [`token`](Self::token).
    fn subject(&self, token: &str) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let _ = token;
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// Timeout of the provider; afterwards it is called again later.
const PROVIDER_TIMEOUT: Duration = Duration::from_mins(1);

/// The prefix of a token in its header.
pub(crate) const BEARER: &str = "Bearer ";

/// Why no token is available now: no network, or no response of the identity server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token just now: {0}")]
pub struct TokenError(pub String);

/// How requests are signed.
#[derive(Clone)]
pub enum Credentials {
    /// No credentials: a gateway in front of the server identifies the user.
    Absent,
    /// `X-User-ID`, which a server accepts on loopback in development only.
    User(String),
    /// A bearer token of the app.
    Tokens(Arc<dyn TokenProvider>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Absent => "Absent",
            Self::User(_) => "User(..)",
            Self::Tokens(_) => "Tokens(..)",
        })
    }
}

/// A header, name and value.
pub(crate) type Header = (String, String);

/// Stores the token between requests.
pub(crate) struct Keyring {
    credentials: Credentials,
    /// Locked during a call of the provider, so that concurrent callers wait for its result.
    held: Mutex<Held>,
    /// The app reported new credentials; the stored ones are outdated.
    changed: AtomicBool,
    spawner: Spawner,
    /// Running calls of the provider.
    pub(crate) calls: Calls,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keyring").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Held {
    token: Option<String>,
    /// Refused by the server, and not renewed by the provider.
    refused: Option<String>,
}

impl Keyring {
    pub(crate) fn new(credentials: Credentials, spawner: Spawner) -> Self {
        let (held, changed, calls) = (Mutex::default(), AtomicBool::new(false), Calls::default());
        Self { credentials, held, changed, spawner, calls }
    }

    /// The header for the requests of a pass, from a new call of the provider. [`SyncFault::Unauthorized`]
    /// without a request if no user is signed in, or nothing changed since the refusal.
    pub(crate) async fn begin(&self) -> Result<Option<Header>> {
        let provider = match &self.credentials {
            Credentials::Absent => return Ok(None),
            Credentials::User(user) => return Ok(Some((USER_HEADER.into(), user.clone()))),
            Credentials::Tokens(provider) => provider,
        };
        let mut held = self.held.lock().await;
        if self.changed.swap(false, Ordering::AcqRel) {
            *held = Held::default();
        }
        let token = self.ask(provider, false).await?.ok_or(Error::Sync(SyncFault::Unauthorized))?;
        if held.refused.as_ref() == Some(&token) {
            return Err(SyncFault::Unauthorized.into());
        }
        held.token = Some(token.clone());
        Ok(Some(bearer(&token)))
    }

    /// The header to send instead of `used`, which got a 401; `None` if there is none. A concurrent
    /// call with the same header gets the same result. `by_server`: a sync server refused it, so
    /// that it is not sent again; a gateway or captive portal may send a 401 for any token.
    pub(crate) async fn renewed(
        &self,
        used: Option<&Header>,
        by_server: bool,
    ) -> Result<Option<Header>> {
        let Credentials::Tokens(provider) = &self.credentials else {
            return Ok(None);
        };
        let mut held = self.held.lock().await;
        let refused = held.token.clone();
        let is_old = refused.as_deref().is_none_or(|token| used != Some(&bearer(token)));
        if is_old {
            return Ok(held.token.as_deref().map(bearer));
        }
        if held.refused == refused {
            return Ok(None);
        }
        let fresh = self.ask(provider, true).await?;
        if fresh.is_none() || fresh == refused {
            if by_server {
                held.refused = refused;
            }
            return Ok(None);
        }
        held.token.clone_from(&fresh);
        Ok(fresh.as_deref().map(bearer))
    }

    /// The server refused the renewed token too: it is not sent again.
    pub(crate) async fn refused(&self, used: Option<&Header>) {
        let held = &mut *self.held.lock().await;
        if held.token.as_deref().is_some_and(|token| used == Some(&bearer(token))) {
            held.refused.clone_from(&held.token);
        }
    }

    /// Forgets the refused token before the next pass, after the app reported new credentials. Does
    /// not wait, because the provider itself may call this.
    pub(crate) fn forget(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// The user of a header of this keyring, from the token or from the provider.
    pub(crate) async fn signer(&self, header: Option<&Header>) -> Result<Signer> {
        let Some((_, value)) = header else { return Ok(Signer::Unsigned) };
        let (Credentials::Tokens(provider), None) = (&self.credentials, subject::of(header)) else {
            return Ok(subject::of(header).map_or(Signer::Unknown, Signer::User));
        };
        let (provider, value) = (Arc::clone(provider), value.clone());
        let asking = async move {
            let token = value.strip_prefix(BEARER).unwrap_or_default();
            provider.subject(token).await
        };
        let user = self.wait(asking).await?.filter(|user| !user.is_empty());
        Ok(user.map_or(Signer::Unknown, Signer::User))
    }

    async fn ask(
        &self,
        provider: &Arc<dyn TokenProvider>,
        refresh: bool,
    ) -> Result<Option<String>> {
        let provider = Arc::clone(provider);
        self.wait(async move { provider.token(refresh).await }).await
    }

    async fn wait(
        &self,
        asking: impl Future<Output = Result<Option<String>, TokenError>> + Send + 'static,
    ) -> Result<Option<String>> {
        let silent =
            |_| Err(TokenError(format!("the provider was silent for {PROVIDER_TIMEOUT:?}")));
        // On another thread: a blocking provider must not delay suspending or stopping.
        let call = self.calls.begin();
        let asking = self.spawner.spawn_foreign(Foreign::Tokens, async move {
            let _call = call;
            asking.await
        });
        match tokio::time::timeout(PROVIDER_TIMEOUT, asking).await {
            Ok(answer) => answer?,
            Err(late) => silent(late),
        }
        .map_err(|error| Error::Sync(SyncFault::Offline(error.to_string())))
    }
}

fn bearer(token: &str) -> Header {
    ("authorization".into(), format!("{BEARER}{token}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{HashMap, VecDeque};
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use rejoin_protocol::USER_HEADER;

    use super::{Credentials, Keyring, Signer, TokenError, TokenProvider, bearer};
    use crate::error::{Error, SyncFault};
    use crate::runtime::Spawner;

    type Answer = Result<Option<String>, TokenError>;

    /// A scripted provider that records its calls.
    #[derive(Debug, Default)]
    pub(crate) struct Script {
        pub(crate) current: Mutex<Option<String>>,
        /// The users of its opaque tokens.
        pub(crate) subjects: Mutex<HashMap<String, String>>,
        pub(crate) refreshed: Mutex<VecDeque<Answer>>,
        pub(crate) asked: Mutex<Vec<bool>>,
    }

    impl Script {
        pub(crate) fn new(current: &str, refreshed: Vec<Answer>) -> Arc<Self> {
            let script = Self::default();
            *script.current.lock().unwrap() = Some(current.into());
            *script.refreshed.lock().unwrap() = refreshed.into();
            Arc::new(script)
        }
    }

    impl TokenProvider for Script {
        fn token(&self, refresh: bool) -> BoxFuture<'static, Answer> {
            self.asked.lock().unwrap().push(refresh);
            let answer = if refresh {
                self.refreshed.lock().unwrap().pop_front().unwrap_or(Ok(None))
            } else {
                Ok(self.current.lock().unwrap().clone())
            };
            if let (true, Ok(token)) = (refresh, &answer) {
                self.current.lock().unwrap().clone_from(token);
            }
            async move {
                tokio::task::yield_now().await;
                answer
            }
            .boxed()
        }

        fn subject(&self, token: &str) -> BoxFuture<'static, Answer> {
            let subject = self.subjects.lock().unwrap().get(token).cloned();
            async move { Ok(subject) }.boxed()
        }
    }

    fn signed(credentials: Credentials) -> Keyring {
        Keyring::new(credentials, Spawner::current())
    }

    #[tokio::test]
    async fn two_refusals_of_one_token_renew_it_once() {
        let script = Script::new("old", vec![Ok(Some("new".into()))]);
        let keyring = signed(Credentials::Tokens(script.clone()));
        let used = keyring.begin().await.unwrap();
        assert_eq!(used, Some(bearer("old")));
        let (first, second) = tokio::join!(
            keyring.renewed(used.as_ref(), true),
            keyring.renewed(used.as_ref(), true)
        );
        assert_eq!(first.unwrap(), Some(bearer("new")));
        assert_eq!(second.unwrap(), Some(bearer("new")));
        assert_eq!(*script.asked.lock().unwrap(), [false, true]);
    }

    #[tokio::test]
    async fn refused_token_is_not_sent_again_until_it_changes() {
        for refreshed in [Ok(None), Ok(Some("old".to_owned()))] {
            let script = Script::new("old", vec![refreshed]);
            let keyring = signed(Credentials::Tokens(script.clone()));
            let used = keyring.begin().await.unwrap();
            assert_eq!(keyring.renewed(used.as_ref(), true).await.unwrap(), None);
            *script.current.lock().unwrap() = Some("old".into());
            assert!(matches!(keyring.begin().await, Err(Error::Sync(SyncFault::Unauthorized))));
            *script.current.lock().unwrap() = None;
            assert!(
                matches!(keyring.begin().await, Err(Error::Sync(SyncFault::Unauthorized))),
                "signed out"
            );
            *script.current.lock().unwrap() = Some("another".into());
            assert_eq!(keyring.begin().await.unwrap(), Some(bearer("another")));
            let refreshes = script.asked.lock().unwrap().iter().filter(|refresh| **refresh).count();
            assert_eq!(refreshes, 1);
        }
    }

    #[tokio::test]
    async fn provider_error_is_offline_and_is_retried() {
        let later = Err(TokenError("identity server is away".into()));
        let script = Script::new("old", vec![later, Ok(Some("new".into()))]);
        let keyring = signed(Credentials::Tokens(script));
        let used = keyring.begin().await.unwrap();
        assert!(matches!(
            keyring.renewed(used.as_ref(), true).await,
            Err(Error::Sync(SyncFault::Offline(_)))
        ));
        assert_eq!(keyring.renewed(used.as_ref(), true).await.unwrap(), Some(bearer("new")));
    }

    #[tokio::test(start_paused = true)]
    async fn provider_timeout_is_offline_and_is_retried() {
        #[derive(Debug)]
        struct Silent;
        impl TokenProvider for Silent {
            fn token(&self, _: bool) -> BoxFuture<'static, Answer> {
                std::future::pending().boxed()
            }
        }
        let keyring = signed(Credentials::Tokens(Arc::new(Silent)));
        for _ in 0..2 {
            assert!(matches!(keyring.begin().await, Err(Error::Sync(SyncFault::Offline(_)))));
        }
    }

    #[tokio::test]
    async fn fixed_user_header_is_never_renewed() {
        let keyring = signed(Credentials::User("ana".into()));
        let used = keyring.begin().await.unwrap();
        assert_eq!(used, Some((USER_HEADER.into(), "ana".into())));
        assert_eq!(keyring.renewed(used.as_ref(), true).await.unwrap(), None);
        assert_eq!(signed(Credentials::Absent).begin().await.unwrap(), None);
    }

    #[tokio::test]
    async fn user_of_an_opaque_token_comes_from_its_provider() {
        let jwt = "e30.eyJzdWIiOiJhbmEifQ.c2ln";
        let script = Script::new(jwt, Vec::new());
        let named = |token: &str, user: &str| {
            script.subjects.lock().unwrap().insert(token.to_owned(), user.to_owned())
        };
        named("opaque", "ben");
        named("empty", "");
        named(jwt, "not called");
        let keyring = signed(Credentials::Tokens(script.clone()));
        for (token, user) in
            [(jwt, Some("ana")), ("opaque", Some("ben")), ("empty", None), ("unknown", None)]
        {
            let expected = user.map_or(Signer::Unknown, |user| Signer::User(user.to_owned()));
            assert_eq!(keyring.signer(Some(&bearer(token))).await.unwrap(), expected, "{token}");
        }
        let unsigned = signed(Credentials::Absent);
        assert_eq!(unsigned.signer(None).await.unwrap(), Signer::Unsigned);
        let fixed = signed(Credentials::User("ana".into()));
        let header = fixed.begin().await.unwrap();
        assert_eq!(fixed.signer(header.as_ref()).await.unwrap(), Signer::User("ana".into()));
    }

    #[tokio::test]
    async fn no_token_is_printed() {
        let keyring = signed(Credentials::User("secret".into()));
        assert!(!format!("{keyring:?}").contains("secret"));
    }
}
