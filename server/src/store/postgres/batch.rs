//! The writes of several groups as statements, sent in one round trip. Adjacent inserts with the
//! same text become one statement, which is much cheaper than many.

use std::collections::HashSet;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Params};
use super::records::kept;
use super::types::Parameter;
use super::verdicts::{PUT, Verdicts};
use crate::model::StoredVerdict;
use crate::store::Planned;

/// A statement that writes one row.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) text: String,
    pub(super) parameters: Vec<Parameter>,
    /// The text that writes many rows at once, if they do not affect each other.
    pub(super) listed: Option<String>,
    /// Whether rows of its table may refer to each other: those of one statement may in any order,
    /// but a group may not refer to a later one.
    pub(super) is_linked: bool,
}

impl Write {
    /// The same; fails if it writes no row, because a trigger or a rule has dropped it.
    pub(super) fn counted(self) -> Self {
        let text = format!("WITH w AS ({} RETURNING 1) SELECT 1 / count(*) FROM w", self.text);
        Self { text, listed: None, ..self }
    }
}

/// A part of a batch that can be rolled back and sent again row by row.
const PART: &str = "SAVEPOINT rejoin_part";
const UNDO_PART: &str = "ROLLBACK TO rejoin_part";

/// Sends the writes, each with its group, and the verdicts. `before` begins the surrounding
/// savepoint, if that was not sent yet. If a multi-row insert fails, that part is sent again row by
/// row. Returns the group of the failed write, and why it failed.
pub(super) fn send(
    connection: &Connection,
    before: &str,
    writes: &[(usize, Write)],
    planned: &Planned<'_>,
) -> Result<(), (usize, Error)> {
    let verdicts = Verdicts::of(latest(planned.verdicts));
    let user = kept(planned.user);
    let user = user.as_ref();
    let put = verdicts.params(&user);
    let after = planned.is_last.then_some("RELEASE rejoin");
    let pipelined = |before: Option<&str>, statements: &[Statement<'_>]| {
        let params: Vec<Vec<&(dyn ToSql + Sync)>> =
            statements.iter().map(Statement::params).collect();
        let rows = statements.iter().zip(&params);
        let mut asked: Vec<(&str, Params<'_>)> =
            rows.map(|(statement, params)| (statement.text, params.as_slice())).collect();
        if !planned.verdicts.is_empty() {
            asked.push((PUT, &put));
        }
        connection.pipelined(before, &asked, after)
    };
    let joined = statements(writes, if planned.is_set { Joins::Set } else { Joins::Groups });
    let is_many = joined.iter().any(Statement::is_many);
    let before = if is_many { format!("{before}{PART}") } else { before.to_owned() };
    let before = (!before.is_empty()).then_some(before.as_str());
    let group_of = |statements: &[Statement<'_>], at: Option<usize>| {
        let statement = at.and_then(|at| statements.get(at));
        statement.map_or(planned.group, |statement| statement.group)
    };
    let Err((at, error)) = pipelined(before, &joined) else { return Ok(()) };
    if !at.and_then(|at| joined.get(at)).is_some_and(Statement::is_many) {
        return Err((group_of(&joined, at), error));
    }
    let group = group_of(&joined, at);
    connection.batch(UNDO_PART).map_err(|error| (group, error))?;
    let single = statements(writes, Joins::None);
    pipelined(None, &single).map_err(|(at, error)| (group_of(&single, at), error))
}

/// The last verdict on each mutation.
fn latest(verdicts: &[(String, StoredVerdict)]) -> impl Iterator<Item = (&str, &StoredVerdict)> {
    let mut seen = HashSet::new();
    let last = verdicts.iter().rev().filter(move |(mutation, _)| seen.insert(mutation.as_str()));
    last.map(|(mutation, verdict)| (mutation.as_str(), verdict))
}

/// A statement of one or more writes.
#[derive(Debug)]
struct Statement<'w> {
    text: &'w str,
    /// Of its first write.
    group: usize,
    columns: Vec<Column<'w>>,
}

/// A parameter: a single value, or a list with a value per row.
#[derive(Debug)]
pub(super) enum Column<'w> {
    One(&'w Parameter),
    Texts(Vec<Option<&'w str>>),
    Bytes(Vec<Option<&'w [u8]>>),
}

impl Statement<'_> {
    /// Whether it writes more than one row.
    fn is_many(&self) -> bool {
        self.columns.iter().any(|column| !matches!(column, Column::One(_)))
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns.iter().map(Column::as_sql).collect()
    }
}

impl<'w> Column<'w> {
    /// The list of these cells, all of the same kind.
    pub(super) fn list(cells: impl Iterator<Item = &'w Parameter> + Clone) -> Self {
        let texts = cells.clone().map(|cell| match cell {
            Parameter::Text(text) => Some(text.as_deref()),
            Parameter::Bytes(_) => None,
        });
        if let Some(texts) = texts.collect() {
            return Self::Texts(texts);
        }
        let bytes = cells.map(|cell| match cell {
            Parameter::Bytes(bytes) => bytes.as_deref(),
            Parameter::Text(_) => None,
        });
        Self::Bytes(bytes.collect())
    }

    pub(super) fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::One(parameter) => parameter.as_sql(),
            Self::Texts(list) => list,
            Self::Bytes(list) => list,
        }
    }
}

/// Which adjacent inserts with the same text become one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joins {
    None,
    /// Those of any groups; rows that may refer to each other only within a group.
    Groups,
    /// All of them: they are one group.
    Set,
}

/// Statements for the writes, in order.
fn statements(writes: &[(usize, Write)], joins: Joins) -> Vec<Statement<'_>> {
    let alike = |(group, left): &(usize, Write), (other, right): &(usize, Write)| {
        let is_joined = match joins {
            Joins::None => false,
            Joins::Groups => !left.is_linked || group == other,
            Joins::Set => true,
        };
        is_joined && left.listed.is_some() && left.text == right.text
    };
    writes.chunk_by(alike).filter_map(statement).collect()
}

fn statement(alike: &[(usize, Write)]) -> Option<Statement<'_>> {
    let (group, first) = alike.first()?;
    let statement = |text, columns| Some(Statement { text, group: *group, columns });
    match &first.listed {
        Some(listed) if alike.len() > 1 => {
            let columns = 0..first.parameters.len();
            statement(listed.as_str(), columns.map(|at| column(alike, at)).collect())
        }
        _ => statement(&first.text, first.parameters.iter().map(Column::One).collect()),
    }
}

/// The parameters at this position, all of the same kind as their column.
fn column(alike: &[(usize, Write)], at: usize) -> Column<'_> {
    Column::list(alike.iter().filter_map(move |(_, write)| write.parameters.get(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(group: usize, text: &str, cells: [Parameter; 2], is_listed: bool) -> (usize, Write) {
        let listed = is_listed.then(|| format!("many {text}"));
        let is_linked = text == "linked";
        (group, Write { text: text.to_owned(), parameters: cells.into(), listed, is_linked })
    }

    fn cells(text: &str, bytes: &[u8]) -> [Parameter; 2] {
        [Parameter::Text(Some(text.to_owned())), Parameter::Bytes(Some(bytes.to_owned()))]
    }

    #[test]
    fn adjacent_equal_inserts_become_one_statement() {
        let writes = [
            write(0, "a", cells("1", b"x"), true),
            write(2, "a", [Parameter::Text(None), Parameter::Bytes(None)], true),
            write(3, "b", cells("3", b"z"), true),
            write(4, "a", cells("4", b"z"), true),
            write(5, "u", cells("5", b"z"), false),
            write(6, "u", cells("6", b"z"), false),
        ];
        let summary = |joins| {
            let all = statements(&writes, joins);
            let lines = all.iter().map(|one| (one.text.to_owned(), one.group, one.is_many()));
            lines.collect::<Vec<_>>()
        };
        let expected = [
            ("many a", 0, true),
            ("b", 3, false),
            ("a", 4, false),
            ("u", 5, false),
            ("u", 6, false),
        ];
        assert_eq!(
            summary(Joins::Groups),
            expected.map(|(text, group, many)| (text.to_owned(), group, many))
        );
        let single = summary(Joins::None);
        assert_eq!(single.len(), writes.len());
        assert!(single.iter().all(|(text, _, many)| !many && !text.starts_with("many")));
        let all = statements(&writes, Joins::Groups);
        let [Column::Texts(texts), Column::Bytes(bytes)] = all[0].columns.as_slice() else {
            panic!("{:?}", all[0]);
        };
        assert_eq!(texts.as_slice(), [Some("1"), None]);
        assert_eq!(bytes.as_slice(), [Some(b"x".as_slice()), None]);
    }

    #[test]
    fn linked_rows_are_joined_within_their_group() {
        let linked = |group| write(group, "linked", cells("1", b"x"), true);
        let writes = [linked(0), linked(0), linked(1)];
        let sizes = |joins| {
            let all = statements(&writes, joins);
            all.iter().map(Statement::is_many).collect::<Vec<_>>()
        };
        assert_eq!(sizes(Joins::Groups), [true, false]);
        assert_eq!(sizes(Joins::Set), [true]);
        assert_eq!(sizes(Joins::None), [false; 3]);
    }
}
