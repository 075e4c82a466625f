//! The server of a run, and a record beside it: who changed which row, which mutations were
//! accepted, and whether both agree.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use fastrand::Rng;
use rejoin_core::sync::session::{Request, Response};
use rejoin_protocol::wire::path;
use rejoin_protocol::wire::push::{Change, Group, Operation, PushRequest, PushResponse, Verdict};
use rejoin_server::Clock as _;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::history::{self, History, Name, Row, Rows, is_live};
use super::served::Served;
use super::setting::{LEAVES, TABLES, create_leaves};
use crate::backend::SideSession;
use crate::simulate::Failure;
use crate::simulate::wire::Wire;
use crate::{Backend, Backup, Peer, Store};

/// A mutation's user and id.
pub(super) type Known = (String, String);

/// The server and its record.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) backend: Backend,
    /// The device that sent the current request.
    pub(super) who: Cell<usize>,
    history: RefCell<History>,
    /// Mutations that the server has accepted since its last restore.
    accepted: RefCell<BTreeSet<Known>>,
    /// The stored verdicts of acceptance as of the last read. Only a push adds to them; compaction
    /// removes old ones, and a mutation that is sent again without its verdict is accepted again.
    stored: RefCell<BTreeSet<Known>>,
    /// Mutations that the server has ever accepted.
    ever: RefCell<BTreeSet<Known>>,
    /// Mutations accepted by pushes that changed no row.
    traceless: RefCell<BTreeSet<Known>>,
    /// Events on the wire, to be counted.
    seen: RefCell<Vec<&'static str>>,
    /// The first violation.
    wrong: RefCell<Option<Failure>>,
    /// The number of the server's changes at the last pull, if there was one.
    pub(super) pulled: Cell<usize>,
    backup: RefCell<Option<(Backup, BTreeSet<Known>)>>,
    /// The session that reads the rows, and that writes as another program.
    side: RefCell<Option<SideSession>>,
    /// Values that a push overwrote, and what it declared as seen.
    pub(super) written_over: RefCell<Vec<Over>>,
    /// The server's schema.
    served: RefCell<Served>,
    /// Whether a response was of another schema than its request.
    pub(super) moved: Cell<bool>,
    /// Pushes since the last check.
    pub(super) pushes: RefCell<Vec<Pushed>>,
    pub(super) wire: Wire,
    /// What a cache between devices and server has, and what it does next.
    cache: RefCell<(BTreeMap<String, Response>, Rng)>,
}

/// A push that the server has answered.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) user: String,
    pub(super) groups: Vec<Offered>,
    /// The rows before it.
    pub(super) before: Rows,
    /// Its changes, by their positions in the history.
    pub(super) changes: Range<usize>,
    /// The server's clock.
    pub(super) now: i64,
}

/// A group of a push.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) group: Group,
    pub(super) accepted: bool,
    /// Whether it was accepted just now: a copy of a file may repeat it after changes of the other
    /// copy.
    pub(super) fresh: bool,
    pub(super) verdict: Option<Verdict>,
}

/// A cell that a device's push overwrote.
#[derive(Debug, Clone)]
pub(super) struct Over {
    pub(super) name: Name,
    pub(super) column: String,
    pub(super) was: String,
    /// Whether it was sent with `force`.
    pub(super) forced: bool,
    pub(super) old_only: bool,
}

impl Site {
    pub(super) fn new(backend: Backend, seed: u64) -> Self {
        let site = Self {
            backend,
            who: Cell::new(0),
            history: RefCell::default(),
            accepted: RefCell::default(),
            stored: RefCell::default(),
            ever: RefCell::default(),
            traceless: RefCell::default(),
            seen: RefCell::default(),
            wrong: RefCell::default(),
            pulled: Cell::new(0),
            backup: RefCell::default(),
            side: RefCell::default(),
            written_over: RefCell::default(),
            served: RefCell::default(),
            moved: Cell::default(),
            pushes: RefCell::default(),
            wire: Wire::default(),
            cache: RefCell::new((BTreeMap::new(), Rng::with_seed(seed))),
        };
        site.see_schema();
        site.note(None);
        site
    }

    pub(super) fn history(&self) -> Ref<'_, History> {
        self.history.borrow()
    }

    /// Whether the server has accepted a mutation since its last restore.
    pub(super) fn has_accepted(&self, known: &Known) -> bool {
        self.accepted.borrow().contains(known)
    }

    /// Whether the server has ever accepted it.
    pub(super) fn ever_accepted(&self, known: &Known) -> bool {
        self.ever.borrow().contains(known)
    }

    /// Whether it was accepted by a push that changed no row.
    pub(super) fn is_traceless(&self, known: &Known) -> bool {
        self.traceless.borrow().contains(known)
    }

    /// All mutations accepted since the last restore.
    pub(super) fn accepted(&self) -> Ref<'_, BTreeSet<Known>> {
        self.accepted.borrow()
    }

    /// Records the changes of the rows by this author.
    pub(super) fn note(&self, by: Option<usize>) -> usize {
        let leaves = self.has_leaves().then_some(LEAVES);
        let rows = self.by_side(|side| history::read(side, TABLES.into_iter().chain(leaves)));
        self.history.borrow_mut().note(rows, by)
    }

    /// Runs statements of another program in one transaction, at the time of the server's clock.
    ///
    /// # Errors
    /// What the database rejects; then nothing is written.
    pub(super) fn write(&self, sql: &str) -> Result<(), String> {
        self.by_side(|side| side.write_at(self.backend.clock.now(), sql))
    }

    fn by_side<T>(&self, work: impl FnOnce(&SideSession) -> T) -> T {
        let mut kept = self.side.borrow_mut();
        work(kept.get_or_insert_with(|| self.backend.side_session()))
    }

    /// Changes the server as a whole. No other session is open meanwhile: a file that is replaced,
    /// and a PostgreSQL database that is copied, must have none.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Backend) -> T) -> T {
        *self.side.borrow_mut() = None;
        let done = change(&mut self.backend);
        self.see_schema();
        self.note(None);
        done
    }

    /// Reads the schema, which only [`Site::change`] changes.
    fn see_schema(&self) {
        *self.served.borrow_mut() = self.by_side(Served::read);
    }

    /// Creates the optional table.
    pub(super) fn add_leaves(&mut self) {
        let sql = create_leaves(self.backend.store());
        self.change(|backend| backend.add_table(&sql, LEAVES));
    }

    /// Whether the optional table exists.
    pub(super) fn has_leaves(&self) -> bool {
        self.served.borrow().leaves
    }

    /// The identity of the optional column, if it exists.
    pub(super) fn identity(&self) -> Option<u32> {
        self.served.borrow().tint
    }

    pub(super) fn back_up(&mut self) {
        let backup = match self.backend.store() {
            Store::Sqlite => self.backend.backup(),
            // The copy ends the sessions of the server. The server would notice that in this
            // request or the next one, by chance, so the same seed would give two traces: restart
            // it.
            Store::Postgres => self.change(|backend| {
                let backup = backend.backup();
                backend.restart();
                backup
            }),
        };
        *self.backup.borrow_mut() = Some((backup, self.accepted.borrow().clone()));
    }

    /// Restores the last backup; returns whether there was one.
    pub(super) fn restore(&mut self) -> bool {
        let Some((path, accepted)) = self.backup.borrow_mut().take() else { return false };
        self.change(|backend| backend.restore(&path));
        *self.accepted.borrow_mut() = accepted;
        *self.stored.borrow_mut() = self.verdicts();
        true
    }

    pub(super) fn compact(&self) {
        self.backend.compact();
        *self.stored.borrow_mut() = self.verdicts();
    }

    /// The users that granted their rows to a user.
    pub(super) fn buckets(&self, user: &str) -> BTreeSet<String> {
        let sql = format!("SELECT substr(bucket, 6) FROM rejoin_bucket WHERE user_id = '{user}'");
        self.by_side(|side| side.texts(&sql)).into_iter().collect()
    }

    /// The events since the last call.
    pub(super) fn take_seen(&self) -> Vec<&'static str> {
        self.seen.take()
    }

    /// The first violation.
    pub(super) fn take_wrong(&self) -> Option<Failure> {
        self.wrong.take()
    }

    fn see(&self, what: &'static str) {
        self.seen.borrow_mut().push(what);
    }

    /// A push did something else than it reported.
    fn is_wrong(&self, what: String) {
        let wrong = Failure::Invariant("accepted-is-applied", what);
        self.wrong.borrow_mut().get_or_insert(wrong);
    }

    /// The accepted mutations in the server's table of verdicts.
    fn verdicts(&self) -> BTreeSet<Known> {
        let sql = "SELECT user_id, mutation_id FROM rejoin_verdict WHERE ending = 'accepted'";
        let found = self.by_side(|side| side.query(&[sql]));
        let rows = found.into_iter().flat_map(|set| set.rows);
        let known = rows.filter_map(|row| {
            let mut cells = row.into_iter().flatten();
            Some((cells.next()?, cells.next()?))
        });
        known.collect()
    }

    fn pushed(&self, user: &str, request: &Request, answer: Option<&Response>) {
        let body = request.body.as_deref().unwrap_or_default();
        let Ok(mut asked) = serde_json::from_slice::<PushRequest>(body) else { return };
        self.served.borrow().rename(&mut asked);
        let before = self.history().now.clone();
        let changed = self.note(Some(self.who.get()));
        let book = self.verdicts();
        let fresh: BTreeSet<Known> = book.difference(&self.stored.borrow()).cloned().collect();
        let groups = asked.rejoin.map(|ask| ask.groups).unwrap_or_default();
        let verdicts = verdicts_of(answer);
        let offered = |group: Group| {
            let known = (user.to_owned(), group.id.clone());
            let (accepted, fresh) = (book.contains(&known), fresh.contains(&known));
            let verdict = verdicts.iter().find(|verdict| verdict.id == group.id).cloned();
            Offered { group, accepted, fresh, verdict }
        };
        let offered: Vec<Offered> = groups.into_iter().map(offered).collect();
        let groups: Vec<&Group> =
            offered.iter().filter(|one| one.fresh).map(|one| &one.group).collect();
        if groups.len() != fresh.len() {
            self.is_wrong(format!("accepted without a push: {fresh:?}"));
        }
        self.is_as_pushed(user, &before, &groups, changed);
        *self.stored.borrow_mut() = book;
        self.accepted.borrow_mut().extend(fresh.iter().cloned());
        if changed == 0 {
            self.traceless.borrow_mut().extend(fresh.iter().cloned());
        }
        self.ever.borrow_mut().extend(fresh);
        let (tick, now) = (self.history().tick(), self.backend.clock.now());
        self.pushes.borrow_mut().push(Pushed {
            user: user.to_owned(),
            groups: offered,
            before,
            changes: tick - changed..tick,
            now,
        });
        let text = answer.map_or("", |answer| std::str::from_utf8(&answer.body).unwrap_or(""));
        if !text.contains(&format!("\"schema_hash\":\"{}\"", asked.schema_hash))
            || !text.contains(&format!("\"schema_version\":{},", asked.schema_version))
        {
            self.moved.set(answer.is_some_and(|answer| answer.status == 200));
        }
        for (word, what) in ENDINGS {
            if text.contains(word) {
                self.see(what);
            }
        }
        if String::from_utf8_lossy(body).contains("\"force\":true") {
            self.see("a forced edit");
        }
    }

    /// Checks that the rows have the values of the groups that were accepted just now, and that
    /// nothing else changed.
    ///
    /// Of several changes of a cell in one push the last is written, and the first displaces the
    /// server's value.
    fn is_as_pushed(&self, user: &str, before: &Rows, groups: &[&Group], changed: usize) {
        let history = self.history();
        let mut cells_written: BTreeMap<(Name, String), (Option<String>, &Group, &Change)> =
            BTreeMap::new();
        let mut rows: BTreeMap<Name, Operation> = BTreeMap::new();
        for group in groups {
            for change in &group.changes {
                let name = (change.table_name.clone(), change.id.clone());
                rows.insert(name.clone(), change.operation);
                if change.operation == Operation::Delete {
                    cells_written.retain(|(other, _), _| *other != name);
                    continue;
                }
                for (column, value) in cells(change.data.as_deref().map(RawValue::get)) {
                    let cell = (name.clone(), column);
                    cells_written.entry(cell).or_insert((None, *group, change)).0 = value;
                }
            }
        }
        for (name, operation) in &rows {
            let there = history.now.get(name).is_some_and(is_live);
            let deletes = *operation == Operation::Delete;
            // If its user sees no row, a delete is accepted even if another user has the row.
            if there == deletes && !(deletes && is_of_another(&history.now, name, user)) {
                self.is_wrong(format!("accepted, and not done: {operation:?} of {name:?}"));
            }
        }
        for ((name, column), (value, group, change)) in &cells_written {
            let row = history.now.get(name);
            if row.and_then(|row| row.get(column)) != value.as_ref() {
                self.is_wrong(format!("accepted, and not written: {column} of {row:?}, {value:?}"));
            }
            let was = before.get(name).filter(|row| is_live(row)).and_then(|row| row.get(column));
            if let Some(was) = was.filter(|was| Some(*was) != value.as_ref()) {
                let over = Over {
                    name: name.clone(),
                    column: column.clone(),
                    was: was.clone(),
                    forced: change.force,
                    old_only: group.old_only,
                };
                self.written_over.borrow_mut().push(over);
            }
        }
        let tick = history.tick();
        for change in history.changes.iter().skip(tick - changed) {
            if !rows.contains_key(&change.name) {
                self.is_wrong(format!("changed though nothing of it was accepted: {change:?}"));
            }
            self.deleted(&rows, change);
        }
    }

    /// A row that a push deleted loses its cells.
    fn deleted(&self, rows: &BTreeMap<Name, Operation>, change: &history::Change) {
        if rows.get(&change.name) != Some(&Operation::Delete) {
            return;
        }
        let none = Row::new();
        let was = change.before.as_ref().filter(|row| is_live(row)).unwrap_or(&none);
        for (column, was) in was.iter().filter(|(column, _)| ["name", "note"].contains(&&***column))
        {
            self.written_over.borrow_mut().push(Over {
                name: change.name.clone(),
                column: column.clone(),
                was: was.clone(),
                forced: false,
                old_only: false,
            });
        }
    }

    /// A shared page, perhaps from a cache: it keeps each page for the whole run, so its pages may be
    /// of a former schema, or of a state that the server has lost. Some requests are refused, or
    /// have no response.
    fn shared_page(&self, user: &str, request: &Request) -> Option<Response> {
        let (pages, rng) = &mut *self.cache.borrow_mut();
        let (refused, chance) = (Response { status: 404, ..Response::default() }, rng.u8(..10));
        let cached = pages.get(&request.path).filter(|_| chance < 8).cloned();
        if let Some(page) = cached {
            self.see("shared pages from a cache");
            return Some(page);
        }
        match chance {
            0 => return Some(refused),
            1 => return None,
            _ => {}
        }
        let answer = self.backend.exchange(user, request)?;
        if answer.status == 200 {
            self.see("shared pages");
            pages.insert(request.path.clone(), answer.clone());
        }
        Some(answer)
    }

    fn witness(&self, user: &str, request: &Request, answer: Option<&Response>) {
        if let Some(409) = answer.map(|answer| answer.status) {
            self.see("a changed schema (409)");
        }
        let is_good = answer.is_some_and(|answer| answer.status == 200);
        let text = answer.map_or("", |answer| std::str::from_utf8(&answer.body).unwrap_or(""));
        match request.path.as_str() {
            "/sync/push" => self.pushed(user, request, answer),
            "/sync/pull" if text.contains("\"snapshot_required\":true") => self.see("rebuilds"),
            "/sync/pull" if is_good => self.pulled.set(self.history().tick()),
            "/sync/snapshot" if is_good => self.see("snapshots"),
            _ => {}
        }
    }
}

/// The trace names of verdicts on the wire.
const ENDINGS: [(&str, &str); 8] = [
    ("\"verdict\":\"accepted\"", "verdicts: accepted"),
    ("\"verdict\":\"conflict\"", "verdicts: conflict"),
    ("\"verdict\":\"rejected\"", "verdicts: rejected"),
    ("\"verdict\":\"refused\"", "verdicts: refused"),
    ("\"verdict\":\"blocked\"", "verdicts: blocked"),
    ("\"verdict\":\"cancelled\"", "verdicts: cancelled"),
    ("row.superseded", "verdicts: superseded by a later edit"),
    ("constraint.trigger", "verdicts: a trigger of the server"),
];

fn verdicts_of(answer: Option<&Response>) -> Vec<Verdict> {
    let answer = answer.and_then(|answer| serde_json::from_slice(&answer.body).ok());
    let ours = answer.and_then(|answer: PushResponse| answer.rejoin);
    ours.map(|ours| ours.verdicts).unwrap_or_default()
}

/// The members of an object as text; NULL is `None`.
pub(super) fn cells(object: Option<&str>) -> Vec<(String, Option<String>)> {
    let object: Json = serde_json::from_str(object.unwrap_or("{}")).unwrap_or_default();
    let Json::Object(members) = object else { return Vec::new() };
    let text = |value: Json| match value {
        Json::Null => None,
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    members.into_iter().map(|(name, value)| (name, text(value))).collect()
}

impl Drop for Site {
    fn drop(&mut self) {
        self.side.get_mut().take();
        self.backend.remove();
    }
}

impl Peer for Site {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let answer = if request.path.starts_with(path::PAGES) {
            self.shared_page(user, request)
        } else {
            self.backend.exchange(user, request)
        };
        self.witness(user, request, answer.as_ref());
        self.wire.note(request, answer.as_ref());
        answer
    }
}

/// Whether a row belongs to another user; a part belongs to its item's owner.
pub(super) fn is_of_another(rows: &Rows, name: &Name, user: &str) -> bool {
    let row = rows.get(name);
    let item = row.and_then(|row| row.get("item_id")).filter(|_| name.0 == "parts");
    let item = item.map(|id| rows.get(&("items".to_owned(), id.clone())));
    let owner = item.unwrap_or(row).and_then(|row| row.get("user_id"));
    owner.is_some_and(|owner| owner != user)
}
