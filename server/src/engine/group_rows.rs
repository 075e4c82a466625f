//! The rows of one group: those that its changes name, and those that it has created so far.
//!
//! A reference to a row that the group has created needs no look into the database. One to a row that
//! neither the database nor the group has is refused at once: no order of the writes helps.

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::Change;

use crate::model::{Schema, Table};

/// A row by the number of its table and its id.
type Row = (i64, String);

/// The rows of a group with several changes.
pub(super) struct GroupRows<'g> {
    schema: &'g Schema,
    changes: &'g [Change],
    /// Collected when it is first needed: most groups refer to rows that are there.
    named: OnceCell<HashSet<Row>>,
    created: RefCell<HashSet<Row>>,
}

impl<'g> GroupRows<'g> {
    pub(super) fn new(schema: &'g Schema, changes: &'g [Change]) -> Self {
        Self { schema, changes, named: OnceCell::new(), created: RefCell::default() }
    }

    /// Whether a change of the group may be of this row. A database may compare keys without regard
    /// to case or to spaces at their end.
    pub(super) fn names(&self, table: &Table, key: &Value) -> bool {
        let folded = |id: &str| id.trim_end().to_lowercase();
        let named = self.named.get_or_init(|| {
            let named = self.changes.iter().filter_map(|change| {
                Some((self.schema.table(&change.table_name)?.number, folded(&change.id)))
            });
            named.collect()
        });
        key.to_id().is_some_and(|id| named.contains(&(table.number, folded(&id))))
    }

    pub(super) fn record_created(&self, table: &Table, key: &Value) {
        self.created.borrow_mut().extend(key.to_id().map(|id| (table.number, id)));
    }

    /// Whether the group has created this row, which is the user's then.
    pub(super) fn has_created(&self, table: &Table, key: &Value) -> bool {
        let created = self.created.borrow();
        !created.is_empty() && key.to_id().is_some_and(|id| created.contains(&(table.number, id)))
    }

    /// Forgets what was created: it is rolled back.
    pub(super) fn forget_created(&self) {
        self.created.borrow_mut().clear();
    }
}
