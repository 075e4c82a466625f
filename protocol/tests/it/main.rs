//! What the wire promises, seen from outside the crate: values, recorded exchanges, the book's examples, broken input.

mod book;
mod codec;
mod message;
mod robust;
mod rows;
mod wire;
