//! Stories of the foreign face, told through the objects that other languages get, with their interfaces implemented in Rust.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests, with watchdogs.

mod actions;
mod budget;
mod callbacks;
mod cloud;
mod decide;
mod errors;
mod held;
mod home;
mod identity;
mod import;
mod log;
mod methods;
mod syncing;
mod watch;
