//! The feeder: a thread that has resolvers of buckets asked, one for all nodes of a database.
//!
//! It starts with the server and ends with it. Which of the nodes feeds is decided by a lock in the database, which goes with its
//! connection: so another takes over when one stops, dies, or loses its connection, and goes on where that one was.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::error::Fault;
use crate::store::postgres::{Bell, PostgresStore};

/// How often it looks for what other programs wrote; pushes of this process ring.
const LOOK: Duration = Duration::from_millis(100);

/// How often a node looks whether the one that feeds has gone.
const TURN: Duration = Duration::from_millis(250);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Feeds for as long as it lives. What is being asked when it goes is asked again by whoever feeds next.
#[derive(Debug)]
pub(crate) struct Feeder(Arc<Bell>);

impl Feeder {
    /// `told` is called whenever there is something new for devices.
    #[allow(clippy::disallowed_methods)] // The store and the host's code block: they get a thread of their own.
    pub(crate) fn start(
        store: Arc<PostgresStore>,
        told: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let bell = Arc::clone(store.bell());
        let work = move || run(&store, &told);
        thread::Builder::new().name(String::from("rejoin-feeder")).spawn(work)?;
        Ok(Self(bell))
    }

    /// Ends it, after what is being asked.
    pub(crate) fn end(&self) {
        self.0.end();
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(store: &PostgresStore, told: &dyn Fn()) {
    let bell = store.bell();
    let mut pause = FIRST_PAUSE;
    while !bell.ends() {
        if let Err(fault) = attend(store, told, &mut pause) {
            tracing::warn!(%fault, "the feeder begins again");
            bell.rest(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// On one connection, for as long as that goes well.
fn attend(store: &PostgresStore, told: &dyn Fn(), pause: &mut Duration) -> Result<(), Fault> {
    let bell = store.bell();
    let feeding = store.feeding()?;
    while !bell.ends() {
        if !feeding.is_ours()? {
            *pause = FIRST_PAUSE;
            bell.rest(TURN);
        } else if feeding.feed()? {
            *pause = FIRST_PAUSE;
            told();
        } else {
            *pause = FIRST_PAUSE;
            bell.listen(LOOK);
        }
    }
    Ok(())
}
