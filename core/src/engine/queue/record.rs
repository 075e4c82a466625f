//! Records: what a plain v0.1.2 server is sent, one per row, frozen until their verdict.
//!
//! Such a server has no mutations. A record is the net change of a row by one or more mutations,
//! its members. Once sent it is always sent again unchanged, because it may have been applied. The
//! rows of `rejoin_record` are authoritative, with a copy in memory; with a Rejoin server both are
//! empty.

use std::collections::{BTreeMap, HashMap};

use rejoin_protocol::wire::push::Operation;
use rusqlite::{Connection, params};

use super::attempt::Faults;
use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::engine::rows::encode::{read_patch, write_patch};
use crate::engine::rows::patch::{RowKey, RowPatch};
use crate::error::Result;
use crate::ids::{ColumnId, Seq};
use crate::value::Value;

const VERSION: u8 = 2;

/// The clock of a record whose edits are not decided by time. With a later clock than the row's,
/// the server would silently overwrite changes that this device has never seen.
pub(super) const NO_CLOCK: &str = "1970-01-01T00:00:00Z";

/// The frozen change of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// The order in which records are sent.
    pub(crate) place: i64,
    pub(crate) row: RowKey,
    pub(crate) operation: Operation,
    /// Columns and values as sent: none of a delete.
    pub(crate) data: Vec<(ColumnId, Value)>,
    /// The version of the base row when it was frozen.
    pub(crate) base: Option<String>,
    /// The clock that it names.
    pub(crate) edited: String,
    /// Whether a server may have it from a request of another kind, as part of a group.
    pub(crate) doubtful: bool,
    /// How often the server has failed on it alone, or asked for it again, if it has.
    pub(crate) faults: Option<Faults>,
    /// The mutations whose edits it carries, in queue order.
    pub(crate) members: Vec<Member>,
}

/// A mutation in a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) seq: Seq,
    /// Its edit of the row, if the app has discarded it since: to be reversed if the server has it.
    pub(crate) hidden: Option<RowPatch>,
}

impl Record {
    /// The mutations of the queue whose edits it carries.
    pub(crate) fn live(&self) -> impl Iterator<Item = Seq> + '_ {
        self.members.iter().filter(|member| member.hidden.is_none()).map(|member| member.seq)
    }

    /// Whether the server decides by time, and may decide differently for one of several edits.
    pub(crate) fn joins_edits_by_time(&self) -> bool {
        self.members.len() > 1 && self.edited != NO_CLOCK
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = BinaryWriter::new();
        out.byte(VERSION);
        out.row(&self.row);
        out.byte(match self.operation {
            Operation::Create => 0,
            Operation::Update => 1,
            Operation::Delete => 2,
        });
        out.length(self.data.len());
        for (column, value) in &self.data {
            out.unsigned(u64::from(column.0));
            out.value(value);
        }
        out.value(&self.base.clone().into());
        out.value(&self.edited.as_str().into());
        out.byte(u8::from(self.doubtful));
        out.unsigned(u64::from(self.faults.map_or(0, |faults| faults.count)));
        if let Some(faults) = self.faults {
            out.signed(faults.since_ms);
        }
        out.length(self.members.len());
        for member in &self.members {
            out.signed(member.seq.0);
            out.byte(u8::from(member.hidden.is_some()));
            if let Some(patch) = &member.hidden {
                write_patch(&mut out, patch);
            }
        }
        out.finish()
    }

    fn decode(place: i64, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = BinaryReader::new(bytes, "record");
        if reader.byte()? != VERSION {
            return Err(reader.malformed());
        }
        let row = reader.row()?;
        let operation = match reader.byte()? {
            0 => Operation::Create,
            1 => Operation::Update,
            2 => Operation::Delete,
            _ => return Err(reader.malformed()),
        };
        let mut data = Vec::new();
        for _ in 0..reader.length()? {
            data.push((ColumnId(reader.small()?), reader.value()?));
        }
        let text = |value: Value| value.as_text().map(ToOwned::to_owned);
        let base = text(reader.value()?);
        let edited = text(reader.value()?).ok_or_else(|| reader.malformed())?;
        let doubtful = reader.byte()? == 1;
        let faults = match reader.small()? {
            0 => None,
            count => Some(Faults { count, since_ms: reader.signed()? }),
        };
        let mut members = Vec::new();
        for _ in 0..reader.length()? {
            let seq = Seq(reader.signed()?);
            let hidden = if reader.byte()? == 1 { Some(read_patch(&mut reader)?) } else { None };
            members.push(Member { seq, hidden });
        }
        reader.end()?;
        Ok(Self { place, row, operation, data, base, edited, doubtful, faults, members })
    }
}

/// The records that wait for a verdict.
#[derive(Debug, Default)]
pub(crate) struct Records {
    places: BTreeMap<i64, Record>,
    rows: HashMap<RowKey, i64>,
    /// Number of records per mutation.
    members: HashMap<Seq, usize>,
    /// The last place assigned by this process.
    last: i64,
}

impl Records {
    /// Reads all records.
    pub(super) fn load(conn: &Connection) -> Result<Self> {
        let mut records = Self::default();
        let sql = "/*rejoin*/SELECT place, content FROM rejoin_record ORDER BY place";
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let content: Vec<u8> = row.get(1)?;
            let place = row.get(0)?;
            records.put(Record::decode(place, &content)?);
        }
        Ok(records)
    }

    /// Whether there is none, as always with a Rejoin server.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All records, in the order in which they are sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.places.values()
    }

    /// The record at a place.
    pub(crate) fn get(&self, place: i64) -> Option<&Record> {
        self.places.get(&place)
    }

    /// The record of a row.
    pub(crate) fn at(&self, row: &RowKey) -> Option<&Record> {
        if self.is_empty() { None } else { self.get(*self.rows.get(row)?) }
    }

    /// Whether any record carries an edit of a mutation: then its rows have separate verdicts.
    pub(crate) fn knows(&self, seq: Seq) -> bool {
        self.members.contains_key(&seq)
    }

    /// The place after all others.
    pub(crate) fn next_place(&self) -> i64 {
        self.last + 1
    }

    pub(super) fn put(&mut self, record: Record) {
        self.take(record.place);
        self.last = self.last.max(record.place);
        self.rows.insert(record.row.clone(), record.place);
        for seq in record.live() {
            *self.members.entry(seq).or_default() += 1;
        }
        self.places.insert(record.place, record);
    }

    pub(super) fn take(&mut self, place: i64) {
        let Some(record) = self.places.remove(&place) else { return };
        self.rows.remove(&record.row);
        for seq in record.live() {
            if let Some(count) = self.members.get_mut(&seq) {
                *count -= 1;
                if *count == 0 {
                    self.members.remove(&seq);
                }
            }
        }
    }
}

/// Writes a new or changed record.
pub(crate) fn write(conn: &Connection, record: &Record) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_record (place, content) VALUES (?1, ?2) \
               ON CONFLICT (place) DO UPDATE SET content = excluded.content";
    let mut statement = conn.prepare_cached(sql)?;
    statement.execute(params![record.place, record.encode()])?;
    Ok(())
}

/// Removes a record that has its verdict or was never sent.
pub(crate) fn remove(conn: &Connection, place: i64) -> Result<()> {
    let sql = "/*rejoin*/DELETE FROM rejoin_record WHERE place = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    statement.execute([place])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rows::patch::{ColumnPatch, PatchKind};
    use crate::ids::TableNumber;

    fn record(place: i64, key: &str, members: &[(i64, bool)]) -> Record {
        let row = RowKey { table: TableNumber(3), key: key.into() };
        let patch = RowPatch {
            row: row.clone(),
            kind: PatchKind::Update,
            columns: vec![ColumnPatch { column: ColumnId(2), old: 1.into(), new: 2.into() }],
        };
        let member = |(seq, hidden): &(i64, bool)| Member {
            seq: Seq(*seq),
            hidden: hidden.then(|| patch.clone()),
        };
        Record {
            place,
            row,
            operation: Operation::Update,
            data: vec![(ColumnId(2), 2.into()), (ColumnId(9), Value::Null)],
            base: Some("2026-01-01T00:00:00.000001Z".to_owned()),
            edited: NO_CLOCK.to_owned(),
            doubtful: true,
            faults: Some(Faults { count: 2, since_ms: 1_700_000_000_000 }),
            members: members.iter().map(member).collect(),
        }
    }

    #[test]
    fn record_survives_encoding_and_truncation_is_an_error() {
        let mut whole = record(7, "a", &[(4, true), (9, false)]);
        assert_eq!(Record::decode(7, &whole.encode()).unwrap(), whole);
        for operation in [Operation::Create, Operation::Delete] {
            whole.operation = operation;
            whole.base = None;
            whole.faults = None;
            assert_eq!(Record::decode(7, &whole.encode()).unwrap(), whole);
        }
        let bytes = whole.encode();
        for cut in 0..bytes.len() {
            assert!(Record::decode(7, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn mutation_is_known_while_a_record_carries_its_edit() {
        let mut records = Records::default();
        records.put(record(1, "a", &[(4, false), (5, false)]));
        records.put(record(2, "b", &[(4, false)]));
        assert_eq!(records.at(&record(0, "b", &[]).row).map(|found| found.place), Some(2));
        records.put(record(1, "a", &[(4, true), (5, false)]));
        assert!(records.knows(Seq(4)) && records.knows(Seq(5)));
        records.take(2);
        assert!(!records.knows(Seq(4)) && records.knows(Seq(5)));
        records.take(1);
        assert!(records.is_empty() && !records.knows(Seq(5)));
        assert_eq!(records.next_place(), 3, "a place is not reused at once");
    }
}
