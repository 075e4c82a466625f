//! A PostgreSQL cluster of its own for the run, with the installed programs and default durability:
//! fsync is on, and commits wait for it. Server and reference use the same cluster.

use anyhow::{Context as _, Result};
use rejoin_postgres::ClusterOptions;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The settings that differ from the defaults.
const SETTINGS: &str = "-c shared_buffers=512MB -c max_wal_size=4GB -c max_connections=100";

/// Settings that log the plan of each statement, including those within functions.
const EXPLAINS: &str = "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 \
    -c auto_explain.log_analyze=on -c auto_explain.log_buffers=on -c auto_explain.log_timing=off \
    -c auto_explain.log_nested_statements=on -c auto_explain.log_format=json -c log_line_prefix=";

/// A running cluster.
pub(crate) struct Cluster(rejoin_postgres::Cluster);

impl Cluster {
    /// Starts a cluster. `explains`: logs the plan of each statement.
    pub(crate) fn start(explains: bool) -> Result<Self> {
        let explains = if explains { EXPLAINS } else { "" };
        let settings = format!("{SETTINGS} {explains}");
        let wishes =
            ClusterOptions { settings: &settings, durable: true, ..ClusterOptions::default() };
        let cluster = Self(rejoin_postgres::Cluster::start(&wishes)?);
        let version = Session::to(&cluster.0.url("postgres"))?.one("SHOW server_version")?;
        eprintln!("PostgreSQL {version}, its own durability (fsync and synchronous_commit on)");
        Ok(cluster)
    }

    /// Creates a database.
    pub(crate) fn database(&self, name: &str) -> Result<String> {
        Session::to(&self.0.url("postgres"))?.run(&format!("CREATE DATABASE {name}"))?;
        Ok(self.0.url(name))
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(self.0.log()?)
    }
}

/// A session of another program, run on one thread so that no other must be woken for a result.
pub(crate) struct Session {
    pub(crate) client: Client,
    runtime: Runtime,
}

impl Session {
    pub(crate) fn to(url: &str) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(async move { drop(connection.await) });
            anyhow::Ok(client)
        })?;
        Ok(Self { client, runtime })
    }

    /// Waits for a request of the session's client.
    pub(crate) fn wait<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        Ok(self.runtime.block_on(asked)?)
    }

    pub(crate) fn run(&self, sql: &str) -> Result<()> {
        let done = self.wait(self.client.batch_execute(sql));
        done.with_context(|| sql.chars().take(300).collect::<String>())
    }

    /// All rows of a query, with cells as text.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let messages = self.wait(self.client.simple_query(sql))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let cell = |at| row.get(at).unwrap_or_default().to_owned();
                Some((0..row.len()).map(cell).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The only cell of a query.
    pub(crate) fn one(&self, sql: &str) -> Result<String> {
        let row = self.rows(sql)?.into_iter().next();
        row.and_then(|row| row.into_iter().next()).with_context(|| format!("{sql}: no row"))
    }
}
