//! Tests of the push to a plain server, with the counterexamples of the model by number.

mod discard;
mod json;
mod part;
mod poison;
mod policies;
mod server;
mod uncertain;
mod world;

use world::{Net, World};
