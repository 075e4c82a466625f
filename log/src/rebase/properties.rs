//! Property test, over any store: a selective rebase gives the same result as a full replay from
//! the base, and undoing all steps restores the base exactly.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::super::effect::{Effect, Effects};
use super::super::entry::Intent;
use super::super::fixture::{Actions, Column, author, columns, entry, image, intent, row};
use super::super::handler::{Context, Draft, Handlers, Stop};
use super::super::ids::Name;
use super::super::key::Key;
use super::super::replica::memory::MemoryReplica;
use super::super::replica::store::ReplicaStore;
use super::super::row::{LogRow, RowName};
use super::super::store::{StoreError, Table};
use super::{AppliedStep, Change, Footprint, Ledger, StepIndex, Undo, rebase};

type RowMap = BTreeMap<RowName, LogRow>;

/// A step: an own action, or recorded effects.
#[derive(Debug, Clone, Default)]
struct Step {
    intent: Option<Intent>,
    effects: Effects,
    tables: BTreeSet<Name>,
    undo: Undo,
}

/// Rows and steps without a log.
#[derive(Debug)]
struct World<S> {
    store: S,
    /// The steps before the rebase, and their new state.
    former: BTreeMap<Key, Step>,
    edited: BTreeMap<Key, Step>,
    applied: BTreeMap<Key, Step>,
    runs: usize,
}

impl<S: ReplicaStore> World<S> {
    fn new(store: S) -> Self {
        let (former, edited, applied) = Default::default();
        Self { store, former, edited, applied, runs: 0 }
    }

    fn step(&self, key: &Key) -> Step {
        let found =
            self.applied.get(key).or_else(|| self.edited.get(key)).or_else(|| self.former.get(key));
        found.cloned().unwrap_or_default()
    }

    fn outcome(&self, effects: &Effects) -> BTreeMap<RowName, Option<LogRow>> {
        effects
            .iter()
            .map(|(row, effect)| (row.clone(), effect.on(self.at(row).as_ref())))
            .collect()
    }

    fn at(&self, row: &RowName) -> Option<LogRow> {
        self.store.row(row).unwrap()
    }

    fn run(&self, step: &mut Step, key: &Key) {
        let Some(intent) = &step.intent else { return };
        let context = Context { entry: key.id, time: 0, buckets: None, readable: None };
        let mut draft = Draft::new(&context, &self.store, &Column);
        let ran = match Actions.run(intent, &mut draft) {
            Ok(()) => true,
            Err(Stop::Refused(_)) => false,
            Err(error) => panic!("{error}"),
        };
        step.effects = if ran { draft.effects().unwrap() } else { Effects::default() };
        step.tables = draft.tables().clone();
    }
}

impl<S: ReplicaStore> Ledger for World<S> {
    fn steps(&self) -> &dyn StepIndex {
        self.store.steps()
    }

    fn steps_mut(&mut self) -> &mut dyn StepIndex {
        self.store.steps_mut()
    }

    fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        self.store.row(row)
    }

    fn put_row(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError> {
        self.store.put_row(row, image)
    }

    fn create_row(&mut self, row: &RowName, image: &LogRow) -> Result<bool, StoreError> {
        self.store.create_row(row, image)
    }

    fn undo(&self, key: &Key) -> Result<Undo, StoreError> {
        Ok(self.former[key].undo.clone())
    }

    fn apply_step(&mut self, key: &Key, run: bool) -> Result<AppliedStep, StoreError> {
        let mut step = self.step(key);
        if run {
            self.run(&mut step, key);
            self.runs += 1;
        }
        let writes = self.outcome(&step.effects);
        let former =
            self.former.get(key).map(|former| self.outcome(&former.effects)).unwrap_or_default();
        let names = writes.keys().chain(former.keys());
        let changed = names.filter(|row| {
            let current = self.at(row);
            writes.get(*row).unwrap_or(&current) != former.get(*row).unwrap_or(&current)
        });
        let changed = changed.cloned().collect();
        let rows = step.effects.rows();
        let footprint = Footprint { rows, tables: step.tables.clone() };
        self.applied.insert(*key, step);
        Ok(AppliedStep { writes: writes.into_iter().collect(), footprint, changed })
    }

    fn keep_undo(&mut self, key: &Key, undo: Undo) -> Result<(), StoreError> {
        if let Some(step) = self.applied.get_mut(key) {
            step.undo = undo;
        }
        Ok(())
    }

    fn start_over(&mut self) {
        self.applied.clear();
    }
}

/// One random history.
struct History<S> {
    world: World<S>,
    base: RowMap,
    rng: Rng,
    clock: u64,
}

const ROWS: [&str; 5] = ["r0", "r1", "r2", "k0", "k1"];

impl<S: ReplicaStore> History<S> {
    fn new(seed: u64, store: S) -> Self {
        let mut history = Self {
            world: World::new(store),
            base: RowMap::new(),
            rng: Rng::with_seed(seed),
            clock: 0,
        };
        for id in ["r0", "r1", "r2", "k0"] {
            let image = history.image("");
            history.base.insert(row(id), image.clone());
            history.world.put_row(&row(id), Some(&image)).unwrap();
        }
        history
    }

    fn image(&mut self, text: &str) -> LogRow {
        image(self.one_of(&["a", "b"]), text).with(&columns("number", self.rng.i64(0..2)))
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        self.rng.choice(words).copied().unwrap_or_default()
    }

    fn key(&mut self, millis: u64) -> Key {
        self.clock += 1;
        Key { millis, counter: self.clock, author: author(1), id: entry(self.clock.into()) }
    }

    fn intent(&mut self) -> Intent {
        let id = self.one_of(&["r0", "r1", "k0", "k1"]);
        let other = self.one_of(&["r0", "r2", "k0"]);
        let words = [
            format!("append {id} x"),
            format!("take {id} 2"),
            format!("sell {id}"),
            format!("delete {id}"),
            format!("transfer {id} {other}"),
            String::from("count a 3"),
            String::from("crowd a 6"),
            String::from("put k1 a u"),
            format!("reset {id}"),
            format!("toggle {id}"),
            String::from("create a c"),
        ];
        intent(&words[self.rng.usize(..words.len())])
    }

    fn effects(&mut self) -> Effects {
        let made = self.world.former.values().flat_map(|step| step.effects.rows());
        let mut rows: Vec<RowName> = made.filter(|row| row.table.as_str() == "d").collect();
        rows.extend(ROWS.map(row));
        let name = rows.swap_remove(self.rng.usize(..rows.len()));
        let effect = match self.rng.u8(..10) {
            0..3 => Effect::Update(columns("number", self.rng.i64(0..3))),
            3..5 => Effect::Update(columns("text", self.one_of(&["a", "b", "c"]))),
            5..7 => Effect::Delete,
            _ => Effect::Insert(self.image("ins")),
        };
        [(name, effect)].into_iter().collect()
    }

    /// Performs an own action, after all other steps.
    fn act(&mut self) {
        let key = self.key(self.clock * 10 + 10);
        let step = Step { intent: Some(self.intent()), ..Step::default() };
        let change = Change { run: [key].into(), ..Change::default() };
        self.make(change, [(key, step)]);
    }

    /// Changes steps of other authors, their content, and the base.
    fn apply_remote(&mut self) {
        let mut edited = BTreeMap::new();
        let what = self.rng.u8(..100);
        if what < 65 {
            for _ in 0..self.rng.usize(1..3) {
                let millis = self.rng.u64(1..self.clock * 10 + 10);
                let (key, effects) = (self.key(millis), self.effects());
                edited.insert(key, Step { effects, ..Step::default() });
            }
        }
        let mut change = Change::default();
        let theirs = self.world.former.iter().filter(|(_, step)| step.intent.is_none());
        let theirs: Vec<Key> = theirs.map(|(key, _)| *key).collect();
        if what > 45
            && let Some(key) = self.rng.choice(&theirs)
        {
            match self.rng.u8(..4) {
                0 => drop(change.out.insert(*key)),
                1 => drop(edited.insert(*key, Step::default())),
                _ => {
                    let effects = self.effects();
                    edited.insert(*key, Step { effects, ..Step::default() });
                }
            }
        }
        if what > 85 {
            let id = self.one_of(&["r0", "k0", "k1"]);
            let new = self.rng.bool().then(|| self.image("base"));
            if self.base.get(&row(id)) != new.as_ref() {
                match &new {
                    Some(image) => self.base.insert(row(id), image.clone()),
                    None => self.base.remove(&row(id)),
                };
                change.base.insert(row(id), new);
            }
        }
        self.make(change, edited);
    }

    fn make(&mut self, mut change: Change, edited: impl IntoIterator<Item = (Key, Step)>) {
        self.world.edited = edited.into_iter().collect();
        for (key, step) in &self.world.edited {
            change.put.insert(*key, step.effects.rows());
        }
        rebase(&mut self.world, &change).unwrap();
        let applied = std::mem::take(&mut self.world.applied);
        self.world.former.extend(applied);
        change.out.iter().for_each(|key| drop(self.world.former.remove(key)));
    }

    /// The expected rows: a full replay from the base.
    fn full(&self) -> RowMap {
        let mut world = World::new(MemoryReplica::default());
        for (row, image) in &self.base {
            world.put_row(row, Some(image)).unwrap();
        }
        for (key, step) in &self.world.former {
            let mut step = step.clone();
            world.run(&mut step, key);
            for (row, image) in world.outcome(&step.effects) {
                world.put_row(&row, image.as_ref()).unwrap();
            }
        }
        world.store.all_rows().unwrap().into_iter().collect()
    }

    fn undone(&self) -> RowMap {
        let mut rows = self.rows();
        for (row, image) in self.world.former.values().rev().flat_map(|step| step.undo.iter().rev())
        {
            match image {
                Some(image) => rows.insert(row.clone(), image.clone()),
                None => rows.remove(row),
            };
        }
        rows
    }

    fn rows(&self) -> RowMap {
        self.world.store.all_rows().unwrap().into_iter().collect()
    }
}

/// Checks one random history in an empty store.
pub fn selective_rebase_equals_full_replay(
    seed: u64,
    store: impl ReplicaStore,
) -> Result<(), String> {
    let mut history = History::new(seed, store);
    for turn in 0..*history.rng.clone().choice(&[4, 8, 14]).unwrap_or(&4) {
        if history.rng.u8(..100) < 35 {
            history.act();
        } else {
            history.apply_remote();
        }
        if history.rows() != history.full() {
            return Err(format!(
                "seed {seed}, turn {turn}: the selective rebase differs from a full replay"
            ));
        }
        if history.undone() != history.base {
            return Err(format!(
                "seed {seed}, turn {turn}: undoing everything does not restore the base"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::MemoryReplica;

    #[test]
    fn selective_rebase_equals_full_replay() {
        for seed in 0..8_000 * times() {
            super::selective_rebase_equals_full_replay(seed, MemoryReplica::default()).unwrap();
        }
    }

    /// How many times more cases the deep run generates.
    fn times() -> u64 {
        std::env::var("REJOIN_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
    }
}
