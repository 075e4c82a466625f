//! Captured changes of the current transaction: encoded patches in order, in one growing buffer.
//!
//! Pure. Nothing is allocated per row or per value. A mark is a length; cutting the buffer back to
//! it removes later events.

use rusqlite::types::ValueRef;

use crate::engine::rows::binary::{BinaryWriter, KEPT, Malformed};
use crate::engine::rows::encode::{self, PatchBytes, kind_number};
use crate::engine::rows::patch::PatchKind;
use crate::engine::schema::model::Table;

/// The events of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    out: BinaryWriter,
}

/// One event, still in the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaptureEvent<'a> {
    /// The change of the row.
    pub(crate) patch: PatchBytes<'a>,
    /// Whether it is the second half of a key change; the event before is the first.
    pub(crate) moved: bool,
}

/// Before each event: twice its length, plus one for the second half of a key change.
const HEAD: usize = 8;

impl Buffer {
    /// Length of the buffer; also a mark to cut back to.
    pub(crate) fn len(&self) -> usize {
        self.out.written().len()
    }

    /// Removes what was captured after `mark`.
    pub(crate) fn cut(&mut self, mark: usize) {
        self.out.cut(mark);
    }

    /// Clears the buffer.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
    }

    /// Whether clearing frees its memory.
    pub(crate) fn is_large(&self) -> bool {
        self.len() > KEPT
    }

    /// Takes the events as an effect of this many patches, in the same memory: the changes of a
    /// large transaction do not fit in a phone's memory twice.
    pub(crate) fn take_effect(&mut self, schema_version: i64, patches: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.out).finish();
        let (mut from, mut to) = (0, 0);
        while let Some((head, _)) = bytes[from..].split_first_chunk::<HEAD>() {
            let Ok(length) = usize::try_from(u64::from_le_bytes(*head) >> 1) else { break };
            let event = from + HEAD..from + HEAD + length;
            from = event.end;
            bytes.copy_within(event, to);
            to += length;
        }
        bytes.truncate(to);
        let mut head = BinaryWriter::new();
        encode::write_head(&mut head, schema_version, patches);
        bytes.splice(0..0, head.finish());
        bytes
    }

    /// Captures a new row. `new` returns each value once, and may reject one: then the caller cuts
    /// back.
    pub(crate) fn insert<'v, E>(
        &mut self,
        table: &Table,
        new: impl Fn(usize) -> Result<ValueRef<'v>, E>,
    ) -> Result<(), E> {
        self.whole(table, PatchKind::Insert, false, new)
    }

    /// Captures a removed row.
    pub(crate) fn delete<'v>(&mut self, table: &Table, old: impl Fn(usize) -> ValueRef<'v>) {
        let old = |at| Ok::<_, std::convert::Infallible>(old(at));
        let Ok(()) = self.whole(table, PatchKind::Delete, false, old);
    }

    /// Captures a changed row: the changed columns, or all of them for a soft delete or its undo,
    /// because these are sent as a delete and as a whole row. Nothing if no column changed. `test`
    /// may reject a new value: then the caller cuts back.
    pub(crate) fn update<'v, E>(
        &mut self,
        table: &Table,
        old: impl Fn(usize) -> ValueRef<'v>,
        new: impl Fn(usize) -> ValueRef<'v>,
        test: impl Fn(usize, ValueRef<'v>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !same(old(table.key), new(table.key)) {
            self.delete(table, &old);
            return self.whole(table, PatchKind::Insert, true, |at| {
                let value = new(at);
                if same(old(at), value) { Ok(value) } else { test(at, value).map(|()| value) }
            });
        }
        let is_null = |value| value == ValueRef::Null;
        let all = table.deleted_at.is_some_and(|at| is_null(old(at)) != is_null(new(at)));
        let mark = self.begin(table, new(table.key), PatchKind::Update);
        // The number of columns is filled in at the end.
        let room = self.len();
        let wide = table.columns.len() > 127;
        self.out.raw(if wide { &[0x80, 0] } else { &[0] });
        let mut count = 0_usize;
        for (at, column) in table.columns.iter().enumerate() {
            if at == table.key {
                continue;
            }
            let (old, new) = (old(at), new(at));
            let changed = !same(old, new);
            if !changed && !all {
                continue;
            }
            if changed {
                test(at, new)?;
            }
            self.out.unsigned(u64::from(column.id.0));
            self.push(old);
            if changed {
                self.push_tested(new);
            } else {
                self.push(new);
            }
            count += 1;
        }
        if count == 0 {
            self.cut(mark);
            return Ok(());
        }
        let [low, high, ..] = count.to_le_bytes();
        if wide {
            self.out.put(room, &[low | 0x80, high << 1 | low >> 7]);
        } else {
            self.out.put(room, &[low]);
        }
        self.end(mark, false);
        Ok(())
    }

    fn whole<'v, E>(
        &mut self,
        table: &Table,
        kind: PatchKind,
        moved: bool,
        value: impl Fn(usize) -> Result<ValueRef<'v>, E>,
    ) -> Result<(), E> {
        let tested = kind == PatchKind::Insert && !moved;
        let mark = self.begin(table, value(table.key)?, kind);
        self.out.length(table.columns.len() - 1);
        for (at, column) in table.columns.iter().enumerate() {
            if at != table.key {
                self.out.unsigned(u64::from(column.id.0));
                let value = value(at)?;
                if tested {
                    self.push_tested(value);
                } else {
                    self.push(value);
                }
            }
        }
        self.end(mark, moved);
        Ok(())
    }

    fn begin(&mut self, table: &Table, key: ValueRef<'_>, kind: PatchKind) -> usize {
        let mark = self.len();
        self.out.raw(&[0; HEAD]);
        self.out.unsigned(u64::from(table.number.0));
        self.push(key);
        self.out.byte(kind_number(kind));
        mark
    }

    fn end(&mut self, mark: usize, moved: bool) {
        let length = (self.len() - mark - HEAD) as u64;
        self.out.put(mark, &(length << 1 | u64::from(moved)).to_le_bytes());
    }

    /// Old text may come from another tool: the queue must stay readable.
    fn push(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Text(text) if std::str::from_utf8(text).is_err() => {
                self.out.text(String::from_utf8_lossy(text).as_bytes());
            }
            value => self.push_tested(value),
        }
    }

    fn push_tested(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.out.null(),
            ValueRef::Integer(number) => self.out.integer(number),
            ValueRef::Real(number) => self.out.real(number),
            ValueRef::Text(text) => self.out.text(text),
            ValueRef::Blob(blob) => self.out.blob(blob),
        }
    }

    /// The events since `mark`, in order.
    ///
    /// # Errors
    /// Never for what this buffer wrote.
    pub(crate) fn since(
        &self,
        mark: usize,
    ) -> impl Iterator<Item = Result<CaptureEvent<'_>, Malformed>> {
        let mut rest = self.out.written().get(mark..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<HEAD>()?;
            let head = u64::from_le_bytes(*head);
            let (bytes, tail) = tail.split_at_checked(usize::try_from(head >> 1).ok()?)?;
            rest = tail;
            Some(PatchBytes::of(bytes).map(|patch| CaptureEvent { patch, moved: head & 1 == 1 }))
        })
    }
}

/// Whether two stored values are identical.
pub(crate) fn same(left: ValueRef<'_>, right: ValueRef<'_>) -> bool {
    match (left, right) {
        (ValueRef::Real(left), ValueRef::Real(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::FromSql as _;

    use super::*;
    use crate::engine::capture::compose::tests::{image, table};
    use crate::engine::capture::guard::lent;
    use crate::ids::ColumnId;
    use crate::value::Value;

    #[test]
    fn values_of_different_storage_classes_differ() {
        let stored = [
            ValueRef::Null,
            ValueRef::Text(b""),
            ValueRef::Blob(b""),
            ValueRef::Text(b"1"),
            ValueRef::Blob(b"1"),
            ValueRef::Integer(1),
            ValueRef::Real(1.0),
            ValueRef::Real(0.0),
            ValueRef::Real(-0.0),
        ];
        for (at, left) in stored.into_iter().enumerate() {
            for (other, right) in stored.into_iter().enumerate() {
                assert_eq!(same(left, right), at == other, "{left:?} {right:?}");
                let (left, right) = (Value::column_result(left), Value::column_result(right));
                let same = crate::engine::rows::patch::same(&left.unwrap(), &right.unwrap());
                assert_eq!(same, at == other);
            }
        }
    }

    fn take(buffer: &mut Buffer, table: &Table, old: &str, new: &str) {
        let (old, new) = (image(old), image(new));
        buffer.take(table, old.as_deref(), new.as_deref());
    }

    impl Buffer {
        /// Captures the images of a row like a trigger.
        pub(crate) fn take(&mut self, table: &Table, old: Option<&[Value]>, new: Option<&[Value]>) {
            let tested = |_, _| Ok::<_, ()>(());
            match (old, new) {
                (None, Some(new)) => self.insert(table, |at| Ok::<_, ()>(lent(&new[at]))).unwrap(),
                (Some(old), None) => self.delete(table, |at| lent(&old[at])),
                (Some(old), Some(new)) => {
                    self.update(table, |at| lent(&old[at]), |at| lent(&new[at]), tested).unwrap();
                }
                (None, None) => {}
            }
        }
    }

    #[test]
    fn events_are_kept_in_order_until_cut() {
        let table = table(false);
        let mut buffer = Buffer::default();
        take(&mut buffer, &table, "", "k 1 2 .");
        let mark = buffer.len();
        take(&mut buffer, &table, "k 1 2 .", "k 1 3 .");
        take(&mut buffer, &table, "k 1 3 .", "k 1 3 .");
        take(&mut buffer, &table, "k 1 3 .", "m 1 3 .");
        let events: Vec<_> = buffer.since(0).map(Result::unwrap).collect();
        let captured: Vec<_> = events.iter().map(|event| (event.patch.kind, event.moved)).collect();
        assert_eq!(
            captured,
            [
                (PatchKind::Insert, false),
                (PatchKind::Update, false),
                (PatchKind::Delete, false),
                (PatchKind::Insert, true)
            ]
        );
        let patch = events[1].patch.patch().unwrap();
        assert_eq!(patch.row, events[0].patch.row().unwrap());
        assert_eq!(patch.columns.len(), 1);
        buffer.cut(mark);
        assert_eq!(buffer.since(0).count(), 1);
        assert_eq!(buffer.since(mark).count(), 0);
    }

    #[test]
    fn wide_table_stores_its_number_of_columns() {
        for columns in [2_u16, 127, 128, 129, 300, 499] {
            let mut table = table(false);
            let one = table.columns[0].clone();
            table.columns = (1..=columns)
                .map(|id| crate::engine::schema::model::Column {
                    id: ColumnId(id.into()),
                    ..one.clone()
                })
                .collect();
            let row = |value: i64| -> Vec<Value> {
                (0..columns).map(|at| Value::Integer(if at == 0 { 1 } else { value })).collect()
            };
            let mut buffer = Buffer::default();
            buffer.take(&table, Some(&row(1)), Some(&row(2)));
            let event = buffer.since(0).next().unwrap().unwrap();
            assert_eq!(event.patch.patch().unwrap().columns.len(), usize::from(columns) - 1);
        }
    }

    #[test]
    fn invalid_utf8_is_kept_readable() {
        let table = table(false);
        let mut buffer = Buffer::default();
        buffer.delete(&table, |at| {
            if at == 1 { ValueRef::Text(&[b'a', 255]) } else { ValueRef::Text(b"k") }
        });
        let patch = buffer.since(0).next().unwrap().unwrap().patch.patch().unwrap();
        assert_eq!(patch.columns[0].old.as_text(), Some("a\u{fffd}"));
    }
}
