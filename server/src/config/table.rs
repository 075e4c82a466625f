//! A synced table as it is configured: the registry's entry, and what is inferred where it says nothing.

use std::sync::Arc;

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::Rule;

use crate::bucket_resolver::BucketResolver;
use crate::model::resolver::Resolve;
use crate::model::{OWN_PREFIX, PushPolicy};

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
    /// The column that names a bucket in which a row is beside its owner's, behind `bucket_prefix`; users read it who hold that
    /// bucket.
    pub bucket_by_column: Option<String>,
    /// What stands before the bucket column's value; `user:` by default. Given alone, it is for the owner column.
    pub bucket_prefix: Option<String>,
    /// A function of the database that names further buckets of a row: `name(table_name text, operation text, new_row jsonb,
    /// old_row jsonb) RETURNS SETOF text`, asked when a row is created or updated. PostgreSQL only. `None`: the
    /// configuration's, unless the table is everybody's.
    pub bucket_function: Option<String>,
    /// Code of the host's that names further buckets of a row, instead of a function. PostgreSQL only. `None`: the
    /// configuration's, unless the table names a function or is everybody's.
    pub bucket_resolver: Option<Arc<dyn BucketResolver>>,
    /// Most buckets that these may name of one row, more is a failure; 0 is no bound. `None`: the configuration's.
    pub max_buckets_per_event: Option<u32>,
    /// Whether a row that names no bucket is everybody's to read; asks for `allow_global_read`. By default it is not.
    pub global_when_bucket_null: bool,
    /// Further columns that devices may not write.
    pub protected: Vec<String>,
    /// The columns that devices get; `None`: all. The key, the version, the soft delete, `created_at` and the columns that
    /// say whose a row is are among them, named or not. What is left out does not exist for devices.
    pub sync_columns: Option<Vec<String>>,
    /// Further synced tables on whose rows these stand, beside the parent and those that foreign keys name: a hint for
    /// plain peers that write without asking.
    pub dependencies: Vec<String>,
    /// The key's column; `None`: the primary key, whatever it is called. One that is named must be the primary key.
    pub id_column: Option<String>,
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
            bucket_by_column: None,
            bucket_prefix: None,
            bucket_function: None,
            bucket_resolver: None,
            max_buckets_per_event: None,
            global_when_bucket_null: false,
            protected: Vec::new(),
            sync_columns: None,
            dependencies: Vec::new(),
            id_column: None,
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

    /// The same table whose rows are also in the bucket that `column` names behind `prefix`.
    #[must_use]
    pub fn with_bucket(mut self, column: impl Into<String>, prefix: impl Into<String>) -> Self {
        self.bucket_by_column = Some(column.into());
        self.bucket_prefix = Some(prefix.into());
        self
    }

    /// The same table whose rows are also in the buckets that this function of the database names.
    #[must_use]
    pub fn with_bucket_function(mut self, name: impl Into<String>) -> Self {
        self.bucket_function = Some(name.into());
        self
    }

    /// The same table whose rows are also in the buckets that this resolver names.
    #[must_use]
    pub fn with_bucket_resolver(mut self, resolver: Arc<dyn BucketResolver>) -> Self {
        self.bucket_resolver = Some(resolver);
        self
    }

    /// The same table of which devices get these columns only.
    #[must_use]
    pub fn with_columns<I, S>(mut self, columns: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.sync_columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// The same table with one more column that devices may not write.
    #[must_use]
    pub fn with_protected(mut self, column: impl Into<String>) -> Self {
        self.protected.push(column.into());
        self
    }

    /// The same table with this rule for who may write.
    #[must_use]
    pub fn with_push(mut self, push: PushPolicy) -> Self {
        self.push = Some(push);
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

    /// The column that names a bucket beside the owner's, and what stands before its value.
    pub(crate) fn bucket(&self) -> Option<(&str, &str)> {
        let column = self.bucket_by_column.as_deref().or(self.owner_column.as_deref())?;
        let prefix = self.bucket_prefix.as_deref().unwrap_or(OWN_PREFIX);
        let is_owners = prefix == OWN_PREFIX && self.owner_column.as_deref() == Some(column);
        (!is_owners).then_some((column, prefix))
    }

    /// Whether all rows are everybody's to read.
    pub(crate) fn is_everybodys(&self) -> bool {
        let is_owned = self.owner_column.is_some() || self.parent.is_some();
        self.allow_global_read && !is_owned && !self.names_buckets()
    }

    /// Whether rows are in buckets by what they say, so that opening the table to everybody is theirs to say, too.
    pub(crate) fn names_buckets(&self) -> bool {
        self.bucket_by_column.is_some()
            || self.bucket_function.is_some()
            || self.bucket_resolver.is_some()
    }

    /// Whether devices get this column; `is_key`: it is the primary key.
    pub(crate) fn syncs(&self, column: &str, is_key: bool) -> bool {
        let Some(named) = &self.sync_columns else { return true };
        is_key || self.is_needed(column) || named.iter().any(|name| name == column)
    }

    /// Whether the server itself reads or writes this column.
    fn is_needed(&self, column: &str) -> bool {
        let parent = self.parent.as_ref().map(|parent| &parent.column);
        let own = [&self.updated_at_column, &self.deleted_at_column];
        column == "created_at"
            || own.into_iter().chain(&self.owner_column).chain(parent).any(|name| name == column)
            || self.bucket().is_some_and(|(name, _)| name == column)
    }
}
