//! Descriptions of the tables: the manifest, v0.1.2's list of tables, the digest of a table.

use rejoin_protocol::digest::{Digest, covered};
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::digest::DigestAnswer;
use rejoin_protocol::wire::tables::TablesResponse;
use rejoin_protocol::{ColumnKind, Manifest};

use super::{Caller, Engine, held};
use crate::error::{Fault, Refusal};
use crate::model::ReadScope;
use crate::store::read;

/// The manifest; with Rejoin's extensions only on request.
pub(crate) fn manifest(engine: &Engine, extended: bool) -> Result<Manifest, Fault> {
    let server_time = engine.now();
    read(&*engine.store, |reading| {
        let manifest = &reading.schema().manifest;
        let manifest = if extended { manifest.clone() } else { manifest.plain() };
        Ok(Manifest { server_time: server_time.clone(), ..manifest })
    })
}

/// v0.1.2's list of tables.
pub(crate) fn tables(engine: &Engine) -> Result<TablesResponse, Fault> {
    Ok(TablesResponse::from(&manifest(engine, false)?))
}

/// The digest of the table's rows visible to the user, as defined by the protocol.
pub(crate) fn digest(engine: &Engine, caller: &Caller, table: &str) -> Result<DigestAnswer, Fault> {
    read(&*engine.store, |reading| {
        reading.act_for(&caller.user, &[])?;
        let schema = reading.schema();
        let manifest = schema.manifest.tables.iter().find(|known| known.table_name == table);
        let (Some(manifest), Some(found)) = (manifest, schema.table(table)) else {
            let message = format!("no synced table is called '{table}'");
            return Err(Refusal::new(404, code::TABLE_UNKNOWN, message).into());
        };
        let columns: Vec<(usize, ColumnKind)> = covered(manifest);
        let scope = ReadScope::of(&held(reading, &caller.user)?);
        let mut digest = Digest::default();
        reading.each(found, &scope, &mut |row| {
            digest.add(columns.iter().map(|(at, kind)| (row.cell(*at), *kind)));
        })?;
        Ok(DigestAnswer::new(table, digest, &reading.log_state()?.epoch))
    })
}
