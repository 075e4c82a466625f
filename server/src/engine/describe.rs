//! Descriptions of the tables: the manifest, and v0.1.2's list of tables.

use rejoin_protocol::Manifest;
use rejoin_protocol::wire::tables::TablesResponse;

use super::Engine;
use crate::error::Fault;
use crate::store::read;

/// The manifest; with Rejoin's extensions only on request.
pub(crate) fn manifest(engine: &Engine, extended: bool) -> Result<Manifest, Fault> {
    let server_time = engine.now();
    read(&*engine.store, |reading| {
        let manifest = &reading.schema().manifest;
        let manifest =
            if extended { with_streams(engine, manifest.clone()) } else { manifest.plain() };
        Ok(Manifest { server_time: server_time.clone(), ..manifest })
    })
}

/// The manifest with the streams, which are configured and not part of the stored schema.
pub(crate) fn with_streams(engine: &Engine, mut manifest: Manifest) -> Manifest {
    if let Some(extension) = &mut manifest.rejoin {
        extension.streams = engine.streams.manifest();
    }
    manifest
}

/// v0.1.2's list of tables.
pub(crate) fn tables(engine: &Engine) -> Result<TablesResponse, Fault> {
    Ok(TablesResponse::from(&manifest(engine, false)?))
}
