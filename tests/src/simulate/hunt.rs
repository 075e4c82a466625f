//! A rule broken on purpose: how many worlds it takes until somebody notices.

use super::{Broken, Model, Rule, worlds};

/// What came of a hunt.
#[derive(Debug)]
pub struct Hunt {
    /// Worlds that were lived.
    pub worlds: u64,
    /// The first world that noticed; `None` if none did.
    pub noticed: Option<Broken>,
}

/// Lives worlds with one rule broken until one of them breaks its law; at most `most`.
pub fn hunt<M: Model>(model: &M, mutant: Rule, from: u64, most: u64, threads: usize) -> Hunt {
    let sum = worlds(model, from, most, threads, Some(mutant));
    Hunt { worlds: sum.worlds, noticed: sum.broken }
}
