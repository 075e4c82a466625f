//! The log model: entries take effect in the order in which users performed them.
//!
//! Two questions are separate. *What is the state?* A fold of the log: the base, then the effects
//! of all entries in key order. Equal items give equal rows, and no handler runs. *What are the
//! effects of an entry?* Its author decides: when something before the entry changes, the author
//! runs its action again and publishes the new effects if they differ. All other devices only fold.
//! Each entry has one authority, so corrections end.
//!
//! # A late entry, step by step
//!
//! Two devices share the row `note`. The phone writes first, but offline.
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
//!        |<-- T: note to "eggs" ---------|     T is at 10:01, after P at 10:00: the phone applies
//!        |  note = eggs                  |     P again first, then T as published
//!        |-- publish P, revision 0 ----->|                               |
//!        |    sets note to "milk"        |     the history of the row: base, P, T
//!        |                               |     P is new and does not change T: only P moves
//!        |                               |                               |
//!        |                               |<-------------------- fetch ---|
//!        |                               |--- P: note to "milk" -------->|
//!        |                               |              undo T, apply P, and
//!        |                               |              run T again on "milk": it now
//!        |                               |              sets note to "milk eggs"
//!        |                               |<-- publish T, revision 1 -----|
//!        |                               |    T moves to the end         | note = milk eggs
//!        |-- fetch --------------------->|    of the feed                |
//!        |<-- T: note to "milk eggs" ----|                               |
//!        |  note = milk eggs             |                               |
//! ```
//!
//! Each action ran only on its author's device. Corrections end, because the first entry has
//! nothing before it and each run requires a change before it.
//!
//! # Modules in reading order
//!
//! | module | content |
//! |---|---|
//! | [`ids`], [`key`], [`clock`] | identifiers, and the order of actions |
//! | [`row`], [`effect`], [`entry`] | rows and their buckets, net effects, entries and their content |
//! | [`placement`] | the buckets of a row as the manifest declares them |
//! | [`write_set`] | where an author may write |
//! | [`fold`] | the result of an effect, and when it is void |
//! | [`view`] | what a viewer receives of an effect |
//! | [`handler`] | actions, and their tracked view of the rows |
//! | [`message`] | messages between devices and server |
//! | [`server`] | accepts offers, keeps the history of each row, serves feed and snapshots |
//! | [`rebase`] | undoes the steps that a change reaches, makes the change, applies them again |
//! | [`replica`] | the rows that the app sees, runs by the author, pending entries |
//! | [`authority`] | runs entries as their authors while these are offline |
//!
//! The crate is pure: rows come from a [`store`], time and randomness are arguments. It depends on
//! neither SQLite nor a runtime, so the simulation runs it in memory. `stories.rs` has scenario
//! tests of the rules; `rebase/properties.rs` compares the rebase with a full replay.

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

pub mod authority;
mod by_table;
pub mod clock;
pub mod effect;
pub mod entry;
#[cfg(any(test, feature = "contract"))]
#[allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]
pub mod fixture;
pub mod fold;
#[cfg(test)]
mod found;
pub mod handler;
pub mod ids;
pub mod key;
pub mod message;
pub mod placement;
pub mod rebase;
pub mod replica;
pub mod row;
pub mod server;
pub mod store;
#[cfg(test)]
mod stories;
pub mod view;
#[cfg(test)]
pub(crate) mod world;
pub mod write_set;
