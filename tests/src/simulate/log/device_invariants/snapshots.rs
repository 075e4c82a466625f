//! Snapshots of a device: its rows and items are then those of the server at that moment.

use std::collections::BTreeMap;

use rejoin_log::key::Key;
use rejoin_log::message::LogSnapshot;
use rejoin_log::message::snapshot::SnapshotAnswer;
use rejoin_log::replica::Replica;
use rejoin_log::replica::store::{Facts, ReplicaStore as _};

use super::super::run::unexpected;
use super::super::store::DeviceStore;
use super::{ExpectedDevice, ShownEntry, rows};
use crate::simulate::{Checked, broken};

impl ExpectedDevice {
    pub(super) fn begin(&mut self, snapshot: &LogSnapshot) {
        self.base = rows(snapshot.base.clone());
        self.items.clear();
        snapshot.items.iter().for_each(|seen| self.show_entry(seen));
        self.at_head = true;
        // It is applied in two steps: up to its horizon, then above it.
        self.allowed.values_mut().for_each(|allowed| *allowed += 2);
    }

    /// After a snapshot, the device has its items, and no other.
    pub(super) fn has_items(&self, replica: &Replica<DeviceStore>) -> Checked {
        let store = replica.store();
        let mut items = BTreeMap::new();
        for id in store.ids(&Key::LAST).map_err(unexpected)? {
            let record = store.record(id).map_err(unexpected)?;
            if let Some((key, item)) = record.and_then(|record| Some((record.key, record.item?))) {
                items.insert(id, ShownEntry { key, effects: item.effects, held: item.held });
            }
        }
        if items == self.items {
            return Ok(());
        }
        broken!("epochs-and-copies-noticed", "the items of a device differ from its snapshot")
    }

    /// The pages of a first snapshot no longer count.
    pub(in crate::simulate::log) fn start_over(&mut self) {
        self.base.clear();
        self.items.clear();
    }

    /// A page of a first snapshot, if the device applied it. The last one completes the snapshot of
    /// the moment at which it was sent.
    pub(super) fn read_first(
        &mut self,
        answer: &SnapshotAnswer,
        last: Option<&LogSnapshot>,
        before: &Facts,
        after: &Facts,
    ) -> Checked {
        match answer {
            SnapshotAnswer::Restart => self.start_over(),
            SnapshotAnswer::Page(page) if page.after == before.loading => {
                self.base.extend(rows(page.base.clone()));
                page.items.iter().for_each(|item| self.show(item));
            }
            SnapshotAnswer::Page(_) => return Ok(()),
        }
        self.allowed.values_mut().for_each(|allowed| *allowed += 1);
        let Some(last) = last.filter(|_| after.stamp.is_some()) else { return Ok(()) };
        let mut whole = self.clone();
        whole.begin(last);
        if self.base != whole.base || self.items != whole.items {
            return broken!(
                "epochs-and-copies-noticed",
                "the pages of a first snapshot differ from the snapshot"
            );
        }
        self.at_head = true;
        Ok(())
    }
}
