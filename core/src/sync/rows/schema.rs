//! Schema changes: adopts the server's tables, and fetches added columns before they are used.
//!
//! A table that this device cannot build is left out, and the others are adopted. The due snapshot is
//! stored in the transaction that changes the tables. An added column is NULL until the snapshot is
//! merged; an edit before that compares NULL, and is parked as a conflict if the server has a
//! value.

use std::collections::BTreeSet;

use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::TableManifest;

use super::fact::{self, Fact, RefetchReason, SnapshotMode, SnapshotProgress};
use crate::engine::Engine;
use crate::engine::adopt;
use crate::error::{Result, SyncFault};

/// Adopts what this device can build of the server's schema; returns the number of mutations that were
/// parked because of it.
///
/// # Errors
/// `SchemaRefused` if no table can be built. `Protocol` for a schema that does not match its hash. Tables and
/// queue are then unchanged.
pub(crate) fn accept(engine: &mut Engine, manifest: &Manifest) -> Result<usize> {
    if manifest.hash() != manifest.schema_hash {
        let why =
            format!("a schema that has not the hash {:?} which it names", manifest.schema_hash);
        return Err(SyncFault::Protocol(why).into());
    }
    Ok(adopt::adopt_what_fits(engine, manifest, due)?.parked.len())
}

/// The snapshot that becomes due with this schema.
fn due(engine: &Engine, theirs: &Manifest) -> Result<Vec<Fact>> {
    let Some(ours) = &engine.schema.manifest else { return Ok(Vec::new()) };
    // Before the first page nothing must be filled: the first snapshot has every column.
    let filled = engine.meta(fact::FIRST_SYNC)?.is_some();
    // A table that this device had left out does not change the hash.
    let names = |manifest: &Manifest| -> BTreeSet<String> {
        manifest.synced().map(|table| table.table_name.clone()).collect()
    };
    let moved = ours.schema_hash != theirs.schema_hash || names(ours) != names(theirs);
    // The staging has the columns of the old tables, also in a first sync.
    let broken = SnapshotProgress::load(engine)?
        .is_some_and(|snapshot| moved && (filled || snapshot.mode == SnapshotMode::Staged));
    let fills = broken || filled && gains(ours, theirs);
    if fills && fact::due(engine)?.is_none() {
        return Ok(fact::snapshot_due(RefetchReason::Schema));
    }
    Ok(Vec::new())
}

/// Whether `theirs` has a table or column that `ours` lacks. Another identity, type or key counts
/// as another one.
fn gains(ours: &Manifest, theirs: &Manifest) -> bool {
    theirs.synced().any(|table| {
        let existing = ours.synced().find(|existing| existing.table_name == table.table_name);
        existing.is_none_or(|existing| {
            existing.primary_key != table.primary_key
                || table.columns.iter().any(|column| {
                    let same = existing.columns.iter().find(|other| other.name == column.name);
                    same.is_none_or(|same| same.kind() != column.kind())
                        || identity(table, &column.name) != identity(existing, &column.name)
                })
        })
    })
}

fn identity(table: &TableManifest, column: &str) -> Option<u32> {
    let identities = &table.rejoin.as_ref()?.identities;
    identities.iter().find(|identity| identity.name == column).map(|identity| identity.id)
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::manifest::{ColumnIdentity, ColumnManifest, TableExtension};

    use super::*;

    fn table(name: &str, columns: &[(&str, u32)]) -> TableManifest {
        TableManifest {
            table_name: name.to_owned(),
            columns: columns
                .iter()
                .map(|(name, _)| ColumnManifest {
                    name: (*name).to_owned(),
                    logical_type: "string".to_owned(),
                    ..Default::default()
                })
                .collect(),
            rejoin: Some(TableExtension {
                identities: columns
                    .iter()
                    .map(|(name, id)| ColumnIdentity { name: (*name).to_owned(), id: *id })
                    .collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn added_and_recreated_tables_and_columns_are_gains() {
        let ours = Manifest::new(1, vec![table("a", &[("id", 1), ("x", 2), ("y", 3)])]);
        let mut retyped = table("a", &[("id", 1), ("x", 2), ("y", 3)]);
        retyped.columns[1].logical_type = "int".to_owned();
        let mut rekeyed = table("a", &[("id", 1), ("x", 2), ("y", 3)]);
        rekeyed.primary_key = vec!["x".to_owned()];
        let cases = [
            ("the same", vec![table("a", &[("id", 1), ("x", 2), ("y", 3)])], false),
            ("a column less", vec![table("a", &[("id", 1), ("x", 2)])], false),
            ("a column more", vec![table("a", &[("id", 1), ("x", 2), ("y", 3), ("z", 4)])], true),
            ("x dropped and made again", vec![table("a", &[("id", 1), ("x", 9), ("y", 3)])], true),
            ("another type", vec![retyped], true),
            ("another key", vec![rekeyed], true),
            (
                "an added table",
                vec![table("a", &[("id", 1), ("x", 2), ("y", 3)]), table("b", &[("id", 1)])],
                true,
            ),
        ];
        for (what, tables, gained) in cases {
            assert_eq!(gains(&ours, &Manifest::new(2, tables)), gained, "{what}");
        }
    }
}
