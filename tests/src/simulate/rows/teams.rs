//! Teams: members whose roles come and go, rows that only members read and write, and devices that
//! subscribe to the rows of a team.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use rejoin_core::StreamParameters;
use rejoin_core::engine::Engine;
use rejoin_core::engine::queue::mutation::MutationState;
use rejoin_core::engine::subscription::{
    self, StoredStream, StreamKey, StreamRequest, SubscriptionObserver,
};
use rejoin_core::sync::session::{Request, Response};
use rejoin_protocol::wire::subscription::parse;
use serde_json::Value as Json;

use super::history::{Name, Row, is_live};
use super::mutations::WrittenMutation;
use super::run::RowsRun;
use super::server::RowsFixture;
use super::setting::{JOBS, PLANS, TEAM_TABLES, USERS};
use crate::simulate::{Checked, broken};

/// The teams, whose first letters begin the keys of their first rows.
const TEAMS: [&str; 2] = ["red", "sea"];

/// Longer than any run, also with jumps of the clock.
const LASTING: Duration = Duration::from_hours(1_000_000);

/// Members by user and team, and whether they write.
pub(super) type Members = BTreeMap<(String, String), bool>;

/// What a request of a user may read and write of the rows of teams.
#[derive(Debug)]
pub(super) struct TeamAccess {
    pub(super) user: String,
    pub(super) members: Members,
    /// The teams to which the request subscribes.
    pub(super) subscribed: BTreeSet<String>,
}

impl TeamAccess {
    fn may(&self, name: &Name, row: &Row, allows: impl Fn(bool) -> bool) -> bool {
        let team = row.get("team").cloned().unwrap_or_default();
        let is_held = name.0 != JOBS || self.subscribed.contains(&team);
        is_held
            && self.members.get(&(self.user.clone(), team)).is_some_and(|writes| allows(*writes))
    }

    pub(super) fn reads(&self, name: &Name, row: &Row) -> bool {
        self.may(name, row, |_| true)
    }

    /// Whether the user reads the row, if the request subscribes to it.
    pub(super) fn member_reads(&self, row: &Row) -> bool {
        self.may(&(PLANS.to_owned(), String::new()), row, |_| true)
    }

    /// Whether the user writes the row, if the request subscribes to it.
    pub(super) fn member_writes(&self, row: &Row) -> bool {
        self.may(&(PLANS.to_owned(), String::new()), row, |writes| writes)
    }

    pub(super) fn writes(&self, name: &Name, row: &Row) -> bool {
        self.may(name, row, |writes| writes)
    }

    /// The rows in a response that the user may not read.
    pub(super) fn forbidden(&self, answer: &Json, table: &str, found: &mut Vec<String>) {
        match answer {
            Json::Array(all) => all.iter().for_each(|one| self.forbidden(one, table, found)),
            // The verdict on an accepted mutation is repeated as it was.
            Json::Object(members) if members.get("verdict").is_some_and(|it| it == "accepted") => {}
            Json::Object(members) => {
                let table = members.get("table_name").and_then(Json::as_str).unwrap_or(table);
                if let Some(Json::String(team)) = members.get("team") {
                    let row = Row::from([("team".to_owned(), team.clone())]);
                    if !self.reads(&(table.to_owned(), String::new()), &row) {
                        found.push(format!("{table} {members:?}"));
                    }
                }
                members.values().for_each(|one| self.forbidden(one, table, found));
            }
            _ => {}
        }
    }
}

/// Whether a row is one of a team.
pub(super) fn is_of_team(name: &Name) -> bool {
    TEAM_TABLES.contains(&&*name.0)
}

/// The teams of a header of subscriptions.
pub(super) fn teams_of(header: Option<&str>) -> BTreeSet<String> {
    let all = header.and_then(parse).unwrap_or_default().into_iter();
    all.filter_map(|mut one| one.parameters.remove("team")).collect()
}

/// The subscriptions that an app holds.
#[derive(Debug, Default)]
struct HeldByApp(Mutex<BTreeSet<String>>);

impl SubscriptionObserver for HeldByApp {
    fn holds(&self, key: &StreamKey) -> bool {
        let held = self.0.lock().expect("no panic while it is locked");
        key.parameters.0.get("team").is_some_and(|team| held.contains(team))
    }

    fn publish(&self, _: Vec<StoredStream>) {}
}

/// The subscriptions of a device, as its app knows them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    held: Arc<HeldByApp>,
    /// Those whose ttl does not end in a run.
    lasting: BTreeSet<String>,
    /// Those that ended by their ttl, which has no length.
    lapsed: BTreeSet<String>,
    /// Whether the device's clock was ever set back: a subscription may then not have ended.
    pub(super) is_set_back: bool,
}

impl Subscriptions {
    /// The app starts: it holds none.
    pub(super) fn start(&mut self, engine: &mut Engine) {
        let held = std::mem::take(&mut *self.held());
        self.lapsed.extend(held);
        subscription::observe(engine, self.held.clone()).expect("the subscriptions read");
    }

    /// Those of a copy of the file.
    pub(super) fn copy(&self) -> Self {
        let lapsed = self.lapsed.iter().chain(&*self.held()).cloned().collect();
        Self { lasting: self.lasting.clone(), lapsed, is_set_back: true, ..Self::default() }
    }

    /// Another user takes the file.
    pub(super) fn clear(&mut self) {
        self.held().clear();
        self.lasting.clear();
        self.lapsed.clear();
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.held.0.lock().expect("no panic while it is locked")
    }

    /// The teams that a request must name.
    fn current(&self) -> BTreeSet<String> {
        self.lasting.union(&self.held()).cloned().collect()
    }

    /// Whether these are the teams of a request when nothing waits.
    fn are(&self, teams: &BTreeSet<String>) -> bool {
        let (current, lapsed) = (self.current(), &self.lapsed);
        let mut others = teams.difference(&current);
        current.is_subset(teams) && others.all(|team| self.is_set_back && lapsed.contains(team))
    }
}

impl RowsFixture {
    pub(super) fn read_members(&self) -> Members {
        let sql = "SELECT user_id, team, role FROM members";
        let rows = self.with_side_session(|side| side.query(&[sql]).remove(0).rows);
        let member = |row: Vec<Option<String>>| {
            let mut cells = row.into_iter().flatten();
            Some(((cells.next()?, cells.next()?), cells.next()? != "viewer"))
        };
        rows.into_iter().filter_map(member).collect()
    }

    /// The rights of a request with these subscriptions.
    pub(super) fn access(&self, user: &str, header: Option<&str>) -> TeamAccess {
        let (user, members) = (user.to_owned(), self.members.borrow().clone());
        TeamAccess { user, members, subscribed: teams_of(header) }
    }

    /// The user of a push could write the rows that it changed, as they were and as they are.
    pub(super) fn check_rights(&self, access: &TeamAccess, changed: usize) {
        let history = self.history();
        for change in history.changes.iter().skip(history.tick() - changed) {
            let before = change.before.as_ref().filter(|row| is_live(row));
            let mut rows = before.into_iter().chain(&change.after);
            if !is_of_team(&change.name) {
                continue;
            }
            self.wire.count("writes of a team's rows");
            if !rows.all(|row| access.writes(&change.name, row)) {
                self.record_failure(
                    "writes-need-the-right",
                    format!("{access:?} wrote {change:?}"),
                );
            }
        }
    }

    /// A response has no row that its user may not read.
    pub(super) fn check_reads(&self, user: &str, request: &Request, answer: &Response) {
        let Ok(json) = serde_json::from_slice(&answer.body) else { return };
        let (access, mut found) = (self.access(user, request.subscriptions.as_deref()), Vec::new());
        access.forbidden(&json, "", &mut found);
        if let Some(row) = found.first() {
            self.record_failure("reads-need-the-right", format!("{access:?} received {row}"));
        }
    }
}

impl RowsRun<'_> {
    /// Before any device syncs, teams have rows, and most users are members.
    pub(super) fn write_first_teams(&mut self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        for number in 0..8 {
            self.change_role(TEAMS[number % 2], &mut rng);
            let sql = self.team_statement(None, &format!("f{number}"), &mut rng);
            self.outside_sql(&sql);
        }
    }

    pub(super) fn team_step(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let team = TEAMS[rng.usize(..2)];
        match rng.u8(..8) {
            0..3 => {
                self.change_role(team, rng);
                Ok(())
            }
            3..6 => self.subscribe(at, team, rng),
            _ => {
                let jobs = self.slots[at].state.view.iter().filter(|(name, row)| {
                    name.0 == JOBS && row.get("team").is_some_and(|other| other == team)
                });
                if let Some((_, id)) =
                    rng.choice(jobs.map(|(name, _)| name.clone()).collect::<Vec<_>>())
                {
                    let sql =
                        format!("UPDATE jobs SET name = 'j{}' WHERE id = '{id}'", rng.u32(..));
                    self.write_sql(at, &sql, false)?;
                }
                self.end_subscription(at, team, rng.bool())
            }
        }
    }

    /// Adds or removes a member of a team, or changes the member's role.
    pub(super) fn change_role(&mut self, team: &str, rng: &mut Rng) {
        let user = USERS[[0, 0, 0, 1, 1, 2][rng.usize(..6)]];
        let role = [None, Some("viewer"), Some("writer"), Some("writer")][rng.usize(..4)];
        self.set_role(user, team, role);
        self.report.count(match role {
            None => "a team without a user",
            Some(_) => "a role in a team",
        });
    }

    pub(super) fn set_role(&mut self, user: &str, team: &str, role: Option<&str>) {
        self.access_changed();
        let own = |one: &&mut WrittenMutation| one.user == user && one.rows.iter().any(is_of_team);
        self.mutations.written.iter_mut().filter(own).for_each(|one| one.lost_right = true);
        let gone = format!("DELETE FROM members WHERE user_id = '{user}' AND team = '{team}'");
        match role {
            None => self.outside_sql(&gone),
            Some(role) => {
                self.granted.insert((user.to_owned(), team.to_owned()));
                self.outside_sql(&format!(
                    "{gone}; INSERT INTO members VALUES ('{user}', '{team}', '{role}')"
                ));
            }
        }
    }

    fn subscribe(&mut self, at: usize, team: &str, rng: &mut Rng) -> Checked {
        let ttl = if rng.bool() { LASTING } else { Duration::ZERO };
        let request = StreamRequest { key: key(team), priority: rng.u8(..3), ttl };
        let slot = &mut self.slots[at];
        let done = subscription::subscribe(slot.device.engine(), &request);
        done.map_err(|error| format!("subscribing: {error}"))?;
        slot.subscriptions.held().insert(team.to_owned());
        if ttl == LASTING {
            slot.subscriptions.lasting.insert(team.to_owned());
        }
        self.report.count("a subscription");
        self.report.trace(|| format!("   {at} subscribes to {team} for {ttl:?}"));
        Ok(())
    }

    /// The app ends a subscription now, or holds it no longer.
    fn end_subscription(&mut self, at: usize, team: &str, now: bool) -> Checked {
        let slot = &mut self.slots[at];
        if !slot.subscriptions.current().contains(team) {
            return Ok(());
        }
        let was_held = slot.subscriptions.held().remove(team);
        let done = if now {
            slot.subscriptions.lasting.remove(team);
            subscription::end(slot.device.engine(), &key(team))
        } else if was_held {
            slot.subscriptions.lapsed.insert(team.to_owned());
            subscription::release(slot.device.engine(), &key(team))
        } else {
            return Ok(());
        };
        done.map_err(|error| format!("ending a subscription: {error}"))?;
        let waits = slot.state.queue.iter().any(|one| one.state != MutationState::Parked);
        self.report.count(if waits {
            "a subscription ends under edits"
        } else {
            "a subscription ends"
        });
        self.report
            .trace(|| format!("   {at} ends {team} {}", if now { "now" } else { "by its ttl" }));
        Ok(())
    }

    /// A write to a row of a team by a device or another program.
    pub(super) fn team_statement(&self, at: Option<usize>, value: &str, rng: &mut Rng) -> String {
        let (table, team) = (TEAM_TABLES[rng.usize(..2)], TEAMS[rng.usize(..2)]);
        let id = format!("{}{}", &team[..1], rng.u8(..=self.setting.rows));
        let name = (table.to_owned(), id.clone());
        let has = match at {
            Some(at) => self.slots[at].state.view.contains_key(&name),
            None => self.server.history().now.contains_key(&name),
        };
        let of = format!(
            "WHERE id = '{id}'{}",
            if table == PLANS { " AND deleted_at IS NULL" } else { "" }
        );
        match rng.u8(..9) {
            _ if !has => {
                format!("INSERT INTO {table} (id, team, name) VALUES ('{id}', '{team}', '{value}')")
            }
            0 => format!("DELETE FROM {table} {of}"),
            1 => format!("UPDATE {table} SET team = '{}' {of}", TEAMS[rng.usize(..2)]),
            2..5 => format!("UPDATE {table} SET note = '{value}' {of}"),
            _ => format!("UPDATE {table} SET name = '{value}' {of}"),
        }
    }

    /// Whether an edit of these rows may be parked although no other writer touches them: its user
    /// writes not all of the teams, or the rows of a subscription are not loaded.
    pub(super) fn may_lack_right(&self, at: usize, rows: &[Name]) -> bool {
        let slot = &self.slots[at];
        let access = self.server.access(&slot.device.user, None);
        let access = TeamAccess { subscribed: slot.subscriptions.current(), ..access };
        let history = self.server.history();
        let lacks = |name: &&Name| {
            let known = [&slot.state.view, &slot.state.base].map(|rows| rows.get(*name));
            let is_unloaded = known[1].is_none() && history.now.contains_key(*name);
            let known: Vec<_> = known.into_iter().flatten().collect();
            let writes = known.iter().all(|row| access.writes(name, row));
            slot.stale || is_unloaded || known.is_empty() || !writes
        };
        rows.iter().filter(|name| is_of_team(name)).any(|name| lacks(&name))
    }

    /// When nothing waits, a device names the subscriptions that its app has.
    pub(super) fn check_subscriptions(&self, at: usize) -> Checked {
        let slot = &self.slots[at];
        let teams = teams_of(slot.header.as_deref());
        if slot.subscriptions.are(&teams) {
            return Ok(());
        }
        broken!("subscriptions-are-sent", "{at} names {teams:?}, and has {:?}", slot.subscriptions)
    }
}

fn key(team: &str) -> StreamKey {
    StreamKey { stream: JOBS.to_owned(), parameters: StreamParameters::from([("team", team)]) }
}
