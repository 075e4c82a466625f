//! What the app provides: clock, token provider, transport and actions.
//!
//! An open client keeps them in [`Latest`] cells, so that a later open of the same file replaces
//! them. A call that has begun ends with the service on which it began.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::engine::action::Actions;
use crate::host::Host;
use crate::sync::token::{TokenError, TokenProvider};
use crate::transport::{
    EventStream, HttpRequest, HttpResponse, OnHeaders, Transport, TransportError,
};

/// Services that a client uses; the default is the real machine.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Clock and randomness. Default: the machine's.
    pub host: Option<Arc<dyn Host>>,
    /// Provides the token that identifies the user. Without one, requests carry the configured
    /// `user_id`, which a server accepts on loopback only, or nothing.
    pub tokens: Option<Arc<dyn TokenProvider>>,
    /// Sends bytes to the server. Default: HTTP to the configured `server`.
    pub transport: Option<Arc<dyn Transport>>,
    /// The actions for [`Client::perform`](crate::Client::perform). Default: none.
    pub actions: Option<Arc<Actions>>,
}

/// A service that can be replaced.
#[derive(Debug)]
pub(crate) struct Latest<T: ?Sized>(Mutex<Arc<T>>);

impl<T: ?Sized> Latest<T> {
    fn new(given: &Arc<T>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Arc::clone(given))))
    }

    /// The service that was given last.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, given: Arc<T>) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = std::mem::replace(&mut *current, given);
        drop(current);
        drop(replaced); // The app's code: not while the cell is locked.
    }
}

impl TokenProvider for Latest<dyn TokenProvider> {
    fn token(&self, refresh: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        self.get().token(refresh)
    }

    fn subject(&self, token: &str) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        self.get().subject(token)
    }
}

impl Transport for Latest<dyn Transport> {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        self.get().send(request)
    }

    fn send_with(
        &self,
        request: HttpRequest,
        on_headers: OnHeaders,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        self.get().send_with(request, on_headers)
    }

    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        self.get().events(request)
    }

    fn disconnect(&self) {
        self.get().disconnect();
    }
}

/// The services that the app has given an open client.
#[derive(Debug)]
pub(crate) struct GivenServices {
    tokens: Option<Arc<Latest<dyn TokenProvider>>>,
    transport: Option<Arc<Latest<dyn Transport>>>,
    pub(super) actions: Option<Arc<Latest<Actions>>>,
}

impl GivenServices {
    pub(super) fn of(services: &Services) -> Self {
        let Services { tokens, transport, actions, .. } = services;
        Self {
            tokens: tokens.as_ref().map(Latest::new),
            transport: transport.as_ref().map(Latest::new),
            actions: actions.as_ref().map(Latest::new),
        }
    }

    pub(super) fn tokens(&self) -> Option<Arc<dyn TokenProvider>> {
        self.tokens.clone().map(|tokens| tokens as _)
    }

    pub(super) fn transport(&self) -> Option<Arc<dyn Transport>> {
        self.transport.clone().map(|transport| transport as _)
    }

    /// The names of services that are given now and were not at first. Syncing has begun without
    /// them.
    pub(super) fn missing(&self, services: &Services) -> Vec<&'static str> {
        [
            ("tokens", services.tokens.is_some() && self.tokens.is_none()),
            ("transport", services.transport.is_some() && self.transport.is_none()),
            ("actions", services.actions.is_some() && self.actions.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, is_missing)| is_missing.then_some(name))
        .collect()
    }

    /// Replaces those that are given; returns the actions, which the engine must learn.
    pub(super) fn replace(&self, services: Services) -> Option<Arc<Actions>> {
        if let (Some(current), Some(tokens)) = (&self.tokens, services.tokens) {
            current.set(tokens);
        }
        if let (Some(current), Some(transport)) = (&self.transport, services.transport) {
            current.set(transport);
        }
        let (current, actions) = (self.actions.as_ref()?, services.actions?);
        current.set(Arc::clone(&actions));
        Some(actions)
    }
}
