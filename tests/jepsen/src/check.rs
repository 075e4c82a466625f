//! The checker: which properties of causal consistency the histories of one run break. Pure.
//!
//! Two values of a register are compared by the order in which the server stored them (`Evidence::stored`). Position 0 is
//! the initial value. A device that has a pending write sees its own value, whose position is known once the server has
//! stored it: the run ends when nothing is pending.
//!
//! A *view* is what one transaction read of all registers. A view that shows a value of transaction T must show
//!
//! - in each register that T wrote, T's value or a later one (atomicity);
//! - in each register, what T itself read there, or a later value (writes-follow-reads; monotonic writes, if the device
//!   of T had written it);
//! - in each register, what the same device saw or wrote before, or a later value (monotonic reads, read-your-writes).
//!
//! A later value in the place of T's is legal, so an overwritten register is no alarm. What T read was itself checked in
//! this way, so the direct comparison covers all that T depends on. A transaction whose commit was not recorded may have
//! happened or not: it counts if the server has stored any value of it, and then all of it must be stored.

mod index;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::Event;
use index::{Index, Transaction};

/// All that is known of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// What each device recorded.
    pub(crate) histories: Vec<Vec<Event>>,
    /// The values that the server stored in each register, in order.
    pub(crate) stored: Vec<Vec<String>>,
    /// The registers of each device at the end.
    pub(crate) ends: Vec<Vec<String>>,
    /// The registers of the server at the end.
    pub(crate) server_end: Vec<String>,
    /// What another process read in the file of each device while the device was stopped.
    pub(crate) stopped: Vec<Vec<Vec<String>>>,
}

/// What a run must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// Every value that is read was written by a transaction to that register.
    Integrity,
    /// A local transaction always succeeds.
    Availability,
    /// A committed transaction is stored by the server.
    Durability,
    /// The server stores each write once.
    ExactlyOnce,
    /// All writes of a transaction are visible, or none.
    Atomicity,
    /// A device sees its own writes.
    ReadYourWrites,
    /// What a device has seen, it sees again.
    MonotonicReads,
    /// Transactions of one device are seen in their order.
    MonotonicWrites,
    /// Who sees a transaction sees what it had read.
    WritesFollowReads,
    /// At the end all have the same rows.
    Convergence,
    /// Nothing waits for the server longer than the bound, once it can be reached.
    Progress,
}

/// A property that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) property: Property,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(property: Property, what: impl Into<String>) -> Self {
        Self { property, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.property, self.what)
    }
}

/// Every violation, in the order of the histories.
pub(crate) fn check(evidence: &Evidence) -> Vec<Violation> {
    let index = Index::new(evidence);
    let mut found = Findings { index: &index, violations: index.problems(evidence) };
    for (device, history) in evidence.histories.iter().enumerate() {
        found.history(device, history, evidence.ends.get(device));
    }
    for (device, views) in evidence.stopped.iter().enumerate() {
        let mut floors = vec![Floor::default(); index.registers()];
        for reads in views {
            found.view(device, &format!("the file of device {device}"), reads, &mut floors);
        }
    }
    found.ends(evidence);
    found.violations
}

/// How often each property is broken.
pub(crate) fn counts(violations: &[Violation]) -> BTreeMap<Property, usize> {
    let mut counts = BTreeMap::new();
    for violation in violations {
        *counts.entry(violation.property).or_default() += 1;
    }
    counts
}

/// The least position that a device must see in a register, and whether its own write demands it.
#[derive(Debug, Clone, Copy, Default)]
struct Floor {
    position: usize,
    is_own: bool,
}

#[derive(Debug)]
struct Findings<'e> {
    index: &'e Index<'e>,
    violations: Vec<Violation>,
}

impl Findings<'_> {
    fn report(&mut self, property: Property, what: String) {
        self.violations.push(Violation { property, what });
    }

    /// The views of a device in their order, its end included.
    fn history(&mut self, device: usize, history: &[Event], end: Option<&Vec<String>>) {
        let mut floors = vec![Floor::default(); self.index.registers()];
        // The watched query is a reader of its own: it may be behind the transactions of its device.
        let mut watched = floors.clone();
        for event in history {
            match event {
                Event::Watched { reads } => {
                    self.view(
                        device,
                        &format!("the watch of device {device}"),
                        reads,
                        &mut watched,
                    );
                }
                Event::Begun { number, reads, .. } => {
                    self.view(
                        device,
                        &format!("device {device}, transaction {number}"),
                        reads,
                        &mut floors,
                    );
                    if let Some(own) = self.index.transaction((device, *number)) {
                        for (register, position) in own.effects() {
                            floors[register] = Floor { position, is_own: true };
                        }
                    }
                }
                Event::Failed { number, why } => {
                    let what = format!("device {device}, transaction {number} failed: {why}");
                    self.report(Property::Availability, what);
                }
                Event::Committed { .. } => {}
            }
        }
        if let Some(end) = end {
            self.view(device, &format!("device {device} at the end"), end, &mut floors);
        }
    }

    /// One view of a device: against what it saw before, and against what the transactions in it depend on.
    fn view(&mut self, device: usize, place: &str, reads: &[String], floors: &mut [Floor]) {
        let Some(positions) = self.index.positions(reads) else {
            let unknown = self.index.first_unknown(reads);
            return self.report(Property::Integrity, format!("{place} reads {unknown}"));
        };
        let mut shown = BTreeSet::new();
        for (register, (position, floor)) in positions.iter().zip(floors.iter_mut()).enumerate() {
            if *position < floor.position {
                let property =
                    if floor.is_own { Property::ReadYourWrites } else { Property::MonotonicReads };
                let before = self.index.value(register, floor.position);
                let what = format!(
                    "{place} reads {:?} in register {register} after {before:?}",
                    reads[register]
                );
                self.report(property, what);
            } else if *position > floor.position {
                *floor = Floor { position: *position, is_own: false };
            }
            shown.extend(self.index.author(register, *position));
        }
        for id in shown {
            if let Some(transaction) = self.index.transaction(id) {
                self.depends(device, place, &positions, id, transaction);
            }
        }
    }

    /// Whether a view that shows a transaction shows its other writes, and what it had read.
    fn depends(
        &mut self,
        device: usize,
        place: &str,
        view: &[usize],
        id: (usize, u64),
        shown: &Transaction<'_>,
    ) {
        let (author, number) = id;
        let says = |register: usize, least: usize| {
            let (present, least) =
                (self.index.value(register, view[register]), self.index.value(register, least));
            format!(
                "{place} shows {author}:{number}, and in register {register} {present:?} instead of {least:?}"
            )
        };
        let torn = shown.effects().find(|(register, position)| view[*register] < *position);
        if let Some((register, position)) = torn {
            let what = says(register, position);
            return self.report(Property::Atomicity, what);
        }
        let earlier = |(register, least): &(usize, &usize)| view[*register] < **least;
        if let Some((register, least)) = shown.reads.iter().enumerate().find(earlier) {
            let what = says(register, *least);
            let writer = self.index.author(register, *least).map(|(writer, _)| writer);
            let is_own = writer == Some(author);
            // What the reading device itself lost is reported against its own history.
            if device != author || !is_own {
                let property =
                    if is_own { Property::MonotonicWrites } else { Property::WritesFollowReads };
                self.report(property, what);
            }
        }
    }

    /// Whether all have the rows that the server stored last.
    fn ends(&mut self, evidence: &Evidence) {
        let last = |stored: &Vec<String>| stored.last().cloned().unwrap_or_default();
        let expected: Vec<String> = evidence.stored.iter().map(last).collect();
        let sites =
            evidence.ends.iter().enumerate().map(|(device, end)| (format!("device {device}"), end));
        for (site, end) in sites.chain([(String::from("the server"), &evidence.server_end)]) {
            let differs = |(left, right): (&String, &String)| left != right;
            if let Some(register) = expected.iter().zip(end).position(differs) {
                let what = format!(
                    "{site} ends with {:?} in register {register}, the server stored {:?} last",
                    end[register], expected[register]
                );
                self.report(Property::Convergence, what);
            } else if end.len() != expected.len() {
                self.report(
                    Property::Convergence,
                    format!("{site} ends with {} registers", end.len()),
                );
            }
        }
    }
}
