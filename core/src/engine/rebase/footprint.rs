//! Who is affected: the steps that must be undone before some of them can change (R3).
//!
//! Pure. A step is named by the rows of its effect, void ones too. For plain SQL that is all of its footprint: what it
//! laid down is among them, and it has read nothing.

use std::collections::BTreeSet;

use crate::engine::capture::patch::{PatchKind, RowKey};
use crate::engine::queue::mutation::State;
use crate::engine::row_state::{RowStates, Waiting};
use crate::ids::{Seq, TableNumber};
use crate::mutant::{self, Mutant};
use crate::value::Value;

/// The steps at a row: mutations that are part of what the app sees, oldest first.
pub(crate) fn steps_at<'a>(
    states: &'a RowStates,
    table: TableNumber,
    key: &Value,
) -> impl DoubleEndedIterator<Item = Seq> + 'a {
    live(states.at(table, key))
}

/// The steps at a row that are later than one, oldest first.
pub(crate) fn steps_after<'a>(
    states: &'a RowStates,
    row: &RowKey,
    seq: Seq,
) -> impl DoubleEndedIterator<Item = Seq> + 'a {
    live(states.after(row.table, &row.key, seq))
}

fn live(waiting: &[Waiting]) -> impl DoubleEndedIterator<Item = Seq> + '_ {
    waiting.iter().filter(|one| one.state != State::Parked).map(|one| one.seq)
}

/// The seeds and every later step that meets one of them by rows, and so on. Steps in `done` are undone already, with
/// everything that follows from them.
pub(crate) fn closure<'a>(
    seeds: impl IntoIterator<Item = Seq>,
    states: &RowStates,
    rows: impl Fn(Seq) -> &'a [(RowKey, PatchKind)],
    done: impl Fn(Seq) -> bool,
) -> BTreeSet<Seq> {
    let mut affected: BTreeSet<Seq> = seeds.into_iter().filter(|seq| !done(*seq)).collect();
    if mutant::on(Mutant::NoClosureByRows) {
        return affected;
    }
    let mut open: Vec<Seq> = affected.iter().copied().collect();
    while let Some(step) = open.pop() {
        for (row, _) in rows(step) {
            // The nearest later one is enough: the rest of the row follows from it.
            let next = steps_after(states, row, step).next();
            if let Some(later) = next
                && !done(later)
                && affected.insert(later)
            {
                open.push(later);
            }
        }
    }
    affected
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Steps by the rows that they name: `1: a b` is step 1 on rows a and b; `!` marks a parked one.
    fn affected(steps: &[&str], seeds: &[i64]) -> Vec<i64> {
        let mut states = RowStates::default();
        let mut by_step: HashMap<Seq, Vec<(RowKey, PatchKind)>> = HashMap::new();
        for step in steps {
            let (number, rows) = step.split_once(": ").unwrap();
            let (number, state) = match number.strip_suffix('!') {
                Some(number) => (number, State::Parked),
                None => (number, State::Pending),
            };
            let seq = Seq(number.parse().unwrap());
            for key in rows.split_whitespace() {
                let row = RowKey { table: TableNumber(1), key: key.into() };
                states.add(row.table, &row.key, Waiting { seq, state });
                by_step.entry(seq).or_default().push((row, PatchKind::Update));
            }
        }
        let seeds = seeds.iter().map(|seed| Seq(*seed));
        let set = closure(seeds, &states, |seq| by_step[&seq].as_slice(), |_| false);
        set.into_iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn later_steps_follow_by_rows_earlier_ones_do_not() {
        type Case = (&'static str, &'static [&'static str], &'static [i64], &'static [i64]);
        let cases: [Case; 7] = [
            ("nothing met", &["1: a", "2: b"], &[], &[]),
            ("alone", &["1: a", "2: b"], &[1], &[1]),
            ("the same row later", &["1: a", "2: a", "3: a"], &[2], &[2, 3]),
            ("through another row", &["1: a b", "2: b c", "3: c", "4: d"], &[1], &[1, 2, 3]),
            ("an earlier one stays", &["1: b", "2: a b"], &[2], &[2]),
            ("a parked one is no step", &["1: a", "2!: a b", "3: b"], &[1], &[1]),
            ("past a parked one", &["1: a", "2!: a", "3: a"], &[1], &[1, 3]),
        ];
        for (name, steps, seeds, expected) in cases {
            assert_eq!(affected(steps, seeds), expected, "{name}");
        }
    }

    #[test]
    fn a_row_that_was_edited_very_often_is_no_square() {
        let mut states = RowStates::default();
        let row = RowKey { table: TableNumber(1), key: "a".into() };
        let rows = [(row.clone(), PatchKind::Update)];
        for seq in 1..=20_000 {
            let waiting = Waiting { seq: Seq(seq), state: State::Pending };
            states.add(row.table, &row.key, waiting);
        }
        let set = closure([Seq(1)], &states, |_| rows.as_slice(), |_| false);
        assert_eq!(set.len(), 20_000);
    }
}
