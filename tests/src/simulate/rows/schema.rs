//! Changes of the server's tables while devices have mutations on them: columns and a table are
//! added, removed, and added again with another identity.

use fastrand::Rng;
use rejoin_core::engine::schema::model::Schema;
use rejoin_protocol::manifest::ColumnIdentity;

use super::history::Name;
use super::mutations::Cell;
use super::run::RowsRun;
use super::setting::LEAVES;
use crate::Fault;
use crate::simulate::Checked;

/// The optional column of `marks`.
pub(super) const TINT: &str = "tint";

/// The value of the column where none was written.
pub(super) const DEFAULT: &str = "7";

impl RowsRun<'_> {
    /// A table gains a column.
    pub(super) fn add_column(&mut self, rng: &mut Rng) {
        if self.columns >= 2 {
            return;
        }
        self.columns += 1;
        let name = format!("more{}", self.columns);
        let table = ["items", "marks", "kinds"][rng.usize(..3)];
        let sql = format!("ALTER TABLE {table} ADD COLUMN {name} TEXT DEFAULT 'new'");
        self.server.change(|backend| backend.alter(&sql));
        self.report.count("a gained column");
    }

    /// Adds or removes a table or a column, perhaps under the same name with another identity or
    /// type, and perhaps just after a device has edited it, or sent an edit of it.
    pub(super) fn change_schema(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let (edits, sends) = [(false, false), (true, false), (true, true)][rng.usize(..3)];
        // A column that was removed is added again soon.
        let is_table = rng.bool() && self.server.identity().is_some();
        if edits && is_table {
            self.write_leaf(at, rng)?;
        } else if edits {
            self.write_tint(at, rng)?;
        }
        if sends {
            let fault = [Fault::RequestLost, Fault::AnswerLost, Fault::Late][rng.usize(..3)];
            self.send_with(at, fault)?;
        }
        if is_table {
            self.replace_leaves(rng);
            return Ok(());
        }
        let kind = ["TEXT", "TEXT", "INTEGER"][rng.usize(..3)];
        let come = format!("ALTER TABLE marks ADD COLUMN {TINT} {kind} DEFAULT {DEFAULT}");
        if self.server.identity().is_none() {
            self.server.change(|backend| backend.alter(&come));
            self.report.count("a re-added column");
            return Ok(());
        }
        let (gone, what) = if rng.bool() {
            (format!("DROP COLUMN {TINT}"), "a removed column")
        } else {
            self.columns += 1;
            (format!("RENAME COLUMN {TINT} TO more{}", self.columns), "a renamed column")
        };
        self.server.change(|backend| backend.alter(&format!("ALTER TABLE marks {gone}")));
        self.report.count(what);
        if rng.u8(..3) > 0 {
            self.server.change(|backend| backend.alter(&come));
            self.report.count("a re-added column with another identity");
        }
        Ok(())
    }

    /// Removes the table, perhaps to add it again empty, or adds it.
    fn replace_leaves(&mut self, rng: &mut Rng) {
        let mut comes = true;
        if self.server.has_leaves() {
            self.server.change(|backend| backend.remove_table(LEAVES));
            self.report.count("a removed table");
            comes = rng.bool();
        }
        if comes {
            self.server.add_leaves();
            self.report.count("an added table");
        }
    }

    fn write_leaf(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let number = rng.u8(..=self.setting.rows);
        let id = format!("{}{number}", &self.slots[at].device.user[..1]);
        let schema = self.slots[at].device.engine().schema().clone();
        match self.leaf_sql(at, &schema, &id, rng.u16(..)) {
            Some(sql) => self.write_sql(at, &sql, false).map(drop),
            None => Ok(()),
        }
    }

    /// A write to the optional table, if the device has it.
    pub(super) fn leaf_sql(
        &self,
        at: usize,
        schema: &Schema,
        id: &str,
        chance: u16,
    ) -> Option<String> {
        schema.named(LEAVES)?;
        let has = self.slots[at].state.view.contains_key(&(LEAVES.to_owned(), id.to_owned()));
        let name = chance % 3;
        Some(match chance % 7 {
            _ if !has => format!("INSERT INTO leaves (id, name) VALUES ('{id}', 'l{name}')"),
            0 => format!("DELETE FROM leaves WHERE id = '{id}'"),
            _ => format!("UPDATE leaves SET name = 'l{name}' WHERE id = '{id}'"),
        })
    }

    fn write_tint(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let slot = &self.slots[at];
        let is_own = |name: &&Name| {
            let of_user = name.1.starts_with(&slot.device.user[..1]);
            name.0 == "marks" && of_user
        };
        let Some((_, id)) = rng.choice(slot.state.view.keys().filter(is_own).collect::<Vec<_>>())
        else {
            return Ok(());
        };
        let (tint, note) = (rng.u16(..), rng.u16(..));
        let sql = format!("UPDATE marks SET {TINT} = {tint}, note = 'n{note}' WHERE id = '{id}'");
        self.write_sql(at, &sql, false).map(drop)
    }
}

/// The columns of `marks` on a device.
pub(super) fn columns(schema: &Schema) -> Vec<ColumnIdentity> {
    let mut tables = schema.manifest.iter().flat_map(|manifest| &manifest.tables);
    let marks = tables.find(|table| table.table_name == "marks");
    let marks = marks.and_then(|table| table.rejoin.as_ref());
    marks.map(|marks| marks.identities.clone()).unwrap_or_default()
}

/// The identity of the optional column.
pub(super) fn identity(columns: &[ColumnIdentity]) -> Option<u32> {
    columns.iter().find(|one| one.name == TINT).map(|one| one.id)
}

/// Whether what was sent for the optional column, by its identity on the server, is what was
/// written to that column. `columns` are those of the device at that time: a column may have had
/// another name. A restored row has more columns than were written.
pub(super) fn is_intended_column(
    columns: &[ColumnIdentity],
    cells: &[Cell],
    row: &Name,
    (server, sent): (Option<u32>, &Option<String>),
) -> bool {
    let wrote = |column: &str| cells.iter().find(|cell| cell.0 == *row && cell.1 == column);
    if wrote(TINT).is_none() || identity(columns) == server {
        return true;
    }
    let former = columns.iter().find(|one| Some(one.id) == server);
    former.and_then(|one| wrote(&one.name)).is_some_and(|(_, _, wrote)| wrote == sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by simulation over PostgreSQL (seed 17960066190009): a column is renamed, another one
    /// gets its name, and a restored server has the first one under its first name.
    #[test]
    fn column_under_its_former_name_is_the_one_meant() {
        let column = |id, name: &str| ColumnIdentity { name: name.to_owned(), id };
        let columns = [column(1, "more1"), column(2, TINT)];
        let row = ("marks".to_owned(), "a1".to_owned());
        let cell = |column: &str, value: Option<&str>| {
            (row.clone(), column.to_owned(), value.map(str::to_owned))
        };
        let cells = [cell("more1", None), cell(TINT, Some(DEFAULT))];
        let default = Some(DEFAULT.to_owned());
        let table = [
            ("the column of the name", &cells[..], Some(2), &default, true),
            ("the renamed column, with its value", &cells[..], Some(1), &None, true),
            ("the renamed column, with the other's value", &cells[..], Some(1), &default, false),
            ("the renamed column, not written", &cells[1..], Some(1), &None, false),
            ("a column that the device did not have", &cells[..], Some(3), &None, false),
            ("a column that no server has", &cells[..], None, &None, false),
            ("a restored row", &cells[..1], Some(3), &default, true),
        ];
        for (what, cells, server, sent, expected) in table {
            assert_eq!(
                is_intended_column(&columns, cells, &row, (server, sent)),
                expected,
                "{what}"
            );
        }
    }
}
