//! Compatibility window: a plain peer keeps using its older schema if the tables only gained
//! columns since.
//!
//! v0.1.2 answers 409 to every schema but the current one, and its SDKs then stop syncing until the
//! app restarts. Here such a peer is served for `retention.schema_days`: it gets the tables and
//! columns of its schema, under the version and hash that it sent. Rejoin devices are not: they
//! fetch the manifest and migrate.

use std::collections::BTreeMap;

use rejoin_protocol::manifest::{ColumnManifest, TableManifest};
use rejoin_protocol::wire::push::PushResult;
use rejoin_protocol::wire::row::{Record, RowName};
use rejoin_protocol::{ColumnKind, Manifest, time};
use serde_json::value::RawValue;

use super::{Engine, schema_gate};
use crate::error::Fault;
use crate::store::Reading;

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// An older schema that is still served.
#[derive(Debug)]
pub(super) struct OlderSchema {
    manifest: Manifest,
}

/// Admits a request: `None` if it uses the current schema. A plain peer may also use an older one
/// within the window; a Rejoin device must migrate.
pub(super) fn admit(
    engine: &Engine,
    reading: &dyn Reading,
    is_ours: bool,
    version: i64,
    hash: &str,
) -> Result<Option<OlderSchema>, Fault> {
    let Err(refused) = schema_gate(reading, version, hash, false) else { return Ok(None) };
    if is_ours || engine.retention.schema_days == 0 {
        return Err(refused);
    }
    let Some(json) = reading.manifest(version, Some(hash))? else { return Err(refused) };
    let days = i64::from(engine.retention.schema_days);
    let followed = reading.schema_followed_at(version)?;
    let followed = followed.as_deref().and_then(time::parse);
    if followed.is_none_or(|at| at < engine.clock.now() - DAY * days) {
        return Err(refused);
    }
    let older: Manifest = serde_json::from_str(&json)?;
    if !only_gained(&older, &reading.schema().manifest) {
        return Err(refused);
    }
    let manifest = Manifest { schema_version: version, schema_hash: hash.to_owned(), ..older };
    Ok(Some(OlderSchema { manifest }))
}

impl OlderSchema {
    /// The version and hash that the peer sent.
    pub(super) fn name(&self) -> (i64, String) {
        (self.manifest.schema_version, self.manifest.schema_hash.clone())
    }

    fn table(&self, name: &str) -> Option<&TableManifest> {
        self.manifest.tables.iter().find(|table| table.table_name == name)
    }

    /// Reduces records to the tables and columns of the peer's schema.
    pub(super) fn records(&self, records: &mut Vec<Record>) -> Result<(), Fault> {
        records.retain(|record| self.table(&record.table_name).is_some());
        records.iter_mut().try_for_each(|record| self.cut(record))
    }

    /// Reduces deletes to the tables of the peer's schema.
    pub(super) fn deletes(&self, deletes: &mut Vec<RowName>) {
        deletes.retain(|row| self.table(&row.table_name).is_some());
    }

    /// Reduces the server rows in push results likewise.
    pub(super) fn results(&self, results: &mut [PushResult]) -> Result<(), Fault> {
        let mut rows = results.iter_mut().filter_map(|result| result.server_version.as_mut());
        rows.try_for_each(|record| self.cut(record))
    }

    fn cut(&self, record: &mut Record) -> Result<(), Fault> {
        let Some(table) = self.table(&record.table_name) else { return Ok(()) };
        let mut data: BTreeMap<String, &RawValue> = serde_json::from_str(record.data.get())?;
        data.retain(|name, _| table.columns.iter().any(|column| column.name == *name));
        let cut = serde_json::value::to_raw_value(&data)?;
        record.data = cut;
        Ok(())
    }
}

/// Whether the older schema is contained in the current one, and added columns may be left out.
fn only_gained(older: &Manifest, present: &Manifest) -> bool {
    older.tables.iter().all(|was| {
        let is = present.tables.iter().find(|table| table.table_name == was.table_name);
        is.is_some_and(|is| has_only_gained(was, is))
    })
}

fn has_only_gained(was: &TableManifest, is: &TableManifest) -> bool {
    let frame = |table: &TableManifest| {
        let named = (table.updated_at_column.clone(), table.deleted_at_column.clone());
        (table.primary_key.clone(), table.push_policy.clone(), named)
    };
    let find = |table: &TableManifest, name: &str| -> Option<(ColumnManifest, Option<u32>)> {
        let column = table.columns.iter().find(|column| column.name == name)?;
        let identities = table.rejoin.iter().flat_map(|extension| &extension.identities);
        let id = identities.filter(|identity| identity.name == name).map(|known| known.id).next();
        Some((column.clone(), id))
    };
    let stays = |column: &ColumnManifest| {
        let (Some((was, its)), Some((now, id))) = (find(was, &column.name), find(is, &column.name))
        else {
            return false;
        };
        let kind = |of: &ColumnManifest| ColumnKind::of(&of.logical_type, &of.db_type);
        its == id && kind(&was) == kind(&now) && (now.nullable || !was.nullable)
    };
    // Peers that lack the column insert rows without it.
    let is_optional = |column: &ColumnManifest| {
        column.nullable || column.default_sql.is_some() || is.push_policy == "disabled"
    };
    let mut came = is.columns.iter().filter(|column| find(was, &column.name).is_none());
    frame(was) == frame(is) && was.columns.iter().all(stays) && came.all(is_optional)
}
