//! What the triggers saw in the present transaction: raw values, in order, in one growing piece of memory.
//!
//! Pure. Nothing is allocated per row or per value. A mark is a length; cutting back to it forgets what came after (D1).

use rusqlite::types::ValueRef;

use crate::ids::TableNumber;
use crate::value::Value;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// New values.
    Insert = 0,
    /// Old values, then new ones.
    Update = 1,
    /// Old values.
    Delete = 2,
}

/// The events of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
}

/// One event, still in the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// The table.
    pub(crate) table: TableNumber,
    /// What happened.
    pub(crate) operation: Operation,
    columns: usize,
    values: &'a [u8],
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

impl Buffer {
    /// How much there is; also a mark to cut back to.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what came after `mark`.
    pub(crate) fn cut(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    /// Begins an event; exactly as many values follow as the operation and `columns` say.
    pub(crate) fn begin(&mut self, table: TableNumber, operation: Operation, columns: usize) {
        self.bytes.extend_from_slice(&table.0.to_le_bytes());
        self.bytes.push(operation as u8);
        self.bytes.extend_from_slice(&u16::try_from(columns).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
    }

    /// Ends the event that began at `mark`.
    pub(crate) fn end(&mut self, mark: usize) {
        let length = u32::try_from(self.bytes.len() - mark - HEAD).unwrap_or(u32::MAX);
        self.bytes[mark + 7..mark + HEAD].copy_from_slice(&length.to_le_bytes());
    }

    /// Appends a value.
    pub(crate) fn push(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.bytes.push(NULL),
            ValueRef::Integer(number) => {
                self.bytes.push(INTEGER);
                self.bytes.extend_from_slice(&number.to_le_bytes());
            }
            ValueRef::Real(number) => {
                self.bytes.push(REAL);
                self.bytes.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            ValueRef::Text(text) => self.long(TEXT, text),
            ValueRef::Blob(blob) => self.long(BLOB, blob),
        }
    }

    fn long(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// The events since `mark`, in order.
    pub(crate) fn since(&self, mark: usize) -> impl Iterator<Item = Event<'_>> {
        let mut rest = self.bytes.get(mark..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_at_checked(HEAD)?;
            let (values, tail) = tail.split_at_checked(number(&head[7..]))?;
            rest = tail;
            Some(Event {
                table: TableNumber(u32::from_le_bytes([head[0], head[1], head[2], head[3]])),
                operation: match head[4] {
                    0 => Operation::Insert,
                    1 => Operation::Update,
                    _ => Operation::Delete,
                },
                columns: usize::from(u16::from_le_bytes([head[5], head[6]])),
                values,
            })
        })
    }
}

const HEAD: usize = 11;

fn number(bytes: &[u8]) -> usize {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[..4]);
    usize::try_from(u32::from_le_bytes(four)).unwrap_or(usize::MAX)
}

impl<'a> Event<'a> {
    /// The stored columns before and after, in the table's order.
    pub(crate) fn images(&self) -> (Option<Vec<ValueRef<'a>>>, Option<Vec<ValueRef<'a>>>) {
        let mut values = Values { rest: self.values };
        let mut image = || values.by_ref().take(self.columns).collect::<Vec<_>>();
        match self.operation {
            Operation::Insert => (None, Some(image())),
            Operation::Delete => (Some(image()), None),
            Operation::Update => {
                let old = image();
                (Some(old), Some(image()))
            }
        }
    }
}

struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        let (tag, rest) = self.rest.split_first()?;
        let width = match *tag {
            NULL => 0,
            INTEGER | REAL => 8,
            _ => number(rest.get(..4)?),
        };
        let rest = if *tag >= TEXT { &rest[4..] } else { rest };
        let (bytes, rest) = rest.split_at_checked(width)?;
        self.rest = rest;
        Some(match *tag {
            NULL => ValueRef::Null,
            INTEGER => ValueRef::Integer(i64::from_le_bytes(eight(bytes))),
            REAL => ValueRef::Real(f64::from_bits(u64::from_le_bytes(eight(bytes)))),
            TEXT => ValueRef::Text(bytes),
            _ => ValueRef::Blob(bytes),
        })
    }
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[..8]);
    out
}

/// Whether two stored values are the same to the last bit.
pub(crate) fn same(left: ValueRef<'_>, right: ValueRef<'_>) -> bool {
    match (left, right) {
        (ValueRef::Real(left), ValueRef::Real(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

/// A value of its own. Text was tested when it was captured.
pub(crate) fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_were_put_in_and_a_cut_forgets_the_later_ones() {
        let values = [
            ValueRef::Null,
            ValueRef::Integer(i64::MIN),
            ValueRef::Real(-0.0),
            ValueRef::Text("\u{e9}".as_bytes()),
            ValueRef::Blob(&[0, 255]),
        ];
        let mut buffer = Buffer::default();
        buffer.begin(TableNumber(7), Operation::Insert, 5);
        for value in values {
            buffer.push(value);
        }
        buffer.end(0);
        let mark = buffer.len();
        buffer.begin(TableNumber(8), Operation::Update, 1);
        buffer.push(ValueRef::Integer(1));
        buffer.push(ValueRef::Integer(2));
        buffer.end(mark);

        let events: Vec<_> = buffer.since(0).collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].table, TableNumber(7));
        let (old, new) = events[0].images();
        assert!(old.is_none());
        let new = new.unwrap();
        assert!(new.iter().zip(values).all(|(left, right)| same(*left, right)));
        let (old, new) = events[1].images();
        assert_eq!(old.unwrap(), vec![ValueRef::Integer(1)]);
        assert_eq!(new.unwrap(), vec![ValueRef::Integer(2)]);

        buffer.cut(mark);
        assert_eq!(buffer.since(0).count(), 1);
        assert_eq!(buffer.since(mark).count(), 0);
    }
}
