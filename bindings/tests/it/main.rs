//! What the exported objects promise to any language: no panic crosses, every error has its kind, callbacks and handles end.
//!
//! Border: what the calls do is shown by the tests of Kotlin, Swift and TypeScript, through the same objects.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests, with watchdogs.

mod callbacks;
mod cloud;
mod errors;
mod home;
mod log;
mod syncing;
mod watch;
