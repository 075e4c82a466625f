//! A device of a run with what is known of it from outside.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rejoin_core::engine::action::perform;
use rejoin_core::ids::MutationId;
use rejoin_core::{Actions, VerdictKind};
use rejoin_protocol::time;

use super::crash_point::Files;
use super::device_state::{self, DeviceState};
use super::history::Name;
use super::push_invariants::WithdrawnMutation;
use super::setting::DRAFTS;
use super::teams::Subscriptions;
use crate::Device;

/// A verdict as the app received it: the mutation's id, its attempt, its kind.
pub(super) type ReportedVerdict = (MutationId, i64, VerdictKind);

/// A device.
#[derive(Debug)]
pub(super) struct DeviceSlot {
    pub(super) device: Device,
    /// The device whose file it is a copy of, or itself.
    pub(super) original: usize,
    /// Its state at the last check.
    pub(super) state: DeviceState,
    /// Cells that it ever had, in the view or in the base.
    pub(super) seen: HashSet<(Name, String, String)>,
    /// The number of the server's changes at its last response, and at the end of its last pass.
    pub(super) pulled: usize,
    pub(super) known: usize,
    /// The number of restores of the server until then.
    pub(super) epoch: usize,
    /// Whether its user's access has changed since.
    pub(super) stale: bool,
    /// Whether its rows were removed by a reset since.
    pub(super) is_reset: bool,
    /// Verdicts that the app received, by number, and the number up to which it has acknowledged
    /// them.
    pub(super) reported: BTreeMap<i64, ReportedVerdict>,
    pub(super) acknowledged: i64,
    /// Mutations whose acceptance it received.
    pub(super) accepted: Vec<MutationId>,
    /// Mutations that its app discarded after sending, and those of them that had no verdict before
    /// the current exchange.
    pub(super) withdrawn: Vec<WithdrawnMutation>,
    pub(super) open: Vec<WithdrawnMutation>,
    /// The subscriptions of its last pull that had a response.
    pub(super) header: Option<String>,
    /// Those that its app has.
    pub(super) subscriptions: Subscriptions,
    /// Whether its app is an older version, without actions.
    pub(super) is_older: bool,
    actions: Arc<Actions>,
}

impl DeviceSlot {
    pub(super) fn new(original: usize, mut device: Device, actions: Arc<Actions>) -> Self {
        perform::set_actions(device.engine(), actions.clone(), false)
            .expect("actions that are in order");
        device.try_write(DRAFTS);
        let mut subscriptions = Subscriptions::default();
        subscriptions.start(device.engine());
        Self {
            device,
            original,
            state: DeviceState::default(),
            seen: HashSet::new(),
            pulled: 0,
            known: 0,
            epoch: 0,
            stale: false,
            is_reset: false,
            reported: BTreeMap::new(),
            acknowledged: 0,
            accepted: Vec::new(),
            withdrawn: Vec::new(),
            open: Vec::new(),
            header: None,
            subscriptions,
            is_older: false,
            actions,
        }
    }

    /// The write times of these rows of its base, by their versions.
    pub(super) fn versions(&self, rows: &[Name]) -> BTreeMap<Name, i64> {
        let at = |name: &Name| time::parse(self.state.base.get(name)?.get("updated_at")?);
        rows.iter().filter_map(|name| Some((name.clone(), at(name)?))).collect()
    }

    /// Ends the process without a shutdown and starts the app again.
    pub(super) fn crash(&mut self) {
        self.device.crash();
        self.register_actions();
    }

    /// The app registers its actions.
    pub(super) fn register_actions(&mut self) {
        let none = || Arc::new(Actions::new());
        let actions = if self.is_older { none() } else { self.actions.clone() };
        perform::set_actions(self.device.engine(), actions, false)
            .expect("actions that are in order");
        self.subscriptions.start(self.device.engine());
    }

    /// Starts the app on the files that a crash left.
    pub(super) fn restore_files(&mut self, files: &Files) {
        self.device.put(files);
        self.register_actions();
    }

    /// Another user takes over the file: forgets what the former user knew. The cells that the
    /// former user has seen stay, because a request may still be in transit.
    pub(super) fn reset_for_new_user(&mut self) {
        self.reported.clear();
        self.accepted.clear();
        self.withdrawn.clear();
        self.subscriptions.clear();
        (self.acknowledged, self.pulled, self.known, self.stale) = (0, 0, 0, true);
        (self.epoch, self.is_reset) = (0, false);
    }

    /// A device over a copy of its file.
    pub(super) fn copy(&self, seed: u64) -> Self {
        let mut copy = Self::new(self.original, self.device.copy(seed), self.actions.clone());
        copy.state = self.state.clone();
        copy.seen.clone_from(&self.seen);
        (copy.pulled, copy.known, copy.stale) = (self.pulled, self.known, self.stale);
        (copy.epoch, copy.is_reset) = (self.epoch, self.is_reset);
        copy.reported.clone_from(&self.reported);
        copy.acknowledged = self.acknowledged;
        copy.accepted.clone_from(&self.accepted);
        copy.withdrawn.clone_from(&self.withdrawn);
        copy.header.clone_from(&self.header);
        copy.subscriptions = self.subscriptions.copy();
        copy.subscriptions.start(copy.device.engine());
        copy
    }

    /// Records every cell of the device, and the cells of each pending mutation, on which later
    /// ones are based.
    pub(super) fn record_seen_cells(&mut self) {
        let schema = self.device.engine().schema().clone();
        for patch in self.state.queue.iter().flat_map(|one| &one.effect.rows) {
            let Some(name) = device_state::name(&schema, patch) else { continue };
            for (column, value) in device_state::written(&schema, patch) {
                self.seen.extend(value.map(|value| (name.clone(), column, value)));
            }
        }
        for (name, row) in self.state.view.iter().chain(&self.state.base) {
            for column in ["name", "note", "level", "m", "n"] {
                if let Some(value) = row.get(column) {
                    self.seen.insert((name.clone(), column.to_owned(), value.clone()));
                }
            }
        }
    }
}
