//! Subscription handles.

use std::sync::{Mutex, PoisonError};

/// Keeps an observer registered until it is cancelled or no reference is left.
///
/// In languages with garbage collection, call `cancel`.
#[derive(Debug, uniffi::Object)]
pub struct Subscription {
    inner: Mutex<Option<rejoin_core::Subscription>>,
}

impl Subscription {
    pub(crate) fn new(inner: rejoin_core::Subscription) -> Self {
        Self { inner: Mutex::new(Some(inner)) }
    }
}

#[uniffi::export]
impl Subscription {
    /// Ends the subscription: no new call starts; a running one is not awaited. Cancelling twice is
    /// no error.
    pub fn cancel(&self) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(inner);
    }
}
