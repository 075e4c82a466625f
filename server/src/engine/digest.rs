//! Digests of a table's rows, of both models, so that a device can find where its rows differ.
//!
//! Each answer is computed in one read of the database, over the rows that the user may see. A table
//! of the log is read as it now stands, with every published entry.

use rejoin_log::ids::Buckets;
use rejoin_log::placement::ColumnPlacement;
use rejoin_log::row::Placement as _;
use rejoin_log::server::store::LogStore as _;
use rejoin_log::store::StoreError;
use rejoin_protocol::digest::{Digest, covered, row_hash, slice};
use rejoin_protocol::limits::{DIGEST_ROWS, DIGEST_SLICES};
use rejoin_protocol::manifest::{SyncModel, TableManifest};
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::digest::{DigestAnswer, DigestAsk, RowHash};
use rejoin_protocol::{ColumnKind, Value, codec};

use super::{Caller, Engine, held, rights};
use crate::error::{Fault, Refusal};
use crate::model::ReadScope;
use crate::store::{FurtherBuckets, LogTables, Reading, read};

/// The digest of the table's rows visible to the user, as defined by the protocol.
pub(crate) fn digest(
    engine: &Engine,
    caller: &Caller,
    ask: &DigestAsk,
) -> Result<DigestAnswer, Fault> {
    let slices = slices(ask)?;
    read(&*engine.store, |reading| {
        let manifest = &reading.schema().manifest;
        let Some(manifest) = manifest.tables.iter().find(|known| known.table_name == ask.table)
        else {
            let message = format!("no synced table is called '{}'", ask.table);
            return Err(Refusal::new(404, code::TABLE_UNKNOWN, message).into());
        };
        let mut found = Found::new(slices, ask.slice);
        if manifest.sync() == SyncModel::Log {
            each_of_log(reading, caller, (ask, manifest), &mut found)?;
        } else {
            each_in_rows(reading, caller, manifest, &mut found)?;
        }
        found.answer(&ask.table, &reading.log_state()?.epoch)
    })
}

/// The requested number of slices; 0 without any.
fn slices(ask: &DigestAsk) -> Result<u32, Fault> {
    let slices = ask.slices.unwrap_or_default();
    if slices > DIGEST_SLICES {
        let message = format!("slices is {slices}; the most is {DIGEST_SLICES}");
        return Err(Refusal::invalid(message).into());
    }
    match ask.slice {
        Some(slice) if slice >= slices => {
            let message = format!("slice is {slice}, but there are {slices} slices from 0 on");
            Err(Refusal::invalid(message).into())
        }
        _ => Ok(slices),
    }
}

/// What is computed of the rows.
struct Found {
    whole: Digest,
    slices: Vec<Digest>,
    wanted: Option<u32>,
    rows: Vec<RowHash>,
}

impl Found {
    fn new(slices: u32, wanted: Option<u32>) -> Self {
        let slices = vec![Digest::default(); slices as usize];
        Self { whole: Digest::default(), slices, wanted, rows: Vec::new() }
    }

    fn add<'a>(&mut self, key: &Value, cells: impl Iterator<Item = (&'a Value, ColumnKind)>) {
        // Devices have NULL where a value has no wire form.
        let sent = |(cell, kind)| match codec::check(cell, kind) {
            Ok(()) => (cell, kind),
            Err(_) => (&Value::Null, kind),
        };
        let hash = row_hash(cells.map(sent));
        self.whole.add_hash(hash);
        let Some(slices) = u32::try_from(self.slices.len()).ok().filter(|slices| *slices > 0)
        else {
            return;
        };
        let Some(id) = key.to_id() else { return };
        let slice = slice(&id, slices);
        self.slices[slice as usize].add_hash(hash);
        if self.wanted == Some(slice) && self.rows.len() <= DIGEST_ROWS {
            self.rows.push(RowHash::new(id, hash));
        }
    }

    fn answer(self, table: &str, epoch: &str) -> Result<DigestAnswer, Fault> {
        if self.rows.len() > DIGEST_ROWS {
            let message = format!(
                "the slice has more than {DIGEST_ROWS} rows: divide the table into more slices"
            );
            return Err(Refusal::invalid(message).into());
        }
        let slices = self.slices.into_iter().map(Into::into);
        Ok(DigestAnswer {
            table_name: table.to_owned(),
            whole: self.whole.into(),
            epoch: epoch.to_owned(),
            slices: if self.wanted.is_some() { Vec::new() } else { slices.collect() },
            rows: self.rows,
        })
    }
}

fn each_in_rows(
    reading: &dyn Reading,
    caller: &Caller,
    manifest: &TableManifest,
    found: &mut Found,
) -> Result<(), Fault> {
    reading.act_for(&caller.user, &FurtherBuckets::default())?;
    let Some(table) = reading.schema().table(&manifest.table_name) else { return Ok(()) };
    let columns = covered(manifest);
    let scope = ReadScope::of(&held(reading, caller)?);
    reading.each(table, &scope, &mut |row| {
        let cells = columns.iter().map(|(at, kind)| (row.cell(*at), *kind));
        found.add(row.cell(table.key), cells);
    })
}

fn each_of_log(
    reading: &dyn Reading,
    caller: &Caller,
    (ask, manifest): (&DigestAsk, &TableManifest),
    found: &mut Found,
) -> Result<(), Fault> {
    let tables = reading.log_tables();
    let Some(table) = tables.iter().find(|table| table.name == manifest.table_name) else {
        return Ok(());
    };
    let columns = covered(manifest);
    let placement = ColumnPlacement::of(&reading.schema().manifest);
    let held: Buckets = rights(reading, caller)?.of_log().cloned().collect();
    let log = reading.log();
    let sees_all = is_authority(&log, ask, caller).map_err(|error| log.fault(error))?;
    let done = log.each_current(table, &mut |row, key, image| {
        if !sees_all && !placement.buckets(row, image).meet(&held) {
            return;
        }
        let cell = |at: usize| {
            let column = &manifest.columns[at];
            if column.is_primary_key {
                key
            } else {
                image.get(&column.name).unwrap_or(&Value::Null)
            }
        };
        found.add(key, columns.iter().map(|(at, kind)| (cell(*at), *kind)));
    });
    done.map_err(|error| log.fault(error))
}

/// Whether the request is from the authority of the log.
fn is_authority(log: &LogTables<'_>, ask: &DigestAsk, caller: &Caller) -> Result<bool, StoreError> {
    let authority = log.facts()?.and_then(|facts| facts.authority);
    let Some(authority) = authority.filter(|id| id.to_string() == ask.client_id) else {
        return Ok(false);
    };
    Ok(log.author(authority)?.is_some_and(|known| known.user.0.as_str() == caller.user))
}
