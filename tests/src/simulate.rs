//! Simulation: many worlds by seed, each a list of steps, and one law that must hold in all of them.
//!
//! A [`Model`] says what a world is: the steps that follow from a seed, and how they are lived. Everything else is here and the
//! same for every model: threads, counts, limits, the shrinking of a world that breaks the law, and the proof that a broken
//! rule is noticed ([`Hunt`]). Nothing in this border knows devices, servers or SQLite.
//!
//! Two things make a world worth something: the same seed and steps give the same world on every machine, and a step means
//! something without the others, so that they can be left out one by one.

mod claims;
mod hunt;
pub mod log;
pub mod plain;
pub mod rows;
mod run;
mod shrink;
mod told;

#[cfg(test)]
mod tests;

use std::fmt;

use rejoin_core::mutant::Mutant;
use rejoin_server::mutant::Mutant as ServerMutant;

pub use claims::{Claims, Order, simulate};
pub use hunt::{Hunt, hunt};
pub use run::{Broken, Sum, tell, worlds};
pub use shrink::shrink;
pub use told::Told;

/// A rule that can be broken on purpose, on a device or on the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// One of the engine's.
    Engine(Mutant),
    /// One of the server's.
    Server(ServerMutant),
}

impl From<Mutant> for Rule {
    fn from(mutant: Mutant) -> Self {
        Self::Engine(mutant)
    }
}

/// Its name alone, as it is given on the command line.
impl fmt::Debug for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(mutant) => mutant.fmt(out),
            Self::Server(mutant) => mutant.fmt(out),
        }
    }
}

/// A kind of world.
pub trait Model: Sync {
    /// One thing that happens. It carries all that it needs, chance included, and can be left out.
    type Step: Clone + Send + Sync;

    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The steps of a world. What else makes the world (how many devices, which server) follows from the seed too, in
    /// [`Model::live`], so that fewer steps are told of the same world.
    fn steps(&self, seed: u64) -> Vec<Self::Step>;

    /// Lives a world to its end and holds it to its law. May panic, which breaks the law as well.
    ///
    /// # Errors
    /// What was broken, in words.
    fn live(&self, seed: u64, steps: &[Self::Step], told: &mut Told) -> Result<(), String>;

    /// What must have happened at least once in all worlds together: without it they would show less than they say.
    fn expected(&self) -> &'static [&'static str];

    /// What may happen in few worlds only: its name, and in how many of a thousand at most.
    fn limited(&self) -> &'static [(&'static str, u64)];

    /// The rules that can be broken on purpose, by name, each of which must be noticed.
    fn mutants(&self) -> &'static [(&'static str, Rule)];

    /// The seed of the `number`th world, from 0 on; worlds in which a broken rule does not matter may be passed over.
    fn seed(&self, number: u64, _broken: Option<Rule>) -> u64 {
        number
    }

    /// Figures worked out from the counts of all worlds, a line each.
    fn figures(&self, _sum: &Sum) -> Vec<String> {
        Vec::new()
    }
}
