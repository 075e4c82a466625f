//! The writes of a set that are not applied yet, and the orders in which they are tried.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rejoin_protocol::Value;

use crate::model::{Table, Violation};
use crate::store::StoreWrite;

/// A write that is not applied yet, and why not.
#[derive(Clone)]
pub(super) struct Waiting<'t> {
    pub(super) change: usize,
    pub(super) table: &'t Table,
    pub(super) write: StoreWrite,
    pub(super) why: Option<Violation>,
}

/// The order in which waiting writes are tried.
#[derive(Clone, Copy)]
pub(super) enum Order {
    AsIs,
    /// By the value that was refused: a shift of positions succeeds in one direction.
    Falling,
    Rising,
}

pub(super) const ORDERS: [Order; 3] = [Order::AsIs, Order::Falling, Order::Rising];

impl Order {
    pub(super) fn sort(self, waiting: &mut [Waiting<'_>]) {
        match self {
            Self::AsIs => {}
            Self::Falling => waiting.sort_by(|left, right| by_value(right, left)),
            Self::Rising => waiting.sort_by(by_value),
        }
    }
}

/// The first write that was refused, and why.
pub(super) fn first_refused<'w, 't: 'w>(
    waiting: impl IntoIterator<Item = &'w Waiting<'t>>,
) -> Option<(usize, &'w Violation)> {
    waiting.into_iter().find_map(|one| Some((one.change, one.why.as_ref()?)))
}

/// Assumes that writes which were not tried wait for the same as another of their table.
pub(super) fn assume_reasons(waiting: &mut [Waiting<'_>]) {
    let mut found: BTreeMap<i64, Violation> = BTreeMap::new();
    for one in waiting.iter() {
        if let Some(why) = &one.why {
            found.entry(one.table.number).or_insert_with(|| why.clone());
        }
    }
    for one in waiting.iter_mut().filter(|one| one.why.is_none()) {
        one.why = found.get(&one.table.number).cloned();
    }
}

/// Orders writes by the value that was refused: numbers, then other text, then those without one.
fn by_value(left: &Waiting<'_>, right: &Waiting<'_>) -> Ordering {
    let key = |one| {
        let value = refused_value(one);
        let text = value.and_then(Value::as_text);
        #[allow(clippy::cast_precision_loss)] // Only the order in which writes are tried.
        let number = match value {
            Some(Value::Integer(number)) => Some(*number as f64),
            Some(Value::Real(number)) => Some(*number),
            _ => text.and_then(|text| text.parse().ok()),
        };
        (number, text)
    };
    match (key(left), key(right)) {
        ((Some(left), _), (Some(right), _)) => left.total_cmp(&right),
        ((None, Some(left)), (None, Some(right))) => left.cmp(right),
        ((left, text), (right, other)) => {
            (left.is_none(), text.is_none()).cmp(&(right.is_none(), other.is_none()))
        }
    }
}

fn refused_value<'w>(one: &'w Waiting<'_>) -> Option<&'w Value> {
    let (StoreWrite::Insert { cells } | StoreWrite::Update { cells, .. }) = &one.write else {
        return None;
    };
    let at = one.table.column(one.why.as_ref()?.column.as_ref()?)?;
    cells.iter().find(|(other, _)| *other == at).map(|(_, value)| value)
}
