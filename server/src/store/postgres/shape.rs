//! How a table is stored in this database.

use super::member::Function;
use super::table_resolver::TableResolver;
use super::types::{Form, OwnerForm, Type};
use crate::store::WriteKind;

/// What only this store knows about a table.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// `"schema"."table"`.
    pub(super) name: String,
    pub(super) relation: i64,
    pub(super) columns: Vec<Type>,
    pub(super) attnums: Vec<i32>,
    /// Whether the key is text, which must be compared by bytes.
    pub(super) by_bytes: bool,
    /// What names buckets for its rows: a database function or a host resolver.
    pub(super) function: Option<Function>,
    pub(super) resolver: Option<TableResolver>,
    pub(super) effects: Effects,
    /// Whether its rows may refer to other rows of the same table.
    pub(super) refers_to_itself: bool,
}

/// Whether a write to a table may change other rows than the one it names, through an application
/// trigger or a cascading foreign key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Effects {
    pub(super) insert: bool,
    pub(super) update: bool,
    pub(super) delete: bool,
}

impl Shape {
    /// Whether a write changes only the row that it names.
    pub(super) fn stays_quiet(&self, kind: WriteKind) -> bool {
        !match kind {
            WriteKind::Insert => self.effects.insert,
            WriteKind::Update => self.effects.update,
            WriteKind::Delete => self.effects.delete,
        }
    }

    /// Whether several rows can be inserted by one statement with the same result as one by one: no
    /// trigger or rule reads other rows during an insert. Rows that may refer to each other need not
    /// be in the order of their references then.
    pub(super) fn takes_many(&self) -> bool {
        !self.effects.insert && self.function.is_none()
    }

    pub(super) fn form(&self, at: usize) -> Form {
        self.columns.get(at).map_or(Form::Text, |of| of.form)
    }

    /// How the column is compared with a list of texts.
    pub(super) fn compares(&self, at: usize) -> OwnerForm {
        self.columns.get(at).map_or(OwnerForm::Other, |of| of.owner)
    }

    pub(super) fn cast(&self, at: usize) -> &str {
        self.columns.get(at).map_or("text", |of| of.cast.as_str())
    }
}
