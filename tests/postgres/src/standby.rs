//! A hot standby of a cluster, which can stop applying what it receives.

use std::time::Duration;

use crate::{Cluster, ClusterOptions, Session, StartError};

/// A hot standby by streaming replication.
#[derive(Debug)]
pub struct Standby {
    cluster: Cluster,
}

impl Standby {
    /// Copies a cluster that runs with default settings, and follows it.
    ///
    /// # Errors
    /// As of [`Cluster::start`].
    pub fn of(primary: &Cluster) -> Result<Self, StartError> {
        let standby_of = Some(primary.port());
        let cluster = Cluster::start(&ClusterOptions { standby_of, ..ClusterOptions::default() })?;
        Ok(Self { cluster })
    }

    /// The URL of a database, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.cluster.url(database)
    }

    fn session(&self) -> Session {
        Session::to(&self.url("postgres"))
    }

    /// Stops applying changes; they are still received.
    ///
    /// # Panics
    /// It does not stop.
    pub fn pause(&self) {
        let session = self.session();
        session.run("SELECT pg_wal_replay_pause()");
        let (is_paused, state) = match session.one("SHOW server_version_num").parse::<u32>() {
            Ok(version) if version < 140_000 => ("t", "SELECT pg_is_wal_replay_paused()"),
            _ => ("paused", "SELECT pg_get_wal_replay_pause_state()"),
        };
        wait_until(|| session.one(state) == is_paused, "replay does not pause");
    }

    /// Applies changes again.
    pub fn resume(&self) {
        self.session().run("SELECT pg_wal_replay_resume()");
    }

    /// Waits until it has applied everything that was committed before.
    ///
    /// # Panics
    /// It does not apply that, because it is paused or stopped.
    pub fn catch_up(&self, primary: &Cluster) {
        let end = Session::to(&primary.url("postgres")).one("SELECT pg_current_wal_insert_lsn()");
        let session = self.session();
        let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
        wait_until(|| session.one(&reached) == "t", "the standby does not catch up");
    }

    /// Stops it immediately, without closing sessions.
    ///
    /// # Errors
    /// As of [`Cluster::stop`].
    pub fn stop(&mut self) -> std::io::Result<()> {
        self.cluster.stop()
    }

    /// Restarts it.
    ///
    /// # Errors
    /// As of [`Cluster::start_again`].
    pub fn start_again(&mut self) -> Result<(), StartError> {
        self.cluster.start_again()
    }
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool, otherwise: &str) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{otherwise}");
}
