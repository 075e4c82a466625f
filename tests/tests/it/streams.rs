//! Subscriptions of real devices to a real server: rows come and go with subscriptions and rights, and
//! no edit is lost.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rejoin_core::{Network, StreamStatus, StreamSubscription};
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_server::{Limits, PushPolicy, StreamConfig, TableConfig};
use rejoin_tests::{Backend, Store};

use crate::client::{PATIENCE, Phone, Served};
use crate::{apply, each_store};

const TABLES: &str = "
    CREATE TABLE members (user_id TEXT, project TEXT, writes INTEGER, PRIMARY KEY (user_id, project));
    CREATE TABLE tasks (id TEXT PRIMARY KEY, project TEXT, title TEXT, updated_at TEXT);";

const TASKS: &str = "SELECT id FROM tasks ORDER BY id";
const PROJECTS: [&str; 3] = ["bay", "dam", "rig"];

/// A server with the tasks of projects, which their members read and some members write.
fn projects(store: Store) -> (Backend, Served) {
    let tasks = TableConfig::new("tasks").with_bucket("project", "project:");
    let tasks = vec![tasks.with_push(PushPolicy::Bucket)];
    let mut server = Backend::made(store, TABLES, tasks, Limits::default());
    let allow = "SELECT writes FROM members WHERE user_id = :user AND project = :project";
    let stream = StreamConfig::new("project", "project:{project}", allow);
    server.add_stream(stream.with_parameter(Parameter::new("project", ParameterType::Text)));
    let socket = Served::uncounted(&server);
    (server, socket)
}

fn join(server: &Backend, user: &str, project: &str, writes: bool) {
    leave(server, user, project);
    let writes = i32::from(writes);
    server.outside(&format!("INSERT INTO members VALUES ('{user}', '{project}', {writes})"));
}

fn leave(server: &Backend, user: &str, project: &str) {
    let member = format!("user_id = '{user}' AND project = '{project}'");
    server.outside(&format!("DELETE FROM members WHERE {member}"));
}

/// A device with the schema, that syncs only when the test says so.
fn device(socket: &Served, user: &str) -> Phone {
    let phone = Phone::new(user, Some(&socket.url));
    phone.client.sync().set_network(Network { online: false, metered: false });
    phone.sync();
    phone
}

fn subscribe(phone: &Phone, project: &str) -> StreamSubscription {
    phone.client.sync().subscribe("project", [("project", project)]).wait().unwrap()
}

fn tasks(phone: &Phone) -> BTreeSet<String> {
    let rows = phone.client.query(TASKS, ()).wait().unwrap();
    rows.iter().map(|row| row.get::<String>("id").unwrap()).collect()
}

fn ids<const COUNT: usize>(ids: [&str; COUNT]) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

#[apply(each_store)]
fn device_holds_the_rows_of_its_subscriptions(store: Store) {
    let (server, socket) = projects(store);
    join(&server, "ana", "bay", true);
    join(&server, "ana", "dam", false);
    for id in ["bay1", "bay2", "dam1", "rig1"] {
        server.outside(&format!("INSERT INTO tasks (id, project) VALUES ('{id}', '{}')", &id[..3]));
    }
    let ana = device(&socket, "ana");
    let [bay, dam, rig] = PROJECTS.map(|project| subscribe(&ana, project));
    assert_eq!(bay.status(), StreamStatus::Waiting);
    ana.sync();
    bay.first_sync(Some(PATIENCE)).wait().unwrap();
    assert_eq!((bay.status(), dam.status()), (StreamStatus::Current, StreamStatus::Current));
    let refused = rig.first_sync(Some(PATIENCE)).wait().unwrap_err();
    assert!(refused.to_string().contains("project"), "{refused}");
    assert_eq!(tasks(&ana), ids(["bay1", "bay2", "dam1"]));
    // The edit of a project that ana only reads is parked; the subscription to the other one ends under
    // an edit.
    ana.run("UPDATE tasks SET title = 'mine' WHERE id = 'dam1'");
    ana.run("UPDATE tasks SET title = 'mine' WHERE id = 'bay1'");
    bay.unsubscribe().wait().unwrap();
    ana.sync();
    assert_eq!(tasks(&ana), ids(["dam1"]));
    assert!(ana.client.queue().pending().wait().unwrap().is_empty());
    assert_eq!(ana.client.queue().parked().wait().unwrap().len(), 1);
    assert_eq!(server.side_session().texts("SELECT id FROM tasks WHERE title = 'mine'"), ["bay1"]);
}

/// A row that came by a push leaves with the subscription, although no pull had it before.
#[apply(each_store)]
fn row_of_a_push_leaves_with_the_ended_subscription(store: Store) {
    let (server, socket) = projects(store);
    join(&server, "ana", "bay", true);
    let ana = device(&socket, "ana");
    let bay = subscribe(&ana, "bay");
    ana.run("INSERT INTO tasks (id, project) VALUES ('bay1', 'bay')");
    bay.unsubscribe().wait().unwrap();
    ana.sync();
    assert_eq!(tasks(&ana), ids([]));
    assert_eq!(server.side_session().texts(TASKS), ["bay1"]);
    let _bay = subscribe(&ana, "bay");
    ana.sync();
    assert_eq!(tasks(&ana), ids(["bay1"]));
}

/// Subscriptions, rights and rows change at random under edits that wait. After each pass for which the
/// app waited, a device has exactly the rows of the subscriptions that its user may read; in the end,
/// each new row is on the server or parked.
#[apply(each_store)]
fn devices_hold_exactly_their_rows_and_no_edit_is_lost(store: Store) {
    let runs = if store == Store::Sqlite { 12 } else { 4 };
    for seed in 0..runs {
        Walk::new(store, seed).run();
    }
}

struct Walk {
    seed: u64,
    rng: Rng,
    server: Backend,
    devices: Vec<(&'static str, Phone)>,
    held: BTreeMap<(usize, &'static str), StreamSubscription>,
    /// The rows that devices have inserted.
    inserted: Vec<(usize, String)>,
    #[expect(dead_code, reason = "serves until it is dropped")]
    socket: Served,
}

impl Walk {
    fn new(store: Store, seed: u64) -> Self {
        let (server, socket) = projects(store);
        let devices = ["ana", "ana", "ben"].map(|user| (user, device(&socket, user))).into();
        let (rng, held, inserted) = (Rng::with_seed(seed), BTreeMap::new(), Vec::new());
        Self { seed, rng, server, devices, held, inserted, socket }
    }

    fn run(&mut self) {
        for number in 0..60 {
            self.step(number);
        }
        (0..self.devices.len()).for_each(|at| self.sync(at));
        let stored = self.server.side_session().texts(TASKS);
        for (at, id) in &self.inserted {
            let parked = self.devices[*at].1.client.queue().parked().wait().unwrap();
            let is_parked = format!("{parked:?}").contains(id);
            assert!(stored.contains(id) || is_parked, "seed {}: {id} is lost", self.seed);
        }
    }

    fn step(&mut self, number: u32) {
        let at = self.rng.usize(..self.devices.len());
        let project = PROJECTS[self.rng.usize(..PROJECTS.len())];
        let (user, phone) = &self.devices[at];
        match self.rng.u8(..16) {
            0..3 => {
                let subscription = subscribe(phone, project);
                self.held.insert((at, project), subscription);
            }
            3..5 => {
                if let Some(subscription) = self.held.remove(&(at, project)) {
                    subscription.unsubscribe().wait().unwrap();
                }
            }
            5..7 => join(&self.server, user, project, self.rng.bool()),
            7 => leave(&self.server, user, project),
            8 => self.server.outside(&format!(
                "INSERT INTO tasks (id, project) VALUES ('outside{number}', '{project}')"
            )),
            9..11 => {
                let id = format!("new{number}");
                phone.run(&format!("INSERT INTO tasks (id, project) VALUES ('{id}', '{project}')"));
                self.inserted.push((at, id));
            }
            11 => {
                phone.run(&format!(
                    "UPDATE tasks SET title = '{number}' WHERE project = '{project}'"
                ));
            }
            12 => {
                phone.run(&format!("UPDATE tasks SET project = '{project}' WHERE id LIKE 'new%'"));
            }
            _ => self.sync(at),
        }
    }

    fn sync(&self, at: usize) {
        let (user, phone) = &self.devices[at];
        phone.sync();
        let member = format!("SELECT project FROM members WHERE user_id = '{user}'");
        let session = self.server.side_session();
        let read = session.texts(&member);
        let is_held = |project: &&str| {
            self.held.contains_key(&(at, *project)) && read.iter().any(|other| other == project)
        };
        let projects = PROJECTS.into_iter().filter(is_held).collect::<Vec<_>>().join("', '");
        let sql = format!("SELECT id FROM tasks WHERE project IN ('{projects}')");
        let expected: BTreeSet<String> = session.texts(&sql).into_iter().collect();
        assert_eq!(tasks(phone), expected, "seed {}, device {at}", self.seed);
        let waiting = phone.client.queue().pending().wait().unwrap();
        assert!(waiting.is_empty(), "seed {}: {waiting:?}", self.seed);
    }
}
