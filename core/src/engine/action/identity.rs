//! The identity of rows that actions create: it gives a row the same id at each run of its action.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::error::{Error, InputFault, Result};
use crate::ids::MutationId;
use crate::ids::row_id::row_id;

/// A projection: computes the identity from a row.
pub(super) type Projection = dyn Fn(&Map<String, Json>) -> Map<String, Json> + Send + Sync;

/// What identifies a row of a table among those of one action.
#[derive(Clone)]
pub(super) enum Identity {
    /// These columns; each must be present.
    Columns(Vec<String>),
    /// The result of a function of the row.
    Projection(Arc<Projection>),
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns(columns) => out.debug_tuple("Columns").field(columns).finish(),
            Self::Projection(_) => out.write_str("Projection"),
        }
    }
}

impl Identity {
    /// The id of a row that an action creates.
    pub(super) fn id_of(
        &self,
        mutation: MutationId,
        table: &str,
        row: &Map<String, Json>,
    ) -> Result<String> {
        let action = mutation.to_string();
        let id = match self {
            Self::Columns(columns) => {
                let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                row_id(&action, table, row, Some(&columns))
            }
            Self::Projection(project) => row_id(&action, table, &project(row), None),
        };
        id.map(|id| id.to_string()).map_err(|missing| {
            Error::InvalidInput(InputFault::Refused {
                what: format!("an id for a row of {table}"),
                reason: missing.to_string(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    fn object(json: &Json) -> Map<String, Json> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn row_id_matches_vectors_by_columns_and_projection() {
        // The first of the vectors (core/vectors/row-ids.json).
        let action = Uuid::parse_str("6f9619ff-8b86-4011-b42d-00cf4fc964ff").unwrap();
        let expected = "e2e4952e-b4a9-5504-96de-2820ea1d4680";
        let row = object(&json!({"title": "a", "content": "b", "seen": 7}));
        let columns = Identity::Columns(vec!["content".to_owned(), "title".to_owned()]);
        let projection = Identity::Projection(Arc::new(|row| {
            object(&json!({"title": row["title"], "content": row["content"], "id": "passed over"}))
        }));
        for identity in [columns, projection] {
            let id = identity.id_of(MutationId(action), "notes", &row).unwrap();
            assert_eq!(id, expected, "{identity:?}");
        }
    }

    #[test]
    fn missing_identity_column_is_named() {
        let identity = Identity::Columns(vec!["place".to_owned()]);
        let error = identity.id_of(MutationId(Uuid::nil()), "note", &Map::new()).unwrap_err();
        assert!(error.to_string().contains("\"place\""), "{error}");
    }
}
