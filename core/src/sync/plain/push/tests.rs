//! Stories of the push to a plain server: the counterexamples of the model, each by its number.

mod discard;
mod json;
mod part;
mod poison;
mod policies;
mod server;
mod uncertain;
mod world;

use world::{Net, World};
