//! A callback of the app that gets the latest value, not each one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::watch::{Callback, Deliver, Dispatcher};

/// A listener; values during a call are combined.
pub(super) struct Listener<T> {
    itself: Weak<Self>,
    latest: Mutex<Option<T>>,
    callback: Callback<T>,
    dispatcher: Arc<Dispatcher>,
}

impl<T: Send + 'static> Listener<T> {
    pub(super) fn new(
        function: Box<dyn FnMut(T) + Send>,
        dispatcher: Arc<Dispatcher>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            latest: Mutex::default(),
            callback: Callback::new(function),
            dispatcher,
        })
    }

    pub(super) fn notify(&self, value: T) {
        // If a value is already waiting, the dispatcher has this listener in its queue.
        if self.latest().replace(value).is_none()
            && let Some(itself) = self.itself.upgrade()
        {
            self.dispatcher.push(itself);
        }
    }

    /// Drops the app's callback.
    pub(super) fn cancel(&self) {
        self.callback.cancel();
    }

    fn latest(&self) -> MutexGuard<'_, Option<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Deliver for Listener<T> {
    fn deliver(&self) {
        let latest = self.latest().take();
        if let Some(value) = latest {
            self.callback.call(value);
        }
    }
}
