//! Stories of devices and a server.

// A story says by failing that something is not there.
#![allow(clippy::unwrap_used)]

mod actions;
mod badinput;
mod bounds;
mod budget;
mod cancel;
mod client;
#[cfg(unix)]
mod deaths;
mod decide;
mod diagnose;
mod driver;
mod first_sync;
mod from_synchro;
mod held;
mod hostile;
mod hostile_push;
mod identity;
mod inspect;
mod interleavings;
mod on_postgres;
mod pairs;
mod plain_client;
mod plain_client_simulation;
mod plain_move;
mod plain_pull;
mod plain_push;
mod plain_server;
mod plain_session;
mod plain_simulation;
mod plain_snapshot;
mod plain_story;
mod policies;
mod pull;
mod push;
mod register;
mod regression;
mod replay;
mod reset;
mod schema;
mod search;
mod simulation;
mod skew;
mod snapshot;
mod undo;
mod user;
mod verdicts;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rejoin_core::mutant::{self, Mutant};
use rejoin_tests::{Backend, Device};

/// Tells a story as it should be, and once more with a rule broken: then it must not hold.
#[track_caller]
fn caught(mutant: Mutant, story: impl Fn()) {
    story();
    let broken = catch_unwind(AssertUnwindSafe(|| mutant::with(mutant, &story)));
    assert!(broken.is_err(), "the story holds although {mutant:?} breaks its rule");
}

/// A server with one place of Ana's, and her device in step with it.
fn one_place() -> (Backend, Device) {
    let server = Backend::new();
    server.outside(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('p1', 'A', 'n', 3, 'ana')",
    );
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    (server, device)
}
