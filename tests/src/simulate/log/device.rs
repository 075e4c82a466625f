//! A device: a replica with an app, a wall clock that may be wrong, and a user who writes, decides
//! and restarts the app.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::value::Value;
use rejoin_log::effect::{Effect, Effects};
use rejoin_log::entry::Intent;
use rejoin_log::ids::{AuthorId, EntryId, Name};
use rejoin_log::message::{Fetched, Item};
use rejoin_log::replica::store::ReplicaStore as _;
use rejoin_log::replica::write::Written as Entry;
use rejoin_log::replica::{LogError, Replica, ReplicaEvent};
use rejoin_log::replica::{fetch, publish, snapshot};
use rejoin_log::row::RowName;

use super::RunReport;
use super::actions::{Actions, App, ITEM, fresh};
use super::device_invariants::{ExpectedDevice, facts};
use super::expected_server::rows;
use super::ids;
use super::oracle::Rows;
use super::run::{Columns, Message, WrittenEntry, private_bucket, unexpected};
use super::setting::{Kind, Setting};
use super::store::DeviceStore;
use crate::simulate::Checked;

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    number: usize,
    pub(super) user: usize,
    pub(super) author: AuthorId,
    pub(super) actions: Arc<Actions>,
    pub(super) replica: Replica<DeviceStore>,
    skew: i64,
    pub(super) has_left: bool,
    backup: Option<(DeviceStore, AuthorId, ExpectedDevice)>,
    /// Entries and authors named so far.
    entries: u64,
    authors: u64,
    /// Entries that this device wrote and is still responsible for.
    own: Vec<EntryId>,
    expected: ExpectedDevice,
    /// Whether another device has, or had, a copy of its database.
    copied: bool,
    /// Whether its app ever lacked a handler: entries that it could not run again keep their
    /// effects.
    lacked_handler: bool,
}

/// A user's decision about an entry.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) of: EntryId,
    /// The entry that replaces it.
    pub(super) instead: Option<(EntryId, WrittenEntry)>,
    /// Whether it is discarded.
    pub(super) discarded: bool,
}

impl Device {
    pub(super) fn new(number: usize, user: usize, skew: i64, in_file: bool) -> Checked<Self> {
        let author = ids::author(number, 0);
        let actions = Arc::new(Actions::new(App::First));
        let store = DeviceStore::new(in_file)?;
        let replica = Replica::create(store, author, actions.clone(), Arc::new(Columns))
            .map_err(unexpected)?;
        let (own, entries, authors, expected) = (Vec::new(), 0, 1, ExpectedDevice::default());
        Ok(Self {
            number,
            user,
            author,
            actions,
            replica,
            skew,
            has_left: false,
            backup: None,
            entries,
            authors,
            own,
            expected,
            copied: false,
            lacked_handler: false,
        })
    }

    /// The time of its wall clock.
    fn wall_clock(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.skew)
    }

    fn new_entry(&mut self) -> EntryId {
        self.entries += 1;
        ids::entry_id(self.number, self.entries)
    }

    /// All rows as the app reads them.
    pub(super) fn rows(&self) -> Checked<Rows> {
        Ok(rows(self.replica.rows().map_err(unexpected)?))
    }

    /// Effects that restore the columns that an own entry changed; `None` if it does not count.
    fn reversal(&self, of: EntryId) -> Checked<Option<Effects>> {
        let Some(record) = self.replica.store().record(of).map_err(unexpected)? else {
            return Ok(None);
        };
        let Some(counted) = record.counted() else { return Ok(None) };
        let back = record.undo.iter().filter_map(|(row, before)| {
            let after = counted.effects().get(row)?.on(before.as_ref());
            Some((row.clone(), Effect::between(after.as_ref(), before.as_ref())?))
        });
        Ok(Some(back.collect()))
    }

    /// Executes a write of the user; returns the entry, if there is one.
    pub(super) fn write(
        &mut self,
        setting: &Setting,
        now: u64,
        rng: &mut Rng,
        report: &mut RunReport,
    ) -> Checked<Option<(EntryId, WrittenEntry)>> {
        let id = self.new_entry();
        let wall_clock = self.wall_clock(now);
        let operation = setting.operations[rng.usize(..setting.operations.len())];
        let mut written = WrittenEntry { device: self.number, plain: None, decided: false };
        let (done, words) = match operation {
            "sql" => {
                let effects = self.sql(setting, rng)?;
                written.plain = Some(effects.clone());
                report.count("plain SQL is written");
                let words = format!("{effects:?}");
                (self.replica.write(id, effects, wall_clock), words)
            }
            "undo" => {
                let Some(of) = self.own.get(rng.usize(..self.own.len().max(1))).copied() else {
                    return Ok(None);
                };
                let Some(effects) = self.reversal(of)? else { return Ok(None) };
                (self.replica.write(id, effects, wall_clock), format!("undo of {}", ids::entry(of)))
            }
            action => {
                let intent = self.intent(action, setting, rng)?;
                let words = format!("{intent:?}");
                (self.replica.perform(id, intent, wall_clock), words)
            }
        };
        match done {
            Ok(()) => {}
            Err(error @ (LogError::Refused(_) | LogError::Outside(_) | LogError::NotThere(_))) => {
                report.trace(|| format!("c{} {words}: {error}", self.number));
                report.count("an action is refused at once");
                return Ok(None);
            }
            Err(error) => return Err(unexpected(error)),
        }
        if self.replica.key_of(id).map_err(unexpected)?.is_none() {
            return Ok(None); // It would change nothing.
        }
        report.count(if operation == "undo" {
            "an entry is undone"
        } else {
            "an entry is written"
        });
        report.trace(|| format!("c{} at {wall_clock}: {} = {words}", self.number, ids::entry(id)));
        self.own.push(id);
        self.count_events(report);
        Ok(Some((id, written)))
    }

    /// Keys of rows of `item` that are present, or may be.
    fn some_row(&self, rng: &mut Rng) -> Checked<String> {
        let there: Vec<String> = self
            .rows()?
            .keys()
            .filter(|row| row.table.as_str() == ITEM)
            .map(|row| row.id.to_string())
            .collect();
        if there.is_empty() || rng.u8(..12) == 0 {
            return Ok(["r0", "k0", "k1"][rng.usize(..3)].to_owned());
        }
        Ok(there[rng.usize(..there.len())].clone())
    }

    fn some_bucket(&self, setting: &Setting, rng: &mut Rng) -> String {
        if matches!(setting.kind, Kind::Moves | Kind::AuthorityMoves | Kind::Everything)
            && rng.u8(..8) == 0
        {
            return private_bucket(self.user);
        }
        let seen = &setting.members[self.user];
        if rng.u8(..8) == 0 {
            setting.buckets[rng.usize(..setting.buckets.len())]
        } else {
            seen[rng.usize(..seen.len())]
        }
        .to_owned()
    }

    fn intent(&self, action: &str, setting: &Setting, rng: &mut Rng) -> Checked<Intent> {
        let mut arguments: BTreeMap<Name, Value> = BTreeMap::new();
        let mut set = |name: &str, value: Value| drop(arguments.insert(Name::from(name), value));
        let message = char::from(b'a' + rng.u8(..26)).to_string();
        let row = match action {
            "upsert" | "plant" => ["k0", "k1"][rng.usize(..2)].to_owned(),
            _ => self.some_row(rng)?,
        };
        set("row", row.into());
        match action {
            "append" | "reset" => set("text", message.into()),
            "create" | "upsert" => {
                set("to", self.some_bucket(setting, rng).into());
                set("text", message.into());
            }
            "move" | "empty" | "plant" => set("to", self.some_bucket(setting, rng).into()),
            "share" if rng.u8(..4) > 0 => set("to", self.some_bucket(setting, rng).into()),
            "cap" | "cap_all" => {
                set("to", self.some_bucket(setting, rng).into());
                set("limit", Value::Integer(rng.i64(2..7)));
            }
            "increment" => set("limit", Value::Integer(rng.i64(1..4))),
            "blind" => set("n", Value::Integer(rng.i64(0..2))),
            "transfer" => set("to", self.some_row(rng)?.into()),
            "copy_secret" => set("from", format!("p{}", self.user).into()),
            _ => {}
        }
        let (action, version) = (Name::from(action), self.actions.version());
        Ok(Intent { action, version, arguments: Arc::new(arguments) })
    }

    /// Plain SQL on one or two rows, which may be present or not.
    fn sql(&self, setting: &Setting, rng: &mut Rng) -> Checked<Effects> {
        let mut effects = Vec::new();
        for _ in 0..[1, 1, 2][rng.usize(..3)] {
            let row = RowName::new(ITEM, self.some_row(rng)?);
            let effect = match rng.u8(..8) {
                0 => Effect::Delete,
                1 | 2 => {
                    let image = fresh(&self.some_bucket(setting, rng), "sql", rng.i64(0..2));
                    effects.push((
                        RowName::new(ITEM, ["k0", "k1"][rng.usize(..2)]),
                        Effect::Insert(image.into()),
                    ));
                    continue;
                }
                what => {
                    let (column, value) = match what {
                        3 => ("v", Value::Null),
                        4 => ("o", Value::Null),
                        5 => ("n", Value::Integer(rng.i64(0..4))),
                        6 if setting.operations.contains(&"move") => {
                            ("b", self.some_bucket(setting, rng).into())
                        }
                        _ => ("v", Value::from(char::from(b'A' + rng.u8(..26)).to_string())),
                    };
                    Effect::Update([(Name::from(column), value)].into())
                }
            };
            effects.push((row, effect));
        }
        Ok(effects.into_iter().collect())
    }

    /// Handles a message of the server, at whatever time it arrives.
    pub(super) fn take(&mut self, message: &Message, now: u64, report: &mut RunReport) -> Checked {
        if let Message::SnapshotPage(author, ..) = message
            && *author != self.author
        {
            // Pages for another client id show other entries as own ones.
            return Ok(());
        }
        let wall_clock = self.wall_clock(now);
        let before = facts(&self.replica)?;
        match message {
            Message::SnapshotPage(_, answer, _) => {
                report.count(if snapshot::is_first(&self.replica) {
                    "a page of a first snapshot arrives"
                } else {
                    "a page of a later snapshot arrives"
                });
                snapshot::take_page(&mut self.replica, answer)
            }
            Message::Snapshot(snapshot) => snapshot::take_snapshot(&mut self.replica, snapshot),
            Message::Page(fetched) => {
                self.count_page(fetched, report);
                fetch::take_fetched(&mut self.replica, fetched).map(drop)
            }
            Message::Answer(answer) => {
                publish::take_published(&mut self.replica, answer, wall_clock)
            }
            Message::Request(..) => Ok(()),
        }
        .map_err(unexpected)?;
        if before.needs_snapshot && !self.replica.facts().needs_snapshot {
            report.trace(|| format!("c{} has a snapshot", self.number));
            report.count("a snapshot is taken");
        }
        self.count_events(report);
        self.expected.update(message, &before, &self.replica)?;
        self.check_invariants()
    }

    fn count_page(&self, fetched: &Fetched, report: &mut RunReport) {
        let Fetched::Page(page) = fetched else {
            report.count("a fetch is answered resync");
            return report.trace(|| format!("c{} must take a snapshot", self.number));
        };
        for item in &page.items {
            if matches!(item, Item::Gone(_)) {
                report.count("a bare id is sent");
            }
        }
        report.trace(|| {
            let one = |item: &Item| match item {
                Item::Entry(seen) => {
                    format!("{} ({:?})", ids::entry(seen.key.id), seen.effects)
                }
                Item::Gone(id) => format!("{} is gone", ids::entry(*id)),
            };
            let items = page.items.iter().map(one).collect::<Vec<_>>().join("; ");
            format!("c{} gets {}: {items}", self.number, page.next.0)
        });
    }

    /// Whether its last fetch reached the head.
    pub(super) fn at_head(&self) -> bool {
        self.expected.at_head
    }

    /// Counts the events that the app received.
    fn count_events(&mut self, report: &mut RunReport) {
        for event in self.replica.take_events() {
            report.trace(|| format!("  c{} receives {event:?}", self.number));
            report.count(match event {
                ReplicaEvent::Refused { .. } => "an entry is refused when it runs again",
                ReplicaEvent::Succeeded { .. } => "a refused entry succeeds again",
                ReplicaEvent::Corrected { .. } => "the authority corrects an entry",
                ReplicaEvent::Parked { .. } => "an entry is parked",
                ReplicaEvent::Rekeyed { .. } => "an entry is re-keyed",
                ReplicaEvent::HandlerMissing { .. } => "a handler is missing",
                ReplicaEvent::TakenOver { .. } => "a copy has published an entry",
            });
        }
    }

    pub(super) fn restart(&mut self) -> Checked {
        let store = self.replica.store().copied()?;
        self.open(store)
    }

    fn open(&mut self, store: DeviceStore) -> Checked {
        self.replica =
            Replica::open(store, self.actions.clone(), Arc::new(Columns)).map_err(unexpected)?;
        Ok(())
    }

    /// Copies the database to another device.
    pub(super) fn copy(&self, number: usize) -> Checked<Self> {
        let mut copy = Self::new(number, self.user, self.skew, false)?;
        copy.actions = Arc::new(Actions::new(self.actions.app));
        (copy.author, copy.own, copy.expected) =
            (self.author, self.own.clone(), self.expected.clone());
        (copy.copied, copy.lacked_handler) = (true, self.lacked_handler);
        copy.open(self.replica.store().copied()?)?;
        Ok(copy)
    }

    /// Keeps a backup of its database.
    pub(super) fn back_up(&mut self) -> Checked {
        self.backup = Some((self.replica.store().copied()?, self.author, self.expected.clone()));
        Ok(())
    }

    /// Restores the backup; returns whether there was one.
    pub(super) fn restore_backup(&mut self) -> Checked<bool> {
        let Some((store, author, expected)) = &self.backup else { return Ok(false) };
        let (store, author, expected) = (store.copied()?, *author, expected.clone());
        (self.author, self.expected, self.copied) = (author, expected, true);
        self.open(store)?;
        Ok(true)
    }

    /// Continues under a new client id.
    pub(super) fn take_new_author(&mut self, now: u64, report: &mut RunReport) -> Checked {
        self.author = ids::author(self.number, self.authors);
        self.authors += 1;
        report
            .trace(|| format!("c{} is found to be a copy, and takes a new client id", self.number));
        if snapshot::is_first(&self.replica) {
            self.expected.start_over();
        }
        self.replica.become_author(self.author, self.wall_clock(now)).map_err(unexpected)?;
        self.count_events(report);
        self.check_invariants()
    }

    /// Installs another version of the app; returns whether it lacks a handler that others have.
    pub(super) fn upgrade(&mut self, rng: &mut Rng) -> Checked<bool> {
        let app = [App::Both, App::Both, App::Second][rng.usize(..3)];
        self.actions = Arc::new(Actions::new(app));
        self.lacked_handler |= app == App::Second;
        self.restart()?;
        Ok(self.lacked_handler)
    }

    /// Executes a user's decision about a parked entry.
    pub(super) fn decide(
        &mut self,
        setting: &Setting,
        now: u64,
        rng: &mut Rng,
        report: &mut RunReport,
    ) -> Checked<Option<Decision>> {
        let parked = self.replica.parked().map_err(unexpected)?;
        let Some(of) = parked.get(rng.usize(..parked.len().max(1))).map(|parked| parked.id) else {
            return Ok(None);
        };
        let mut decided = Decision { of, instead: None, discarded: false };
        match rng.u8(..3) {
            0 => {
                report.trace(|| format!("c{} retries {}", self.number, ids::entry(of)));
                report.count("a parked entry is retried");
                self.expected.allow(of);
                self.replica.retry(of).map_err(unexpected)?;
            }
            1 => {
                report.trace(|| format!("c{} discards {}", self.number, ids::entry(of)));
                report.count("a parked entry is discarded");
                self.replica.discard(of).map_err(unexpected)?;
                decided.discarded = true;
            }
            _ => {
                let id = self.new_entry();
                let effects = self.sql(setting, rng)?;
                report.trace(|| format!("c{} edits {}: {effects:?}", self.number, ids::entry(of)));
                report.count("a parked entry is edited");
                let written = WrittenEntry {
                    device: self.number,
                    plain: Some(effects.clone()),
                    decided: false,
                };
                match self.replica.edit_parked(of, id, Entry::Plain(effects), self.wall_clock(now))
                {
                    Err(LogError::Outside(_)) => return Ok(None),
                    done => done.map_err(unexpected)?,
                }
                self.own.push(id);
                decided.instead = Some((id, written));
                decided.discarded = true;
            }
        }
        self.count_events(report);
        Ok(Some(decided))
    }

    /// Checks the invariants of this device.
    pub(super) fn check_invariants(&mut self) -> Checked {
        self.expected.check_invariants(&self.replica, !self.lacked_handler, !self.copied)
    }

    /// The entries that are not published yet.
    pub(super) fn pending(&self) -> Checked<BTreeSet<EntryId>> {
        Ok(self
            .replica
            .pending()
            .map_err(unexpected)?
            .into_iter()
            .map(|pending| pending.id)
            .collect())
    }

    /// The parked entries.
    pub(super) fn parked(&self) -> Checked<BTreeSet<EntryId>> {
        Ok(self.replica.parked().map_err(unexpected)?.into_iter().map(|parked| parked.id).collect())
    }
}
