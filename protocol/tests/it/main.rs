//! What the wire promises, seen from outside the crate: values, recorded exchanges, the book's examples, broken input.

mod codec;
mod message;
mod rows;
mod wire;
