//! [`FfiBytes`]: bytes that cross the FFI boundary in one copy.
//!
//! UniFFI passes a `Vec<u8>` byte by byte, as it does every list. To other languages this type is the same: a byte
//! array (ADR 0011). Results that are too large to cross are refused before, by `rejoin_ffi`.

use bytes::Bytes;
use uniffi::deps::anyhow::{Result, ensure};
use uniffi::{FfiConverter, MetadataBuffer, RustBuffer, TypeId, check_remaining};

/// Bytes as an argument, a result or a field of the FFI surface. At most `i32::MAX` of them can cross.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FfiBytes(pub Bytes);

impl From<Vec<u8>> for FfiBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for FfiBytes {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<FfiBytes> for Bytes {
    fn from(bytes: FfiBytes) -> Self {
        bytes.0
    }
}

/// The length of the prefix with the number of bytes.
const PREFIX: usize = 4;

// SAFETY: `lower` makes a buffer that owns what `write` wrote, and `try_lift` takes such a buffer; nothing points into
// memory of the other side.
unsafe impl<UT> FfiConverter<UT> for FfiBytes {
    type FfiType = RustBuffer;

    const TYPE_ID_META: MetadataBuffer = <Vec<u8> as TypeId<UT>>::TYPE_ID_META;

    fn lower(bytes: Self) -> RustBuffer {
        let mut buffer = Vec::with_capacity(PREFIX + bytes.0.len());
        <Self as FfiConverter<UT>>::write(bytes, &mut buffer);
        RustBuffer::from_vec(buffer)
    }

    fn write(bytes: Self, buffer: &mut Vec<u8>) {
        // The surface refuses larger results before; see `rejoin_ffi`.
        let length = i32::try_from(bytes.0.len()).unwrap_or(i32::MAX);
        buffer.extend_from_slice(&length.to_be_bytes());
        buffer.extend_from_slice(&bytes.0);
    }

    fn try_lift(buffer: RustBuffer) -> Result<Self> {
        let whole = buffer.destroy_into_vec();
        let mut rest = whole.as_slice();
        let bytes = <Self as FfiConverter<UT>>::try_read(&mut rest)?;
        ensure!(rest.is_empty(), "{} bytes follow the last", rest.len());
        Ok(bytes)
    }

    fn try_read(buffer: &mut &[u8]) -> Result<Self> {
        check_remaining(buffer, PREFIX)?;
        let (prefix, rest) = buffer.split_at(PREFIX);
        let length = usize::try_from(i32::from_be_bytes(prefix.try_into()?))?;
        check_remaining(rest, length)?;
        let (bytes, rest) = rest.split_at(length);
        *buffer = rest;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }
}

uniffi::derive_ffi_traits!(blanket FfiBytes);

#[cfg(test)]
mod tests {
    use super::FfiBytes;
    use uniffi::{FfiConverter, Lift, Lower, MetadataBuffer, RustBuffer, TypeId};

    /// A crate's name for the traits; any type serves.
    type Tag = ();

    #[test]
    fn bytes_are_encoded_as_a_list_of_bytes() {
        for content in [vec![], vec![0], vec![7; 70_000]] {
            let block = <FfiBytes as FfiConverter<Tag>>::lower(content.clone().into());
            let list = <Vec<u8> as Lower<Tag>>::lower(content.clone());
            assert_eq!(block.destroy_into_vec(), list.destroy_into_vec());
            let list = <Vec<u8> as Lower<Tag>>::lower(content.clone());
            let lifted = <FfiBytes as FfiConverter<Tag>>::try_lift(list).unwrap();
            assert_eq!(lifted, FfiBytes::from(content));
        }
        let metadata = |of: MetadataBuffer| of.as_ref().to_vec();
        let list = metadata(<Vec<u8> as TypeId<Tag>>::TYPE_ID_META);
        assert_eq!(metadata(<FfiBytes as TypeId<Tag>>::TYPE_ID_META), list);
    }

    #[test]
    fn damaged_lengths_are_refused() {
        for damaged in
            [vec![], vec![0, 0, 0], vec![0, 0, 0, 2, 9], vec![0, 0, 0, 1, 9, 9], vec![255; 8]]
        {
            let buffer = RustBuffer::from_vec(damaged.clone());
            let lifted = <FfiBytes as Lift<Tag>>::try_lift(buffer);
            assert!(lifted.is_err(), "{damaged:?}: {lifted:?}");
        }
    }
}
