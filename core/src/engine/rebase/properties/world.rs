//! Two engines that run the same scenario, one rebasing selectively and one fully, and the server's
//! rows.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rejoin_protocol::manifest::{Manifest, ReferenceAction, Rule, TableManifest};
use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::wire::snapshot::KeyRange;
use tempfile::TempDir;

use serde_json::Value as Json;

use super::act;
use super::check::{self, Columns, Rows};
use super::coverage::Coverage;
use super::look::{lines_of, rolled_back, rows_of, same_index};
use super::story::{Event, Row, Story, TABLES};
use crate::engine::action::perform;
use crate::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use crate::engine::queue::{Queue, QueueEntry};
use crate::engine::rebase::context::Extent;
use crate::engine::rebase::decide;
use crate::engine::rebase::{Batch, ServerVerdict};
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::{Effect, RowKey};
use crate::engine::tests::{column, table};
use crate::engine::{Engine, OpenOptions};
use crate::host::TestHost;
use crate::ids::{MutationId, Seq, TableNumber};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// What one scenario covered.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Independent flags.
struct Seen {
    overlap: bool,
    deeper: bool,
    swap: bool,
    orphan: bool,
    failing: bool,
    reopened: bool,
    parked: bool,
    accepted: bool,
    actions: bool,
    refused: bool,
    started_over: bool,
}

pub(super) struct World {
    pub(super) coverage: Coverage,
    folder: TempDir,
    selective: Engine,
    full: Engine,
    mutant: Option<Mutant>,
    columns: Columns,
    truth: Rows,
    seen: Seen,
    request: i64,
}

fn tables() -> Vec<TableManifest> {
    let rules = [
        vec![],
        vec![Rule::References {
            column: String::from("pid"),
            table: String::from("p"),
            on_delete: ReferenceAction::Cascade,
            on_update: ReferenceAction::default(),
        }],
        vec![
            Rule::Unique { columns: vec![String::from("name")] },
            Rule::Check { name: String::from("n"), expression: String::from("n >= 0") },
        ],
    ];
    let kinds = [["int64", "int64"], ["string", "int64"], ["string", "int64"]];
    let made = TABLES.into_iter().zip(rules).zip(kinds);
    made.map(|(((name, [a, b]), rules), [first, second])| {
        let mut table = table(name, &[("id", "string"), (a, first), (b, second)], rules);
        table.columns[1] = column(a, first);
        if name == "p" {
            table.deleted_at_column = b.to_owned();
        }
        table
    })
    .collect()
}

fn open(folder: &TempDir, name: &str) -> Engine {
    let options =
        OpenOptions { path: folder.path().join(name), manifest: Some(Manifest::new(1, tables())) };
    let mut engine = Engine::open(&options, Arc::new(TestHost::new(7))).unwrap();
    // Power cuts are not tested here.
    engine.db.conn().execute_batch("PRAGMA synchronous = OFF").unwrap();
    perform::set_actions(&mut engine, Arc::new(act::actions()), true).unwrap();
    engine
}

impl World {
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (selective, full) = (open(&folder, "selective.db"), open(&folder, "full.db"));
        let columns = selective.schema().tables.values().map(|table| {
            (table.number.0, table.columns.iter().skip(1).map(|column| column.id).collect())
        });
        let columns = columns.collect();
        assert_eq!(selective.schema().named("p").unwrap().number.0, check::SOFT);
        Self {
            coverage: Coverage::default(),
            folder,
            selective,
            full,
            mutant,
            columns,
            truth: Rows::new(),
            seen: Seen::default(),
            request: 0,
        }
    }

    /// Runs a scenario from an empty file; returns why it fails, if it does.
    pub(super) fn play(&mut self, story: &Story) -> Result<(), String> {
        self.clear();
        self.pull(&story.base, false, false)?;
        self.seen = Seen::default();
        for (number, event) in (1..).zip(&story.events) {
            self.event(event)
                .and_then(|()| self.check())
                .map_err(|why| format!("event {number}: {why}"))?;
        }
        let Seen { overlap, deeper, swap, orphan, failing, reopened, parked, accepted, .. } =
            self.seen;
        let Seen { actions, refused, started_over, .. } = std::mem::take(&mut self.seen);
        let seen = [overlap, deeper, swap, orphan, failing, reopened, parked, accepted];
        let seen = seen.into_iter().chain([actions, refused, started_over]);
        for ((_, count), seen) in self.coverage.fields().into_iter().zip(seen) {
            count.fetch_add(u64::from(seen), Ordering::SeqCst);
        }
        Ok(())
    }

    fn clear(&mut self) {
        for engine in [&mut self.selective, &mut self.full] {
            engine.queue.rolled_back();
            let _off = engine.capture.off();
            let sql = "DELETE FROM p; DELETE FROM c; DELETE FROM u; DELETE FROM rejoin_mutation; \
                       DELETE FROM rejoin_history; \
                       DELETE FROM rejoin_meta WHERE key = 'last_given'";
            engine.db.conn().execute_batch(&format!("BEGIN; {sql}; COMMIT")).unwrap();
            let queue = Queue::load(engine.db.conn(), &engine.schema).unwrap();
            engine.queue = queue;
        }
        self.truth.clear();
        self.seen = Seen::default();
    }

    /// Does the same to both engines; only the selective one has the mutant.
    fn both<T>(
        &mut self,
        mut act: impl FnMut(&mut Engine, Extent) -> crate::Result<T>,
    ) -> Result<[T; 2], String> {
        let selective = &mut self.selective;
        let first = match self.mutant {
            Some(mutant) => mutant::with(mutant, || act(selective, Extent::Selective)),
            None => act(selective, Extent::Selective),
        };
        let first = first.map_err(|error| format!("selective: {error}"))?;
        let second = act(&mut self.full, Extent::Full).map_err(|error| format!("full: {error}"))?;
        Ok([first, second])
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Local { statements, passes_over } => self.local(statements, *passes_over),
            Event::Act { name, args } => self.act(name, args),
            Event::Pull { rows, arrays, detect_conflicts } => {
                self.pull(rows, *arrays, *detect_conflicts)
            }
            Event::Page { table, rows, through } => self.page(*table, rows, through),
            Event::Answer { first, endings, detect_conflicts } => {
                self.answer(*first, endings, *detect_conflicts)
            }
            Event::Lost { count } => {
                self.request += 1;
                let request = self.request;
                let seqs: Vec<Seq> =
                    self.open_mutations().into_iter().take(*count).map(|m| m.seq).collect();
                self.both(|engine, _| {
                    engine.mark_sent(&seqs, request)?;
                    engine.mark_uncertain(request)
                })
                .map(drop)
            }
            Event::Discard { which } => {
                let all = self.selective.pending().map_err(|error| error.to_string())?;
                let may_go = |m: &&Mutation| {
                    matches!(m.state, MutationState::Pending | MutationState::Parked)
                };
                let ids: Vec<MutationId> = all.iter().filter(may_go).map(|m| m.id).collect();
                let Some(id) = ids.get(which % ids.len().max(1)).copied() else { return Ok(()) };
                self.both(|engine, _| decide::discard(engine, id)).map(drop)
            }
            Event::Reopen => {
                self.seen.reopened = true;
                self.reopen();
                Ok(())
            }
        }
    }

    fn reopen(&mut self) {
        let host = Arc::clone(&self.selective.host);
        let old = std::mem::replace(&mut self.selective, open(&self.folder, "empty.db"));
        drop(old);
        self.selective = open(&self.folder, "selective.db");
        // The clock and the ids continue, so that both engines stay equal.
        self.selective.host = host;
        std::fs::remove_file(self.folder.path().join("empty.db")).unwrap();
    }

    fn local(&mut self, statements: &[String], passes_over: bool) -> Result<(), String> {
        let failing = Cell::new(false);
        self.write(|engine| {
            engine.transaction(|tx| {
                for sql in statements {
                    if let Err(error) = tx.execute(sql, &[]) {
                        failing.set(true);
                        if !passes_over {
                            return Err(error);
                        }
                    }
                }
                Ok(())
            })
        })?;
        self.seen.failing |= failing.get();
        Ok(())
    }

    fn act(&mut self, name: &str, args: &Json) -> Result<(), String> {
        self.seen.actions = true;
        self.write(|engine| perform::perform(engine, name, args).map(drop))
    }

    /// One local transaction, which may fail.
    fn write(&mut self, write: impl Fn(&mut Engine) -> crate::Result<()>) -> Result<(), String> {
        let before = rows_of(&self.selective);
        let counts = [self.selective.queue.len(), self.full.queue.len()];
        let ended = self.both(|engine, _| Ok(write(engine).map_err(|error| error.to_string())))?;
        if ended[0] != ended[1] {
            return Err(format!("a local transaction ended differently: {ended:?}"));
        }
        let after = rows_of(&self.selective);
        let appended = self.selective.queue.len() - counts[0];
        let effect = match (appended, self.selective.pending().map_err(|e| e.to_string())?.pop()) {
            (1, Some(mutation)) => mutation.effect,
            _ => Effect::default(),
        };
        let diff = check::diff(&before, &after, &self.columns);
        check::same_patches("captured patches equal the diff", &effect.rows, &diff)
    }

    fn image(&self, row: &Row) -> ServerRow {
        let table = self.selective.schema().named(TABLES[row.table].0).unwrap();
        let named = |cells: &[Value; 2]| {
            self.columns[&table.number.0].iter().copied().zip(cells.iter().cloned()).collect()
        };
        ServerRow {
            table: table.number,
            key: row.key.clone().into(),
            row: row.cells.as_ref().map(named),
        }
    }

    fn pull(&mut self, rows: &[Row], arrays: bool, detect_conflicts: bool) -> Result<(), String> {
        let mut batch = Batch { detect_conflicts, ..Batch::default() };
        for row in rows {
            match (&row.cells, arrays) {
                (Some(_), true) => batch.sets.push(array(row.table, std::slice::from_ref(row))),
                _ => batch.images.push(self.image(row)),
            }
        }
        self.notice(rows);
        self.take_into_truth(rows);
        self.apply(&batch)
    }

    fn page(&mut self, table: usize, rows: &[Row], through: &str) -> Result<(), String> {
        let number = self.selective.schema().named(TABLES[table].0).unwrap().number.0;
        let through = through.to_owned();
        self.truth.retain(|(table, key), _| *table != number || *key > through);
        self.take_into_truth(rows);
        let range = KeyRange {
            table_name: TABLES[table].0.to_owned(),
            after: None,
            through: Some(through),
        };
        let batch = Batch {
            sets: vec![array(table, rows)],
            ranges: vec![range],
            detect_conflicts: true,
            ..Batch::default()
        };
        self.apply(&batch)
    }

    fn take_into_truth(&mut self, rows: &[Row]) {
        for row in rows {
            let number = self.selective.schema().named(TABLES[row.table].0).unwrap().number.0;
            let key = (number, row.key.clone());
            match &row.cells {
                Some(cells) => drop(self.truth.insert(key, cells.to_vec())),
                None => drop(self.truth.remove(&key)),
            }
        }
    }

    /// Counts rows of a pull that native rules would reject, before they are applied.
    fn notice(&mut self, rows: &[Row]) {
        let number =
            |table: usize| self.selective.schema().named(TABLES[table].0).unwrap().number.0;
        let brought = |row: &Row| row.cells.as_ref().map(|cells| cells[0].clone());
        let names: Vec<&Row> = rows.iter().filter(|row| row.table == 2).collect();
        let had = |row: &Row| Some(self.truth.get(&(number(2), row.key.clone()))?[0].clone());
        self.seen.swap |= names.iter().any(|one| {
            names.iter().any(|other| {
                brought(one).is_some()
                    && brought(one) == had(other)
                    && brought(other) == had(one)
                    && brought(one) != brought(other)
            })
        });
        self.seen.orphan |= rows.iter().filter(|row| row.table == 1).any(|row| {
            let parent = brought(row).and_then(|parent| parent.as_text().map(str::to_owned));
            parent.is_some_and(|parent| !self.truth.contains_key(&(number(0), parent)))
        });
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), String> {
        let direct = self.directly_met(batch);
        let [applied, _] = self.both(|engine, extent| engine.apply_to(batch, extent))?;
        self.seen.overlap |= applied.affected > 0 && batch.verdicts.is_empty();
        self.seen.deeper |= batch.ranges.is_empty() && applied.affected > direct;
        self.seen.started_over |= applied.started_over > 0;
        self.seen.refused |= applied.parked.iter().any(|id| {
            let parked = self.selective.mutation(*id).unwrap();
            parked.is_some_and(|parked| parked.reason == Some(ParkReason::Unreplayable))
        });
        self.seen.parked |= !applied.parked.is_empty();
        self.seen.accepted |= !applied.accepted.is_empty();
        Ok(())
    }

    /// Number of mutations that the batch names, or affects by its own rows and their tables.
    fn directly_met(&self, batch: &Batch) -> usize {
        let states = self.selective.queue.states();
        let states = states.read();
        let images = batch.images.iter().map(|image| (image.table, image.key.clone()));
        let arrays = batch.sets.iter().flat_map(|set| {
            let table = self.selective.schema().named(&set.table_name).unwrap().number;
            let rows: Vec<Vec<serde_json::Value>> = serde_json::from_str(set.rows.get()).unwrap();
            rows.into_iter().map(move |row| (table, Value::from(row[1].as_str().unwrap())))
        });
        let rows: Vec<(TableNumber, Value)> = images.chain(arrays).collect();
        let reads = |entry: &&QueueEntry| rows.iter().any(|(table, _)| entry.reads.contains(table));
        let entries = self.selective.queue.entries();
        let readers = entries.filter(|entry| entry.replays()).filter(reads).map(|entry| entry.seq);
        let waiting = rows.iter().flat_map(|(table, key)| states.at(*table, key).to_vec());
        let live = waiting.filter(|one| one.state != MutationState::Parked).map(|one| one.seq);
        let named = batch.verdicts.iter().filter_map(|one| self.selective.queue.find(one.id));
        live.chain(named.map(|entry| entry.seq)).chain(readers).collect::<BTreeSet<Seq>>().len()
    }

    fn open_mutations(&self) -> Vec<Mutation> {
        self.selective.queue_view().sendable(usize::MAX).unwrap()
    }

    /// Sends some mutations and answers them; the server applies what it accepts.
    fn answer(
        &mut self,
        first: usize,
        endings: &[Ending],
        detect_conflicts: bool,
    ) -> Result<(), String> {
        let open = self.open_mutations();
        if open.is_empty() {
            return Ok(());
        }
        self.request += 1;
        let request = self.request;
        let first = first % open.len();
        let seqs: Vec<Seq> = open[first..].iter().take(endings.len()).map(|m| m.seq).collect();
        let [offers, _] = self.both(|engine, _| engine.mark_sent(&seqs, request))?;
        let mut batch = Batch { detect_conflicts, ..Batch::default() };
        let mut touched: BTreeMap<(u32, String), RowKey> = BTreeMap::new();
        for (offer, ending) in offers.iter().zip(endings) {
            let mutation = &offer.mutation;
            if *ending == Ending::Accepted {
                let effect = std::slice::from_ref(&mutation.effect);
                self.truth =
                    check::apply_effects(std::mem::take(&mut self.truth), effect, &self.columns);
            }
            let (id, attempt) = (mutation.id, mutation.attempt);
            batch.verdicts.push(ServerVerdict {
                id,
                attempt,
                ending: *ending,
                code: None,
                detail: None,
            });
            touched
                .extend(mutation.effect.rows.iter().map(|p| (check::name(&p.row), p.row.clone())));
        }
        for (name, row) in touched {
            let cells = self.truth.get(&name).cloned();
            let columns = &self.columns[&name.0];
            let row_now = cells.map(|cells| columns.iter().copied().zip(cells).collect());
            batch.images.push(ServerRow { table: row.table, key: row.key, row: row_now });
        }
        self.apply(&batch)
    }

    /// Checks the properties.
    fn check(&mut self) -> Result<(), String> {
        let shown = rows_of(&self.selective);
        check::equal("selective equals full", &shown, &rows_of(&self.full))?;
        let queues = [&self.selective, &self.full].map(|engine| engine.pending().unwrap());
        if self.mutant.is_none() {
            let [mine, full] = queues.each_ref().map(|queue| lines_of(queue));
            if mine != full {
                let lines = [mine.join("\n"), full.join("\n")];
                return Err(format!("queues differ:\n{}\n--\n{}", lines[0], lines[1]));
            }
        }
        let live: Vec<&Mutation> =
            queues[1].iter().filter(|m| m.state != MutationState::Parked).collect();
        let effects: Vec<Effect> = live.iter().map(|m| m.effect.clone()).collect();
        let folded = check::apply_effects(self.truth.clone(), &effects, &self.columns);
        check::equal("visible rows equal base and effects", &shown, &folded)?;
        let (base, applied) = rolled_back(&mut self.selective)?;
        check::equal("rollback equals the base", &base, &self.truth)?;
        let diff = check::diff(&self.truth, &shown, &self.columns);
        check::same_patches(
            "composed patches equal the diff",
            &check::composed(applied.into_iter()),
            &diff,
        )?;
        if self.mutant.is_some() { Ok(()) } else { same_index(&self.selective) }
    }
}

fn array(table: usize, rows: &[Row]) -> rejoin_protocol::wire::row::RowSet {
    let (name, [a, b]) = TABLES[table];
    let json = |value: &Value| match value {
        Value::Text(text) => format!("\"{text}\""),
        Value::Integer(number) => number.to_string(),
        _ => String::from("null"),
    };
    let rows = rows.iter().filter_map(|row| {
        let [first, second] = row.cells.as_ref()?;
        Some(format!("[{},\"{}\",{}]", json(first), row.key, json(second)))
    });
    let text = format!("[{}]", rows.collect::<Vec<_>>().join(","));
    super::super::tests::support::set(name, &[a, "id", b], &text)
}
