//! The registered tables: columns, ownership, and the app's trigger on `updated_at`.
//!
//! Registration sets the same defaults as v0.1.2: an owned table accepts pushes of its owner, and
//! has one bucket per owner.

use serde_json::Value;

use crate::kind::{self, Kind};

/// What the app's trigger does with `updated_at` at an UPDATE. The real server never sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// No trigger: the row changes and keeps its version.
    LeftAlone,
    /// `now()`: the start time of the transaction, the same for all its rows.
    TransactionTime,
    /// `clock_timestamp()`: a separate reading, as in the recorded exchanges.
    ClockTime,
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) db_type: String,
    pub(crate) logical_type: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    pub(crate) default_sql: Option<String>,
    pub(crate) key: bool,
    pub(crate) generated: bool,
}

impl Column {
    /// A NOT NULL column with a type by its full database name, such as `timestamp with time zone`.
    /// With an unsupported type every endpoint responds with 500.
    pub fn new(name: &str, db_type: &str) -> Self {
        let (kind, logical_type) = match kind::known(db_type) {
            Some((kind, logical_type)) => (kind, Some(logical_type)),
            None => (Kind::Text, None),
        };
        Self {
            name: name.to_owned(),
            db_type: db_type.to_owned(),
            logical_type,
            kind,
            nullable: false,
            default_sql: None,
            key: false,
            generated: false,
        }
    }

    /// Makes the column nullable.
    #[must_use]
    pub fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Sets the default as the catalog prints it. A literal with a cast, `now()` and
    /// `gen_random_uuid()` are evaluated; anything else is NULL here.
    #[must_use]
    pub fn default(mut self, sql: &str) -> Self {
        self.default_sql = Some(sql.to_owned());
        self
    }

    /// Makes its type an enum with these labels.
    #[must_use]
    pub fn labels(mut self, labels: &[&str]) -> Self {
        self.kind = Kind::Enum(labels.iter().map(|label| (*label).to_owned()).collect());
        self.logical_type = Some("string");
        self
    }

    /// Makes it a generated column. The expression is not computed; writes to the column are
    /// rejected.
    #[must_use]
    pub fn generated(mut self, sql: &str) -> Self {
        self.default_sql = Some(sql.to_owned());
        self.generated = true;
        self.nullable = true;
        self
    }

    fn key(mut self) -> Self {
        self.key = true;
        self
    }
}

/// A registered table.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) name: String,
    pub(crate) owner: Option<String>,
    pub(crate) parent: Option<(String, String)>,
    pub(crate) global_read: bool,
    pub(crate) bucket_by: Option<String>,
    pub(crate) bucket_prefix: Option<String>,
    pub(crate) protected: Vec<String>,
    pub(crate) sync_columns: Option<Vec<String>>,
    pub(crate) trigger: Trigger,
    pub(crate) columns: Vec<Column>,
    pub(crate) check: Option<fn(&Value) -> bool>,
}

impl Table {
    /// A table without an owner and without push access. Its key is `id`, a uuid unless
    /// [`Table::text_key`] is set.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            owner: None,
            parent: None,
            global_read: false,
            bucket_by: None,
            bucket_prefix: None,
            protected: Vec::new(),
            sync_columns: None,
            trigger: Trigger::ClockTime,
            columns: vec![Column::new("id", "uuid").default("gen_random_uuid()").key()],
            check: None,
        }
    }

    /// A table whose rows belong to the user in this column.
    pub fn owned(name: &str, owner: &str) -> Self {
        let mut table = Self::new(name);
        table.owner = Some(owner.to_owned());
        table.bucket_by = Some(owner.to_owned());
        table.bucket_prefix = Some("user:".to_owned());
        table
    }

    /// A table whose rows belong to the owner of the row of `parent` in this column.
    pub fn child(name: &str, parent: &str, foreign_key: &str) -> Self {
        let mut table = Self::new(name);
        table.parent = Some((parent.to_owned(), foreign_key.to_owned()));
        table
    }

    /// Makes the key text instead of a uuid.
    #[must_use]
    pub fn text_key(mut self) -> Self {
        self.columns[0] = Column::new("id", "text").key();
        self
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// Adds the columns `created_at`, `updated_at` and `deleted_at`.
    #[must_use]
    pub fn times(self) -> Self {
        let zoned = "timestamp with time zone";
        self.column(Column::new("created_at", zoned).default("now()"))
            .column(Column::new("updated_at", zoned).default("now()"))
            .column(Column::new("deleted_at", zoned).nullable())
    }

    /// Lets every user read rows without an owner.
    #[must_use]
    pub fn global_read(mut self) -> Self {
        self.global_read = true;
        self
    }

    /// Sets the bucket to this prefix and column, as the documentation shows for children.
    #[must_use]
    pub fn bucket_by(mut self, column: &str, prefix: &str) -> Self {
        self.bucket_by = Some(column.to_owned());
        self.bucket_prefix = Some(prefix.to_owned());
        self
    }

    /// Columns that pushes ignore.
    #[must_use]
    pub fn protected(mut self, columns: &[&str]) -> Self {
        self.protected = columns.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The only columns that pulls and snapshots return.
    #[must_use]
    pub fn sync_columns(mut self, columns: &[&str]) -> Self {
        self.sync_columns = Some(columns.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// Sets the app's trigger on `updated_at`; [`Trigger::ClockTime`] by default.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// Adds a CHECK over a row as JSON; the database rejects rows for which it is false.
    #[must_use]
    pub fn check(mut self, check: fn(&Value) -> bool) -> Self {
        self.check = Some(check);
        self
    }

    /// Adds a column to a table that may have rows, like ALTER TABLE; [`crate::PlainServer::alter`]
    /// fills the rows.
    pub fn add(&mut self, column: Column) {
        self.columns.push(column);
    }

    /// Drops a column.
    pub fn drop_column(&mut self, name: &str) {
        self.columns.retain(|column| column.name != name);
    }

    pub(crate) fn pushable(&self) -> bool {
        self.owner.is_some() || self.parent.is_some()
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Whether an UPDATE by a client skips this column.
    pub(crate) fn is_protected(&self, name: &str) -> bool {
        self.is_protected_at_insert(name)
            || name == "id"
            || self.owner.as_deref() == Some(name)
            || self.parent.as_ref().is_some_and(|(_, column)| column == name)
    }

    /// Whether an INSERT by a client skips this column.
    pub(crate) fn is_protected_at_insert(&self, name: &str) -> bool {
        let kept = name == "id"
            || self.owner.as_deref() == Some(name)
            || self.parent.as_ref().is_some_and(|(_, column)| column == name);
        !kept
            && (matches!(name, "created_at" | "updated_at" | "deleted_at")
                || self.protected.iter().any(|protected| protected == name))
    }
}
