//! Digests of the synced tables, computed with the digest code of server and client.

use anyhow::{Context, Result};
use rejoin_protocol::digest::{Digest, covered};
use rejoin_protocol::{ColumnKind, Manifest};

use crate::scene::{Scene, TABLES, cell};
use crate::site::Site;
use crate::tell::Teller;

/// The digest of the server's table, without deleted rows.
pub(crate) fn server(scene: &Scene, table: &str) -> Result<Digest> {
    digest(scene, &scene.server(), table, "WHERE deleted_at IS NULL")
}

/// The digest of a device's table.
pub(crate) fn device(scene: &Scene, name: &str, table: &str) -> Result<Digest> {
    digest(scene, &scene.device(name), table, "")
}

/// Prints all digests as a table.
pub(crate) fn show(scene: &Scene, teller: &Teller) -> Result<()> {
    let mut lines = Vec::new();
    for table in TABLES {
        let digests = [
            server(scene, table)?,
            device(scene, "tablet", table)?,
            device(scene, "phone", table)?,
        ];
        let cells =
            digests.iter().map(|digest| format!("{} rows {:016x}", digest.count, digest.sum));
        lines.push([table.to_owned()].into_iter().chain(cells).collect());
    }
    teller.table("digests", &["table", "server", "tablet", "phone"], &lines);
    Ok(())
}

fn digest(scene: &Scene, site: &Site, table: &str, living: &str) -> Result<Digest> {
    let manifest =
        cell(&scene.device("phone"), "SELECT value FROM rejoin_meta WHERE key = 'manifest'")?;
    let manifest: Manifest = serde_json::from_str(&manifest).context("the phone's manifest")?;
    let table =
        manifest.tables.iter().find(|known| known.table_name == table).context("no such table")?;
    let covered = covered(table);
    let columns: Vec<String> =
        covered.iter().map(|(at, _)| format!("\"{}\"", table.columns[*at].name)).collect();
    let sql = format!("SELECT {} FROM \"{}\" {living}", columns.join(", "), table.table_name);
    let kinds: Vec<ColumnKind> = covered.iter().map(|(_, kind)| *kind).collect();
    let mut digest = Digest::default();
    for row in site.values(&sql, &kinds)? {
        digest.add(row.iter().zip(kinds.iter().copied()));
    }
    Ok(digest)
}
