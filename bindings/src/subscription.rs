//! What keeps an observer called.

use std::sync::{Mutex, PoisonError};

/// Keeps an observer called, until it is cancelled or nobody holds it any more.
///
/// Where the language frees objects when it pleases, call `cancel`.
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
    /// Ends it: no call begins afterwards; one that runs is not waited for. Cancelling twice is no error.
    pub fn cancel(&self) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(inner);
    }
}
