//! The checker: which properties of causal consistency the histories of one run break. Pure.
//!
//! Positions in the server's write order (`Evidence::stored`) order the values of a register.
//! Position 0 is the initial value. A device with a pending write reads its own value, whose
//! position is assigned when the server stores it. A run ends when no write is pending.
//!
//! A *view* is what one transaction read of all registers. A view that shows a value of transaction T must show
//!
//! - in each register that T wrote, T's value or a later one (atomicity);
//! - in each register, what T itself read there, or a later value (writes-follow-reads; monotonic writes, if the device
//!   of T had written it);
//! - in each register, what the same device saw or wrote before, or a later value (monotonic reads, read-your-writes).
//!
//! A later value instead of T's is legal, so an overwritten register is no violation. T's own reads
//! were checked in the same way, so comparing with them covers all dependencies of T. A transaction
//! whose commit was not recorded may or may not have happened. It counts if the server stored any
//! of its values, and then all of them must be stored.

mod index;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::Event;
use index::{Index, Transaction};

/// Everything recorded in one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// Events that each device recorded.
    pub(crate) histories: Vec<Vec<Event>>,
    /// The values that the server stored in each register, in order.
    pub(crate) stored: Vec<Vec<String>>,
    /// The registers of each device at the end.
    pub(crate) ends: Vec<Vec<String>>,
    /// The registers of the server at the end of the run.
    pub(crate) server_end: Vec<String>,
    /// Reads of the database files of stopped devices, by another process.
    pub(crate) stopped: Vec<Vec<Vec<String>>>,
}

/// The checked properties.
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
    /// A value that a device has read is never replaced by an older one.
    MonotonicReads,
    /// The transactions of one device are visible in their order.
    MonotonicWrites,
    /// A reader of a transaction also sees what that transaction had read.
    WritesFollowReads,
    /// At the end all devices and the server have the same rows.
    Convergence,
    /// No write stays pending longer than the bound once the server is reachable.
    Progress,
}

/// A violated property and where it was observed.
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

/// Number of violations per property.
pub(crate) fn counts(violations: &[Violation]) -> BTreeMap<Property, usize> {
    let mut counts = BTreeMap::new();
    for violation in violations {
        *counts.entry(violation.property).or_default() += 1;
    }
    counts
}

/// The lowest position that a device must see in a register, and whether its own write requires it.
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
        // The watched query is a separate reader: it may lag behind the transactions of its device.
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

    /// Checks one view of a device against its earlier views and against the dependencies of its
    /// transactions.
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

    /// Checks that a view of a transaction includes the transaction's other writes and what it had
    /// read.
    fn depends(
        &mut self,
        device: usize,
        place: &str,
        view: &[usize],
        id: (usize, u64),
        shown: &Transaction<'_>,
    ) {
        let (author, number) = id;
        let describe = |register: usize, least: usize| {
            let (present, least) =
                (self.index.value(register, view[register]), self.index.value(register, least));
            format!(
                "{place} shows {author}:{number}, and in register {register} {present:?} instead of {least:?}"
            )
        };
        let torn = shown.effects().find(|(register, position)| view[*register] < *position);
        if let Some((register, position)) = torn {
            let what = describe(register, position);
            return self.report(Property::Atomicity, what);
        }
        let earlier = |(register, least): &(usize, &usize)| view[*register] < **least;
        if let Some((register, least)) = shown.reads.iter().enumerate().find(earlier) {
            let what = describe(register, *least);
            let writer = self.index.author(register, *least).map(|(writer, _)| writer);
            let is_own = writer == Some(author);
            // A write lost by the reading device itself is reported for its own history.
            if device != author || !is_own {
                let property =
                    if is_own { Property::MonotonicWrites } else { Property::WritesFollowReads };
                self.report(property, what);
            }
        }
    }

    /// Checks that all devices and the server end with the last stored rows.
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
