//! Column names across schema versions: a group of an older schema names columns by their identity.

use rejoin_protocol::Manifest;

use crate::error::Fault;
use crate::model::Table;
use crate::store::Reading;

/// Resolves the column names of a group.
pub(super) struct Naming {
    older: Option<Manifest>,
}

impl Naming {
    /// Names of the current schema.
    pub(super) const PRESENT: Self = Self { older: None };

    /// The names of this schema version; the current names if that version is current or unknown.
    pub(super) fn of(reading: &dyn Reading, version: i64) -> Result<Self, Fault> {
        let present = reading.schema().manifest.schema_version;
        let older = if version == present { None } else { reading.manifest(version, None)? };
        Ok(Self { older: older.map(|json| serde_json::from_str(&json)).transpose()? })
    }

    /// The position of the column that had this name.
    pub(super) fn column(&self, table: &Table, name: &str) -> Option<usize> {
        let then = self
            .older
            .iter()
            .flat_map(|manifest| &manifest.tables)
            .find(|older| older.table_name == table.name)
            .and_then(|older| older.rejoin.as_ref());
        let Some(then) = then else { return table.column(name) };
        let identity = then.identities.iter().find(|column| column.name == name)?.id;
        table.columns.iter().position(|column| column.identity == identity)
    }
}
