//! Integration tests of devices and a server.

// A missing value fails the test.
#![allow(clippy::unwrap_used)]

mod actions;
mod badinput;
mod bounds;
mod budget;
mod cancel;
mod client;
mod databases;
#[cfg(unix)]
mod deaths;
mod decide;
mod diagnose;
mod doctor;
mod drawn;
mod driver;
mod edits;
mod first_sync;
mod foreign;
mod from_synchro;
mod half_open;
mod hostile;
mod hostile_pages;
mod hostile_push;
mod hostile_schema;
mod identity;
mod inspect;
mod interleavings;
mod junk;
mod large;
mod left_out;
mod log;
mod loops;
mod next_page;
mod often_edited;
mod pairs;
mod places;
mod plain_client;
mod plain_client_simulation;
mod plain_move;
mod plain_pull;
mod plain_push;
mod plain_session;
mod plain_snapshot;
mod plain_story;
mod policies;
mod pull;
mod push;
mod register;
mod regression;
mod replay;
mod reset;
mod restored;
mod schema;
mod search;
mod shared_pages;
mod simulation;
mod skew;
mod snapshot;
mod streams;
mod teams;
mod undo;
mod user;
mod verdicts;

use macro_rules_attribute::apply;

/// Makes two tests of a function of a store: `<name>::sqlite` and `<name>::postgres`. The latter
/// fails without PostgreSQL; `not test(postgres)` leaves it out.
macro_rules! each_store {
    ($(#[$attribute:meta])* fn $name:ident($store:ident: Store $(,)?) $body:block) => {
        $(#[$attribute])*
        fn $name($store: Store) $body

        mod $name {
            #[test]
            fn sqlite() {
                super::$name(super::Store::Sqlite);
            }

            #[test]
            fn postgres() {
                super::$name(super::Store::Postgres);
            }
        }
    };
}
use each_store;
