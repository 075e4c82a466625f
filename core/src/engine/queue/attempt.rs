//! What leaves with an attempt: old values of its own, its hash, and what was frozen when it was sent.
//!
//! Pure. The effect of a mutation never changes (R1); an attempt may compare other old values (R11), and once it has
//! left, what it stands on and the versions it names stay as they are until its verdict (O5).

use sha2::{Digest, Sha256};

use super::mutation::BasisValue;
use crate::engine::rows::binary::{Malformed, Reader, Writer};
use crate::ids::MutationId;
use crate::value::Value;

const VERSION: u8 = 1;

/// What was settled when an attempt was sent first, beside effect and basis.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Frozen {
    /// What must be accepted before this (O4).
    pub(crate) after: Vec<MutationId>,
    /// By index of the effect's patch.
    pub(crate) rows: Vec<FrozenRow>,
    /// Old values for the next attempt, if this one is not accepted (R11); `None` while they stay as they are.
    pub(crate) next_basis: Option<Vec<BasisValue>>,
    /// Whether more than one request has carried it: its verdict may be one that the server had stored, of earlier rows.
    pub(crate) is_repeated: bool,
    /// How often the server has failed on it, if it has.
    pub(crate) faults: Option<Faults>,
}

/// Failures of the server on one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) count: u32,
    /// When the first one came: milliseconds since 1970.
    pub(crate) since_ms: i64,
}

/// What was settled for one row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FrozenRow {
    /// The version of the base row (R9).
    pub(crate) version: Option<String>,
    /// Whether a soft delete that is taken back, or an edit that brings its row back, is offered as a whole row.
    pub(crate) whole: bool,
    /// Whether a create is offered as an edit of the row that is there.
    pub(crate) onto: bool,
    /// Whether it goes over whatever stands there (O10).
    pub(crate) force: bool,
}

/// The content hash of a mutation: the first 16 bytes of SHA-256 over its effect, in hex; of an action over its name, version and
/// arguments, because two copies of a file may run it on other rows. Opaque to the server.
///
/// It covers what was written, and no attempt's own old values (O2): of two copies of a file one may have given up what this
/// stood on, and compares other old values in the same attempt. It is the same mutation, and has one verdict (O15).
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

/// The old values of an attempt; nothing to store while they are the effect's own.
pub(crate) fn encode_basis(basis: &[BasisValue]) -> Option<Vec<u8>> {
    if basis.is_empty() {
        return None;
    }
    let mut out = Writer::new();
    out.byte(VERSION);
    write_basis(&mut out, basis);
    Some(out.finish())
}

/// The old values of an attempt.
pub(crate) fn decode_basis(bytes: &[u8]) -> Result<Vec<BasisValue>, Malformed> {
    let mut reader = open(bytes, "basis")?;
    let basis = read_basis(&mut reader)?;
    reader.end()?;
    Ok(basis)
}

fn open<'a>(bytes: &'a [u8], what: &'static str) -> Result<Reader<'a>, Malformed> {
    let mut reader = Reader::new(bytes, what);
    if reader.byte()? == VERSION { Ok(reader) } else { Err(Malformed(what)) }
}

fn write_basis(out: &mut Writer, basis: &[BasisValue]) {
    out.length(basis.len());
    for value in basis {
        out.length(value.row);
        out.length(value.column);
        out.value(&value.old);
    }
}

fn read_basis(reader: &mut Reader<'_>) -> Result<Vec<BasisValue>, Malformed> {
    let count = reader.length()?;
    let mut basis = Vec::with_capacity(count);
    for _ in 0..count {
        let row = reader.small()? as usize;
        let column = reader.small()? as usize;
        basis.push(BasisValue { row, column, old: reader.value()? });
    }
    Ok(basis)
}

impl Frozen {
    /// As the queue keeps it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
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

    /// From the queue's bytes.
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
    fn what_was_frozen_comes_back_as_it_was() {
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
            next_basis: Some(vec![BasisValue { row: 1, column: 0, old: "v0".into() }]),
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
    fn the_hash_covers_the_effect_and_nothing_else() {
        let basis = encode_basis(&[BasisValue { row: 0, column: 1, old: 5.into() }]).unwrap();
        assert_eq!(decode_basis(&basis).unwrap()[0].old, 5.into());
        assert_eq!(encode_basis(&[]), None);
        assert_eq!(hash(b"e").len(), 32);
        assert_ne!(hash(b"e"), hash(b"f"));
    }
}
