//! Tests of the exported objects: panics, error kinds, callbacks and handles.
//!
//! The effects of the calls are tested in Kotlin, Swift and TypeScript.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests, with watchdogs.

mod callbacks;
mod cloud;
mod config;
mod errors;
mod home;
mod log;
mod streams;
mod syncing;
mod watch;
