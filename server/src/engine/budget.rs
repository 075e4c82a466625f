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
use crate::error::{Fault, Refusal};
use crate::model::{Row, Violation};

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
    /// The time of a request.
    time: i64,
    /// When no further group begins.
    ends: i64,
    /// Whether groups were decided in earlier transactions of the request.
    is_later: Cell<bool>,
    /// Whether the group is the first of the request.
    is_first: Cell<bool>,
    /// How many new rejections may be stored.
    rejections: Cell<usize>,
    /// When the tries of a set end.
    set_ends: Cell<i64>,
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
    pub(super) fn new(engine: &'a Engine, user: &str) -> Self {
        let clock = &*engine.clock;
        let time = i64::from(engine.limits.push_ms) * 1_000;
        let ends = clock.now().saturating_add(time);
        // The rows of a request that is full, before and after it.
        let images = engine.limits.body.saturating_mul(2);
        Self {
            clock,
            time,
            ends,
            is_later: Cell::new(false),
            is_first: Cell::new(true),
            rejections: Cell::new(engine.rejections.room(user, clock.now())),
            set_ends: Cell::new(ends),
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

    /// Ends a transaction. `decides`: groups were decided in it; `rejections`: the new ones.
    pub(super) fn end_slice(&self, decides: bool, rejections: usize) {
        self.is_later.set(self.is_later.get() || decides);
        self.rejections.set(self.rejections.get().saturating_sub(rejections));
    }

    /// How many new rejections this transaction may store.
    pub(super) fn rejections(&self) -> usize {
        self.rejections.get()
    }

    /// Begins a group, or begins it again. `at`: its place among those of the transaction.
    pub(super) fn begin_group(&self, at: usize) {
        self.is_first.set(at == 0 && !self.is_later.get());
        self.begin_images();
    }

    fn begin_images(&self) {
        self.group_rows.set(GROUP_ROWS);
        self.group_images.set(self.all_images);
    }

    /// Begins the tries of the group as a set. Those of the first group have the time of a whole
    /// request.
    pub(super) fn begin_set(&self) {
        self.begin_images();
        let ends = if self.is_first.get() { self.clock.now() + self.time } else { self.ends };
        self.set_ends.set(ends);
    }

    /// Whether the time of the set is over.
    pub(super) fn is_set_over(&self) -> bool {
        self.clock.now() >= self.set_ends.get()
    }

    /// Ends the tries of a set without a result. The device sends the group again at once; one that had
    /// the time of a whole request is refused, because it would be sent for ever. `why`: the rule that
    /// has prevented a row so far.
    pub(super) fn end_set(&self, why: Option<&Violation>) -> Result<(), ChangeError> {
        if !self.is_first.get() {
            let message = "the time of this request was over";
            return reject(Ending::Retry, code::UNFINISHED, None, message);
        }
        let (time, rule) = (self.time / 1_000, why.map_or("", |why| why.message.as_str()));
        let message = format!(
            "rows of the mutation wait for others, and no order that the database accepts was found in {time} ms \
             ({rule}): write fewer at once"
        );
        reject(Ending::Refused, code::TOO_LARGE, why.and_then(|why| why.column.as_deref()), message)
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

/// Rejects a push that is too large (413).
pub(super) fn check_size(found: usize, most: usize, what: &str) -> Result<(), Fault> {
    if found <= most {
        return Ok(());
    }
    let message = format!("{found} {what} in one push, at most {most}: send fewer");
    Err(Refusal::new(413, code::TOO_LARGE, message).into())
}

fn takes(room: &Cell<usize>, bytes: usize) -> bool {
    let rest = room.get().checked_sub(bytes);
    rest.inspect(|rest| room.set(*rest)).is_some()
}
