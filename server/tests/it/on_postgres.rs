//! The stories of the other files once more, over PostgreSQL: the same files, compiled as other modules, whose worlds look at
//! the name of their test.

#![allow(clippy::duplicate_mod)] // On purpose: the claims are the same.

#[path = "actions.rs"]
mod actions;
#[path = "auth.rs"]
mod auth;
#[path = "binary.rs"]
mod binary;
#[cfg(feature = "mutants")]
#[path = "broken.rs"]
mod broken;
#[path = "buckets.rs"]
mod buckets;
#[path = "company.rs"]
mod company;
#[path = "door.rs"]
mod door;
#[path = "events.rs"]
mod events;
#[path = "generated.rs"]
mod generated;
#[path = "heard.rs"]
mod heard;
#[path = "hooks.rs"]
mod hooks;
#[path = "hostile.rs"]
mod hostile;
#[path = "inherited.rs"]
mod inherited;
#[path = "judgement.rs"]
mod judgement;
#[path = "limits.rs"]
mod limits;
#[path = "operate.rs"]
mod operate;
#[path = "oracle.rs"]
mod oracle;
#[path = "ownership.rs"]
mod ownership;
#[path = "plain.rs"]
mod plain;
#[path = "plain_push.rs"]
mod plain_push;
#[path = "policies.rs"]
mod policies;
#[path = "pull.rs"]
mod pull;
#[path = "push.rs"]
mod push;
#[path = "ready.rs"]
mod ready;
#[path = "register.rs"]
mod register;
#[path = "registry.rs"]
mod registry;
#[path = "schema.rs"]
mod schema;
#[path = "snapshot.rs"]
mod snapshot;
#[path = "transient.rs"]
mod transient;
#[path = "trespass.rs"]
mod trespass;
#[path = "wakes.rs"]
mod wakes;
#[path = "window.rs"]
mod window;
