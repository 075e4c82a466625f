//! The feeder: a thread that calls bucket resolvers, one per database for all nodes.
//!
//! It starts and ends with the server. A lock in the database, bound to a connection, decides which
//! node feeds. If that node stops or loses its connection, another takes over where it stopped.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::error::Fault;
use crate::store::postgres::{FeederSignal, PostgresStore};

/// Poll interval for changes of other programs; pushes of this process wake the feeder.
const LOOK: Duration = Duration::from_millis(100);

/// Interval at which an inactive node tries to take over.
const TURN: Duration = Duration::from_millis(250);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A running feeder. A call that is interrupted at its end is repeated by the next feeder.
#[derive(Debug)]
pub(crate) struct Feeder(Arc<FeederSignal>);

impl Feeder {
    /// `notify` is called whenever there are new changes for devices.
    #[allow(clippy::disallowed_methods)] // The store and host code block.
    pub(crate) fn start(
        store: Arc<PostgresStore>,
        notify: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let signal = Arc::clone(store.signal());
        let work = move || run(&store, &notify);
        thread::Builder::new().name(String::from("rejoin-feeder")).spawn(work)?;
        Ok(Self(signal))
    }

    /// Ends the feeder after the current call.
    pub(crate) fn end(&self) {
        self.0.end();
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(store: &PostgresStore, notify: &dyn Fn()) {
    let signal = store.signal();
    let mut pause = FIRST_PAUSE;
    while !signal.ends() {
        if let Err(fault) = feed_on_connection(store, notify, &mut pause) {
            tracing::warn!(%fault, "the feeder restarts");
            signal.rest(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Feeds on one connection until it fails.
fn feed_on_connection(
    store: &PostgresStore,
    notify: &dyn Fn(),
    pause: &mut Duration,
) -> Result<(), Fault> {
    let signal = store.signal();
    let feeding = store.feeding()?;
    while !signal.ends() {
        if !feeding.is_ours()? {
            *pause = FIRST_PAUSE;
            signal.rest(TURN);
        } else if feeding.feed()? {
            *pause = FIRST_PAUSE;
            notify();
        } else {
            *pause = FIRST_PAUSE;
            signal.listen(LOOK);
        }
    }
    Ok(())
}
