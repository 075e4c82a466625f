//! A device of a world with what is known of it from outside.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rejoin_core::ids::MutationId;
use rejoin_core::{Actions, VerdictKind};
use rejoin_protocol::time;

use super::death::Files;
use super::history::Name;
use super::offers::Withdrawn;
use super::setting::DRAFTS;
use super::sight::{self, Sight};
use crate::Device;

/// An end of a mutation, as the app was told: its number, whose, of which attempt.
pub(super) type End = (MutationId, i64, VerdictKind);

/// A device.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) device: Device,
    /// The device of which file it is a copy, or itself.
    pub(super) original: usize,
    /// What it had when it was last looked at.
    pub(super) sight: Sight,
    /// Cells that it ever had, in the view or in the base.
    pub(super) seen: HashSet<(Name, String, String)>,
    /// The server's changes when its last request was answered, and when its last pass ended.
    pub(super) pulled: usize,
    pub(super) known: usize,
    /// How often the server had been restored by then.
    pub(super) epoch: usize,
    /// Whether its user's access has changed since.
    pub(super) stale: bool,
    /// Whether its rows were removed by a reset since.
    pub(super) is_reset: bool,
    /// Ends that the app was told of, by number, and up to where it has said that it knows.
    pub(super) ends: BTreeMap<i64, End>,
    pub(super) acknowledged: i64,
    /// Mutations that it saw accepted.
    pub(super) accepted: Vec<MutationId>,
    /// What its app gave up after it was sent; and of that, what had no word before the exchange that is under way.
    pub(super) withdrawn: Vec<Withdrawn>,
    pub(super) open: Vec<Withdrawn>,
    /// Whether its app is of an older version, which knows no action.
    pub(super) is_older: bool,
    actions: Arc<Actions>,
}

impl Seat {
    pub(super) fn new(original: usize, mut device: Device, actions: Arc<Actions>) -> Self {
        device.engine().set_actions(actions.clone(), false).expect("actions that are in order");
        device.try_write(DRAFTS);
        Self {
            device,
            original,
            sight: Sight::default(),
            seen: HashSet::new(),
            pulled: 0,
            known: 0,
            epoch: 0,
            stale: false,
            is_reset: false,
            ends: BTreeMap::new(),
            acknowledged: 0,
            accepted: Vec::new(),
            withdrawn: Vec::new(),
            open: Vec::new(),
            is_older: false,
            actions,
        }
    }

    /// When these rows of its base were written, by their versions.
    pub(super) fn versions(&self, rows: &[Name]) -> BTreeMap<Name, i64> {
        let at = |name: &Name| time::parse(self.sight.base.get(name)?.get("updated_at")?);
        rows.iter().filter_map(|name| Some((name.clone(), at(name)?))).collect()
    }

    /// The process dies and the app is started again.
    pub(super) fn crash(&mut self) {
        self.device.crash();
        self.take_actions();
    }

    /// The app says what it can perform.
    pub(super) fn take_actions(&mut self) {
        let none = || Arc::new(Actions::new());
        let actions = if self.is_older { none() } else { self.actions.clone() };
        self.device.engine().set_actions(actions, false).expect("actions that are in order");
    }

    /// The app is started on what a death has left.
    pub(super) fn put(&mut self, files: &Files) {
        self.device.put(files);
        self.take_actions();
    }

    /// The file is another user's from here on, and nothing of the former is known. What that one has seen remains: a
    /// request of theirs may still be on its way.
    pub(super) fn begin_anew(&mut self) {
        self.ends.clear();
        self.accepted.clear();
        self.withdrawn.clear();
        (self.acknowledged, self.pulled, self.known, self.stale) = (0, 0, 0, true);
        (self.epoch, self.is_reset) = (0, false);
    }

    /// A device over a copy of its file.
    pub(super) fn copy(&self, seed: u64) -> Self {
        let mut copy = Self::new(self.original, self.device.copy(seed), self.actions.clone());
        copy.sight = self.sight.clone();
        copy.seen.clone_from(&self.seen);
        (copy.pulled, copy.known, copy.stale) = (self.pulled, self.known, self.stale);
        (copy.epoch, copy.is_reset) = (self.epoch, self.is_reset);
        copy.ends.clone_from(&self.ends);
        copy.acknowledged = self.acknowledged;
        copy.accepted.clone_from(&self.accepted);
        copy.withdrawn.clone_from(&self.withdrawn);
        copy
    }

    /// Notes every cell that it has, and what each that waits has written: the next was made upon that.
    pub(super) fn remember(&mut self) {
        let schema = self.device.engine().schema().clone();
        for patch in self.sight.queue.iter().flat_map(|one| &one.effect.rows) {
            let Some(name) = sight::name(&schema, patch) else { continue };
            for (column, value) in sight::written(&schema, patch) {
                self.seen.extend(value.map(|value| (name.clone(), column, value)));
            }
        }
        for (name, row) in self.sight.view.iter().chain(&self.sight.base) {
            for column in ["name", "note", "level", "m", "n"] {
                if let Some(value) = row.get(column) {
                    self.seen.insert((name.clone(), column.to_owned(), value.clone()));
                }
            }
        }
    }
}
