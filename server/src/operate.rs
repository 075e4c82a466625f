//! Operator functions: devices and their lag, served schemas, compaction.

use std::path::Path;
use std::time::Duration;

use rejoin_protocol::Manifest;
use tokio::time::MissedTickBehavior;

use crate::engine::log_import::{self, Imported};
use crate::engine::{describe, log_model};
use crate::error::ServerError;
use crate::model::{Compaction, KnownClient, ManifestVersion, Touched};
use crate::store;
use crate::{Server, Shared};

/// A device as shown to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStatus {
    /// Its user.
    pub user: String,
    /// Its own id, unique per user.
    pub client_id: String,
    /// A name for people.
    pub name: Option<String>,
    /// Its platform as reported.
    pub platform: String,
    /// Its app's version.
    pub app_version: String,
    /// When it first registered; canonical text, like the times below.
    pub created_at: String,
    /// When it last sent a request; pulls are recorded once a minute.
    pub seen_at: String,
    /// When it last pulled.
    pub last_pull_at: Option<String>,
    /// When it last pushed.
    pub last_push_at: Option<String>,
    /// The log position from which it last pulled; `None` until its first snapshot is complete.
    pub position: Option<i64>,
    /// Number of later positions in the log, whatever their buckets.
    pub behind: Option<i64>,
    /// Whether the log was compacted beyond its position: its next pull begins with a snapshot.
    pub needs_snapshot: bool,
    /// Whether it was inactive for so long that it no longer holds back compaction.
    pub is_silent: bool,
}

/// The log of a server with tables of the log model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The epoch; a restored database begins another one.
    pub epoch: String,
    /// The last position of the feed.
    pub head: u64,
    /// Entries up to this time are folded into the base and final; milliseconds since 1970.
    pub horizon_ms: u64,
    /// The device that is the authority.
    pub authority: Option<String>,
}

impl Server {
    /// The state of the log; an error without a table of the log.
    pub fn log_status(&self) -> Result<LogStatus, ServerError> {
        let facts = log_model::log_facts(&self.shared.engine)?;
        Ok(LogStatus {
            epoch: facts.epoch.0.to_string(),
            head: facts.head,
            horizon_ms: facts.horizon.millis,
            authority: facts.authority.map(|author| author.to_string()),
        })
    }

    /// Begins a new epoch of both models, after a backup was restored: devices take snapshots, and
    /// send again the entries that the backup lacks. An error without a table of the log.
    pub fn begin_epoch(&self) -> Result<(), ServerError> {
        Ok(log_model::begin_epoch(&self.shared.engine)?)
    }

    /// Makes this device the authority, which may correct the entries of others; `None` dismisses
    /// it. Its corrections stay. Fails if the id is not a UUID.
    pub fn appoint_authority(&self, client_id: Option<&str>) -> Result<(), ServerError> {
        let author = client_id.map(log_model::author_of).transpose()?;
        Ok(log_model::appoint(&self.shared.engine, author)?)
    }

    /// Returns an entry from the authority to its author, which runs it again; `false` if the
    /// authority did not have it. Fails if the id is not a UUID.
    pub fn release_entry(&self, entry: &str) -> Result<bool, ServerError> {
        Ok(log_model::release(&self.shared.engine, log_model::entry_of(entry)?)?)
    }

    /// Imports the log of a Synchrotron database from a file: all of it, or nothing. Entries keep
    /// their times and ids, so that a second import adds only what is new. Rows that the entries do
    /// not explain are set to those of the file, unless a device wrote them. docs/from-synchrotron.md
    /// describes the file and the limits.
    ///
    /// The devices fetch the entries as any others. Needs memory for the names of the rows.
    ///
    /// # Errors
    /// [`ServerError::ImportFile`] and [`ServerError::Import`]; nothing was imported.
    pub fn import_log(&self, path: &Path) -> Result<Imported, ServerError> {
        let imported = log_import::import_log(&self.shared.engine, path)?;
        self.shared.hub.log_moved(&[Touched { bucket: String::new(), is_grant: false }]);
        Ok(imported)
    }

    /// The devices by user and id: at most `most`, after the user and device id in `after`.
    pub fn clients(
        &self,
        after: Option<(&str, &str)>,
        most: usize,
    ) -> Result<Vec<ClientStatus>, ServerError> {
        let engine = &self.shared.engine;
        let silent_before = engine.silent_before();
        Ok(store::read(&*engine.store, |reading| {
            let log = reading.log_state()?;
            let status = |KnownClient { user, client_id, client }: KnownClient| ClientStatus {
                user,
                client_id,
                name: client.client_name,
                platform: client.platform,
                app_version: client.app_version,
                created_at: client.created_at,
                is_silent: client.seen_at < silent_before,
                seen_at: client.seen_at,
                last_pull_at: client.last_pull_at,
                last_push_at: client.last_push_at,
                position: client.position,
                behind: client.position.map(|position| (log.head - position).max(0)),
                needs_snapshot: client.position.is_none_or(|position| position < log.watermark),
            };
            Ok(reading.clients(after, most)?.into_iter().map(status).collect())
        })?)
    }

    /// The served schemas, newest first, at most `most`.
    pub fn manifests(&self, most: usize) -> Result<Vec<ManifestVersion>, ServerError> {
        Ok(store::read(&*self.shared.engine.store, |reading| reading.manifests(most))?)
    }

    /// The manifest of this version as JSON; by default of the current schema.
    pub fn manifest(&self, version: Option<i64>) -> Result<Option<String>, ServerError> {
        Ok(store::read(&*self.shared.engine.store, |reading| {
            let served = &reading.schema().manifest;
            let Some(version) = version.filter(|version| *version != served.schema_version) else {
                let served = describe::with_streams(&self.shared.engine, served.clone());
                return Ok(Some(serde_json::to_string(&served)?));
            };
            let Some(stored) = reading.manifest(version, None)? else { return Ok(None) };
            // It is stored before it has a version.
            let stored: Manifest = serde_json::from_str(&stored)?;
            Ok(Some(serde_json::to_string(&Manifest { schema_version: version, ..stored })?))
        })?)
    }

    /// Removes log entries and verdicts that no device needs. `serve` does it every
    /// `retention.every_minutes`.
    pub fn compact(&self) -> Result<Compaction, ServerError> {
        Ok(self.shared.engine.compact()?)
    }
}

/// Compacts periodically; does not end.
pub(crate) async fn keep_compacting(shared: &Shared) {
    let minutes = u64::from(shared.config.retention.every_minutes);
    if minutes == 0 {
        return std::future::pending().await;
    }
    let mut tick = tokio::time::interval(Duration::from_secs(60 * minutes));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let engine = shared.engine.clone();
        match tokio::task::spawn_blocking(move || engine.compact()).await {
            Ok(Ok(done)) => tracing::debug!(?done, "compacted"),
            Ok(Err(error)) => tracing::warn!(%error, "not compacted"),
            Err(error) => tracing::warn!(%error, "not compacted"),
        }
    }
}
