//! The writes of a run as statements: neighbours that insert into one table by the same text become one, which costs the database and
//! the way there a fraction of many.

use tokio_postgres::types::ToSql;

use super::run::Write;
use super::types::Parameter;

/// A statement of one or more writes.
#[derive(Debug)]
pub(super) struct Statement<'w> {
    pub(super) text: &'w str,
    /// Of its first write.
    pub(super) group: usize,
    columns: Vec<Column<'w>>,
}

/// A parameter: a value, or a list of one for each row.
#[derive(Debug)]
enum Column<'w> {
    One(&'w Parameter),
    Texts(Vec<Option<&'w str>>),
    Bytes(Vec<Option<&'w [u8]>>),
}

impl Statement<'_> {
    /// Whether it writes more than one row.
    pub(super) fn is_many(&self) -> bool {
        self.columns.iter().any(|column| !matches!(column, Column::One(_)))
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns.iter().map(Column::as_sql).collect()
    }
}

impl Column<'_> {
    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::One(parameter) => parameter.as_sql(),
            Self::Texts(list) => list,
            Self::Bytes(list) => list,
        }
    }
}

/// In their order. `is_single`: each row by itself.
pub(super) fn statements(writes: &[(usize, Write)], is_single: bool) -> Vec<Statement<'_>> {
    let alike = |(_, left): &(usize, Write), (_, right): &(usize, Write)| {
        !is_single && left.listed.is_some() && left.text == right.text
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

/// The parameters at this place; all of one kind, for their column is.
fn column(alike: &[(usize, Write)], at: usize) -> Column<'_> {
    let cells = || alike.iter().filter_map(|(_, write)| write.parameters.get(at));
    let texts = cells().map(|cell| match cell {
        Parameter::Text(text) => Some(text.as_deref()),
        Parameter::Bytes(_) => None,
    });
    let bytes = || {
        cells().map(|cell| match cell {
            Parameter::Bytes(bytes) => bytes.as_deref(),
            Parameter::Text(_) => None,
        })
    };
    match texts.collect() {
        Some(texts) => Column::Texts(texts),
        None => Column::Bytes(bytes().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(group: usize, text: &str, cells: [Parameter; 2], is_listed: bool) -> (usize, Write) {
        let listed = is_listed.then(|| format!("many {text}"));
        (group, Write { text: text.to_owned(), parameters: cells.into(), listed })
    }

    fn cells(text: &str, bytes: &[u8]) -> [Parameter; 2] {
        [Parameter::Text(Some(text.to_owned())), Parameter::Bytes(Some(bytes.to_owned()))]
    }

    #[test]
    fn neighbours_that_insert_alike_are_one_statement() {
        let writes = [
            write(0, "a", cells("1", b"x"), true),
            write(2, "a", [Parameter::Text(None), Parameter::Bytes(None)], true),
            write(3, "b", cells("3", b"z"), true),
            write(4, "a", cells("4", b"z"), true),
            write(5, "u", cells("5", b"z"), false),
            write(6, "u", cells("6", b"z"), false),
        ];
        let told = |is_single| {
            let all = statements(&writes, is_single);
            let told = all.iter().map(|one| (one.text.to_owned(), one.group, one.is_many()));
            told.collect::<Vec<_>>()
        };
        let expected = [
            ("many a", 0, true),
            ("b", 3, false),
            ("a", 4, false),
            ("u", 5, false),
            ("u", 6, false),
        ];
        assert_eq!(told(false), expected.map(|(text, group, many)| (text.to_owned(), group, many)));
        assert_eq!(told(true).len(), writes.len());
        assert!(told(true).iter().all(|(text, _, many)| !many && !text.starts_with("many")));
        let all = statements(&writes, false);
        let [Column::Texts(texts), Column::Bytes(bytes)] = all[0].columns.as_slice() else {
            panic!("{:?}", all[0]);
        };
        assert_eq!(texts.as_slice(), [Some("1"), None]);
        assert_eq!(bytes.as_slice(), [Some(b"x".as_slice()), None]);
    }
}
