//! Values to JSON and back, by kind. The only place where a cell becomes text on the wire.
//!
//! Integers stay integers to the last bit, exact decimals travel as strings, bytes as base64, instants in one form.
//! Reading works on raw text, because the number type of a JSON library would round what SQLite keeps. What [`encode`]
//! writes, [`decode`] reads back as an equal value; a value that could not be read back is refused.

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
