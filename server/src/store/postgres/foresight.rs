//! What a push will ask, asked at once: the verdicts on its mutations, and the rows that it names, locked.
//!
//! A row that is locked stays as it is but for what this transaction does: what is written is forgotten here, and read again
//! when it is asked for. Where a write may change other rows (a trigger of somebody's, a cascade), all is forgotten. A row that
//! is not there cannot be locked: who puts one there makes this transaction's own insert fail, and then it is looked at again.
//! Rows are locked table by table and in the order of their keys, so that two pushes do not wait for each other crosswise.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use rejoin_protocol::Value;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Params, Sql};
use super::error::log_text;
use super::records::kept;
use super::rows::{Look, Several};
use super::{Known, verdicts};
use crate::model::{Access, ReadScope, StoredRow, StoredVerdict, Table};
use crate::store::PushHint;

type Result<T> = std::result::Result<T, Error>;

/// Rows by their table's number and their key: how they stand, `None` where there is none.
type Rows = HashMap<i64, HashMap<String, Option<Rc<StoredRow>>>>;

/// Keys by tables, each once and in order.
type Keys = BTreeMap<usize, BTreeSet<String>>;

/// What was asked before it is needed.
#[derive(Default)]
pub(super) struct Foresight {
    user: String,
    verdicts: HashMap<String, Option<StoredVerdict>>,
    /// Verdicts that this transaction has given.
    given: Vec<String>,
    /// Rows that were looked at again, and how often any was written.
    again: Vec<(usize, String)>,
    writes: usize,
    /// How it was when each savepoint began.
    marks: Vec<Mark>,
    /// For whose eyes and hands the rows were read.
    eyes: Option<(ReadScope, ReadScope)>,
    rows: Rows,
    /// Rows that were foreseen and written since.
    stale: Keys,
    has_waited: bool,
    refusal: Option<String>,
}

/// What is known: there is this, or there is nothing.
pub(super) struct Told<T>(pub(super) Option<T>);

/// How it stood before work that may be taken back.
pub(super) struct Before {
    rows: Rows,
    stale: Keys,
    verdicts: HashMap<String, Option<StoredVerdict>>,
    mark: Mark,
    marks: usize,
}

/// How much there was of what is given, looked at again and written.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    given: usize,
    again: usize,
    writes: usize,
}

/// A kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Insert,
    Update,
    Delete,
}

impl Foresight {
    /// The verdict on a mutation, if it is known whether there is one.
    pub(super) fn verdict(&self, user: &str, mutation: &str) -> Option<Told<StoredVerdict>> {
        if self.user != user {
            return None;
        }
        self.verdicts.get(mutation).cloned().map(Told)
    }

    /// Whether this user's verdicts were asked for.
    pub(super) fn is_of(&self, user: &str) -> bool {
        !self.user.is_empty() && self.user == user
    }

    fn mark(&self) -> Mark {
        Mark { given: self.given.len(), again: self.again.len(), writes: self.writes }
    }

    pub(super) fn begin(&mut self) {
        self.marks.push(self.mark());
    }

    pub(super) fn keep(&mut self) {
        self.marks.pop();
    }

    /// What was given since the savepoint is no verdict: who asks for it asks the database. A row that was looked at behind a write
    /// may have shown what is no more.
    pub(super) fn undo(&mut self, known: &Known) {
        let mark = self.marks.pop().unwrap_or_default();
        for mutation in self.given.drain(mark.given.min(self.given.len())..) {
            self.verdicts.remove(&mutation);
        }
        if self.writes == mark.writes || self.eyes.is_none() {
            return;
        }
        for (at, id) in self.again.drain(mark.again.min(self.again.len())..) {
            let table = known.schema.tables.get(at);
            if let Some(rows) = table.and_then(|table| self.rows.get_mut(&table.number)) {
                rows.remove(&id);
                self.stale.entry(at).or_default().insert(id);
            }
        }
    }

    /// A verdict is kept.
    pub(super) fn judged(&mut self, user: &str, mutation: &str, verdict: &StoredVerdict) {
        if self.is_of(user) {
            self.given.push(mutation.to_owned());
            self.verdicts.insert(mutation.to_owned(), Some(verdict.clone()));
        }
    }

    /// The row of this key, if it is known how it stands.
    pub(super) fn row(
        &self,
        table: &Table,
        key: &Value,
        eyes: (&ReadScope, &ReadScope),
    ) -> Option<Told<StoredRow>> {
        let (scope, own) = self.eyes.as_ref()?;
        if (scope, own) != eyes {
            return None;
        }
        let row = self.rows.get(&table.number)?.get(&key.to_id()?)?;
        Some(Told(row.as_deref().cloned()))
    }

    /// Whether a row was foreseen and written since; then it is looked at again together with all of its kind.
    pub(super) fn is_stale(&self, known: &Known, table: &Table, key: &Value) -> bool {
        let keys = place(known, table).and_then(|at| self.stale.get(&at));
        keys.zip(key.to_id()).is_some_and(|(keys, key)| keys.contains(&key))
    }

    /// A row was written, or is about to be.
    pub(super) fn wrote(&mut self, known: &Known, table: &Table, key: &Value, kind: Kind) {
        self.writes += 1;
        if self.eyes.is_none() {
            return;
        }
        if !known.shape(table).stays_quiet(kind) {
            return self.forget();
        }
        if let (Some(at), Some(id)) = (place(known, table), key.to_id())
            && self.rows.get_mut(&table.number).is_some_and(|rows| rows.remove(&id).is_some())
        {
            self.stale.entry(at).or_default().insert(id);
        }
        // Who may see a row below, and write it, goes by this one; where there is no row below there is still none.
        for (at, below) in known.schema.tables.iter().enumerate() {
            if is_below(known, below, table)
                && let Some(rows) = self.rows.get_mut(&below.number)
            {
                let seen: Vec<String> = rows
                    .iter()
                    .filter(|(_, row)| row.is_some())
                    .map(|(id, _)| id.clone())
                    .collect();
                rows.retain(|_, row| row.is_none());
                self.stale.entry(at).or_default().extend(seen);
            }
        }
    }

    /// Anything may be otherwise now.
    pub(super) fn forget(&mut self) {
        self.eyes = None;
        self.rows.clear();
        self.stale.clear();
    }

    /// It could not be asked. Who holds a row was waited for, and is not once more; that somebody has ended the question is told
    /// to the first who asks for a row, as if his own had met it. Whatever else it was is met again where it belongs.
    pub(super) fn refused(&mut self, error: &Error) {
        self.forget();
        self.has_waited = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        let is_ended = error.code() == Some(&SqlState::QUERY_CANCELED);
        self.refusal = is_ended.then(|| log_text(error));
    }

    pub(super) fn take_refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }

    pub(super) fn before(&self) -> Before {
        let (rows, stale, verdicts) =
            (self.rows.clone(), self.stale.clone(), self.verdicts.clone());
        Before { rows, stale, verdicts, mark: self.mark(), marks: self.marks.len() }
    }

    /// What was written since is taken back. That somebody else has put a row where none was may have been the reason, so there
    /// it is looked again.
    pub(super) fn restore(&mut self, known: &Known, before: Before) {
        self.verdicts = before.verdicts;
        self.given.truncate(before.mark.given);
        self.again.truncate(before.mark.again);
        self.marks.truncate(before.marks);
        if self.eyes.is_some() {
            self.rows = before.rows;
            self.stale = before.stale;
            for (at, table) in known.schema.tables.iter().enumerate() {
                let Some(rows) = self.rows.get_mut(&table.number) else { continue };
                let absent = rows.iter().filter(|(_, row)| row.is_none());
                let absent: Vec<String> = absent.map(|(id, _)| id.clone()).collect();
                rows.retain(|_, row| row.is_some());
                self.stale.entry(at).or_default().extend(absent);
            }
        }
    }

    /// Asks for what is coming, in one round trip.
    pub(super) fn ask(
        &mut self,
        connection: &Connection,
        known: &Known,
        coming: &PushHint<'_>,
    ) -> Result<()> {
        let mut keys = Keys::new();
        for (table, key) in coming.rows {
            if let (Some(at), Some(id)) = (place(known, table), key.to_id()) {
                keys.entry(at).or_default().insert(id);
            }
        }
        coming.user.clone_into(&mut self.user);
        self.eyes = Some((coming.scope.clone(), coming.own.clone()));
        self.ask_for(connection, known, &keys, coming.mutations)
    }

    /// Asks again for all that was written since it was foreseen.
    pub(super) fn ask_again(&mut self, connection: &Connection, known: &Known) -> Result<()> {
        let keys = std::mem::take(&mut self.stale);
        let named = keys.iter().flat_map(|(at, ids)| ids.iter().map(|id| (*at, id.clone())));
        self.again.extend(named);
        self.ask_for(connection, known, &keys, &[])
    }

    fn ask_for(
        &mut self,
        connection: &Connection,
        known: &Known,
        keys: &Keys,
        mutations: &[&str],
    ) -> Result<()> {
        let Some((scope, own)) = &self.eyes else { return Ok(()) };
        let named: Vec<_> = keys
            .iter()
            .filter_map(|(at, keys)| Some((known.schema.tables.get(*at)?, keys)))
            .collect();
        let look = |table| Look { connection, known, table };
        let questions: Vec<Several> =
            named.iter().map(|(table, keys)| look(*table).several(keys, scope, own)).collect();
        let params: Vec<_> = questions.iter().map(Several::params).collect();
        let user = kept(&self.user);
        let (user, ids) = (user.as_ref(), mutations.iter().map(|id| kept(id)).collect::<Vec<_>>());
        let holder: [&(dyn ToSql + Sync); 2] = [&user, &ids];
        let mut asked: Vec<(Sql<'_>, Params<'_>)> =
            vec![(Sql { text: verdicts::VERDICTS, types: &[] }, &holder)];
        asked.extend(
            questions.iter().zip(&params).map(|(of, params)| (of.sql(), params.as_slice())),
        );
        if mutations.is_empty() {
            asked.remove(0);
        }
        if asked.is_empty() {
            return Ok(());
        }
        let mut found = connection.all_guarded(&asked)?.into_iter();
        if !mutations.is_empty() {
            let nobody = mutations.iter().map(|id| ((*id).to_owned(), None));
            self.verdicts.extend(nobody);
            for row in found.next().unwrap_or_default() {
                let (mutation, verdict) = verdicts::of_row(&row);
                self.verdicts.insert(mutation, Some(verdict));
            }
        }
        for ((table, keys), rows) in named.iter().zip(found) {
            let rows = rows.iter().map(|row| look(*table).stored_of(row));
            let fresh = by_key(table, keys, rows.collect::<Result<Vec<_>>>()?);
            self.rows.entry(table.number).or_default().extend(fresh);
        }
        Ok(())
    }
}

/// Of each key how its row stands. Where the database has found a row that has none of these keys, in its own way of comparing
/// them, nothing is said of those that were not found.
fn by_key(
    table: &Table,
    keys: &BTreeSet<String>,
    rows: Vec<StoredRow>,
) -> Vec<(String, Option<Rc<StoredRow>>)> {
    let found: HashMap<String, Rc<StoredRow>> =
        rows.into_iter().map(|stored| (stored.row.id(table), Rc::new(stored))).collect();
    let is_odd = found.keys().any(|key| !keys.contains(key));
    let row = |key: &String| match found.get(key) {
        None if is_odd => None,
        row => Some((key.clone(), row.cloned())),
    };
    keys.iter().filter_map(row).collect()
}

fn place(known: &Known, table: &Table) -> Option<usize> {
    known.schema.tables.iter().position(|other| other.number == table.number)
}

/// Whether who sees a row of `table` is decided by rows of `above`.
fn is_below(known: &Known, table: &Table, above: &Table) -> bool {
    let mut lower = table;
    // As many steps as there are tables, at most: no table is above itself.
    for _ in &known.schema.tables {
        let Access::Chain { parent, .. } = lower.access else { return false };
        let Some(next) = known.schema.tables.get(parent) else { return false };
        if next.number == above.number {
            return true;
        }
        lower = next;
    }
    false
}
