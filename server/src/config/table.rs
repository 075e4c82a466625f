//! The configuration of a synced table, with defaults for what it leaves out.

use std::sync::Arc;

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::{Rule, SyncModel};

use crate::bucket_resolver::BucketResolver;
use crate::model::resolver::Resolve;
use crate::model::{OWN_PREFIX, PushPolicy};

/// A synced table.
#[derive(Debug, Clone)]
pub struct TableConfig {
    /// Its name.
    pub name: String,
    /// How it is synced. A table of the log has a bucket column or an owner column and no other
    /// setting. Default: rows.
    pub sync: SyncModel,
    /// Who may write from a device: by default the owner, if rows have an owner or a parent, else no
    /// user. With [`PushPolicy::Bucket`], a row is in the bucket that `bucket_by_column` names and in
    /// no other, and all users with the right to write that bucket write it. With
    /// [`PushPolicy::InsertOnly`], all users create rows, which leave the device when the server has them.
    pub push: Option<PushPolicy>,
    /// The conflict policy of devices for their edits of rows that changed. Default `AcceptServer`.
    pub policy: Policy,
    /// The conflict resolver of this server. Default: merge by column.
    pub resolver: Resolve,
    /// With the policy `LastWriteWins`: milliseconds by which an edit may be older than the row and
    /// still win. For a plain peer, the larger of this and `limits.plain_clock_ms` applies. Default
    /// 0.
    pub skew_tolerance_ms: u32,
    /// The column that names the owner's user id. With [`PushPolicy::Bucket`] and
    /// [`PushPolicy::InsertOnly`] it only says who created the row.
    pub owner_column: Option<String>,
    /// The parent table, whose rows own these rows, and the column with the parent's key.
    pub parent: Option<ParentConfig>,
    /// With an owner column: rows whose owner is NULL are readable by all users. Without owner and
    /// parent: all rows are.
    pub allow_global_read: bool,
    /// The column that names a further bucket of the row, with `bucket_prefix` before it. Users
    /// with that bucket can read the row.
    pub bucket_by_column: Option<String>,
    /// The prefix of the bucket column's value; `user:` by default. Without a bucket column it
    /// applies to the owner column.
    pub bucket_prefix: Option<String>,
    /// A database function that names further buckets of a row: `name(table_name text, operation
    /// text, new_row jsonb, old_row jsonb) RETURNS SETOF text`. Called when a row is created or
    /// updated. PostgreSQL only. `None`: the configuration's function, unless the table is public.
    pub bucket_function: Option<String>,
    /// Host code that names further buckets of a row, instead of a function. PostgreSQL only.
    /// `None`: the configuration's resolver, unless the table names a function or is public.
    pub bucket_resolver: Option<Arc<dyn BucketResolver>>,
    /// Maximum number of buckets that these may name for one row; more is a failure. 0 is
    /// unlimited. `None`: the configuration's value.
    pub max_buckets_per_event: Option<u32>,
    /// Whether a row that names no bucket is readable by all users; requires `allow_global_read`.
    /// Default `false`.
    pub global_when_bucket_null: bool,
    /// Further columns that devices may not write.
    pub protected: Vec<String>,
    /// The columns that devices get; `None`: all. The key, the version, the soft delete,
    /// `created_at` and the ownership columns are always included. Other columns do not exist for
    /// devices.
    pub sync_columns: Option<Vec<String>>,
    /// Further synced tables that these rows depend on, besides the parent and the targets of
    /// foreign keys: a hint for plain peers about the order of writes.
    pub dependencies: Vec<String>,
    /// The key's column; `None`: the primary key. A named column must be the primary key.
    pub id_column: Option<String>,
    /// The version's column, a text column written by the server; `updated_at` by default.
    pub updated_at_column: String,
    /// The soft delete's column; `deleted_at` by default. Without that column, deletes remove the
    /// row.
    pub deleted_at_column: String,
    /// Whether devices get the table's NOT NULL, references and indexes; `true` by default. A CHECK
    /// is enforced on the server only, unless it is declared in `rules`.
    pub infer_rules: bool,
    /// Further rules that devices enforce for local writes.
    pub rules: Vec<Rule>,
}

/// The parent table that owns a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentConfig {
    /// The parent's table.
    pub table: String,
    /// The column of the child that names the parent's key.
    pub column: String,
}

impl TableConfig {
    /// A table that no user can read yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sync: SyncModel::Rows,
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

    /// A table whose rows belong to the owner of the parent that `column` names.
    pub fn child(
        name: impl Into<String>,
        parent: impl Into<String>,
        column: impl Into<String>,
    ) -> Self {
        let parent = ParentConfig { table: parent.into(), column: column.into() };
        Self { parent: Some(parent), ..Self::new(name) }
    }

    /// A table that all users can read and none can write.
    pub fn global(name: impl Into<String>) -> Self {
        Self { allow_global_read: true, ..Self::new(name) }
    }

    /// Whether a table of the log has a setting that only tables of rows use; names the first.
    pub(crate) fn row_setting(&self) -> Option<&'static str> {
        let plain = Self::new(self.name.as_str());
        let settings = [
            ("push", self.push.is_some()),
            ("policy", self.policy != plain.policy),
            ("resolver", !matches!(self.resolver, Resolve::ColumnMerge)),
            ("skew_tolerance_ms", self.skew_tolerance_ms != 0),
            ("parent_table", self.parent.is_some()),
            ("allow_global_read", self.allow_global_read),
            ("bucket_function", self.bucket_function.is_some()),
            ("bucket_resolver", self.bucket_resolver.is_some()),
            ("max_buckets_per_event", self.max_buckets_per_event.is_some()),
            ("global_when_bucket_null", self.global_when_bucket_null),
            ("protected", !self.protected.is_empty()),
            ("sync_columns", self.sync_columns.is_some()),
            ("dependencies", !self.dependencies.is_empty()),
            ("updated_at_column", self.updated_at_column != plain.updated_at_column),
            ("deleted_at_column", self.deleted_at_column != plain.deleted_at_column),
            ("rules", !self.rules.is_empty()),
        ];
        settings.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    /// A table of the log, with rows in the bucket that `column` names after `prefix`.
    pub fn log(
        name: impl Into<String>,
        column: impl Into<String>,
        prefix: impl Into<String>,
    ) -> Self {
        Self { sync: SyncModel::Log, ..Self::new(name).with_bucket(column, prefix) }
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

    /// The same table, with rows also in the bucket that `column` names after `prefix`.
    #[must_use]
    pub fn with_bucket(mut self, column: impl Into<String>, prefix: impl Into<String>) -> Self {
        self.bucket_by_column = Some(column.into());
        self.bucket_prefix = Some(prefix.into());
        self
    }

    /// Whether its rows may name buckets of this namespace.
    pub(crate) fn may_name(&self, namespace: &str) -> bool {
        let prefix = self.bucket_prefix.as_deref().unwrap_or_default();
        let is_named = self.bucket_by_column.is_some() && prefix.starts_with(namespace);
        is_named || self.bucket_function.is_some() || self.bucket_resolver.is_some()
    }

    /// The same table, with rows also in the buckets that this database function names.
    #[must_use]
    pub fn with_bucket_function(mut self, name: impl Into<String>) -> Self {
        self.bucket_function = Some(name.into());
        self
    }

    /// The same table, with rows also in the buckets that this resolver names.
    #[must_use]
    pub fn with_bucket_resolver(mut self, resolver: Arc<dyn BucketResolver>) -> Self {
        self.bucket_resolver = Some(resolver);
        self
    }

    /// The same table, of which devices get these columns only.
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

    /// The same table with this push policy.
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

    /// The column that names a bucket besides the owner's, and its prefix.
    pub(crate) fn bucket(&self) -> Option<(&str, &str)> {
        let column = self.bucket_by_column.as_deref().or(self.owner_column.as_deref())?;
        let prefix = self.bucket_prefix.as_deref().unwrap_or(OWN_PREFIX);
        if self.sync == SyncModel::Log {
            return Some((column, prefix));
        }
        let is_owners = prefix == OWN_PREFIX && self.owner_column.as_deref() == Some(column);
        (!is_owners).then_some((column, prefix))
    }

    /// Whether all users can read all rows.
    pub(crate) fn is_everybodys(&self) -> bool {
        let is_owned = self.owner_column.is_some() || self.parent.is_some();
        self.allow_global_read && !is_owned && !self.names_buckets()
    }

    /// Whether buckets depend on row contents, which then also decide whether a row is public.
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
