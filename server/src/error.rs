//! Errors: at start ([`ServerError`]) and in a request ([`Fault`]).
//!
//! A request that a rule refuses is not a server failure; its [`Refusal`] carries the status and
//! the message.

use std::fmt::Write as _;

use rejoin_protocol::wire::{ErrorBody, code};

use crate::model::StaleClient;

mod config;
mod import;

pub use config::{Problem, ProblemKind};
pub use import::ImportFault;

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration is invalid; carries all problems.
    #[error("the configuration is refused:{}", listed(.0))]
    Config(Vec<Problem>),
    /// The tables cannot be synced; carries all reasons.
    #[error("the tables are refused:{}", listed(.0))]
    Schema(Vec<SchemaProblem>),
    /// The database was written by a newer server.
    #[error(
        "the database has migration {found} and this server knows {known}: use the newer server"
    )]
    TooNew {
        /// The last migration of the file.
        found: i64,
        /// The last migration of this server.
        known: i64,
    },
    /// There is no SQLite file at the configured path. The server does not create it: it would have
    /// no synced tables.
    #[error(
        "there is no database file {}: correct `database` (REJOIN_DATABASE), or create the file with your tables first",
        .path.display()
    )]
    NoDatabase {
        /// The path.
        path: std::path::PathBuf,
    },
    /// The database failed; carries the driver's error.
    #[error("the database failed: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// PostgreSQL cannot be reached, or reported an error.
    #[error("the database failed: {0}")]
    Postgres(String),
    /// The file of an import cannot be read. Nothing was imported.
    #[error("{} cannot be read: {why}; nothing was imported", .path.display())]
    ImportFile {
        /// The file.
        path: std::path::PathBuf,
        /// The system's error.
        why: String,
    },
    /// A line of an import is refused. Nothing was imported.
    #[error("line {line}: {why}; nothing was imported")]
    Import {
        /// The line, from 1; 0 for the file as a whole.
        line: usize,
        /// What is wrong with it.
        why: ImportFault,
    },
    /// Row level security is configured but not effective; carries all reasons.
    #[error("row level security does not hold:{}", listed(.0))]
    RowSecurity(Vec<RowSecurityProblem>),
    /// The database records resolvers in Rust for these tables, and this program has none.
    #[error(
        "a resolver in Rust names the buckets of {}, and this program has none: run it from the host program that has, or \
         name the tables in drop_resolvers to take it away, with what it said",
        .tables.join(", ")
    )]
    ResolverMissing {
        /// The tables.
        tables: Vec<String>,
    },
    /// A network or disk error.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The user header is accepted on a loopback address only.
    #[error("{0} is no loopback address: the user header is for development, use a JWT secret")]
    NotLoopback(std::net::SocketAddr),
    /// The bucket name is invalid.
    #[error("no bucket is called {bucket:?}: {why}")]
    Bucket {
        /// The name.
        bucket: String,
        /// What is wrong with the name.
        why: &'static str,
    },
    /// An operation outside of a request failed.
    #[error("{0}")]
    Fault(#[from] Fault),
}

/// Why a table cannot be synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaProblem {
    /// The table.
    pub table: String,
    /// The column, if the problem concerns one.
    pub column: Option<String>,
    /// What is wrong, and the remedy.
    pub why: String,
}

impl std::fmt::Display for SchemaProblem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.column {
            Some(column) => write!(out, "{}.{column}: {}", self.table, self.why),
            None => write!(out, "{}: {}", self.table, self.why),
        }
    }
}

/// Why the PostgreSQL policies would not isolate users, or would stop the server from working.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowSecurityProblem {
    /// The serving role does not exist.
    #[error("there is no role {role}: run what `rejoin-server rls --print` prints")]
    NoRole {
        /// Its name.
        role: String,
    },
    /// The role of the server's URL cannot switch to the serving role.
    #[error("the role of the store's URL is no member of {role}: GRANT it")]
    NotMember {
        /// The serving role.
        role: String,
    },
    /// The policies do not apply to the serving role.
    #[error("{role} {how}: name another postgres.role, or set postgres.allow_bypass")]
    Bypasses {
        /// The serving role.
        role: String,
        /// The reason.
        how: Bypass,
    },
    /// The table has no row level security.
    #[error(
        "{table}: row level security is not enabled: run what `rejoin-server rls --print` prints"
    )]
    NotEnabled {
        /// The table.
        table: String,
    },
    /// The policies also apply to the role that installs the triggers.
    #[error(
        "{table}: FORCE ROW LEVEL SECURITY, or another owner: triggers that do not see every row cannot record what changes; \
         ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, and let the store's URL name the owner"
    )]
    Blinds {
        /// The table.
        table: String,
    },
    /// Policies or privileges are missing, or belong to another configuration.
    #[error(
        "{table}: its policies and rights are not those of this configuration: run what `rejoin-server rls --print` prints"
    )]
    Stale {
        /// The table.
        table: String,
    },
    /// A restrictive policy of the operator applies to the serving role, so that users may read
    /// different rows of a table whose pages are the same for all. What the policy says is not read.
    #[error(
        "{table}: a restrictive policy hides rows of a table that all users read: drop it, or do not set allow_global_read"
    )]
    Restricts {
        /// The table.
        table: String,
    },
}

impl RowSecurityProblem {
    /// The table, if the problem concerns one.
    pub(crate) fn table(&self) -> Option<&str> {
        match self {
            Self::NotEnabled { table }
            | Self::Blinds { table }
            | Self::Stale { table }
            | Self::Restricts { table } => Some(table),
            Self::NoRole { .. } | Self::NotMember { .. } | Self::Bypasses { .. } => None,
        }
    }
}

/// Why a role bypasses row level security.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bypass {
    /// It is a superuser.
    #[error("is a superuser, to which no policy applies")]
    Superuser,
    /// It has the attribute BYPASSRLS.
    #[error("has BYPASSRLS")]
    Attribute,
    /// It owns a synced table, or is a member of the owner.
    #[error("owns a synced table, or is a member of its owner")]
    Owner,
}

fn listed<T: std::fmt::Display>(problems: &[T]) -> String {
    problems.iter().fold(String::new(), |mut out, problem| {
        let _ = write!(out, "\n  {problem}");
        out
    })
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request is refused, with a status and a message.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// The device was inactive for longer than the log is kept. The host decides, outside the
    /// transaction, whether it may continue.
    #[error("the device {} was away since {}", .0.client_id, .0.last_sync_at)]
    Stale(Box<StaleClient>),
    /// A temporary failure: the request may be retried (503).
    #[error("the store is busy: {0}")]
    Transient(String),
    /// The transaction lost against a concurrent one and was rolled back. It may be retried (503 if
    /// retries are exhausted).
    #[error("the store is busy: {0}")]
    Collision(String),
    /// One of several groups evaluated as a batch failed: the push rolls all of them back and
    /// evaluates them one by one. Never returned from a push.
    #[error("groups that were evaluated together are undone")]
    Undone,
    /// The server failed (500); the reason is logged, not sent.
    #[error("the store failed: {0}")]
    Internal(String),
    /// The tables of the log changed while the server ran and can no longer be synced (500, logged).
    #[error("the tables are refused:{}", listed(.0))]
    Schema(Vec<SchemaProblem>),
}

/// A refusal, as sent on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// One of [`code`].
    pub code: &'static str,
    /// A message for people; the `error` of the plain protocol.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Further members of the body.
    pub body: ErrorBody,
}

impl Refusal {
    /// A refusal that a retry cannot fix.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retryable: false, body: ErrorBody::default() }
    }

    /// 400: the body is not a valid request of this endpoint.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, code::INVALID_REQUEST, message)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.to_string())
    }
}
