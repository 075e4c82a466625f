//! The log model: what was done counts in the order in which it was done (rules L1 to L14).

pub mod clock;
pub mod effect;
pub mod entry;
#[cfg(test)]
pub(crate) mod fixture;
pub mod fold;
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
