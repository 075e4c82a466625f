//! What can go wrong: at start ([`ServerError`]), and in a request ([`Fault`]).
//!
//! A request that is refused by a rule is no fault of the server; its [`Refusal`] carries the status and the words.

use std::fmt::Write as _;

use rejoin_protocol::wire::{ErrorBody, code};

use crate::model::StaleClient;

mod config;

pub use config::{Problem, ProblemKind};

/// Why a server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration is wrong; every problem at once.
    #[error("the configuration is refused:{}", listed(.0))]
    Config(Vec<Problem>),
    /// The tables cannot be synced as they are; every reason at once.
    #[error("the tables are refused:{}", listed(.0))]
    Schema(Vec<SchemaProblem>),
    /// The database was written by a newer server.
    #[error(
        "the database has migration {found} and this server knows {known}: use the newer server"
    )]
    TooNew {
        /// The file's last migration.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// There is no SQLite file at the configured path. It is not created: it would have none of the synced tables.
    #[error(
        "there is no database file {}: correct `database` (REJOIN_DATABASE), or create the file with your tables first",
        .path.display()
    )]
    NoDatabase {
        /// The path.
        path: std::path::PathBuf,
    },
    /// The database refuses the work; the error is that of its driver.
    #[error("the database failed: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// PostgreSQL cannot be reached, or refuses.
    #[error("the database failed: {0}")]
    Postgres(String),
    /// Row level security is wanted, and does not hold; every reason at once.
    #[error("row level security does not hold:{}", listed(.0))]
    RowSecurity(Vec<RowSecurityProblem>),
    /// The database says that a resolver in Rust names the buckets of these tables, and this program has none for them.
    #[error(
        "a resolver in Rust names the buckets of {}, and this program has none: run it from the host program that has, or \
         name the tables in drop_resolvers to take it away, with what it said",
        .tables.join(", ")
    )]
    ResolverMissing {
        /// The tables.
        tables: Vec<String>,
    },
    /// The network or the disk.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The user header is trusted on a loopback address only.
    #[error("{0} is no loopback address: the user header is for development, use a JWT secret")]
    NotLoopback(std::net::SocketAddr),
    /// No bucket is called so.
    #[error("no bucket is called {bucket:?}: {why}")]
    Bucket {
        /// The name.
        bucket: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A request's work failed outside any request.
    #[error("{0}")]
    Fault(#[from] Fault),
}

/// Why a table cannot be synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaProblem {
    /// The table.
    pub table: String,
    /// The column, if one is at fault.
    pub column: Option<String>,
    /// What is wrong, and the way out.
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

/// Why the policies of PostgreSQL would not keep one user from another's rows, or the server from its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowSecurityProblem {
    /// The role that serves is not there.
    #[error("there is no role {role}: run what `rejoin-server rls --print` prints")]
    NoRole {
        /// Its name.
        role: String,
    },
    /// The role of the server's URL cannot become the one that serves.
    #[error("the role of the store's URL is no member of {role}: GRANT it")]
    NotMember {
        /// The role that serves.
        role: String,
    },
    /// No policy holds the role that serves.
    #[error("{role} {how}: name another postgres.role, or set postgres.allow_bypass")]
    Bypasses {
        /// The role that serves.
        role: String,
        /// By what.
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
    /// The policies hold the role that installs the triggers as well.
    #[error(
        "{table}: FORCE ROW LEVEL SECURITY, or another owner: triggers that do not see every row cannot record what changes; \
         ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, and let the store's URL name the owner"
    )]
    Blinds {
        /// The table.
        table: String,
    },
    /// Policies or rights are missing, or were made for another configuration.
    #[error(
        "{table}: its policies and rights are not those of this configuration: run what `rejoin-server rls --print` prints"
    )]
    Stale {
        /// The table.
        table: String,
    },
}

/// By what a role passes by every policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bypass {
    /// It is a superuser.
    #[error("is a superuser, whom no policy holds")]
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

/// Why a request got no answer of its own kind.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request is refused, with a status and words for the peer.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// The device was away for longer than the log is kept: the host is asked whether it comes in, outside the transaction.
    #[error("the device {} was away since {}", .0.client_id, .0.last_sync_at)]
    Stale(Box<StaleClient>),
    /// Nothing is wrong with the request; it may succeed later (503).
    #[error("the store is busy: {0}")]
    Transient(String),
    /// The work lost against somebody else's, and all of it is taken back; begun again it may succeed (503 if it still loses).
    #[error("the store is busy: {0}")]
    Collision(String),
    /// One of several groups that are evaluated together failed: the push undoes all of them, and never returns this.
    #[error("groups that were evaluated together are undone")]
    Undone,
    /// The server failed (500); the reason is logged, not told.
    #[error("the store failed: {0}")]
    Internal(String),
    /// The tables changed while the server ran, and can no longer be synced (500, logged).
    #[error("the tables are refused:{}", listed(.0))]
    Schema(Vec<SchemaProblem>),
}

/// A refusal in the words of the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// One of [`code`].
    pub code: &'static str,
    /// For people; the plain `error`.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Further members of the body.
    pub body: ErrorBody,
}

impl Refusal {
    /// A refusal that no retry mends.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retryable: false, body: ErrorBody::default() }
    }

    /// 400: the body is no request of this endpoint.
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
