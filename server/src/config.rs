//! Server configuration: address, database, authentication, tables, limits.
//!
//! Built in Rust with the `with_...` functions, or read from a TOML file ([`Config::from_toml`]),
//! which reports all problems at once with their lines. The schema of a table is read from the
//! database, not configured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::admission::Gatekeeper;
use crate::bucket_resolver::BucketResolver;
use crate::hooks::Hooks;
use crate::model::PushPolicy;

mod action;
mod auth;
mod check;
mod file;
mod init;
mod membership;
mod postgres_url;
mod reader;
mod registry;
mod row_security;
mod stream;
mod table;

pub use action::{ActionConfig, Check, USER};
pub use auth::{Auth, Jwks, JwtAlgorithm, JwtConfig};
pub use init::TEMPLATE;
pub use membership::MembershipConfig;
pub use postgres_url::PostgresUrl;
pub(crate) use postgres_url::{DatabaseAddress, Roots, Trust};
pub use row_security::RowSecurity;
pub use stream::StreamConfig;
pub use table::{ParentConfig, TableConfig};

/// A server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:7878`.
    pub listen: SocketAddr,
    /// The SQLite file with the application's tables, which must exist. Empty if `store` is set.
    pub database: PathBuf,
    /// The PostgreSQL database with the application's tables, instead of a file.
    pub store: Option<PostgresUrl>,
    /// A pooler in front of this database that chooses a session for each transaction, such as
    /// PgBouncer with `pool_mode = transaction`: the transactions of requests use it, with at most
    /// 16 connections. `store` stays the database itself. None by default.
    pub pooler: Option<PostgresUrl>,
    /// A hot standby of this database: pulls of devices read from it, with at most 16 connections,
    /// if its log ends where this server knows that the log ends. None by default.
    pub replica: Option<PostgresUrl>,
    /// Where shared pages are stored, so that servers with the same `store` read each from the database
    /// about once: a folder, or `s3://bucket/folder`, which uses the standard environment variables `AWS_...`. None
    /// by default.
    pub page_store: Option<String>,
    /// Row level security in PostgreSQL, in addition to the engine's own checks; off by default.
    pub row_security: Option<RowSecurity>,
    /// How requests are authenticated.
    pub auth: Auth,
    /// The synced tables.
    pub tables: Vec<TableConfig>,
    /// Whether a start refuses a table, or a part of one, that cannot be synced. Off by default: a server
    /// that has served from its database before leaves it out, and starts with the others.
    pub strict: bool,
    /// The buckets of users, from the application's own tables; none by default.
    pub membership: Option<MembershipConfig>,
    /// The streams to which devices can subscribe.
    pub streams: Vec<StreamConfig>,
    /// The database function that names further buckets, for tables that are not public and name no
    /// function of their own.
    pub bucket_function: Option<String>,
    /// Host code that names further buckets, for tables that are not public and name neither a
    /// function nor a resolver.
    pub bucket_resolver: Option<Arc<dyn BucketResolver>>,
    /// Tables whose stored resolver and its results are removed; none by default. Otherwise the
    /// server does not start without a resolver that is recorded in the database. PostgreSQL only.
    pub drop_resolvers: Vec<String>,
    /// Maximum number of buckets that the function or resolver may name for one row; 100 by
    /// default, 0 is unlimited.
    pub max_buckets_per_event: u32,
    /// Actions with their server-side checks; none by default.
    pub actions: Vec<ActionConfig>,
    /// Limits on requests and connections.
    pub limits: Limits,
    /// Retention times.
    pub retention: Retention,
    /// The oldest app version that is accepted (`X-App-Version`, register); `None` accepts all.
    pub min_app_version: Option<String>,
    /// Hooks of the host program; none by default.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// Admission control, called before each request is processed; none by default.
    pub gatekeeper: Option<Arc<dyn Gatekeeper>>,
    /// Whether the binary exports metrics and traces by OTLP; off by default. A host program uses
    /// its own telemetry.
    pub otlp: bool,
}

/// Limits on requests and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a request body in bytes, decompressed; 8 MiB by default.
    pub body: usize,
    /// Maximum number of groups in one push; 1,000 by default.
    pub groups: usize,
    /// Maximum number of changes in one push, over all groups; 10,000 by default.
    pub changes: usize,
    /// Maximum number of rows in one page; 10,000 by default, which is also the upper limit. A device
    /// asks for so many only in a snapshot, over a network that carries them within a second. Plain
    /// peers get at most 1,000.
    pub page: usize,
    /// Bytes of rows after which a page ends; 4 MiB by default. A single row or a single push
    /// transaction may exceed it.
    pub page_bytes: usize,
    /// Milliseconds that a request waits while another program writes the database; 5,000 by
    /// default. After that it is answered 503 and may be retried.
    pub wait_ms: u32,
    /// Maximum lag of the sequencer and of the feeder in milliseconds before `/readyz` reports not
    /// ready; also the timeout of that check. 5,000 by default.
    pub lag_ms: u32,
    /// Milliseconds of work on the groups of one push, after which the rest is answered `retry`;
    /// 2,000 by default. The first group is evaluated in any case. Over SQLite the work is done in
    /// transactions of 50 ms each, so that other users' requests come in between.
    pub push_ms: u32,
    /// Milliseconds that running requests get at shutdown; 10,000 by default.
    pub grace_ms: u32,
    /// Milliseconds that a plain peer's clock may be behind before its edit of a changed row loses
    /// (v0.1.2's clock skew tolerance); 0 by default.
    pub plain_clock_ms: u32,
    /// Milliseconds by which the time of a new entry of the log may be ahead of the server's clock;
    /// 60,000 by default. A device whose clock is further ahead gives its entries later keys.
    pub log_drift_ms: u32,
    /// Maximum number of open connections of [`Server::serve`](crate::Server::serve), event streams
    /// included; 10,000 by default. It is lowered to the process's file limit minus 2,048, or to
    /// half of that limit if this is more. Further connections wait in the kernel's queue.
    pub connections: u32,
    /// Milliseconds within which a request's header must arrive, from its first byte or from the
    /// opening of the connection; 10,000 by default. Then the connection is closed.
    pub header_timeout_ms: u32,
    /// Milliseconds after which a connection is closed that sends no request or reads no response;
    /// 75,000 by default, longer than the usual 60 seconds of proxies.
    pub idle_timeout_ms: u32,
    /// Maximum number of open event streams of a user at this server; 100 by default. A further one
    /// is answered 429.
    pub streams_per_user: u32,
    /// Maximum number of verdicts on mutations of a device that the device has not confirmed; 10,000
    /// by default. A request of a device that has more and cancels mutations is answered 429.
    pub verdicts_per_device: u32,
    /// Maximum number of requests of a user in progress at this server, event streams aside; 8 by
    /// default. A further one waits `wait_ms` for its turn, and is then answered 429. Over SQLite one
    /// of them is a push.
    pub requests_per_user: u32,
    /// Maximum bytes of all request bodies that this server receives or processes at the same time;
    /// 256 MiB by default, and at least `body`. A further request waits `wait_ms`, and is then
    /// answered 503.
    pub bodies: usize,
    /// Maximum bytes of mutations larger than one request that the devices of a user are sending in
    /// parts; 256 MiB by default, and at least the 128 MiB that one mutation may have. A further part is
    /// answered 429.
    pub staged_per_user: usize,
    /// Maximum number of devices of a user seen within `retention.verdict_days`; 1,000 by default.
    /// A further device is refused (403); known devices are always accepted.
    pub devices_per_user: u32,
    /// Maximum number of verdicts within an hour by which this server rejects mutations of a user;
    /// 10,000 by default. Further mutations that would be rejected are answered `retry`.
    pub rejections_per_user: u32,
    /// Maximum number of entries of the log that this server takes from a user within an hour; 100,000
    /// by default. Further ones are answered 429.
    pub log_entries_per_user: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            groups: 1_000,
            changes: 10_000,
            page: 10_000,
            page_bytes: 4 << 20,
            wait_ms: 5_000,
            push_ms: 2_000,
            lag_ms: 5_000,
            grace_ms: 10_000,
            plain_clock_ms: 0,
            log_drift_ms: 60_000,
            connections: 10_000,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            streams_per_user: 100,
            verdicts_per_device: 10_000,
            requests_per_user: 8,
            bodies: 256 << 20,
            staged_per_user: 256 << 20,
            devices_per_user: 1_000,
            rejections_per_user: 10_000,
            log_entries_per_user: 100_000,
        }
    }
}

/// Retention times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days after which an inactive device no longer prevents compaction of the log; it then
    /// rebuilds by snapshot. 30 by default.
    pub log_days: u32,
    /// Days after which the verdicts of an inactive device are deleted; 90 by default.
    pub verdict_days: u32,
    /// Maximum number of rows that one compaction transaction deletes; 10,000 by default.
    pub batch: u32,
    /// Minutes between two compactions of a running server; 60 by default, 0 disables them.
    pub every_minutes: u32,
    /// Days for which a plain peer may use an older schema, provided that tables only gained
    /// columns since; 90 by default. 0 disables it, as in v0.1.2.
    pub schema_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { log_days: 30, verdict_days: 90, batch: 10_000, every_minutes: 60, schema_days: 90 }
    }
}

impl Config {
    /// A server over this file, on a free loopback port, with the user taken from `X-User-ID`.
    pub fn new(database: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: database.into(),
            store: None,
            pooler: None,
            replica: None,
            page_store: None,
            row_security: None,
            auth: Auth::Header { name: String::from("X-User-ID") },
            tables: Vec::new(),
            strict: false,
            membership: None,
            streams: Vec::new(),
            bucket_function: None,
            bucket_resolver: None,
            drop_resolvers: Vec::new(),
            max_buckets_per_event: 100,
            actions: Vec::new(),
            limits: Limits::default(),
            retention: Retention::default(),
            min_app_version: None,
            hooks: None,
            gatekeeper: None,
            otlp: false,
        }
    }

    /// Like [`new`](Self::new), over this PostgreSQL database.
    pub fn postgres(store: impl Into<PostgresUrl>) -> Self {
        Self { store: Some(store.into()), ..Self::new("") }
    }

    /// The tables with the configuration's defaults filled in.
    pub(crate) fn served_tables(&self) -> Vec<TableConfig> {
        let served = |table: &TableConfig| {
            let mut table = table.clone();
            let says_nothing = table.bucket_function.is_none() && table.bucket_resolver.is_none();
            let may_name = !table.is_everybodys() && table.push != Some(PushPolicy::InsertOnly);
            if says_nothing && may_name {
                table.bucket_function.clone_from(&self.bucket_function);
                table.bucket_resolver.clone_from(&self.bucket_resolver);
            }
            table.max_buckets_per_event.get_or_insert(self.max_buckets_per_event);
            table
        };
        self.tables.iter().map(served).collect()
    }

    /// Enables row level security in PostgreSQL.
    #[must_use]
    pub fn with_row_security(mut self, security: RowSecurity) -> Self {
        self.row_security = Some(security);
        self
    }

    /// Uses this resolver for tables that are not public and name neither a function nor a
    /// resolver.
    #[must_use]
    pub fn with_bucket_resolver(mut self, resolver: Arc<dyn BucketResolver>) -> Self {
        self.bucket_resolver = Some(resolver);
        self
    }

    /// Removes the stored resolver of this table. Safe to repeat.
    #[must_use]
    pub fn dropping_resolver(mut self, table: impl Into<String>) -> Self {
        self.drop_resolvers.push(table.into());
        self
    }

    /// Adds a table.
    #[must_use]
    pub fn with_table(mut self, table: TableConfig) -> Self {
        self.tables.push(table);
        self
    }

    /// Reads the buckets of users from the application's tables.
    #[must_use]
    pub fn with_membership(mut self, membership: MembershipConfig) -> Self {
        self.membership = Some(membership);
        self
    }

    /// Adds a stream.
    #[must_use]
    pub fn with_stream(mut self, stream: StreamConfig) -> Self {
        self.streams.push(stream);
        self
    }

    /// Adds an action with its checks.
    #[must_use]
    pub fn with_action(mut self, action: ActionConfig) -> Self {
        self.actions.push(action);
        self
    }

    /// Sets the hooks.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Sets the admission control.
    #[must_use]
    pub fn with_gatekeeper(mut self, gatekeeper: Arc<dyn Gatekeeper>) -> Self {
        self.gatekeeper = Some(gatekeeper);
        self
    }

    /// Authenticates users with a JWT.
    #[must_use]
    pub fn with_jwt(mut self, jwt: JwtConfig) -> Self {
        self.auth = Auth::Jwt(jwt);
        self
    }

    /// Sets the address to listen on.
    #[must_use]
    pub fn with_listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Sets the retention times.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
