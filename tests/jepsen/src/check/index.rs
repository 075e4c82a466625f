//! Indexes the transactions of a run by value, and the positions of values in each register.
//! Reports errors in the server's record; the parent module checks views.

use std::collections::{BTreeMap, HashMap};

use super::{Evidence, Property, Violation};
use crate::history::{self, Event};

/// The device and the number of a transaction.
type Id = (usize, u64);

/// A transaction that a device began.
#[derive(Debug)]
pub(super) struct Transaction<'e> {
    /// The registers that it wrote.
    writes: &'e [usize],
    /// The position of each of them; `None` if the server never stored it.
    stored: Vec<Option<usize>>,
    /// Positions of its reads; empty if it read an unknown value, which the check of its own view
    /// reports.
    pub(super) reads: Vec<usize>,
    /// Whether its commit was recorded.
    committed: bool,
}

impl Transaction<'_> {
    /// The registers that it wrote, with the positions of its values.
    pub(super) fn effects(&self) -> impl Iterator<Item = (usize, usize)> {
        self.writes
            .iter()
            .zip(&self.stored)
            .filter_map(|(register, stored)| Some((*register, (*stored)?)))
    }
}

/// Meaning of the values.
#[derive(Debug)]
pub(super) struct Index<'e> {
    stored: &'e [Vec<String>],
    places: Vec<HashMap<&'e str, usize>>,
    transactions: BTreeMap<Id, Transaction<'e>>,
}

impl<'e> Index<'e> {
    pub(super) fn new(evidence: &'e Evidence) -> Self {
        let place = |values: &'e Vec<String>| {
            // The first position, if a value was stored twice.
            values.iter().enumerate().rev().map(|(at, value)| (value.as_str(), at + 1)).collect()
        };
        let places = evidence.stored.iter().map(place).collect();
        let mut index = Self { stored: &evidence.stored, places, transactions: BTreeMap::new() };
        for (device, events) in evidence.histories.iter().enumerate() {
            for event in events {
                index.add(device, event);
            }
        }
        index
    }

    fn add(&mut self, device: usize, event: &'e Event) {
        match event {
            Event::Begun { number, reads, writes } => {
                let value = history::value(device, *number);
                let place =
                    |register: &usize| self.places.get(*register)?.get(value.as_str()).copied();
                let transaction = Transaction {
                    writes,
                    stored: writes.iter().map(place).collect(),
                    reads: self.positions(reads).unwrap_or_default(),
                    committed: false,
                };
                self.transactions.insert((device, *number), transaction);
            }
            Event::Committed { number } => {
                if let Some(begun) = self.transactions.get_mut(&(device, *number)) {
                    begun.committed = true;
                }
            }
            Event::Watched { .. } | Event::Failed { .. } => {}
        }
    }

    /// How many registers there are.
    pub(super) fn registers(&self) -> usize {
        self.stored.len()
    }

    /// The transaction of this id.
    pub(super) fn transaction(&self, id: Id) -> Option<&Transaction<'e>> {
        self.transactions.get(&id)
    }

    /// The value at a position of a register; the initial one is empty.
    pub(super) fn value(&self, register: usize, position: usize) -> &'e str {
        let at = position.checked_sub(1);
        at.and_then(|at| self.stored.get(register)?.get(at)).map_or("", String::as_str)
    }

    /// The transaction that wrote the value at a position.
    pub(super) fn author(&self, register: usize, position: usize) -> Option<Id> {
        history::author(self.value(register, position))
    }

    /// The position of each value; `None` if the server never stored one of them.
    pub(super) fn positions(&self, values: &[String]) -> Option<Vec<usize>> {
        if values.len() != self.registers() {
            return None;
        }
        values.iter().enumerate().map(|(register, value)| self.position(register, value)).collect()
    }

    fn position(&self, register: usize, value: &str) -> Option<usize> {
        if value.is_empty() { Some(0) } else { self.places.get(register)?.get(value).copied() }
    }

    /// Names the first value that has no position.
    pub(super) fn first_unknown(&self, values: &[String]) -> String {
        let unknown =
            |(register, value): &(usize, &String)| self.position(*register, value).is_none();
        values.iter().enumerate().find(unknown).map_or_else(
            || format!("{} registers", values.len()),
            |(register, value)| {
                format!("{value:?} in register {register}, which the server never stored")
            },
        )
    }

    /// Errors in the server's record.
    pub(super) fn problems(&self, evidence: &Evidence) -> Vec<Violation> {
        let mut found = Vec::new();
        for (register, values) in evidence.stored.iter().enumerate() {
            for (at, value) in values.iter().enumerate() {
                let author = history::author(value).and_then(|id| self.transaction(id));
                if !author.is_some_and(|author| author.writes.contains(&register)) {
                    let what = format!("the server stores {value:?} in register {register}");
                    found.push(Violation::new(Property::Integrity, what));
                } else if self.position(register, value) != Some(at + 1) {
                    let what = format!("the server stores {value:?} in register {register} again");
                    found.push(Violation::new(Property::ExactlyOnce, what));
                }
            }
        }
        for ((device, number), transaction) in &self.transactions {
            let (count, all) = (transaction.effects().count(), transaction.writes.len());
            let what = format!("the server stores {count} of {all} writes of {device}:{number}");
            if count > 0 && count < all {
                found.push(Violation::new(Property::Atomicity, what));
            } else if count == 0 && transaction.committed {
                found.push(Violation::new(Property::Durability, what));
            }
        }
        found
    }
}
