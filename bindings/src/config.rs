//! The configuration of a client; missing fields have the core's defaults.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rejoin_core::{self as core, Config, Metered, Policy};

use crate::error::{RejoinError, Result};

/// The path that stands for a temporary file.
const TEMPORARY: &str = ":temporary:";

/// When background syncing may use a metered network. A sync that the app requests always runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum MeteredPolicy {
    /// As on any other network.
    Allow,
    /// Local writes are pushed, but pulls wait for an unmetered network.
    PushOnly,
    /// Nothing is exchanged until the network is unmetered.
    Never,
}

/// What a committed local write survives. Both levels survive the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Durability {
    /// A power cut or a crash of the operating system may lose the last writes, never a part of
    /// one.
    Normal,
    /// Also a power cut, if the disk honors syncs: each commit waits for the disk.
    Full,
}

/// Resolves a conflict between a remote change and a plain SQL edit. Actions run again instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ConflictPolicy {
    /// The server's row wins; the edit is parked with both rows.
    AcceptServer,
    /// The edit's columns overwrite the server's row and are sent again; an edit of a deleted row
    /// is parked.
    Rebase,
    /// As `Rebase`, and an edit of a deleted row restores the row.
    KeepLocal,
    /// As `AcceptServer`, and keeps the original row as well, so that the app can merge.
    Manual,
    /// The server compares the times of both; the earlier one is parked as superseded.
    LastWriteWins,
}

/// Limits of actions, because the writer and all other writes wait for them. Each field is
/// optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, uniffi::Record)]
pub struct ActionBudget {
    /// Maximum duration of one run in milliseconds; for code of the app, of one statement. A longer
    /// one is `ActionTooSlow`. Default 2,000; from 100 to a minute.
    #[uniffi(default = None)]
    pub run_ms: Option<u32>,
    /// Maximum total duration of the re-runs that one batch of remote rows causes, in milliseconds.
    /// Then code of the app is aborted, and the remaining actions are applied as recorded, if they
    /// fit. Default 2,000; from 100 to a minute.
    #[uniffi(default = None)]
    pub rebase_ms: Option<u32>,
    /// Maximum bytes that one run writes to synced tables: old and new values of each changed row.
    /// A larger one is `ActionTooLarge`. Default 8 MiB; from 1 KiB to 1 GiB.
    #[uniffi(default = None)]
    pub bytes: Option<u32>,
}

/// How a client opens its file and syncs. Every field except the path is optional.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ClientConfig {
    /// The database file; created if missing. Its folder must exist. `:temporary:` is a new file in
    /// the system's folder for temporary files, which shutting down removes: for tests and previews.
    pub path: String,
    /// The server, as `https://host/prefix`. Without one, writes stay in the queue.
    #[uniffi(default = None)]
    pub server: Option<String>,
    /// Whether `server` may be `http://` to a host that is not a loopback address. Other hosts
    /// on the network can then read and change the rows and steal the token. Default: no.
    #[uniffi(default = None)]
    pub allow_http: Option<bool>,
    /// The user that owns this file. Default: the user that the server reports at register; with a
    /// plain Synchro server, the `sub` claim of a JWT token.
    #[uniffi(default = None)]
    pub user_id: Option<String>,
    /// Name of this device in the server's list. Default `device`.
    #[uniffi(default = None)]
    pub device_name: Option<String>,
    /// The kind of device. Default: the operating system's name.
    #[uniffi(default = None)]
    pub platform: Option<String>,
    /// Version of the app, as `1.2.3`; the server may require a newer one. Default `0.0.0`.
    #[uniffi(default = None)]
    pub app_version: Option<String>,
    /// The schema's manifest as JSON, bundled with the app, so that the first start works offline.
    /// Default: fetched from the server.
    #[uniffi(default = None)]
    pub schema: Option<String>,
    /// Conflict policy by table. Default: the policy in the server's manifest.
    #[uniffi(default = None)]
    pub policies: Option<HashMap<String, ConflictPolicy>>,
    /// Time between two sync passes, in milliseconds. Default 30,000; from a second to a day. While the
    /// server's event stream is open and nothing happens, the time grows 64-fold, to at most 30
    /// minutes: a change wakes the device.
    #[uniffi(default = None)]
    pub sync_interval_ms: Option<u32>,
    /// How long local writes are collected before a push, in milliseconds. Default 500; up to a
    /// minute.
    #[uniffi(default = None)]
    pub push_debounce_ms: Option<u32>,
    /// How long to wait for a response, in milliseconds. Default 10,000; from a second to ten
    /// minutes.
    #[uniffi(default = None)]
    pub ack_deadline_ms: Option<u32>,
    /// Failed attempts of an exchange before the status is failed; retries continue at each
    /// interval. Default 5; up to 100.
    #[uniffi(default = None)]
    pub max_retries: Option<u32>,
    /// Failed attempts of one mutation before it is parked. Default 50; from 1 to 10,000.
    #[uniffi(default = None)]
    pub server_fault_attempts: Option<u32>,
    /// How long the server may fail on one mutation, in milliseconds. Default a day; from a minute
    /// to 30 days.
    #[uniffi(default = None)]
    pub server_fault_age_ms: Option<u32>,
    /// Rows requested per response. Default 1,000; from 100 to 1,000. A snapshot begins with it; its
    /// pages then follow the speed of the network, up to the server's limit.
    #[uniffi(default = None)]
    pub page_size: Option<u32>,
    /// Mutations sent in one request. Default 100; from 100 to 1,000.
    #[uniffi(default = None)]
    pub batch_size: Option<u32>,
    /// What may use a metered network. Default: everything.
    #[uniffi(default = None)]
    pub metered: Option<MeteredPolicy>,
    /// What a committed local write survives. Default: the end of the process, not a power cut.
    #[uniffi(default = None)]
    pub durability: Option<Durability>,
    /// Number of read connections. Default 4; from 1 to 16.
    #[uniffi(default = None)]
    pub readers: Option<u32>,
    /// Log size in bytes that triggers a checkpoint. Default 4 MiB; from 64 KiB to 1 GiB.
    #[uniffi(default = None)]
    pub wal_limit: Option<u32>,
    /// How long an interactive transaction or snapshot may be idle before it is rolled back, in
    /// milliseconds. Default 5,000; from 100 to a minute.
    #[uniffi(default = None)]
    pub transaction_idle_ms: Option<u32>,
    /// Limits of actions. Default: see its fields.
    #[uniffi(default = None)]
    pub action_budget: Option<ActionBudget>,
}

impl From<ConflictPolicy> for Policy {
    fn from(policy: ConflictPolicy) -> Self {
        match policy {
            ConflictPolicy::AcceptServer => Self::AcceptServer,
            ConflictPolicy::Rebase => Self::Rebase,
            ConflictPolicy::KeepLocal => Self::KeepLocal,
            ConflictPolicy::Manual => Self::Manual,
            ConflictPolicy::LastWriteWins => Self::LastWriteWins,
        }
    }
}

impl From<MeteredPolicy> for Metered {
    fn from(policy: MeteredPolicy) -> Self {
        match policy {
            MeteredPolicy::Allow => Self::Allow,
            MeteredPolicy::PushOnly => Self::PushOnly,
            MeteredPolicy::Never => Self::Never,
        }
    }
}

impl From<Durability> for rejoin_core::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Normal => Self::Normal,
            Durability::Full => Self::Full,
        }
    }
}

impl TryFrom<ClientConfig> for Config {
    type Error = RejoinError;

    fn try_from(config: ClientConfig) -> Result<Self> {
        let default = match config.path.as_str() {
            TEMPORARY => Self::temporary(),
            path => Self::new(path),
        };
        let mut converted = default.clone();
        converted.server = config.server;
        converted.allow_http = config.allow_http.unwrap_or(default.allow_http);
        converted.user_id = config.user_id;
        converted.device_name = config.device_name.unwrap_or(default.device_name);
        converted.platform = config.platform.unwrap_or(default.platform);
        converted.app_version = config.app_version.unwrap_or(default.app_version);
        converted.schema = config.schema.as_deref().map(schema).transpose()?;
        converted.policies = policies(config.policies.unwrap_or_default());
        converted.sync_interval = config.sync_interval_ms.map_or(default.sync_interval, millis);
        converted.push_debounce = config.push_debounce_ms.map_or(default.push_debounce, millis);
        converted.ack_deadline = config.ack_deadline_ms.map_or(default.ack_deadline, millis);
        converted.max_retries = config.max_retries.unwrap_or(default.max_retries);
        converted.server_fault_attempts =
            config.server_fault_attempts.unwrap_or(default.server_fault_attempts);
        converted.server_fault_age =
            config.server_fault_age_ms.map_or(default.server_fault_age, millis);
        converted.page_size = config.page_size.unwrap_or(default.page_size);
        converted.batch_size = config.batch_size.unwrap_or(default.batch_size);
        converted.metered = config.metered.map_or(default.metered, Metered::from);
        converted.durability = config.durability.map_or(default.durability, Into::into);
        converted.readers = config.readers.unwrap_or(default.readers);
        converted.wal_limit = config.wal_limit.map_or(default.wal_limit, u64::from);
        converted.transaction_idle =
            config.transaction_idle_ms.map_or(default.transaction_idle, millis);
        converted.action_budget = budget(config.action_budget.unwrap_or_default());
        Ok(converted)
    }
}

fn policies(policies: HashMap<String, ConflictPolicy>) -> BTreeMap<String, Policy> {
    policies.into_iter().map(|(table, policy)| (table, policy.into())).collect()
}

fn budget(given: ActionBudget) -> core::ActionBudget {
    let core::ActionBudget { run, rebase, bytes } = core::ActionBudget::default();
    core::ActionBudget {
        run: given.run_ms.map_or(run, millis),
        rebase: given.rebase_ms.map_or(rebase, millis),
        bytes: given.bytes.map_or(bytes, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
    }
}

pub(crate) fn millis(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

fn schema(json: &str) -> Result<rejoin_core::Manifest> {
    serde_json::from_str(json).map_err(|error| RejoinError::Configuration {
        reason: format!("schema: this text is not the content of schema.json: {error}"),
    })
}
