//! A server, devices and an authority for the scenario tests of this crate. Time advances only when a
//! test moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::effect::{Effect, Effects};
use super::entry::{Intent, Offer, Revision};
use super::fixture::{Actions, Column, author, buckets, entry, image, intent, plain, row};
use super::handler::Handlers;
use super::ids::{EntryId, Epoch, Name, UserId};
use super::key::Key;
use super::message::{Fetched, Outcome, Publish, Published, Verdict};
use super::replica::memory::MemoryReplica;
use super::replica::{LogError, Replica};
use super::row::{LogRow, RowName};
use super::server::memory::MemoryLog;
use super::server::{self, Limits, Server};
use crate::authority::corrections;
use crate::replica::{check, fetch, publish, snapshot};
use crate::server::store::LogStore as _;
use crate::server::{correct, horizon};
use rejoin_protocol::Value;

pub(crate) type Device = Replica<MemoryReplica>;

pub(crate) struct World {
    pub(crate) server: Server<MemoryLog>,
    pub(crate) now: u64,
    devices: BTreeMap<&'static str, Device>,
    made: u128,
}

pub(crate) const LIMITS: Limits = Limits { drift: 1_000, retention: 10_000 };

impl World {
    /// Devices by name, each of its own user with these buckets; rows by id, each in these buckets,
    /// without text.
    pub(crate) fn new(devices: &[(&'static str, &str)], rows: &[(&str, &str)]) -> Self {
        let epoch = Epoch(Uuid::from_u128(1));
        let mut server =
            Server::create(MemoryLog::default(), epoch, Arc::new(Column), LIMITS).unwrap();
        server.load(rows.iter().map(|(id, buckets)| (row(id), image(buckets, "")))).unwrap();
        let mut world = Self { server, now: 100_000, devices: BTreeMap::new(), made: 0 };
        for (name, buckets) in devices {
            world.joins(name, buckets);
            world.add(name, name);
        }
        world
    }

    /// Adds a device of a user.
    pub(crate) fn add(&mut self, name: &'static str, user: &str) {
        self.adds_new(name, user);
        self.fetch(name);
    }

    /// Adds a device that has not fetched yet.
    pub(crate) fn adds_new(&mut self, name: &'static str, user: &str) {
        let author = author(self.devices.len() as u128 + 1);
        self.server.register(author, UserId(Name::from(user))).unwrap();
        let store = MemoryReplica::default();
        let device = Replica::create(store, author, Arc::new(Actions), Arc::new(Column)).unwrap();
        self.devices.insert(name, device);
    }

    /// Makes a user a member of exactly these buckets.
    pub(crate) fn joins(&mut self, user: &str, names: &str) {
        self.joins_to_write(user, names, "");
    }

    /// The same, and lets the user write `write_only` without reading them.
    pub(crate) fn joins_to_write(&mut self, user: &str, names: &str, write_only: &str) {
        let (read, write_only) = (buckets(names), buckets(write_only));
        self.server.set_buckets(&UserId(Name::from(user)), read, write_only).unwrap();
    }

    pub(crate) fn device(&mut self, name: &str) -> &mut Device {
        self.devices.get_mut(name).unwrap()
    }

    /// Performs an action, and advances the time by 10 ms.
    pub(crate) fn act(&mut self, name: &str, words: &str) -> EntryId {
        self.try_act(name, words).unwrap()
    }

    pub(crate) fn try_act(&mut self, name: &str, words: &str) -> Result<EntryId, LogError> {
        let (id, now) = self.next();
        self.device(name).perform(id, intent(words), now).map(|()| id)
    }

    /// Plain SQL with one effect.
    pub(crate) fn sql(&mut self, name: &str, id: &str, effect: Effect) -> EntryId {
        self.try_sql(name, plain(id, effect)).unwrap()
    }

    pub(crate) fn try_sql(&mut self, name: &str, effects: Effects) -> Result<EntryId, LogError> {
        let (id, now) = self.next();
        self.device(name).write(id, effects, now).map(|()| id)
    }

    fn next(&mut self) -> (EntryId, u64) {
        self.made += 1;
        self.now += 10;
        (entry(self.made), self.now)
    }

    /// A new id for direct use in a test.
    pub(crate) fn new_id(&mut self) -> EntryId {
        self.next().0
    }

    /// Fetches to the head, taking a snapshot if required.
    pub(crate) fn fetch(&mut self, name: &str) {
        for _ in 0..100 {
            let author = self.device(name).facts().author;
            while snapshot::needs_snapshot(self.device(name)) {
                self.takes_snapshot(name);
            }
            let Some(request) = fetch::fetch_request(self.device(name), 3) else { continue };
            let answer = self.server.fetch(author, &request).unwrap();
            let more = fetch::take_fetched(self.device(name), &answer).unwrap();
            self.holds(name);
            if !more && !matches!(answer, Fetched::Resync) {
                return;
            }
        }
        panic!("{name} does not reach the head");
    }

    /// The device takes the next page of a snapshot.
    pub(crate) fn takes_snapshot(&mut self, name: &str) {
        let author = self.device(name).facts().author;
        let request = snapshot::page_request(self.device(name), 2);
        let answer = server::snapshot::snapshot_page(&self.server, author, &request).unwrap();
        snapshot::take_page(self.device(name), &answer).unwrap();
        self.holds(name);
    }

    /// The request that the device would send now.
    pub(crate) fn request(&mut self, name: &str) -> Option<Publish> {
        publish::publish_request(self.device(name), 100, &BTreeSet::new()).unwrap()
    }

    /// Delivers a request to the server.
    pub(crate) fn deliver(&mut self, name: &str, request: &Publish) -> Published {
        let (author, now) = (self.device(name).facts().author, self.now);
        self.server.publish(author, request, now).unwrap()
    }

    /// A modified client publishes an entry in the name of this device, at this time. Returns the entry
    /// and the verdict.
    pub(crate) fn forges(
        &mut self,
        name: &str,
        millis: u64,
        content: (Option<Intent>, Effects),
    ) -> (EntryId, Verdict) {
        let id = self.new_id();
        let key = Key { millis, counter: 0, author: self.device(name).facts().author, id };
        (id, self.forges_at(name, key, Revision(0), content))
    }

    /// The same with this key and revision.
    pub(crate) fn forges_at(
        &mut self,
        name: &str,
        key: Key,
        revision: Revision,
        (intent, effects): (Option<Intent>, Effects),
    ) -> Verdict {
        let stamp = self.device(name).facts().stamp.unwrap();
        self.made += 1;
        let number = (1 << 32) + u64::try_from(self.made).unwrap();
        let offers = vec![Offer { key, time: self.now, intent, revision, effects }];
        let answer = self.deliver(name, &Publish { stamp, number, offers });
        let Outcome::Verdicts { mut verdicts } = answer.outcome else { panic!("{answer:?}") };
        verdicts.remove(0).verdict
    }

    /// Delivers a response to the device.
    pub(crate) fn answer(&mut self, name: &str, answer: &Published) {
        let now = self.now;
        publish::take_published(self.device(name), answer, now).unwrap();
        self.holds(name);
    }

    /// Fetches, publishes once, and fetches again. Returns whether there was something to publish.
    pub(crate) fn sync(&mut self, name: &str) -> bool {
        self.fetch(name);
        let request = self.request(name);
        if let Some(request) = &request {
            let answer = self.deliver(name, request);
            self.answer(name, &answer);
            self.fetch(name);
        }
        request.is_some()
    }

    /// Syncs all devices until nothing is left to publish, and compares them with the server.
    pub(crate) fn settle(&mut self) {
        let names: Vec<&'static str> = self.devices.keys().copied().collect();
        for _ in 0..50 {
            let busy = names.iter().filter(|name| self.sync(name)).count();
            if busy == 0 {
                for name in names {
                    self.agrees(name);
                }
                return;
            }
        }
        panic!("corrections do not end");
    }

    /// Invariants of a device at any time.
    pub(crate) fn holds(&mut self, name: &str) {
        let device = &self.devices[name];
        let rows: BTreeMap<RowName, LogRow> = device.rows().unwrap().into_iter().collect();
        let base = check::base_rows(device).unwrap();
        assert_eq!(
            check::fold_over(device, base).unwrap(),
            rows,
            "{name}: the table must equal its fold"
        );
        assert_eq!(
            check::rows_run_again(device).unwrap(),
            rows,
            "{name}: a full re-run must change nothing"
        );
        assert!(check::stale_steps(device).unwrap().is_empty(), "{name}: the index is outdated");
    }

    /// Invariants of the server and of a device that has fetched everything.
    pub(crate) fn agrees(&self, name: &str) {
        let device = &self.devices[name];
        let all = self.server.rows().unwrap();
        let fold: Vec<_> = self.server.fold().unwrap().into_iter().collect();
        assert_eq!(all, fold, "the server's rows must equal its fold");
        let user = self.server.store().author(device.facts().author).unwrap().unwrap().user;
        let sees = self.server.store().membership(&user).unwrap().buckets;
        let visible = |image: &LogRow| {
            let lies = image.get("buckets").and_then(|value| value.as_text()).unwrap_or_default();
            buckets(lies).meet(&sees)
        };
        let expected: Vec<_> = all.into_iter().filter(|(_, image)| visible(image)).collect();
        assert_eq!(
            device.rows().unwrap(),
            expected,
            "{name} must have the visible part of the server's rows"
        );
    }

    pub(crate) fn columns_of(&mut self, name: &str, id: &str) -> Option<BTreeMap<Name, Value>> {
        let image = self.device(name).row(&row(id)).unwrap();
        image.map(|image| image.columns().clone().into_iter().collect())
    }

    /// The text of a row on a device; `gone` if there is no row.
    pub(crate) fn text(&mut self, name: &str, id: &str) -> String {
        let image = self.device(name).row(&row(id)).unwrap();
        image.map_or(String::from("gone"), |image| {
            image.get("text").and_then(|value| value.as_text()).unwrap_or_default().to_owned()
        })
    }

    /// Restarts the device from its committed state.
    pub(crate) fn restarts(&mut self, name: &'static str) {
        self.damages(name, |_| ());
    }

    /// Changes the database of a device behind its back.
    pub(crate) fn damages<T>(
        &mut self,
        name: &'static str,
        damage: impl FnOnce(&mut MemoryReplica) -> T,
    ) -> T {
        let mut store = self.device(name).store().clone();
        let done = damage(&mut store);
        let device = Replica::open(store, Arc::new(Actions), Arc::new(Column)).unwrap();
        self.devices.insert(name, device);
        done
    }

    /// A copy of a device's database, on another device.
    pub(crate) fn copies(&mut self, name: &str, copy: &'static str) {
        let store = self.device(name).store().clone();
        let device = Replica::open(store, Arc::new(Actions), Arc::new(Column)).unwrap();
        self.devices.insert(copy, device);
    }

    /// Assigns a new author id to a copied device.
    pub(crate) fn renames(&mut self, name: &'static str, user: &str, number: u128) {
        let now = self.now;
        self.server.register(author(number), UserId(Name::from(user))).unwrap();
        self.device(name).become_author(author(number), now).unwrap();
    }

    /// Removes a device permanently.
    pub(crate) fn leaves_for_good(&mut self, name: &str) {
        self.devices.remove(name);
    }

    /// Runs the authority until it has no corrections; returns how many were applied.
    pub(crate) fn judges(&mut self) -> usize {
        self.judges_by(Arc::new(Actions))
    }

    /// The same with another version of the handlers.
    pub(crate) fn judges_by(&mut self, handlers: Arc<dyn Handlers>) -> usize {
        let number = author(99);
        self.server.register(number, UserId(Name::from("authority"))).unwrap();
        correct::appoint(&mut self.server, Some(number)).unwrap();
        let store = MemoryReplica::default();
        let mut authority = Replica::create(store, number, handlers, Arc::new(Column)).unwrap();
        let whole = server::snapshot::snapshot(&self.server, number).unwrap();
        snapshot::take_snapshot(&mut authority, &whole).unwrap();
        let mut taken = 0;
        for _ in 0..50 {
            let request = fetch::fetch_request(&authority, 100).unwrap();
            let fetched = self.server.fetch(number, &request).unwrap();
            fetch::take_fetched(&mut authority, &fetched).unwrap();
            let Some(found) = corrections(&authority, 100).unwrap() else { return taken };
            let done = correct::correct(&mut self.server, number, &found, self.now).unwrap();
            publish::take_corrected(&mut authority, &found, &done).unwrap();
            taken += done.taken;
        }
        panic!("the authority does not terminate");
    }

    /// Raises the horizon as far as possible.
    pub(crate) fn compacts(&mut self) -> Key {
        horizon::raise_horizon(&mut self.server, Key::end_of(self.now), self.now, 1_000).unwrap();
        self.server.facts().horizon
    }

    /// Restores the server's log from an older copy, and starts another epoch.
    pub(crate) fn restores(&mut self, backup: &MemoryLog, epoch: u128) {
        let mut server = Server::open(backup.clone(), Arc::new(Column), LIMITS).unwrap();
        server.begin_epoch(Epoch(Uuid::from_u128(epoch))).unwrap();
        self.server = server;
    }
}
