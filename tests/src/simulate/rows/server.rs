//! The server of a run, and a record beside it: who changed which row, which mutations were
//! accepted, and whether both agree.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rejoin_core::sync::session::{Request, Response};
use rejoin_protocol::wire::path;
use rejoin_protocol::wire::push::{Change, Group, Operation, PushRequest};
use rejoin_server::Clock as _;
use serde_json::value::RawValue;

use super::history::{self, History, Name, Row, Rows, is_live};
use super::pushes::{
    AnsweredPush, OverwrittenCell, PushedGroup, cells, is_of_another, verdicts_of,
};
use super::server_schema::ServerSchema;
use super::setting::{LEAVES, PLANS, create_leaves};
use super::teams::{Members, TeamAccess, is_of_team};
use crate::backend::SideSession;
use crate::simulate::Failure;
use crate::simulate::wire::WireLog;
use crate::{Backend, Backup, Peer, Store};

/// A mutation's user and id.
pub(super) type MutationKey = (String, String);

/// The server and its record.
#[derive(Debug)]
pub(super) struct RowsFixture {
    pub(super) backend: Backend,
    /// The device that sent the current request.
    pub(super) sender: Cell<usize>,
    history: RefCell<History>,
    /// Mutations that the server has accepted since its last restore.
    accepted: RefCell<BTreeSet<MutationKey>>,
    /// The stored verdicts of acceptance as of the last read. Only a push adds to them; compaction
    /// removes old ones, and a mutation that is sent again without its verdict is accepted again.
    stored: RefCell<BTreeSet<MutationKey>>,
    /// Mutations that the server has ever accepted.
    ever: RefCell<BTreeSet<MutationKey>>,
    /// Mutations accepted by pushes that changed no row.
    unlogged: RefCell<BTreeSet<MutationKey>>,
    /// The first violation.
    violation: RefCell<Option<Failure>>,
    /// The synced tables, without the optional one.
    tables: Vec<&'static str>,
    /// The members of teams.
    pub(super) members: RefCell<Members>,
    /// The subscriptions of the last pull.
    pub(super) header: RefCell<Option<String>>,
    /// The number of the server's changes at the last pull, if there was one.
    pub(super) pulled: Cell<usize>,
    backup: RefCell<Option<(Backup, BTreeSet<MutationKey>)>>,
    /// The session that reads the rows, and that writes as another program.
    side: RefCell<Option<SideSession>>,
    /// Values that a push overwrote, and what it declared as seen.
    pub(super) overwritten: RefCell<Vec<OverwrittenCell>>,
    /// The server's schema.
    schema: RefCell<ServerSchema>,
    /// Whether a response was of another schema than its request.
    pub(super) schema_changed: Cell<bool>,
    /// Pushes since the last check.
    pub(super) pushes: RefCell<Vec<AnsweredPush>>,
    pub(super) wire: WireLog,
    /// What a cache between devices and server has, and what it does next.
    cache: RefCell<(BTreeMap<String, Response>, Rng)>,
}

impl RowsFixture {
    pub(super) fn new(backend: Backend, tables: Vec<&'static str>, seed: u64) -> Self {
        let server = Self {
            backend,
            sender: Cell::new(0),
            history: RefCell::default(),
            accepted: RefCell::default(),
            stored: RefCell::default(),
            ever: RefCell::default(),
            unlogged: RefCell::default(),
            violation: RefCell::default(),
            tables,
            members: RefCell::default(),
            header: RefCell::default(),
            pulled: Cell::new(0),
            backup: RefCell::default(),
            side: RefCell::default(),
            overwritten: RefCell::default(),
            schema: RefCell::default(),
            schema_changed: Cell::default(),
            pushes: RefCell::default(),
            wire: WireLog::default(),
            cache: RefCell::new((BTreeMap::new(), Rng::with_seed(seed))),
        };
        server.read_schema();
        server.record_changes(None);
        server
    }

    pub(super) fn history(&self) -> Ref<'_, History> {
        self.history.borrow()
    }

    /// Whether the server has accepted a mutation since its last restore.
    pub(super) fn has_accepted(&self, known: &MutationKey) -> bool {
        self.accepted.borrow().contains(known)
    }

    /// Whether the server has ever accepted it.
    pub(super) fn ever_accepted(&self, known: &MutationKey) -> bool {
        self.ever.borrow().contains(known)
    }

    /// Whether it was accepted by a push that changed no row.
    pub(super) fn is_unlogged(&self, known: &MutationKey) -> bool {
        self.unlogged.borrow().contains(known)
    }

    /// All mutations accepted since the last restore.
    pub(super) fn accepted(&self) -> Ref<'_, BTreeSet<MutationKey>> {
        self.accepted.borrow()
    }

    /// Records the changes of the rows by this author.
    pub(super) fn record_changes(&self, by: Option<usize>) -> usize {
        let leaves = self.has_leaves().then_some(LEAVES);
        let rows = self.with_side_session(|side| {
            history::read(side, self.tables.iter().copied().chain(leaves))
        });
        if by.is_none() && self.tables.contains(&PLANS) {
            *self.members.borrow_mut() = self.read_members();
        }
        self.history.borrow_mut().record_changes(rows, by)
    }

    /// Runs statements of another program in one transaction, at the time of the server's clock.
    ///
    /// # Errors
    /// What the database rejects; then nothing is written.
    pub(super) fn write(&self, sql: &str) -> Result<(), String> {
        self.with_side_session(|side| side.write_at(self.backend.clock.now(), sql))
    }

    pub(super) fn with_side_session<T>(&self, work: impl FnOnce(&SideSession) -> T) -> T {
        let mut kept = self.side.borrow_mut();
        work(kept.get_or_insert_with(|| self.backend.side_session()))
    }

    /// Changes the server as a whole. No other session is open meanwhile: a file that is replaced,
    /// and a PostgreSQL database that is copied, must have none.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Backend) -> T) -> T {
        *self.side.borrow_mut() = None;
        let done = change(&mut self.backend);
        self.read_schema();
        self.record_changes(None);
        done
    }

    /// Reads the schema, which only [`RowsFixture::change`] changes.
    fn read_schema(&self) {
        *self.schema.borrow_mut() = self.with_side_session(ServerSchema::read);
    }

    /// Creates the optional table.
    pub(super) fn add_leaves(&mut self) {
        let sql = create_leaves(self.backend.store());
        self.change(|backend| backend.add_table(&sql, LEAVES));
    }

    /// Whether the optional table exists.
    pub(super) fn has_leaves(&self) -> bool {
        self.schema.borrow().leaves
    }

    /// The identity of the optional column, if it exists.
    pub(super) fn identity(&self) -> Option<u32> {
        self.schema.borrow().tint
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
        self.with_side_session(|side| side.texts(&sql)).into_iter().collect()
    }

    /// The first violation.
    pub(super) fn take_violation(&self) -> Option<Failure> {
        self.violation.take()
    }

    /// A push did something else than it reported.
    fn record_violation(&self, what: String) {
        self.record_failure("accepted-is-applied", what);
    }

    pub(super) fn record_failure(&self, invariant: &'static str, what: String) {
        let violation = Failure::Invariant(invariant, what);
        self.violation.borrow_mut().get_or_insert(violation);
    }

    /// The accepted mutations in the server's table of verdicts.
    fn verdicts(&self) -> BTreeSet<MutationKey> {
        let sql = "SELECT user_id, mutation_id FROM rejoin_verdict WHERE ending = 'accepted'";
        let found = self.with_side_session(|side| side.query(&[sql]));
        let rows = found.into_iter().flat_map(|set| set.rows);
        let known = rows.filter_map(|row| {
            let mut cells = row.into_iter().flatten();
            Some((cells.next()?, cells.next()?))
        });
        known.collect()
    }

    fn record_push(&self, user: &str, request: &Request, answer: Option<&Response>) {
        let body = request.body.as_deref().unwrap_or_default();
        let Ok(mut asked) = serde_json::from_slice::<PushRequest>(body) else { return };
        self.schema.borrow().rename(&mut asked);
        let before = self.history().now.clone();
        let changed = self.record_changes(Some(self.sender.get()));
        let accepted_now = self.verdicts();
        let fresh: BTreeSet<MutationKey> =
            accepted_now.difference(&self.stored.borrow()).cloned().collect();
        let groups = asked.rejoin.map(|ask| ask.groups).unwrap_or_default();
        let verdicts = verdicts_of(answer);
        let offered = |group: Group| {
            let known = (user.to_owned(), group.id.clone());
            let (accepted, fresh) = (accepted_now.contains(&known), fresh.contains(&known));
            let verdict = verdicts.iter().find(|verdict| verdict.id == group.id).cloned();
            PushedGroup { group, accepted, fresh, verdict }
        };
        let offered: Vec<PushedGroup> = groups.into_iter().map(offered).collect();
        let groups: Vec<&Group> =
            offered.iter().filter(|one| one.fresh).map(|one| &one.group).collect();
        if groups.len() != fresh.len() {
            self.record_violation(format!("accepted without a push: {fresh:?}"));
        }
        let access = self.access(user, request.subscriptions.as_deref());
        self.check_push(&access, &before, &groups, changed);
        self.check_rights(&access, changed);
        *self.stored.borrow_mut() = accepted_now;
        self.accepted.borrow_mut().extend(fresh.iter().cloned());
        if changed == 0 {
            self.unlogged.borrow_mut().extend(fresh.iter().cloned());
        }
        self.ever.borrow_mut().extend(fresh);
        let (tick, now) = (self.history().tick(), self.backend.clock.now());
        self.pushes.borrow_mut().push(AnsweredPush {
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
            self.schema_changed.set(answer.is_some_and(|answer| answer.status == 200));
        }
        for (word, what) in VERDICT_EVENTS {
            if text.contains(word) {
                self.wire.count(what);
            }
        }
        if String::from_utf8_lossy(body).contains("\"force\":true") {
            self.wire.count("a forced edit");
        }
    }

    /// Checks that the rows have the values of the groups that were accepted just now, and that
    /// nothing else changed.
    ///
    /// Of several changes of a cell in one push the last is written, and the first displaces the
    /// server's value.
    fn check_push(&self, access: &TeamAccess, before: &Rows, groups: &[&Group], changed: usize) {
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
            let is_unseen = is_of_another(&history.now, name, &access.user)
                || is_of_team(name)
                    && !history.now.get(name).is_some_and(|row| access.member_reads(row));
            if there == deletes && !(deletes && is_unseen) {
                self.record_violation(format!("accepted, and not done: {operation:?} of {name:?}"));
            }
        }
        for ((name, column), (value, group, change)) in &cells_written {
            let row = history.now.get(name);
            if row.and_then(|row| row.get(column)) != value.as_ref() {
                self.record_violation(format!(
                    "accepted, and not written: {column} of {row:?}, {value:?}"
                ));
            }
            let was = before.get(name).filter(|row| is_live(row)).and_then(|row| row.get(column));
            if let Some(was) = was.filter(|was| Some(*was) != value.as_ref()) {
                let over = OverwrittenCell {
                    name: name.clone(),
                    column: column.clone(),
                    was: was.clone(),
                    forced: change.force,
                    old_only: group.old_only,
                };
                self.overwritten.borrow_mut().push(over);
            }
        }
        let tick = history.tick();
        for change in history.changes.iter().skip(tick - changed) {
            if !rows.contains_key(&change.name) {
                self.record_violation(format!(
                    "changed though nothing of it was accepted: {change:?}"
                ));
            }
            self.record_deleted(&rows, change);
        }
    }

    /// A row that a push deleted loses its cells.
    fn record_deleted(&self, rows: &BTreeMap<Name, Operation>, change: &history::Change) {
        if rows.get(&change.name) != Some(&Operation::Delete) {
            return;
        }
        let none = Row::new();
        let was = change.before.as_ref().filter(|row| is_live(row)).unwrap_or(&none);
        for (column, was) in was.iter().filter(|(column, _)| ["name", "note"].contains(&&***column))
        {
            self.overwritten.borrow_mut().push(OverwrittenCell {
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
            self.wire.count("shared pages from a cache");
            return Some(page);
        }
        match chance {
            0 => return Some(refused),
            1 => return None,
            _ => {}
        }
        let answer = self.backend.exchange(user, request)?;
        if answer.status == 200 {
            self.wire.count("shared pages");
            pages.insert(request.path.clone(), answer.clone());
        }
        Some(answer)
    }

    fn record_exchange(&self, user: &str, request: &Request, answer: Option<&Response>) {
        if let Some(409) = answer.map(|answer| answer.status) {
            self.wire.count("a changed schema (409)");
        }
        let is_good = answer.is_some_and(|answer| answer.status == 200);
        if let Some(answer) = answer.filter(|_| self.tables.contains(&PLANS)) {
            self.check_reads(user, request, answer);
        }
        let text = answer.map_or("", |answer| std::str::from_utf8(&answer.body).unwrap_or(""));
        match request.path.as_str() {
            "/sync/push" => self.record_push(user, request, answer),
            "/sync/pull" if text.contains("\"snapshot_required\":true") => {
                self.wire.count("rebuilds");
            }
            "/sync/pull" if is_good => {
                self.pulled.set(self.history().tick());
                self.header.borrow_mut().clone_from(&request.subscriptions);
            }
            "/sync/snapshot" if is_good => self.wire.count("snapshots"),
            _ => {}
        }
    }
}

/// The trace names of verdicts on the wire.
const VERDICT_EVENTS: [(&str, &str); 8] = [
    ("\"verdict\":\"accepted\"", "verdicts: accepted"),
    ("\"verdict\":\"conflict\"", "verdicts: conflict"),
    ("\"verdict\":\"rejected\"", "verdicts: rejected"),
    ("\"verdict\":\"refused\"", "verdicts: refused"),
    ("\"verdict\":\"blocked\"", "verdicts: blocked"),
    ("\"verdict\":\"cancelled\"", "verdicts: cancelled"),
    ("row.superseded", "verdicts: superseded by a later edit"),
    ("constraint.trigger", "verdicts: a trigger of the server"),
];

impl Drop for RowsFixture {
    fn drop(&mut self) {
        self.side.get_mut().take();
        self.backend.remove();
    }
}

impl Peer for RowsFixture {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let answer = if request.path.starts_with(path::PAGES) {
            self.shared_page(user, request)
        } else {
            self.backend.exchange(user, request)
        };
        self.record_exchange(user, request, answer.as_ref());
        self.wire.record(request, answer.as_ref());
        answer
    }
}
