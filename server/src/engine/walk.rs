//! The walk: when the buckets of a device have changed, the rows of the added and removed ones are read
//! before later changes.
//!
//! It takes several pages, and the position of the cursor does not advance meanwhile. The buckets that
//! the user holds come first, then those of subscriptions, the lowest priority first; a subscription of
//! a lower one that is added meanwhile interrupts the walk.

use std::collections::HashSet;

use rejoin_protocol::mutant::{self, Mutant};

use super::cursor::{AccessWalk, Cursor};
use super::page::Names;
use super::subscriptions::Held;
use crate::error::Fault;
use crate::model::{PageLimit, ReadScope, WAITING};
use crate::store::Reading;

/// The cursor, with a walk started, restarted or interrupted if the device's buckets have changed.
pub(super) fn turned(cursor: &Cursor, held: &Held, log_end: i64) -> Cursor {
    let mut next = cursor.clone();
    if !mutant::on(Mutant::BucketsUnwalked) {
        next.begin_walk(held);
    }
    if cursor.has_later_rows && next.walk.is_none() {
        // The walk had read rows whose entries have a position only now.
        next.until = next.until.max(log_end);
    }
    next
}

impl Cursor {
    fn begin_walk(&mut self, held: &Held) {
        let reads = &held.rights.reads;
        if self.walk.is_none() && same_buckets(&self.held, reads) {
            return;
        }
        let new: HashSet<&String> = only(reads, &self.held).collect();
        let mut target = stage(held, &new);
        let Some(walk) = &self.walk else {
            if !same_buckets(&self.held, &target) {
                self.walk = Some(AccessWalk::new(difference(&self.held, &target), target));
            }
            return;
        };
        let targets = self.paused.iter().chain(&self.walk).flat_map(|walk| &walk.target);
        if targets.clone().all(|bucket| held.rights.may_read(bucket)) {
            let walked = walk.target.iter().filter(|bucket| new.contains(bucket));
            let level = walked.filter_map(|bucket| held.level(bucket)).max();
            let mut added = new.iter().filter(|bucket| !walk.target.contains(bucket));
            if added.any(|bucket| held.level(bucket) < level) {
                self.paused.extend(self.walk.take());
                self.walk = Some(AccessWalk::new(difference(&self.held, &target), target));
            }
            return;
        }
        // The walks have already sent some rows of their buckets, or have yet to remove some.
        let mut buckets = Vec::new();
        for bucket in self.paused.drain(..).chain(self.walk.take()).flat_map(|walk| walk.buckets) {
            if held.rights.may_read(&bucket) && !target.contains(&bucket) {
                target.push(bucket.clone());
            }
            buckets.push(bucket);
        }
        buckets.extend(difference(&self.held, &target));
        buckets.sort();
        buckets.dedup();
        self.walk = Some(AccessWalk::new(buckets, target));
    }
}

/// The buckets of the device up to the lowest priority of which one is not loaded.
fn stage(held: &Held, new: &HashSet<&String>) -> Vec<String> {
    let next = new.iter().filter_map(|bucket| held.level(bucket)).min();
    let waits = |bucket: &&String| new.contains(bucket) && held.level(bucket) > next;
    held.rights.reads.iter().filter(|bucket| !waits(bucket)).cloned().collect()
}

impl AccessWalk {
    fn new(buckets: Vec<String>, target: Vec<String>) -> Self {
        Self { buckets, target, table: String::new(), after: None }
    }
}

/// Whether two lists name the same buckets, in any order.
pub(super) fn same_buckets(left: &[String], right: &[String]) -> bool {
    difference(left, right).is_empty()
}

/// The elements that are in exactly one of the two lists.
fn difference(left: &[String], right: &[String]) -> Vec<String> {
    only(left, right).chain(only(right, left)).cloned().collect()
}

/// The elements of a list that another one lacks. A user may have thousands of buckets.
fn only<'a>(of: &'a [String], not: &'a [String]) -> impl Iterator<Item = &'a String> {
    let (of, not) = if of == not { (&[][..], &[][..]) } else { (of, not) };
    let not: HashSet<&String> = not.iter().collect();
    of.iter().filter(move |name| !not.contains(name))
}

/// The buckets in which a walk looks for rows, including those that may no longer have any.
pub(super) fn walked(walk: &AccessWalk) -> Vec<String> {
    let mut buckets = walk.buckets.clone();
    buckets.push(String::from(WAITING));
    buckets
}

/// Reads one page of the walk: every live row of the added and removed buckets, with its current
/// membership.
pub(super) fn walk(
    reading: &dyn Reading,
    next: &mut Cursor,
    room: PageLimit,
    names: &mut Names,
) -> Result<(), Fault> {
    let Some(mut walk) = next.walk.take() else { return Ok(()) };
    let scope = ReadScope::of(&walked(&walk));
    let schema = reading.schema();
    let mut moves = false;
    for table in &schema.tables {
        if table.name < walk.table {
            continue;
        }
        if table.name != walk.table {
            walk.table.clone_from(&table.name);
            walk.after = None;
        }
        let left = PageLimit { rows: room.rows.saturating_sub(names.len()).max(1), ..room };
        let after = walk.after.as_deref().and_then(|after| table.key_of(after));
        let page = reading.page(table, after.as_ref(), left, &scope)?;
        for row in &page.rows {
            names.add(table, row.id(table));
        }
        moves |= !page.rows.is_empty();
        // Rows that the device asked for by name may have filled the page. The walk goes on until it
        // has a row of its own: otherwise it would stay at the end of a table.
        if !page.ends || moves && names.len() >= room.rows {
            walk.after = page.rows.last().map(|row| row.id(table)).or(walk.after);
            next.walk = Some(walk);
            return Ok(());
        }
    }
    // Entries of former buckets still report rows that left them during this walk, or during an
    // earlier one whose entries were not read yet.
    for bucket in walk.buckets.into_iter().chain(next.held.drain(..)) {
        if !next.extra.contains(&bucket) {
            next.extra.push(bucket);
        }
    }
    next.until = reading.log_state()?.head;
    next.held = walk.target;
    // Before the position advances: the interrupted walk has rows as of this position.
    next.walk = next.paused.pop().map(|mut paused| {
        let added = next.held.iter().filter(|bucket| !paused.target.contains(bucket));
        let added: Vec<String> = added.cloned().collect();
        paused.target.extend(added);
        paused
    });
    Ok(())
}
