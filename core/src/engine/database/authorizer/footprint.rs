//! What a statement reads and writes.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::engine::database::fit::{self, ActionStatement};

/// Whether triggers must be recursive for a statement; it is fixed when SQLite compiles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Recursion {
    /// It makes no difference.
    #[default]
    Any,
    /// The app's triggers on local-only tables take part, which behave as in SQLite.
    Off,
    /// Rows of a synced table that REPLACE or a cascade in a circle removes must be captured.
    On,
    /// The same for REPLACE, where triggers must not be recursive: a trigger removes them.
    Replace,
}

/// What a statement reads and writes, as SQLite reported it while compiling.
#[allow(clippy::struct_excessive_bools)] // Independent facts, not a state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Footprint {
    /// Tables read, lower case.
    pub(crate) reads: BTreeSet<String>,
    /// Columns read, lower case, of any table.
    pub(crate) read_columns: BTreeSet<String>,
    /// Columns that the statement itself reads, lower case.
    pub(crate) own_columns: BTreeSet<String>,
    /// Tables written, by the statement or by triggers, lower case.
    pub(crate) writes: BTreeSet<String>,
    /// Whether an app trigger takes part.
    pub(crate) app_trigger: bool,
    /// Whether `rejoin_row_state` is called.
    pub(crate) row_state: bool,
    /// The app's `user_version`, if it is set.
    pub(crate) user_version: Option<i32>,
    /// Whether the schema is changed.
    pub(crate) ddl: bool,
    /// Whether a synced table is written.
    pub(crate) synced: bool,
    /// Whether a trigger of the engine writes a synced table.
    pub(crate) cascades: bool,
    /// Whether triggers must be recursive.
    pub(crate) recursion: Recursion,
    /// Whether rules must be checked after the statement.
    pub(crate) checked: bool,
    /// Local-only tables written.
    pub(crate) local: Vec<String>,
    /// Tables on which a trigger is created.
    pub(crate) triggered: Vec<String>,
    /// Tables that are dropped or altered.
    pub(crate) altered: Vec<String>,
    /// Tables read or written other than by our triggers, each with the trigger or view that names
    /// it.
    pub(crate) by_app: BTreeSet<QualifiedName>,
    /// Tables whose rowids are read.
    pub(crate) rowids: BTreeSet<QualifiedName>,
    /// Functions that an action may not call, or not with all arguments, lower case.
    pub(crate) functions: BTreeSet<QualifiedName>,
    /// Every function of a statement of a schema change, lower case.
    pub(crate) called: BTreeSet<String>,
    /// The determinism check of the statement, after an action has requested it.
    pub(crate) fit: OnceLock<Arc<ActionStatement>>,
}

impl Footprint {
    /// Whether it writes only synced tables, and reads neither the sync state of a row nor a counter
    /// of the connection.
    pub(crate) fn shares(&self) -> bool {
        let counts = |(name, _): &QualifiedName| fit::is_counter(name);
        let is_plain = self.synced && self.local.is_empty() && !self.ddl && !self.row_state;
        is_plain && !self.functions.iter().any(counts)
    }
}

/// A name, lower case, and the trigger or view in which it occurs.
pub(crate) type QualifiedName = (String, Option<String>);
