//! A PostgreSQL of one test's own, which it may stop and start again, and whose settings it chooses.

use rejoin_postgres::{ClusterOptions, StartError};

use crate::postgres::skip;

/// A server process that can be stopped and started.
pub(crate) struct Cluster {
    /// `postgres://postgres@127.0.0.1:PORT/`; a database's name comes behind it.
    pub(crate) url: String,
    pub(crate) port: u16,
    server: rejoin_postgres::Cluster,
}

impl Cluster {
    /// With these settings, and these files beside its data, of which `hba` is taken for its `pg_hba.conf`. `None`, and a line
    /// that names the test, if there are no binaries of PostgreSQL here.
    pub(crate) fn new(settings: &str, files: &[(&str, &str)]) -> Option<Self> {
        let settings = format!("-c shared_buffers=32MB {settings}");
        let wishes = ClusterOptions { settings: &settings, files, durable: false };
        let server = match rejoin_postgres::Cluster::start(&wishes) {
            Ok(server) => server,
            Err(why @ StartError::NoPrograms) => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {why}");
                skip(&test, &why.to_string());
                return None;
            }
            Err(why) => panic!("{why}"),
        };
        Some(Self { url: server.url(""), port: server.port(), server })
    }

    /// Ends the server at once, in the middle of whatever it does.
    pub(crate) fn stop(&mut self) {
        self.server.stop().unwrap();
    }

    /// Starts it again, and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.server.start_again().unwrap();
    }
}
