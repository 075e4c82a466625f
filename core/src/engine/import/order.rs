//! The order in which the old queue is imported. Pure.
//!
//! The SDK sends by the time of the last edit, so a parent that was edited after its child was
//! created comes after the child. Here a create comes before rows that refer to it, and the delete
//! of a child before that of its parent; otherwise the order stays.

use std::collections::HashMap;

use crate::engine::rows::patch::RowKey;

/// An unsent edit, with what its order depends on.
#[derive(Debug, Clone)]
pub(super) struct EditDependencies {
    pub(super) row: RowKey,
    pub(super) creates: bool,
    pub(super) deletes: bool,
    /// The rows that it refers to.
    pub(super) parents: Vec<RowKey>,
}

/// The indexes of the places, in order.
pub(super) fn in_order(places: &[EditDependencies]) -> Vec<usize> {
    let find = |wanted: fn(&EditDependencies) -> bool| -> HashMap<&RowKey, usize> {
        let found = places.iter().enumerate().filter(|(_, place)| wanted(place));
        found.map(|(at, place)| (&place.row, at)).collect()
    };
    let (created, deleted) = (find(|place| place.creates), find(|place| place.deletes));
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); places.len()];
    for (at, place) in places.iter().enumerate() {
        for parent in &place.parents {
            let of = if place.deletes { &deleted } else { &created };
            match of.get(parent) {
                Some(parent) if place.deletes => before[*parent].push(at),
                Some(parent) => before[at].push(*parent),
                None => {}
            }
        }
    }
    let mut order = Vec::with_capacity(places.len());
    let mut seen = vec![false; places.len()];
    for first in 0..places.len() {
        walk(first, &before, &mut seen, &mut order);
    }
    order
}

/// Visits what comes before a place, then the place; without recursion, because chains may be long.
/// A cycle is cut where it closes.
fn walk(first: usize, before: &[Vec<usize>], seen: &mut [bool], order: &mut Vec<usize>) {
    let mut open = vec![(first, 0)];
    while let Some((at, next)) = open.pop() {
        if next == 0 && std::mem::replace(&mut seen[at], true) {
            continue;
        }
        match before[at].get(next) {
            Some(other) => {
                open.push((at, next + 1));
                if !seen[*other] {
                    open.push((*other, 0));
                }
            }
            None => order.push(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableNumber;

    /// `+a` creates, `-a` deletes, `~a` edits; `>b` refers to b.
    fn order(text: &str) -> String {
        let row = |name: &str| RowKey { table: TableNumber(1), key: name.into() };
        let words: Vec<&str> = text.split(' ').collect();
        let places: Vec<EditDependencies> = words
            .iter()
            .map(|word| {
                let mut names = word[1..].split('>');
                EditDependencies {
                    row: row(names.next().unwrap()),
                    creates: word.starts_with('+'),
                    deletes: word.starts_with('-'),
                    parents: names.map(row).collect(),
                }
            })
            .collect();
        in_order(&places).into_iter().map(|at| words[at]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parents_are_created_first_and_deleted_last() {
        for (old, ours) in [
            ("+a +b +c", "+a +b +c"),
            ("+c>p +p", "+p +c>p"),
            ("+x +g>c +c>p +p", "+x +p +c>p +g>c"),
            ("~c>p +p", "+p ~c>p"),
            ("+c>p ~p", "+c>p ~p"),
            ("-p -c>p", "-c>p -p"),
            ("-p ~c>p", "-p ~c>p"),
            ("+a>b +b>a", "+b>a +a>b"),
            ("+a>a", "+a>a"),
        ] {
            assert_eq!(order(old), ours, "{old}");
        }
    }

    #[test]
    fn chain_of_a_hundred_thousand_is_reversed() {
        let row = |number: i64| RowKey { table: TableNumber(1), key: number.into() };
        let places: Vec<EditDependencies> = (0..100_000)
            .map(|number| EditDependencies {
                row: row(number),
                creates: true,
                deletes: false,
                parents: vec![row(number + 1)],
            })
            .collect();
        let expected: Vec<usize> = (0..100_000).rev().collect();
        assert_eq!(in_order(&places), expected);
    }
}
