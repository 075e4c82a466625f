//! The stories of other files once more, over PostgreSQL with row level security: the same files, compiled as other modules,
//! whose worlds look at the name of their test. Nothing that a user may do is held back.

#![allow(clippy::duplicate_mod)] // On purpose: the claims are the same.

#[cfg(feature = "mutants")]
#[path = "broken.rs"]
mod broken;
#[path = "buckets.rs"]
mod buckets;
#[path = "company.rs"]
mod company;
#[path = "feeder.rs"]
mod feeder;
#[path = "generated.rs"]
mod generated;
#[path = "hooks.rs"]
mod hooks;
#[path = "ownership.rs"]
mod ownership;
#[path = "plain.rs"]
mod plain;
#[path = "pull.rs"]
mod pull;
#[path = "push.rs"]
mod push;
#[path = "snapshot.rs"]
mod snapshot;
#[path = "trespass.rs"]
mod trespass;
