//! What an app configures, with the core's defaults for whatever it leaves out.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rejoin_core::{Budget, Config, Metered, Policy};

use crate::error::{RejoinError, Result};

/// When background syncing may use a metered network. A sync that the app asks for by name is never held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum MeteredPolicy {
    /// As on any other network.
    Allow,
    /// Local writes are pushed, but pulls wait for an unmetered network.
    PushOnly,
    /// Nothing is exchanged until the network is unmetered.
    Never,
}

/// What an acknowledged local write survives. Either survives the end of the app, by a crash or by the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Durability {
    /// A power cut or a crash of the operating system may lose the last writes; what is left is a state that the app had.
    Normal,
    /// A power cut as well, if the disk keeps its word: each commit waits until the disk has it.
    Full,
}

/// What this device does where a foreign change meets an edit of plain SQL. An action is run again instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ConflictPolicy {
    /// The server's row stands; the edit is parked with both rows.
    AcceptServer,
    /// The edit's columns go over the server's row, and are sent again; the edit of a deleted row is parked.
    Rebase,
    /// As `Rebase`; and the edit of a deleted row brings the row back.
    KeepLocal,
    /// As `AcceptServer`, with what the edit had found kept beside both rows, for the app to merge.
    Manual,
    /// The server compares the times of both; the earlier one is parked as superseded.
    LastWriteWins,
}

/// What actions may take, be they data or code of the app: the writer, and everybody who writes, waits for them. Every field may
/// be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, uniffi::Record)]
pub struct ActionBudget {
    /// How long one run may take, in milliseconds; of code of the app it is one statement. One that takes longer is
    /// `ActionTooSlow`. Default 2,000; from 100 to a minute.
    #[uniffi(default = None)]
    pub run_ms: Option<u32>,
    /// How long all those together may run that one batch of remote rows makes run again, in milliseconds. Code of the app is
    /// given up at its end. What is not done by then is laid down as it was recorded, if it fits. Default 2,000; from 100 to a
    /// minute.
    #[uniffi(default = None)]
    pub rebase_ms: Option<u32>,
    /// Most bytes that one run may write to synced tables: old and new values of each changed row. One that writes more is
    /// `ActionTooLarge`. Default 8 MiB; from 1 KiB to 1 GiB.
    #[uniffi(default = None)]
    pub bytes: Option<u32>,
}

/// How a client is opened and how it syncs. Every field but the path may be left out.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ClientConfig {
    /// The database's file; made if there is none. Its folder must exist.
    pub path: String,
    /// The server, as `https://host/prefix`. Without one the client works, and keeps what is written until there is one.
    #[uniffi(default = None)]
    pub server_url: Option<String>,
    /// Whether `server_url` may be `http://` to a host that is not a loopback address. Others on the network can then read
    /// and change the rows, and steal the token. For development in a local network or from an emulator. Default: no.
    #[uniffi(default = None)]
    pub allow_http: Option<bool>,
    /// Whose data this file holds. Default: what the server says when the device registers; a plain Synchro server does not say
    /// it, there it is the `sub` of the token, if that is a JWT.
    #[uniffi(default = None)]
    pub user_id: Option<String>,
    /// What to call this device in the server's list. Default `device`.
    #[uniffi(default = None)]
    pub device_name: Option<String>,
    /// The kind of device. Default: the operating system's name.
    #[uniffi(default = None)]
    pub platform: Option<String>,
    /// The app's version, as `1.2.3`; the server may ask for a newer one. Default `0.0.0`.
    #[uniffi(default = None)]
    pub app_version: Option<String>,
    /// The schema's manifest as JSON, bundled with the app, so that the first start works offline. Default: fetched from the
    /// server.
    #[uniffi(default = None)]
    pub schema_json: Option<String>,
    /// What this device does about conflicts, by table. Default: what the server's manifest says of the table.
    #[uniffi(default = None)]
    pub policies: Option<HashMap<String, ConflictPolicy>>,
    /// How long after a pass the next begins by itself, in milliseconds. Default 30,000; from a second to a day.
    #[uniffi(default = None)]
    pub sync_interval_ms: Option<u32>,
    /// How long local writes are gathered before a push, in milliseconds. Default 500; up to a minute.
    #[uniffi(default = None)]
    pub push_debounce_ms: Option<u32>,
    /// How long an answer may take before the request counts as lost, in milliseconds. Default 10,000; from a second to ten
    /// minutes.
    #[uniffi(default = None)]
    pub ack_deadline_ms: Option<u32>,
    /// How often a failed exchange is tried before the status says failed; it goes on trying at each interval. Default 5; up
    /// to 100.
    #[uniffi(default = None)]
    pub max_retries: Option<u32>,
    /// How often the server may fail on one local write before that is parked. Default 50; from 1 to 10,000.
    #[uniffi(default = None)]
    pub server_fault_attempts: Option<u32>,
    /// How long the server may fail on it, in milliseconds. Default a day; from a minute to 30 days.
    #[uniffi(default = None)]
    pub server_fault_age_ms: Option<u32>,
    /// Rows asked for in one answer. Default 1,000; from 100 to 1,000.
    #[uniffi(default = None)]
    pub page_size: Option<u32>,
    /// Mutations sent in one request. Default 100; from 100 to 1,000.
    #[uniffi(default = None)]
    pub batch_size: Option<u32>,
    /// What may use a metered network. Default: everything.
    #[uniffi(default = None)]
    pub metered: Option<MeteredPolicy>,
    /// What an acknowledged local write survives. Default: the end of the app, not a power cut.
    #[uniffi(default = None)]
    pub durability: Option<Durability>,
    /// Connections that read. Default 4; from 1 to 16.
    #[uniffi(default = None)]
    pub readers: Option<u32>,
    /// The write-ahead log is brought back into the database beyond this many bytes. Default 4 MiB; from 64 KiB to 1 GiB.
    #[uniffi(default = None)]
    pub wal_limit: Option<u32>,
    /// How long a held transaction or snapshot may wait for its next statement before it is rolled back, in milliseconds.
    /// Default 5,000; from 100 to a minute.
    #[uniffi(default = None)]
    pub transaction_idle_ms: Option<u32>,
    /// What actions may take. Default: what stands at each of its fields.
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
        let default = Self::new(&config.path);
        Ok(Self {
            path: default.path,
            server_url: config.server_url,
            allow_http: config.allow_http.unwrap_or(default.allow_http),
            user_id: config.user_id,
            device_name: config.device_name.unwrap_or(default.device_name),
            platform: config.platform.unwrap_or(default.platform),
            app_version: config.app_version.unwrap_or(default.app_version),
            schema: config.schema_json.as_deref().map(schema).transpose()?,
            policies: policies(config.policies.unwrap_or_default()),
            sync_interval: config.sync_interval_ms.map_or(default.sync_interval, millis),
            push_debounce: config.push_debounce_ms.map_or(default.push_debounce, millis),
            ack_deadline: config.ack_deadline_ms.map_or(default.ack_deadline, millis),
            max_retries: config.max_retries.unwrap_or(default.max_retries),
            server_fault_attempts: config
                .server_fault_attempts
                .unwrap_or(default.server_fault_attempts),
            server_fault_age: config.server_fault_age_ms.map_or(default.server_fault_age, millis),
            page_size: config.page_size.unwrap_or(default.page_size),
            batch_size: config.batch_size.unwrap_or(default.batch_size),
            metered: config.metered.map_or(default.metered, Metered::from),
            durability: config.durability.map_or(default.durability, Into::into),
            readers: config.readers.unwrap_or(default.readers),
            wal_limit: config.wal_limit.map_or(default.wal_limit, u64::from),
            transaction_idle: config.transaction_idle_ms.map_or(default.transaction_idle, millis),
            action_budget: budget(config.action_budget.unwrap_or_default()),
        })
    }
}

fn policies(policies: HashMap<String, ConflictPolicy>) -> BTreeMap<String, Policy> {
    policies.into_iter().map(|(table, policy)| (table, policy.into())).collect()
}

fn budget(given: ActionBudget) -> Budget {
    let Budget { run, rebase, bytes } = Budget::default();
    Budget {
        run: given.run_ms.map_or(run, millis),
        rebase: given.rebase_ms.map_or(rebase, millis),
        bytes: given.bytes.map_or(bytes, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
    }
}

pub(crate) fn millis(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

fn schema(json: &str) -> Result<rejoin_core::Manifest> {
    let told = |error| RejoinError::Configuration { reason: format!("schema_json: {error}") };
    serde_json::from_str(json).map_err(told)
}
