//! For the operator: who syncs and how far behind, which schemas were served, what is forgotten.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::error::ServerError;
use crate::model::{Compaction, KnownClient, ManifestVersion};
use crate::store;
use crate::{Server, Shared};

/// A device as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStatus {
    /// Its user.
    pub user: String,
    /// Its own id; with the user it names the device.
    pub client_id: String,
    /// A name for people.
    pub name: Option<String>,
    /// Its platform, as it says.
    pub platform: String,
    /// Its app's version.
    pub app_version: String,
    /// When it first came, in canonical text as all that follow.
    pub created_at: String,
    /// When it last spoke; pulls are noted once a minute.
    pub seen_at: String,
    /// When it last pulled.
    pub last_pull_at: Option<String>,
    /// When it last pushed.
    pub last_push_at: Option<String>,
    /// The position of the log from which it pulled; `None` before its first snapshot is whole.
    pub position: Option<i64>,
    /// How many positions the log has beyond it, whoever they concern.
    pub behind: Option<i64>,
    /// Whether the log no longer goes back so far: its next pull begins with a snapshot.
    pub needs_snapshot: bool,
    /// Whether it has been silent for so long that it holds nothing back.
    pub is_silent: bool,
}

impl Server {
    /// The devices by user and id: those behind `after`, a user and a device's id, and at most `most` of them.
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

    /// The schemas that were ever served, the newest first: at most `most`.
    pub fn manifests(&self, most: usize) -> Result<Vec<ManifestVersion>, ServerError> {
        Ok(store::read(&*self.shared.engine.store, |reading| reading.manifests(most))?)
    }

    /// The manifest of this version as JSON, or of the schema that is served now.
    pub fn manifest(&self, version: Option<i64>) -> Result<Option<String>, ServerError> {
        Ok(store::read(&*self.shared.engine.store, |reading| {
            let served = &reading.schema().manifest;
            match reading.manifest(version.unwrap_or(served.schema_version), None)? {
                // Who only looks has not written down what nobody has served yet.
                None if version.is_none() => Ok(Some(serde_json::to_string(served)?)),
                found => Ok(found),
            }
        })?)
    }

    /// Forgets of the log what no device needs any more. `serve` does it by itself, every `retention.every_minutes`.
    pub fn compact(&self) -> Result<Compaction, ServerError> {
        Ok(self.shared.engine.compact()?)
    }
}

/// Compacts again and again; does not end.
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
