//! The server's tables change while devices have work that names them: columns and a table come, go, and come back as others.

use fastrand::Rng;
use rejoin_core::engine::schema::model::Schema;

use super::history::Name;
use super::laws::Why;
use super::setting::LEAVES;
use super::world::World;
use crate::Fault;
use crate::simulate::Checked;

/// The column of `marks` that comes and goes.
pub(super) const TINT: &str = "tint";

/// What the column holds where nothing was written to it.
pub(super) const DEFAULT: &str = "7";

impl World<'_> {
    /// A table gains a column.
    pub(super) fn alter(&mut self, rng: &mut Rng) {
        if self.columns >= 2 {
            return;
        }
        self.columns += 1;
        let name = format!("more{}", self.columns);
        let table = ["items", "marks"][rng.usize(..2)];
        let sql = format!("ALTER TABLE {table} ADD COLUMN {name} TEXT DEFAULT 'new'");
        self.site.change(|backend| backend.alter(&sql));
        self.told.count("a gained column");
    }

    /// A table or a column goes or comes, perhaps as another of the same name and perhaps of another type, and perhaps just after a
    /// device has edited it, or sent an edit of it.
    pub(super) fn rework(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let (edits, sends) = [(false, false), (true, false), (true, true)][rng.usize(..3)];
        let is_table = rng.bool();
        if edits && is_table {
            self.leaf(at, rng)?;
        } else if edits {
            self.tint(at, rng)?;
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
        if self.site.identity().is_none() {
            self.site.change(|backend| backend.alter(&come));
            self.told.count("a column that comes back");
            return Ok(());
        }
        let (gone, what) = if rng.bool() {
            (format!("DROP COLUMN {TINT}"), "a column that goes")
        } else {
            self.columns += 1;
            (format!("RENAME COLUMN {TINT} TO more{}", self.columns), "a renamed column")
        };
        self.site.change(|backend| backend.alter(&format!("ALTER TABLE marks {gone}")));
        self.told.count(what);
        if rng.u8(..3) > 0 {
            self.site.change(|backend| backend.alter(&come));
            self.told.count("a column that is another of the same name");
        }
        Ok(())
    }

    /// The table goes, perhaps to come back empty, or comes.
    fn replace_leaves(&mut self, rng: &mut Rng) {
        let mut comes = true;
        if self.site.has_leaves() {
            self.site.change(|backend| backend.remove_table(LEAVES));
            self.told.count("a table that goes");
            comes = rng.bool();
        }
        if comes {
            self.site.add_leaves();
            self.told.count("a table that comes");
        }
    }

    fn leaf(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let number = rng.u8(..=self.setting.rows);
        let id = format!("{}{number}", &self.seats[at].device.user[..1]);
        let schema = self.seats[at].device.engine().schema().clone();
        let sql = self.leaf_sql(at, &schema, &id, rng.u16(..));
        let kept = sql.as_ref().is_some_and(|sql| self.seats[at].device.try_write(sql));
        self.told.say(|| format!("   {at} writes {sql:?}{}", if kept { "" } else { " (refused)" }));
        self.look(at, &Why::Wrote { doing: None, bad: false })
    }

    /// A write to the table that comes and goes, if the device has it.
    pub(super) fn leaf_sql(
        &self,
        at: usize,
        schema: &Schema,
        id: &str,
        chance: u16,
    ) -> Option<String> {
        schema.named(LEAVES)?;
        let has = self.seats[at].sight.view.contains_key(&(LEAVES.to_owned(), id.to_owned()));
        let name = chance % 5;
        Some(match chance % 7 {
            _ if !has => format!("INSERT INTO leaves (id, name) VALUES ('{id}', 'l{name}')"),
            0 => format!("DELETE FROM leaves WHERE id = '{id}'"),
            _ => format!("UPDATE leaves SET name = 'l{name}' WHERE id = '{id}'"),
        })
    }

    fn tint(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let seat = &self.seats[at];
        let is_own = |name: &&Name| {
            let of_user = name.1.starts_with(&seat.device.user[..1]);
            name.0 == "marks" && of_user
        };
        let Some((_, id)) = rng.choice(seat.sight.view.keys().filter(is_own).collect::<Vec<_>>())
        else {
            return Ok(());
        };
        let (tint, note) = (rng.u16(..), rng.u16(..));
        let sql = format!("UPDATE marks SET {TINT} = {tint}, note = 'n{note}' WHERE id = '{id}'");
        let kept = self.seats[at].device.try_write(&sql);
        self.told.say(|| format!("   {at} writes {sql}{}", if kept { "" } else { " (refused)" }));
        self.look(at, &Why::Wrote { doing: None, bad: false })
    }
}

/// The identity under which a device has the column that comes and goes.
pub(super) fn identity(schema: &Schema) -> Option<u32> {
    let mut tables = schema.manifest.as_ref()?.tables.iter();
    let table = tables.find(|table| table.table_name == "marks")?;
    let identities = &table.rejoin.as_ref()?.identities;
    identities.iter().find(|one| one.name == TINT).map(|one| one.id)
}
