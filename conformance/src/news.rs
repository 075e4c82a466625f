//! What pulls have returned, and what they must return.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::expect::{self, ScenarioResult, fail};

/// Pulled changes and deletes by row id. A later entry for a row replaces an earlier one.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) changes: BTreeMap<String, Value>,
    pub(crate) deletes: BTreeSet<String>,
    /// Every id that a pull returned, in order.
    pub(crate) received: Vec<String>,
}

impl News {
    /// The columns of a changed row.
    pub(crate) fn row(&self, id: &str) -> ScenarioResult<&Value> {
        match self.changes.get(id) {
            Some(record) => Ok(&record["data"]),
            None => fail(format!("the pull does not return row {id}")),
        }
    }

    /// Adds the changes and deletes of a page.
    pub(crate) fn take(&mut self, page: &Value) -> ScenarioResult {
        for record in expect::list(page, "changes")? {
            let id = expect::text(record, "id")?.to_owned();
            self.deletes.remove(&id);
            self.received.push(id.clone());
            self.changes.insert(id, record.clone());
        }
        for gone in expect::list(page, "deletes")? {
            let id = expect::text(gone, "id")?.to_owned();
            self.changes.remove(&id);
            self.received.push(id.clone());
            self.deletes.insert(id);
        }
        Ok(())
    }
}

/// The state of a row that a pull must return. The log of a server may be behind its tables, and
/// return earlier states first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Awaited<'s> {
    /// Any state: the row was written once.
    Row(&'s str),
    /// This value in the column under test.
    Text(&'s str, &'s str),
    Deleted(&'s str),
}

impl Awaited<'_> {
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Row(id) | Self::Text(id, _) | Self::Deleted(id) => id,
        }
    }

    pub(crate) fn is_in(&self, news: &News, column: &str) -> bool {
        match self {
            Self::Row(id) => news.received.iter().any(|pulled| pulled == id),
            Self::Text(id, text) => {
                news.changes.get(*id).is_some_and(|record| record["data"][column] == **text)
            }
            Self::Deleted(id) => news.deletes.contains(*id),
        }
    }
}
