//! Client configuration: each field with its default and its limits.
//!
//! [`Config::check`] reports all problems at once. Nothing here accesses the disk or the network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use derive_setters::Setters;
use rejoin_protocol::Policy;
use rejoin_protocol::manifest::Manifest;

mod check;

use check::Problems;

use crate::engine::action::ActionBudget;
use crate::engine::checkpoint::Durability;
use crate::engine::queue::faults;
use crate::error::{Error, Result};

/// When background syncing may use a metered network. A sync that the app requests always runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metered {
    /// As on any other network.
    #[default]
    Allow,
    /// Local writes are pushed, but pulls wait for an unmetered network or for
    /// [`SyncHandle::request`](crate::SyncHandle::request). Tables of the log are exchanged only while entries
    /// wait.
    PushOnly,
    /// Nothing is exchanged until the network is unmetered or the app calls
    /// [`SyncHandle::request`](crate::SyncHandle::request).
    Never,
}

/// How a client opens its file and syncs. Every field except the path has a default, and a method
/// of the same name that sets it.
///
/// ```
/// use rejoin_core::Config;
/// use std::time::Duration;
///
/// let config = Config::new("todo.db").sync_interval(Duration::from_secs(60));
/// assert!(config.check().is_ok());
/// let wrong = config.server("ftp://host").page_size(5);
/// assert_eq!(
///     wrong.check().unwrap_err().to_string(),
///     "configuration: server: ftp://host is no http or https address; page_size: 5 is not within 100 to 1000"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Setters)]
#[setters(strip_option)]
#[non_exhaustive]
pub struct Config {
    /// The database file; created if missing. Its folder must exist.
    #[setters(skip)]
    pub path: PathBuf,
    /// The server, as `https://host/prefix`. Without one, writes stay in the queue. `http://` is
    /// allowed for loopback addresses only; see [`allow_http`](Self::allow_http).
    #[setters(into)]
    pub server: Option<String>,
    /// Whether `server` may be `http://` to a host that is not a loopback address. Other hosts
    /// on the network can then read and change the rows and steal the token. Default: no.
    pub allow_http: bool,
    /// The user that owns this file. Default: the user that the server reports at register; with a
    /// plain v0.1.2 server, the `sub` claim of a JWT token.
    #[setters(into)]
    pub user_id: Option<String>,
    /// Name of this device in the server's list. Default `device`.
    #[setters(into)]
    pub device_name: String,
    /// The kind of device. Default: the operating system's name.
    #[setters(into)]
    pub platform: String,
    /// Version of the app, as `1.2.3`; the server may require a newer one. Default `0.0.0`.
    #[setters(into)]
    pub app_version: String,
    /// The tables, so that the first start works offline. Default: fetched from the server.
    pub schema: Option<Manifest>,
    /// Conflict policy by table. Default: the policy in the server's manifest.
    pub policies: BTreeMap<String, Policy>,
    /// Time between two sync passes. Default 30 s; from 1 s to a day. While the server's event stream is
    /// open and nothing happens, the time grows 64-fold, to at most 30 minutes: a change wakes the device.
    pub sync_interval: Duration,
    /// The shortest time between two pushes of local writes. Default 0.5 s; up to a minute. The first
    /// write after a pause is pushed at once, and later ones within this time are collected.
    pub push_debounce: Duration,
    /// How long to wait for a response. Default 10 s; from 1 s to 10 minutes.
    pub ack_deadline: Duration,
    /// Failed attempts of an exchange before the status is `failed`; retries continue at each
    /// interval. Default 5; up to 100.
    pub max_retries: u32,
    /// Failed attempts of one mutation before it is parked as `ServerFault`; mutations that depend
    /// on it wait until then. Default 50; from 1 to 10,000.
    pub server_fault_attempts: u32,
    /// How long the server may fail on one mutation. Default 24 hours; from a minute to 30 days.
    pub server_fault_age: Duration,
    /// Rows requested per response. Default 1,000; from 100 to 1,000. A snapshot begins with it; its
    /// pages then follow the speed of the network, up to the server's limit.
    pub page_size: u32,
    /// Mutations sent in one request. Default 100; from 100 to 1,000. A plain server gets so many records
    /// first; each answered request doubles them, up to 1,000.
    pub batch_size: u32,
    /// What may use a metered network. Default: everything.
    pub metered: Metered,
    /// What a committed local write survives. Default: the end of the process, not a power cut.
    pub durability: Durability,
    /// Number of read connections. Default 4; from 1 to 16.
    pub readers: u32,
    /// Log size in bytes that triggers a checkpoint. Default 4 MiB; from 64 KiB to 1 GiB.
    pub wal_limit: u64,
    /// How long an interactive transaction or snapshot ([`Client::begin`](crate::Client::begin))
    /// may be idle before it is rolled back. Default 5 s; from 100 ms to a minute.
    pub transaction_idle: Duration,
    /// Limits of actions: time of one run, time of all re-runs per batch of remote rows, and bytes
    /// written by one run. Defaults and limits: see [`ActionBudget`].
    pub action_budget: ActionBudget,
    /// The folder that opening creates for a temporary file, and that shutting down removes.
    #[setters(skip)]
    pub(crate) temporary_folder: Option<PathBuf>,
}

impl Config {
    /// A file of its own, for tests and previews. It is a real database in a new folder within the
    /// system's folder for temporary files; shutting the client down removes it. After a crash the
    /// folder stays until the system removes it.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// let client = Client::open(Config::temporary()).wait()?;
    /// let path = client.path().to_owned();
    /// assert!(path.exists());
    /// client.shutdown().wait()?;
    /// assert!(!path.exists());
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    pub fn temporary() -> Self {
        let folder = std::env::temp_dir().join(format!("rejoin-{}", uuid::Uuid::new_v4()));
        Self { temporary_folder: Some(folder.clone()), ..Self::new(folder.join("app.db")) }
    }

    /// The default configuration for this file.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            server: None,
            allow_http: false,
            user_id: None,
            device_name: "device".to_owned(),
            platform: std::env::consts::OS.to_owned(),
            app_version: "0.0.0".to_owned(),
            schema: None,
            policies: BTreeMap::new(),
            sync_interval: Duration::from_secs(30),
            push_debounce: Duration::from_millis(500),
            ack_deadline: Duration::from_secs(10),
            max_retries: 5,
            server_fault_attempts: faults::ATTEMPTS,
            server_fault_age: faults::AGE,
            page_size: 1000,
            batch_size: 100,
            metered: Metered::Allow,
            durability: Durability::Normal,
            readers: 4,
            wal_limit: 4 << 20,
            transaction_idle: Duration::from_secs(5),
            action_budget: ActionBudget::default(),
            temporary_folder: None,
        }
    }

    /// Checks that every field is within its limits.
    ///
    /// # Errors
    /// [`Error::Configuration`] with one line per problem, each beginning with the field's name.
    pub fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.path(&self.path);
        if let Some(url) = &self.server {
            problems.url(url, self.allow_http);
        }
        problems.text("user_id", self.user_id.as_deref().unwrap_or("unknown"));
        problems.text("device_name", &self.device_name);
        problems.text("platform", &self.platform);
        problems.version(&self.app_version);
        let second = Duration::from_secs(1);
        problems.duration("sync_interval", self.sync_interval, second, 86_400 * second);
        problems.duration("push_debounce", self.push_debounce, Duration::ZERO, 60 * second);
        problems.duration("ack_deadline", self.ack_deadline, second, 600 * second);
        problems.number("max_retries", self.max_retries.into(), 0, 100);
        problems.number("server_fault_attempts", self.server_fault_attempts.into(), 1, 10_000);
        let day = 86_400 * second;
        problems.duration("server_fault_age", self.server_fault_age, 60 * second, 30 * day);
        problems.number("page_size", self.page_size.into(), 100, 1000);
        problems.number("batch_size", self.batch_size.into(), 100, 1000);
        problems.number("readers", self.readers.into(), 1, 16);
        problems.number("wal_limit", self.wal_limit, 64 << 10, 1 << 30);
        let idle = self.transaction_idle;
        problems.duration("transaction_idle", idle, second / 10, 60 * second);
        let ActionBudget { run, rebase, bytes } = self.action_budget;
        problems.duration("action_budget.run", run, second / 10, 60 * second);
        problems.duration("action_budget.rebase", rebase, second / 10, 60 * second);
        problems.number("action_budget.bytes", bytes as u64, 1 << 10, 1 << 30);
        problems.policies(&self.policies, self.schema.as_ref());
        if let Some(schema) = &self.schema {
            problems.schema(schema);
        }
        if problems.0.is_empty() { Ok(()) } else { Err(Error::Configuration(problems.0)) }
    }

    /// The names of the fields in which `other` differs. An open file is shared only if there are
    /// none.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        // Lists every field, so that a new one cannot be forgotten. The path is compared
        // separately, and a temporary file has its own.
        let Self {
            path: _,
            server,
            allow_http,
            user_id,
            device_name,
            platform,
            app_version,
            schema,
            policies,
            sync_interval,
            push_debounce,
            ack_deadline,
            max_retries,
            server_fault_attempts,
            server_fault_age,
            page_size,
            batch_size,
            metered,
            durability,
            readers,
            wal_limit,
            transaction_idle,
            action_budget,
            temporary_folder: _,
        } = self;
        [
            ("server", *server == other.server),
            ("allow_http", *allow_http == other.allow_http),
            ("user_id", *user_id == other.user_id),
            ("device_name", *device_name == other.device_name),
            ("platform", *platform == other.platform),
            ("app_version", *app_version == other.app_version),
            ("schema", *schema == other.schema),
            ("policies", *policies == other.policies),
            ("sync_interval", *sync_interval == other.sync_interval),
            ("push_debounce", *push_debounce == other.push_debounce),
            ("ack_deadline", *ack_deadline == other.ack_deadline),
            ("max_retries", *max_retries == other.max_retries),
            ("server_fault_attempts", *server_fault_attempts == other.server_fault_attempts),
            ("server_fault_age", *server_fault_age == other.server_fault_age),
            ("page_size", *page_size == other.page_size),
            ("batch_size", *batch_size == other.batch_size),
            ("metered", *metered == other.metered),
            ("durability", *durability == other.durability),
            ("readers", *readers == other.readers),
            ("wal_limit", *wal_limit == other.wal_limit),
            ("transaction_idle", *transaction_idle == other.transaction_idle),
            ("action_budget", *action_budget == other.action_budget),
        ]
        .into_iter()
        .filter_map(|(field, equal)| (!equal).then_some(field))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::manifest::TableManifest;

    use super::*;

    /// A change of one field, and the start of the expected problem.
    type Case = (fn(&mut Config), &'static str);

    const WRONG: &[Case] = &[
        (|config| config.path = "".into(), "path:  names no file"),
        (|config| config.path = ":memory:".into(), "path: :memory: names no file"),
        (|config| config.server = Some("host:80".into()), "server: host:80 is no http"),
        (|config| config.server = Some("http://".into()), "server: http:// is no http"),
        (|config| config.server = Some("http://u:p@h".into()), "server: it may carry no"),
        (|config| config.server = Some("http://h?a=1".into()), "server: it may carry no"),
        (|config| config.server = Some("http://h/p".into()), "server: http://h/p is not encr"),
        (|config| config.server = Some("http://10.0.2.2:1".into()), "server: http://10.0.2.2"),
        (|config| config.user_id = Some(String::new()), "user_id: 1 to 255"),
        (|config| config.device_name = "x".repeat(256), "device_name: 1 to 255"),
        (|config| config.platform = "a\nb".into(), "platform: 1 to 255"),
        (|config| config.app_version = "1.2".into(), "app_version: 1.2 is not"),
        (
            |config| config.app_version = format!("1.2.3-{}", "x".repeat(250)),
            "app_version: 1 to 255",
        ),
        (|config| config.sync_interval = Duration::ZERO, "sync_interval: 0ns is not within 1s"),
        (|config| config.push_debounce = Duration::from_secs(61), "push_debounce: 61s is not"),
        (|config| config.ack_deadline = Duration::from_millis(999), "ack_deadline: 999ms is not"),
        (|config| config.max_retries = 101, "max_retries: 101 is not within 0 to 100"),
        (|config| config.page_size = 99, "page_size: 99 is not within 100 to 1000"),
        (|config| config.page_size = 1001, "page_size: 1001 is not within 100 to 1000"),
        (|config| config.batch_size = 99, "batch_size: 99 is not within 100 to 1000"),
        (|config| config.readers = 0, "readers: 0 is not within 1 to 16"),
        (|config| config.wal_limit = 1, "wal_limit: 1 is not within 65536 to"),
        (
            |config| config.transaction_idle = Duration::from_millis(99),
            "transaction_idle: 99ms is not within 100ms to 60s",
        ),
        (
            |config| config.action_budget.run = Duration::from_millis(99),
            "action_budget.run: 99ms is not within 100ms to 60s",
        ),
        (
            |config| config.action_budget.rebase = Duration::from_secs(61),
            "action_budget.rebase: 61s is not within 100ms to 60s",
        ),
        (
            |config| config.action_budget.bytes = 1_023,
            "action_budget.bytes: 1023 is not within 1024 to 1073741824",
        ),
        (|config| config.schema = Some(Manifest::new(1, Vec::new())), "schema: it has no table"),
        (|config| config.policies = one_policy(""), "policies: a table without a name"),
    ];

    fn one_policy(table: &str) -> BTreeMap<String, Policy> {
        [(table.to_owned(), Policy::Rebase)].into()
    }

    #[test]
    fn http_to_other_hosts_requires_allow_http() {
        let check = |url: &str, allow_http| {
            let url = Some(url.to_owned());
            Config { server: url, allow_http, ..Config::new("a.db") }.check().is_ok()
        };
        for url in ["http://localhost:80/x", "http://127.0.0.2", "http://[::1]:8080"] {
            assert!(check(url, false), "{url}");
        }
        for url in
            ["http://h", "http://localhost.example.org", "http://10.0.2.2:8080", "http://[::2]:1"]
        {
            assert_eq!([check(url, false), check(url, true)], [false, true], "{url}");
        }
        assert!(check("https://h", false));
    }

    #[test]
    fn policy_for_table_outside_bundled_schema_is_rejected() {
        let table = |name: &str| TableManifest { table_name: name.into(), ..Default::default() };
        let schema = Some(Manifest::new(1, vec![table("notes")]));
        let with = |schema: &Option<Manifest>, name| Config {
            schema: schema.clone(),
            policies: one_policy(name),
            ..Config::new("file.db")
        };
        assert!(with(&schema, "Notes").check().is_ok());
        assert!(with(&None, "noets").check().is_ok(), "no schema is bundled");
        let Err(Error::Configuration(problems)) = with(&schema, "noets").check() else {
            panic!("accepted")
        };
        assert_eq!(problems, ["policies: the bundled schema has no synced table noets"]);
    }

    #[test]
    fn value_outside_field_limits_is_rejected() {
        for (spoil, beginning) in WRONG {
            let mut config = Config::new("file.db");
            assert!(config.check().is_ok());
            spoil(&mut config);
            match config.check() {
                Err(Error::Configuration(problems)) => {
                    assert_eq!(problems.len(), 1, "{problems:?}");
                    assert!(problems[0].starts_with(beginning), "{problems:?}: {beginning}");
                }
                other => panic!("{beginning}: {other:?}"),
            }
        }
    }

    #[test]
    fn check_reports_all_problems_at_once() {
        let mut config = Config::new("file.db");
        for (spoil, _) in WRONG {
            spoil(&mut config);
        }
        let Err(Error::Configuration(problems)) = config.check() else { panic!("accepted") };
        assert_eq!(problems.len(), 20, "{problems:#?}");
    }

    #[test]
    fn limit_values_are_accepted() {
        let config = Config {
            server: Some("http://localhost:8080/prefix".into()),
            page_size: 100,
            batch_size: 1000,
            max_retries: 0,
            push_debounce: Duration::ZERO,
            app_version: "1.2.3-beta+5".into(),
            ..Config::new("file.db")
        };
        assert!(config.check().is_ok());
        assert_eq!(Config { page_size: 1000, batch_size: 100, ..config }.check().ok(), Some(()));
    }

    #[test]
    fn differences_returns_changed_field_names() {
        let config = Config::new("file.db");
        assert!(config.differences(&Config::new("./other-name-of-it.db")).is_empty());
        for (spoil, beginning) in &WRONG[2..] {
            let mut other = config.clone();
            spoil(&mut other);
            let field = beginning.split([':', '.']).next().unwrap();
            assert_eq!(config.differences(&other), [field]);
        }
    }
}
