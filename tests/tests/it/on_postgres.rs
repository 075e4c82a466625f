//! The stories of the other files once more, over a server on PostgreSQL: the same files, compiled as other modules, whose
//! backends look at the name of their test. What a rule of the device's is worth is shown here too: each mutant that is
//! caught over a file is caught here as well.

#![allow(clippy::duplicate_mod)] // On purpose: the claims are the same.

#[path = "actions.rs"]
mod actions;
#[path = "cancel.rs"]
mod cancel;
#[path = "decide.rs"]
mod decide;
#[path = "first_sync.rs"]
mod first_sync;
#[path = "identity.rs"]
mod identity;
#[path = "pairs.rs"]
mod pairs;
#[path = "policies.rs"]
mod policies;
#[path = "pull.rs"]
mod pull;
#[path = "push.rs"]
mod push;
#[path = "register.rs"]
mod register;
#[path = "regression.rs"]
mod regression;
#[path = "reset.rs"]
mod reset;
#[path = "schema.rs"]
mod schema;
#[path = "search.rs"]
mod search;
#[path = "skew.rs"]
mod skew;
#[path = "snapshot.rs"]
mod snapshot;
#[path = "undo.rs"]
mod undo;
#[path = "verdicts.rs"]
mod verdicts;
