//! What one push may cost: time within transactions, and bytes of images in memory and in the
//! response.
//!
//! A request of one user must neither hold the database while others wait, nor make a response that
//! fills the memory. What a device has to send again, and what it pulls instead, costs it nothing
//! else.

use std::cell::Cell;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;

use super::Engine;
use super::rejection::{ChangeError, reject};
use crate::clock::Clock;
use crate::model::Row;

/// The time after which a transaction that excludes all others ends, and the next one goes on.
const SLICE: i64 = 50_000;

/// The same while another write of this server waits. A commit costs about a millisecond.
const SLICE_WHILE_AWAITED: i64 = 5_000;

/// Bytes of the stored rows that one group names. Rows are read whole, also for a small change.
const GROUP_ROWS: usize = 256 << 20;

/// The rest of what a push may cost. Times are microseconds of the clock.
#[derive(Debug)]
pub(super) struct Budget<'a> {
    clock: &'a dyn Clock,
    /// When no further group begins.
    ends: i64,
    /// When this transaction ends.
    slice_ends: Cell<i64>,
    /// When it ends if another one waits.
    yields_from: Cell<i64>,
    /// Bytes of images that the response may still have.
    images: Cell<usize>,
    /// Bytes of stored rows that the group may still name.
    group_rows: Cell<usize>,
    group_images: Cell<usize>,
    all_images: usize,
}

impl<'a> Budget<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        let clock = &*engine.clock;
        let ends = clock.now().saturating_add(i64::from(engine.limits.push_ms) * 1_000);
        // The rows of a request that is full, before and after it.
        let images = engine.limits.body.saturating_mul(2);
        Self {
            clock,
            ends,
            slice_ends: Cell::new(ends),
            yields_from: Cell::new(ends),
            images: Cell::new(images),
            group_rows: Cell::new(GROUP_ROWS),
            group_images: Cell::new(images),
            all_images: images,
        }
    }

    /// Whether the time of the request is over.
    pub(super) fn is_over(&self) -> bool {
        self.clock.now() >= self.ends
    }

    /// Begins a transaction. `is_alone`: it excludes all other writers.
    pub(super) fn begin_slice(&self, is_alone: bool) {
        let now = self.clock.now();
        let end = |after: i64| if is_alone { now.saturating_add(after) } else { i64::MAX };
        self.slice_ends.set(end(SLICE).min(self.ends));
        self.yields_from.set(end(SLICE_WHILE_AWAITED).min(self.ends));
    }

    /// Whether the transaction has to end. `is_awaited`: another write waits for its end.
    pub(super) fn is_slice_over(&self, is_awaited: bool) -> bool {
        let end = if is_awaited { &self.yields_from } else { &self.slice_ends };
        self.clock.now() >= end.get()
    }

    pub(super) fn begin_group(&self) {
        self.group_rows.set(GROUP_ROWS);
        self.group_images.set(self.all_images);
    }

    /// Rejects a group whose stored rows are too large together.
    pub(super) fn check_row(&self, row: &Row) -> Result<(), ChangeError> {
        if takes(&self.group_rows, row.weight()) {
            return Ok(());
        }
        let message = format!(
            "the stored rows that the mutation names have more than {GROUP_ROWS} bytes: write fewer at once"
        );
        reject(Ending::Refused, code::TOO_LARGE, None, message)
    }

    /// Whether a before-image of this size is kept for the group.
    pub(super) fn keeps_image(&self, bytes: usize) -> bool {
        takes(&self.group_images, bytes)
    }

    /// Whether images of this size are part of the response.
    pub(super) fn sends_images(&self, bytes: usize) -> bool {
        takes(&self.images, bytes)
    }
}

fn takes(room: &Cell<usize>, bytes: usize) -> bool {
    let rest = room.get().checked_sub(bytes);
    rest.inspect(|rest| room.set(*rest)).is_some()
}
