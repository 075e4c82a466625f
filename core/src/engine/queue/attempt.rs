//! The content of an attempt: its own old values, its hash, and what was frozen when it was sent.
//!
//! Pure. The effect of a mutation never changes. An attempt may compare other old values; once
//! sent, its dependencies and the versions it names stay fixed until its verdict.

use sha2::{Digest, Sha256};

use super::mutation::Basis;
use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::ids::MutationId;
use crate::value::Value;

const VERSION: u8 = 1;

/// Fixed when an attempt was first sent, besides effect and basis.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Frozen {
    /// Mutations that must be accepted before this one.
    pub(crate) after: Vec<MutationId>,
    /// By index of the effect's patch.
    pub(crate) rows: Vec<FrozenRow>,
    /// Old values for the next attempt, if this one is not accepted; `None` if unchanged.
    pub(crate) next_basis: Option<Basis>,
    /// Whether more than one request has carried it: its verdict may be a stored one, on earlier
    /// rows.
    pub(crate) is_repeated: bool,
    /// Server failures on it, if any.
    pub(crate) faults: Option<Faults>,
}

/// Failures of the server on one attempt, or on one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) count: u32,
    /// Time of the first failure: milliseconds since 1970.
    pub(crate) since_ms: i64,
}

impl Faults {
    /// These failures, if any, and one more.
    pub(crate) fn counted(before: Option<Self>, now_ms: i64) -> Self {
        let Self { count, since_ms } = before.unwrap_or(Self { count: 0, since_ms: now_ms });
        Self { count: count.saturating_add(1), since_ms }
    }
}

/// Fixed content of one row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FrozenRow {
    /// The version of the base row.
    pub(crate) version: Option<String>,
    /// Whether an undone soft delete, or an edit that restores its row, is sent as a whole row.
    pub(crate) whole: bool,
    /// Whether a create is sent as an edit of the existing row.
    pub(crate) onto: bool,
    /// Whether it overwrites the server's row.
    pub(crate) force: bool,
}

/// The content hash of a mutation: the first 16 bytes of SHA-256 over its effect, in hex. For an
/// action it covers name, version and arguments, because two copies of a file may run it on
/// different rows. Opaque to the server.
///
/// It does not cover the attempt's old values: one of two copies of a file may have discarded a
/// mutation that this one depends on, and then compares other old values in the same attempt. It is
/// still the same mutation, with one verdict.
pub(crate) fn hash(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let mut text = String::with_capacity(32);
    for byte in digest.iter().take(16) {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

/// Encodes the old values of an attempt; `None` if they are the effect's own.
pub(crate) fn encode_basis(basis: &Basis) -> Option<Vec<u8>> {
    if basis.is_empty() {
        return None;
    }
    let mut out = BinaryWriter::new();
    out.byte(VERSION);
    write_basis(&mut out, basis);
    Some(out.finish())
}

/// Decodes the old values of an attempt.
pub(crate) fn decode_basis(bytes: &[u8]) -> Result<Basis, Malformed> {
    let mut reader = open(bytes, "basis")?;
    let basis = read_basis(&mut reader)?;
    reader.end()?;
    Ok(basis)
}

fn open<'a>(bytes: &'a [u8], what: &'static str) -> Result<BinaryReader<'a>, Malformed> {
    let mut reader = BinaryReader::new(bytes, what);
    if reader.byte()? == VERSION { Ok(reader) } else { Err(Malformed(what)) }
}

fn write_basis(out: &mut BinaryWriter, basis: &Basis) {
    out.length(basis.len());
    for ((row, column), old) in basis {
        out.length(*row);
        out.length(*column);
        out.value(old);
    }
}

fn read_basis(reader: &mut BinaryReader<'_>) -> Result<Basis, Malformed> {
    let mut basis = Basis::new();
    for _ in 0..reader.length()? {
        let row = reader.small()? as usize;
        let column = reader.small()? as usize;
        basis.insert((row, column), reader.value()?);
    }
    Ok(basis)
}

impl Frozen {
    /// Encodes it for the queue.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = BinaryWriter::new();
        out.byte(VERSION);
        out.length(self.after.len());
        for id in &self.after {
            out.bytes(id.0.as_bytes());
        }
        out.length(self.rows.len());
        for row in &self.rows {
            out.value(&row.version.clone().into());
            out.byte(u8::from(row.whole) | u8::from(row.onto) << 1 | u8::from(row.force) << 2);
        }
        let (has_basis, has_faults) = (self.next_basis.is_some(), self.faults.is_some());
        let bits = u8::from(has_basis) | u8::from(self.is_repeated) << 1;
        out.byte(bits | u8::from(has_faults) << 2);
        if let Some(basis) = &self.next_basis {
            write_basis(&mut out, basis);
        }
        if let Some(faults) = self.faults {
            out.unsigned(faults.count.into());
            out.signed(faults.since_ms);
        }
        out.finish()
    }

    /// Decodes the queue's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = open(bytes, "frozen attempt")?;
        let mut frozen = Self::default();
        for _ in 0..reader.length()? {
            let id = uuid::Uuid::from_slice(reader.bytes()?).map_err(|_| reader.malformed())?;
            frozen.after.push(MutationId(id));
        }
        for _ in 0..reader.length()? {
            let version = match reader.value()? {
                Value::Text(text) => Some(text),
                _ => None,
            };
            let bits = reader.byte()?;
            let is = |bit: u8| bits & bit != 0;
            frozen.rows.push(FrozenRow { version, whole: is(1), onto: is(2), force: is(4) });
        }
        let bits = reader.byte()?;
        frozen.is_repeated = bits & 2 != 0;
        if bits & 1 != 0 {
            frozen.next_basis = Some(read_basis(&mut reader)?);
        }
        if bits & 4 != 0 {
            frozen.faults = Some(Faults { count: reader.small()?, since_ms: reader.signed()? });
        }
        reader.end()?;
        Ok(frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn frozen_content_survives_encoding() {
        let frozen = Frozen {
            after: vec![MutationId(Uuid::from_u128(1)), MutationId(Uuid::from_u128(u128::MAX))],
            rows: vec![
                FrozenRow::default(),
                FrozenRow {
                    version: Some("2026-01-01T00:00:00.000001Z".to_owned()),
                    whole: true,
                    ..FrozenRow::default()
                },
                FrozenRow { onto: true, force: true, ..FrozenRow::default() },
            ],
            next_basis: Some(Basis::from([((1, 0), "v0".into())])),
            is_repeated: true,
            faults: Some(Faults { count: 7, since_ms: 1_700_000_000_000 }),
        };
        let bytes = frozen.encode();
        assert_eq!(Frozen::decode(&bytes).unwrap(), frozen);
        assert_eq!(Frozen::decode(&Frozen::default().encode()).unwrap(), Frozen::default());
        for cut in 0..bytes.len() {
            assert!(Frozen::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn hash_covers_only_the_effect() {
        let basis = encode_basis(&Basis::from([((0, 1), 5.into())])).unwrap();
        assert_eq!(decode_basis(&basis).unwrap()[&(0, 1)], 5.into());
        assert_eq!(encode_basis(&Basis::new()), None);
        assert_eq!(hash(b"e").len(), 32);
        assert_ne!(hash(b"e"), hash(b"f"));
    }
}
