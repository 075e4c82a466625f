//! The schema of a server: which of the tables and optional columns exist, and the present
//! names of columns.
//!
//! PostgreSQL shows that a column was renamed, so a push under the old name writes the column of
//! the new name. SQLite does not show it: there the old column is gone, and the new one is a
//! different one.

use std::collections::BTreeMap;

use rejoin_protocol::manifest::ColumnIdentity;
use rejoin_protocol::wire::push::PushRequest;
use serde_json::Value as Json;
use serde_json::value::{RawValue, to_raw_value};

use super::schema::TINT;
use super::setting::LEAVES;
use crate::backend::SideSession;

/// The table whose columns are renamed.
const RENAMED_IN: &str = "marks";

/// The server's schema as it is between two changes.
#[derive(Debug, Default)]
pub(super) struct ServerSchema {
    /// Whether the optional table exists.
    pub(super) leaves: bool,
    /// The identity of the optional column, if it exists.
    pub(super) tint: Option<u32>,
    /// The columns of each schema that was ever served, by its version and hash. Empty over SQLite.
    schemas: BTreeMap<(i64, String), Vec<ColumnIdentity>>,
    /// The present name of each column. Empty over SQLite.
    names: BTreeMap<u32, String>,
}

impl ServerSchema {
    pub(super) fn read(side: &SideSession) -> Self {
        match side {
            SideSession::Sqlite(_) => Self::of_sqlite(side),
            SideSession::Postgres(_) => Self::of_postgres(side),
        }
    }

    fn of_sqlite(side: &SideSession) -> Self {
        let leaves = side.texts(&format!("SELECT name FROM sqlite_schema WHERE name = '{LEAVES}'"));
        let tint = side.texts(&format!(
            "SELECT id FROM rejoin_column JOIN rejoin_table ON number = table_number
             WHERE rejoin_table.name = '{RENAMED_IN}' AND rejoin_column.name = '{TINT}' AND gone = 0"
        ));
        let tint = tint.first().map(|id| id.parse().expect("an identity"));
        Self { leaves: !leaves.is_empty(), tint, ..Self::default() }
    }

    fn of_postgres(side: &SideSession) -> Self {
        let leaves =
            side.texts(&format!("SELECT relname FROM pg_class WHERE relname = '{LEAVES}'"));
        let columns = format!(
            "SELECT json_object_agg(c.id, c.name) FROM rejoin_column_identity AS c
             JOIN rejoin_table_number AS t ON t.number = c.table_number
             WHERE t.name = '{RENAMED_IN}' AND c.attnum IS NOT NULL"
        );
        let columns = side.texts(&columns).pop().expect("the columns");
        let names: BTreeMap<u32, String> = serde_json::from_str(&columns).expect("the columns");
        let schemas = side
            .texts("SELECT json_build_array(version, hash, identities) FROM rejoin_schema_version");
        let tint = names.iter().find(|(_, name)| *name == TINT).map(|(id, _)| *id);
        let schemas = schemas.iter().map(|row| schema(row)).collect();
        Self { leaves: !leaves.is_empty(), tint, schemas, names }
    }

    /// Replaces the names of columns that were renamed since the schema of the push by their present names.
    pub(super) fn rename(&self, push: &mut PushRequest) {
        let schema = (push.schema_version, push.schema_hash.clone());
        let Some(columns) = self.schemas.get(&schema) else { return };
        let groups = push.rejoin.iter_mut().flat_map(|ask| &mut ask.groups);
        let changes = groups.flat_map(|group| &mut group.changes);
        for change in changes.filter(|change| change.table_name == RENAMED_IN) {
            for cells in [&mut change.data, &mut change.old].into_iter().flatten() {
                self.rename_cells(columns, cells);
            }
        }
    }

    fn rename_cells(&self, columns: &[ColumnIdentity], cells: &mut Box<RawValue>) {
        let Ok(Json::Object(members)) = serde_json::from_str(cells.get()) else { return };
        let present = |name: String| {
            let column = columns.iter().find(|column| column.name == name);
            column.and_then(|column| self.names.get(&column.id)).cloned().unwrap_or(name)
        };
        let members = members.into_iter().map(|(name, value)| (present(name), value));
        *cells = to_raw_value(&Json::Object(members.collect())).expect("an object");
    }
}

/// A row of the table of schemas: its version and hash, and the columns of the one table.
fn schema(row: &str) -> ((i64, String), Vec<ColumnIdentity>) {
    let (version, hash, tables): (i64, String, String) =
        serde_json::from_str(row).expect("a schema");
    let tables: Vec<(String, Option<Vec<ColumnIdentity>>)> =
        serde_json::from_str(&tables).expect("the columns of a schema");
    let columns = tables.into_iter().find(|(name, _)| name == RENAMED_IN);
    ((version, hash), columns.and_then(|(_, columns)| columns).unwrap_or_default())
}
