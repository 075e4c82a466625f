//! What a server is told: where to listen, which file, who the user is, which tables, how much at most.
//!
//! Built in Rust by the `with_...` functions, or read from one TOML file ([`Config::from_toml`]) whose problems are all
//! reported at once, each with its line. What a table looks like is not said here: it is read from the database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::admission::Gatekeeper;
use crate::bucket_resolver::BucketResolver;
use crate::hooks::Hooks;

mod action;
mod auth;
mod check;
mod file;
mod init;
mod postgres_url;
mod reader;
mod registry;
mod row_security;
mod table;

pub use action::{ActionConfig, Check, USER};
pub use auth::{Auth, Jwks, JwtAlgorithm, JwtConfig};
pub use init::TEMPLATE;
pub use postgres_url::PostgresUrl;
pub(crate) use postgres_url::{Place, Roots, Trust};
pub use row_security::RowSecurity;
pub use table::{ParentConfig, TableConfig};

/// A server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:7878`.
    pub listen: SocketAddr,
    /// The SQLite file with the user's tables, which must exist. Empty if there is a `store`.
    pub database: PathBuf,
    /// The PostgreSQL database with the user's tables, instead of a file.
    pub store: Option<PostgresUrl>,
    /// Whether PostgreSQL itself keeps users from each other's rows, beside the engine; not by default.
    pub row_security: Option<RowSecurity>,
    /// How a request names its user.
    pub auth: Auth,
    /// The synced tables.
    pub tables: Vec<TableConfig>,
    /// The function of the database that names further buckets, for tables that name none of their own and are not everybody's.
    pub bucket_function: Option<String>,
    /// Code of the host's that names further buckets, for tables that name no function or resolver and are not everybody's.
    pub bucket_resolver: Option<Arc<dyn BucketResolver>>,
    /// Tables whose resolver is taken away on purpose, with what it said; none by default. Without that, a program that lacks a
    /// resolver which the database knows does not start. PostgreSQL only.
    pub drop_resolvers: Vec<String>,
    /// Most buckets that such a function may name of one row; 100 by default, 0 is no bound.
    pub max_buckets_per_event: u32,
    /// What is asked before actions are taken; none by default.
    pub actions: Vec<ActionConfig>,
    /// How much at most.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// The oldest app version that is served (`X-App-Version`, register); `None` serves all.
    pub min_app_version: Option<String>,
    /// What the host program wants to hear and decide; nothing by default.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// Who is asked before each request is worked on; nobody by default.
    pub gatekeeper: Option<Arc<dyn Gatekeeper>>,
    /// Whether the binary hands out metrics and traces by OTLP; not by default. A host has telemetry of its own.
    pub otlp: bool,
}

/// How much at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body in bytes, decompressed; 8 MiB by default.
    pub body: usize,
    /// Most groups in one push; 1,000 by default.
    pub groups: usize,
    /// Most changes in one push, over all groups; 10,000 by default.
    pub changes: usize,
    /// Most rows in one page; 1,000 by default and at most.
    pub page: usize,
    /// Bytes of rows after which a page ends early; 4 MiB by default. One row, or one transaction of a push, may be larger.
    pub page_bytes: usize,
    /// Milliseconds for which a request waits while another program writes the database; 5,000 by default. Then it is
    /// answered 503 and may be sent again.
    pub wait_ms: u32,
    /// Milliseconds by which the sequencer of the log or the feeder of resolvers may be behind before `/readyz` says that
    /// the server is not ready, and for which that waits for an answer; 5,000 by default.
    pub lag_ms: u32,
    /// Milliseconds that requests under way have when the server is told to end; 10,000 by default.
    pub grace_ms: u32,
    /// Milliseconds by which a plain peer's clock may be behind before its edit of a row that changed loses: v0.1.2's
    /// clock skew tolerance; 0 by default.
    pub plain_clock_ms: u32,
    /// Most connections that [`Server::serve`](crate::Server::serve) has open at once, event
    /// streams included; 10,000 by default, and at most half of the files that the process may
    /// open. Further ones wait in the kernel's queue.
    pub connections: u32,
    /// Milliseconds in which the header of a request must arrive, from its first byte or from the
    /// connection's opening; 10,000 by default. Then the connection is closed.
    pub header_timeout_ms: u32,
    /// Milliseconds after which a connection is closed that sends no further request or reads no
    /// answer; 75,000 by default, longer than the 60 seconds for which common proxies keep one.
    pub idle_timeout_ms: u32,
    /// Most event streams that a user has open at once at this server; 100 by default. A further
    /// one is answered 429.
    pub streams_per_user: u32,
    /// Most devices of a user that were seen within `retention.verdict_days`; 1,000 by default. A
    /// further one is not registered (403); one that is known always is.
    pub devices_per_user: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            groups: 1_000,
            changes: 10_000,
            page: 1_000,
            page_bytes: 4 << 20,
            wait_ms: 5_000,
            lag_ms: 5_000,
            grace_ms: 10_000,
            plain_clock_ms: 0,
            connections: 10_000,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            streams_per_user: 100,
            devices_per_user: 1_000,
        }
    }
}

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days after which a silent device no longer holds the log back; it rebuilds by snapshot. 30 by default.
    pub log_days: u32,
    /// Days after which the verdicts of a silent device are forgotten; 90 by default.
    pub verdict_days: u32,
    /// Most entries, verdicts or times that one transaction of a compaction forgets; 10,000 by default.
    pub batch: u32,
    /// Minutes from one compaction of a serving server to the next; 60 by default, 0 is never.
    pub every_minutes: u32,
    /// Days for which a plain peer is served by an older schema, if the tables have only gained since; 90 by default, 0 is
    /// v0.1.2's way: not at all.
    pub schema_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { log_days: 30, verdict_days: 90, batch: 10_000, every_minutes: 60, schema_days: 90 }
    }
}

impl Config {
    /// A server over this file, on a free loopback port, with the user named by `X-User-ID`.
    pub fn new(database: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: database.into(),
            store: None,
            row_security: None,
            auth: Auth::Header { name: String::from("X-User-ID") },
            tables: Vec::new(),
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

    /// The same over this PostgreSQL database.
    pub fn postgres(store: impl Into<PostgresUrl>) -> Self {
        Self { store: Some(store.into()), ..Self::new("") }
    }

    /// The tables as a store serves them: what one leaves to the configuration is said.
    pub(crate) fn served_tables(&self) -> Vec<TableConfig> {
        let served = |table: &TableConfig| {
            let mut table = table.clone();
            let says_nothing = table.bucket_function.is_none() && table.bucket_resolver.is_none();
            if says_nothing && !table.is_everybodys() {
                table.bucket_function.clone_from(&self.bucket_function);
                table.bucket_resolver.clone_from(&self.bucket_resolver);
            }
            table.max_buckets_per_event.get_or_insert(self.max_buckets_per_event);
            table
        };
        self.tables.iter().map(served).collect()
    }

    /// Lets PostgreSQL itself keep users from each other's rows as well.
    #[must_use]
    pub fn with_row_security(mut self, security: RowSecurity) -> Self {
        self.row_security = Some(security);
        self
    }

    /// Asks this resolver for further buckets of rows, in tables that say nothing else and are not everybody's.
    #[must_use]
    pub fn with_bucket_resolver(mut self, resolver: Arc<dyn BucketResolver>) -> Self {
        self.bucket_resolver = Some(resolver);
        self
    }

    /// Takes the resolver of this table away, which an earlier configuration had; it may stay said.
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

    /// Asks this before it takes an action.
    #[must_use]
    pub fn with_action(mut self, action: ActionConfig) -> Self {
        self.actions.push(action);
        self
    }

    /// Tells and asks these hooks.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Asks before each request is worked on.
    #[must_use]
    pub fn with_gatekeeper(mut self, gatekeeper: Arc<dyn Gatekeeper>) -> Self {
        self.gatekeeper = Some(gatekeeper);
        self
    }

    /// Takes the user from a JWT.
    #[must_use]
    pub fn with_jwt(mut self, jwt: JwtConfig) -> Self {
        self.auth = Auth::Jwt(jwt);
        self
    }

    /// Listens there.
    #[must_use]
    pub fn with_listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Keeps things so long.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Takes these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
