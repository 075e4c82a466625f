//! Conversion of values to JSON and back, by column kind. Every cell on the wire goes through here.
//!
//! Integers are exact, decimals are strings, bytes are base64, and instants have one form. Decoding
//! reads raw text, because the number type of a JSON library would round. [`decode`] reads what
//! [`encode`] writes as an equal value; a value that could not be read back is refused.

mod object;
mod plain;
mod rows;
mod value;

pub use self::{
    object::{ColumnError, encode_object, encode_object_to_plain, members},
    plain::{decode_from_plain, encode_to_plain},
    rows::{RowError, RowsWriter, each_row},
    value::{CodecError, check, decode, encode, encode_plain},
};
