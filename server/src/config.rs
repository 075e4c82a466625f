//! What a server is told: where to listen, which file, who the user is, which tables, how much at most.
//!
//! Built in Rust by the `with_...` functions, or read from one TOML file ([`Config::from_toml`]) whose problems are all
//! reported at once, each with its line. What a table looks like is not said here: it is read from the database.

use std::net::SocketAddr;
use std::path::PathBuf;

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::Rule;

use crate::engine::resolve::Resolve;

mod action;
mod check;
mod file;
mod init;
mod postgres_url;
mod problem;
mod reader;

pub use action::{ActionConfig, Check, USER};
pub use init::TEMPLATE;
pub use postgres_url::PostgresUrl;
pub use problem::Problem;

/// A server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:7878`.
    pub listen: SocketAddr,
    /// The SQLite file with the user's tables; made if it is not there. Empty if there is a `store`.
    pub database: PathBuf,
    /// The PostgreSQL database with the user's tables, instead of a file.
    pub store: Option<PostgresUrl>,
    /// How a request names its user.
    pub auth: Auth,
    /// The synced tables.
    pub tables: Vec<TableConfig>,
    /// What is asked before actions are taken; none by default.
    pub actions: Vec<ActionConfig>,
    /// How much at most.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// The oldest app version that is served (`X-App-Version`, register); `None` serves all.
    pub min_app_version: Option<String>,
}

/// How a request names its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A header, trusted as it is: on a loopback address only, for development.
    Header {
        /// Its name; `X-User-ID` by default.
        name: String,
    },
    /// A JWT in `Authorization: Bearer`.
    Jwt(JwtConfig),
}

/// How a JWT is checked (D31). The algorithm is pinned: HS256.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// The shared secret, at least 32 bytes.
    pub secret: String,
    /// The claim that names the user; `sub` by default.
    pub user_claim: String,
    /// The only issuer that is accepted; `None` accepts any.
    pub issuer: Option<String>,
    /// The audience that must be named; `None` accepts any.
    pub audience: Option<String>,
    /// Whether a token must say when it ends; `true` by default.
    pub require_expiry: bool,
}

impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JwtConfig")
            .field("user_claim", &self.user_claim)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("require_expiry", &self.require_expiry)
            .finish_non_exhaustive() // The secret is nobody's to print.
    }
}

/// Whether devices may write a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushPolicy {
    /// The owner may.
    OwnerOnly,
    /// Nobody may.
    Disabled,
}

/// A synced table.
#[derive(Debug, Clone)]
pub struct TableConfig {
    /// Its name.
    pub name: String,
    /// Whether devices may write; by default if and only if rows have an owner or a parent.
    pub push: Option<PushPolicy>,
    /// What becomes of an edit where somebody else's change meets it; devices are told. Default `AcceptServer`.
    pub policy: Policy,
    /// What this server does with a change that meets another value. Default: columns merge.
    pub resolver: Resolve,
    /// With the policy `LastWriteWins`: milliseconds by which an edit may be older than the row, and wins all the same. For a
    /// plain peer by how much its clock may be behind; the larger of this and `limits.plain_clock_ms` counts. Default 0.
    pub skew_tolerance_ms: u32,
    /// The column that names the owner's user id.
    pub owner_column: Option<String>,
    /// The table whose rows own these, and the column that names the parent's key.
    pub parent: Option<ParentConfig>,
    /// With an owner column: rows whose owner is NULL are everybody's to read. Without owner and parent: all rows are.
    pub allow_global_read: bool,
    /// Further columns that devices may not write.
    pub protected: Vec<String>,
    /// The version's column; `updated_at` by default. Text; the server writes it.
    pub updated_at_column: String,
    /// The soft delete's column; `deleted_at` by default. A table without it deletes rows.
    pub deleted_at_column: String,
    /// Whether NOT NULL, references and indexes of the table are carried to devices; `true` by default. A CHECK never
    /// is: it is the server's own, unless it is declared in `rules`.
    pub infer_rules: bool,
    /// Further rules that devices keep for local writes (R5).
    pub rules: Vec<Rule>,
}

/// Whose rows own a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentConfig {
    /// The parent's table.
    pub table: String,
    /// The column of the child that names the parent's key.
    pub column: String,
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
    /// Milliseconds by which a plain peer's clock may be behind before its edit of a row that changed loses: v0.1.2's
    /// clock skew tolerance; 0 by default.
    pub plain_clock_ms: u32,
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
            plain_clock_ms: 0,
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
}

impl Default for Retention {
    fn default() -> Self {
        Self { log_days: 30, verdict_days: 90 }
    }
}

impl Config {
    /// A server over this file, on a free loopback port, with the user named by `X-User-ID`.
    pub fn new(database: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: database.into(),
            store: None,
            auth: Auth::Header { name: String::from("X-User-ID") },
            tables: Vec::new(),
            actions: Vec::new(),
            limits: Limits::default(),
            retention: Retention::default(),
            min_app_version: None,
        }
    }

    /// The same over this PostgreSQL database.
    pub fn postgres(store: impl Into<PostgresUrl>) -> Self {
        Self { store: Some(store.into()), ..Self::new("") }
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

    /// Takes these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl JwtConfig {
    /// HS256 by this secret; the issuer and the audience are named, the user stands in `sub`, and tokens must end.
    pub fn new(
        secret: impl Into<String>,
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        Self {
            secret: secret.into(),
            user_claim: String::from("sub"),
            issuer: Some(issuer.into()),
            audience: Some(audience.into()),
            require_expiry: true,
        }
    }
}

impl TableConfig {
    /// A table whose rows nobody may read yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            push: None,
            policy: Policy::default(),
            resolver: Resolve::default(),
            skew_tolerance_ms: 0,
            owner_column: None,
            parent: None,
            allow_global_read: false,
            protected: Vec::new(),
            updated_at_column: String::from("updated_at"),
            deleted_at_column: String::from("deleted_at"),
            infer_rules: true,
            rules: Vec::new(),
        }
    }

    /// A table whose rows belong to the user that `owner_column` names.
    pub fn owned(name: impl Into<String>, owner_column: impl Into<String>) -> Self {
        Self { owner_column: Some(owner_column.into()), ..Self::new(name) }
    }

    /// A table whose rows belong to whoever owns the parent that `column` names.
    pub fn child(
        name: impl Into<String>,
        parent: impl Into<String>,
        column: impl Into<String>,
    ) -> Self {
        let parent = ParentConfig { table: parent.into(), column: column.into() };
        Self { parent: Some(parent), ..Self::new(name) }
    }

    /// A table that everybody may read and nobody may write.
    pub fn global(name: impl Into<String>) -> Self {
        Self { allow_global_read: true, ..Self::new(name) }
    }

    /// The same table with this policy.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The same table with this resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Resolve) -> Self {
        self.resolver = resolver;
        self
    }

    /// Whether devices may write.
    pub fn push_policy(&self) -> PushPolicy {
        self.push.unwrap_or(if self.owner_column.is_some() || self.parent.is_some() {
            PushPolicy::OwnerOnly
        } else {
            PushPolicy::Disabled
        })
    }
}
