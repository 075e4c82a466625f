//! The parts of the format that encoder and decoder share.

use crate::error::Error;

/// The first four bytes: format and version.
pub const MAGIC: [u8; 4] = *b"RJB1";
/// The header: magic, and the numbers of columns, rows, name bytes and row bytes, each a
/// little-endian `u32`.
pub(super) const HEADER: usize = 20;

pub(super) fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

pub(super) fn damaged(how: &str) -> Error {
    Error::Internal(format!("row buffer is damaged: {how}"))
}
