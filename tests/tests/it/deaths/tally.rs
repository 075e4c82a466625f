//! How many died where.

use std::collections::BTreeMap;
use std::fmt;

use rejoin_core::death::Place;

/// The count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    at: BTreeMap<Place, u32>,
    /// Before the first place.
    before: u32,
    missed: u32,
}

/// Lives that the killer may miss, or that end where enough have: a machine that is so slow shows nothing.
const PATIENCE: u32 = 300;

impl Tally {
    pub(super) fn add(&mut self, place: Option<Place>, count: u32) {
        match place {
            Some(place) => *self.at.entry(place).or_default() += count,
            None => self.before += count,
        }
    }

    /// The device had ended before it was killed.
    pub(super) fn missed(&mut self) {
        self.missed += 1;
    }

    pub(super) fn all(&self) -> u32 {
        self.before + self.at.values().sum::<u32>()
    }

    /// The count of the place where the fewest died.
    pub(super) fn least(&self) -> u32 {
        self.at(self.hunted())
    }

    /// The place where the fewest died.
    pub(super) fn hunted(&self) -> Place {
        Place::ALL.into_iter().min_by_key(|place| self.at(*place)).unwrap()
    }

    pub(super) fn is_enough(&self, most: u32) -> bool {
        self.all() >= most && self.least() > 0 || self.all() + self.missed >= PATIENCE
    }

    fn at(&self, place: Place) -> u32 {
        self.at.get(&place).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in Place::ALL {
            write!(out, "{place:?} {}, ", self.at(place))?;
        }
        write!(out, "before any {}, {} in all; {} missed", self.before, self.all(), self.missed)
    }
}
