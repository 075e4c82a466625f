//! The log model: what was done counts in the order in which it was done (rules L1 to L14).
//!
//! Two questions are kept apart. *What is the state?* A fold of the log: the base, then the effects of all entries in the order of
//! their keys (L1). Whoever folds the same items has the same rows; nobody's code is asked. *What should this entry have
//! done?* Its author knows: when something before it changes, it runs its action again, and publishes the outcome if that is another
//! (L4). Everybody else folds. An entry has one authority, so nobody overrules anybody for ever.
//!
//! # A late arrival, from start to end
//!
//! Two devices share the row `note`. The phone writes first, but in a tunnel.
//!
//! ```text
//!      phone                          server                          tablet
//!        |                               |                               |
//!  10:00 | append "milk"     (offline)   |                               |
//!        |  note = milk                  |                               |
//!        |                               |              append "eggs"    | 10:01
//!        |                               |                note = eggs    |
//!        |                               |<-- publish T, revision 0 -----|
//!        |                               |    sets note to "eggs"        |
//!        |                               |                               |
//!        |-- fetch --------------------->|                               |
//!        |<-- T: note to "eggs" ---------|     T stands at 10:01, after P at 10:00: the phone lays
//!        |  note = eggs                  |     P down again first, then T as the tablet says (L13)
//!        |-- publish P, revision 0 ----->|                               |
//!        |    sets note to "milk"        |     the history of the row: base, P, T
//!        |                               |     P is new, and leaves T as it was: only P moves (L8, L9)
//!        |                               |                               |
//!        |                               |<-------------------- fetch ---|
//!        |                               |--- P: note to "milk" -------->|
//!        |                               |              undo T, lay P down, and
//!        |                               |              run T again on "milk": it now
//!        |                               |              sets note to "milk eggs" (L4, L14)
//!        |                               |<-- publish T, revision 1 -----|
//!        |                               |    T moves to the end         | note = milk eggs
//!        |-- fetch --------------------->|    of the feed (L8)           |
//!        |<-- T: note to "milk eggs" ----|                               |
//!        |  note = milk eggs             |                               |
//! ```
//!
//! Nobody decided anything twice, and no device ran another's action. It ends because the first entry has nothing before
//! it, and each run needs a change before it.
//!
//! # The tour, in reading order
//!
//! | module | what it knows | rules |
//! |---|---|---|
//! | [`ids`], [`key`], [`clock`] | who, which, and the order in which things were done | L6 |
//! | [`row`], [`effect`], [`entry`] | rows and their buckets, net effects, entries and their content | L2 |
//! | [`fold`] | what an effect does where it stands, and when it is void | L1 |
//! | [`view`] | what of it a viewer gets | L9 |
//! | [`handler`] | an action, and the tracked view through which it sees the rows | L4 |
//! | [`message`] | what devices and server say to each other | L7, L8, L12 |
//! | [`server`] | takes offers, keeps the history of each row, gives out feed and snapshots | L7 to L12 |
//! | [`rebase`] | undo what a change meets, change it, lay it down again | L14 |
//! | [`replica`] | what the app sees; the author's runs; what waits for the server | L3, L4, L6, L7, L10 to L13 |
//! | [`referee`] | runs entries as their authors while these are away | L5 |
//!
//! All of it is pure: rows come from a store that is handed in ([`store`]), time and randomness as arguments. It names neither
//! SQLite nor a runtime, so it can be run in memory, a million steps to the minute, and be held to its promises there;
//! `stories.rs` tells each rule as a story, `rebase/properties.rs` holds the rebase to doing everything again.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::exit
    )
)]

pub mod clock;
pub mod effect;
pub mod entry;
#[cfg(test)]
pub(crate) mod fixture;
pub mod fold;
#[cfg(test)]
mod found;
pub mod handler;
pub mod ids;
pub mod key;
pub mod message;
pub mod rebase;
pub mod referee;
pub mod replica;
pub mod row;
pub mod server;
pub mod store;
#[cfg(test)]
mod stories;
pub mod view;
#[cfg(test)]
pub(crate) mod world;
