//! The table of another project's scenarios and defects (`tests/conformance/*.md`): each row names our tests, and each of them is there.
//!
//! A row is `| id | what | shown by |`. What shows it are names in backticks: a proof as the ledger writes it, or
//! `suite: area/name` for a scenario of `rejoin-server conformance`. A row without one says why, after `not ours:` or
//! `no test:`.

use crate::ledger::{self, Line};
use crate::workspace::{File, Package};
use std::collections::{BTreeMap, BTreeSet};

/// Where the scenarios of the suite stand.
const SUITE: &str = "server/src/conformance/scenarios/";

/// One row of the table.
#[derive(Debug)]
struct Row<'a> {
    file: &'a str,
    id: &'a str,
    shown: &'a str,
}

impl Row<'_> {
    fn problem(&self, why: &str) -> String {
        format!("{}: {}: {why}", self.file, self.id)
    }

    /// What stands in backticks.
    fn named(&self) -> impl Iterator<Item = &str> {
        self.shown.split('`').skip(1).step_by(2)
    }
}

/// What is wrong with the tables.
pub(crate) fn problems(files: &[File], packages: &[Package]) -> Vec<String> {
    let tables: Vec<&File> = files.iter().filter(|file| is_table(file)).collect();
    if tables.is_empty() {
        return vec!["tests/conformance: there is no table".to_owned()];
    }
    let rows: Vec<Row<'_>> = tables.iter().flat_map(|file| rows(file)).collect();
    let mut problems = gaps(&rows);
    let mut lines = Vec::new();
    for row in &rows {
        let mut names = row.named().peekable();
        let says_why = ["not ours: ", "no test: "].iter().any(|start| row.shown.contains(start));
        if names.peek().is_none() && !says_why {
            problems.push(row.problem("names no test, and does not say why"));
        }
        for name in names {
            if let Some(scenario) = name.strip_prefix("suite: ") {
                if !is_in_suite(scenario, files) {
                    problems.push(row.problem(&format!("the suite has no scenario `{scenario}`")));
                }
                continue;
            }
            match ledger::proof(name) {
                Ok(proof) => lines.push(Line { claim: row.id.to_owned(), proof }),
                Err(_) => problems.push(row.problem(&format!("`{name}` is no name of a test"))),
            }
        }
    }
    // Commands are the ledger's business.
    problems.extend(ledger::missing_in_sources(&lines, packages, files, |_| false));
    problems
}

fn is_table(file: &File) -> bool {
    file.path.starts_with("tests/conformance/") && file.has_extension("md")
}

fn rows(file: &File) -> Vec<Row<'_>> {
    file.text.lines().filter_map(|line| row(&file.path, line)).collect()
}

fn row<'a>(file: &'a str, line: &'a str) -> Option<Row<'a>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let (id, rest) = inner.split_once(" | ")?;
    let (_, shown) = rest.rsplit_once(" | ")?;
    (id != "id").then_some(Row { file, id, shown })
}

/// Ids that stand twice, and numbers that are passed over: a row does not go unseen.
fn gaps(rows: &[Row<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for row in rows {
        if !seen.insert((row.file, row.id)) {
            problems.push(row.problem("stands twice"));
        }
        let at = row.id.find(|c: char| c.is_ascii_digit()).unwrap_or(row.id.len());
        let (section, number) = row.id.split_at(at);
        // `A12` is counted; `D-3.2b` is named after its place in the notes.
        let Ok(number) = number.parse::<u32>() else { continue };
        let before = last.insert((row.file, section), number).unwrap_or_default();
        if number != before + 1 {
            problems.push(row.problem(&format!("comes after {section}{before}")));
        }
    }
    problems
}

fn is_in_suite(scenario: &str, files: &[File]) -> bool {
    let quoted = format!("\"{scenario}\"");
    files.iter().any(|file| file.path.starts_with(SUITE) && file.text.contains(&quoted))
}

#[cfg(test)]
mod tests {
    use super::problems;
    use crate::workspace::{File, Package, root};

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    fn server() -> Package {
        Package {
            name: "rejoin-server".into(),
            version: "0.1.0".into(),
            license: None,
            source: None,
            dependencies: Vec::new(),
            manifest_path: root().join("server/Cargo.toml"),
        }
    }

    fn found(table: &str) -> Vec<String> {
        let files = [
            file(
                "tests/conformance/a.md",
                &format!("| id | what | shown by |\n|---|---|---|\n{table}"),
            ),
            file("server/tests/it/push.rs", "#[test]\nfn pushed() {}"),
            file("server/src/conformance/scenarios/gates.rs", "wire(\"gates/method\", method)"),
            file("docs/a.md", "| A1 | not of the table | |"),
        ];
        problems(&files, &[server()])
    }

    #[test]
    fn a_row_names_tests_that_are_there_or_says_why_it_has_none() {
        let table = [
            ("| A1 | x | `rejoin-server: push::pushed` |", ""),
            ("| A1 | x | `suite: gates/method`, `rejoin-server: push::pushed` |", ""),
            ("| A1 | x | not ours: there is no slot |", ""),
            ("| A1 | x | no test: it takes an hour |", ""),
            ("| D-3.2b | x | `suite: gates/method` |", ""),
            ("| A1 | x | `rejoin-server: push::lost` |", "has no test"),
            ("| A1 | x | `rejoin-lost: push::pushed` |", "no crate"),
            ("| A1 | x | `suite: gates/lost` |", "no scenario"),
            ("| A1 | x | `push` |", "is no name of a test"),
            ("| A1 | x | nothing |", "names no test"),
            ("| A2 | x | `suite: gates/method` |", "comes after A0"),
            ("| A1 | x | not ours: y |\n| A1 | x | not ours: y |", "stands twice"),
            ("| A1 | x | not ours: y |\n| A3 | x | not ours: y |", "comes after A1"),
            ("| A1 | x | not ours: y |\n| B1 | x | not ours: y |", ""),
        ];
        for (table, expected) in table {
            let problems = found(table);
            match expected {
                "" => assert_eq!(problems, [""; 0], "{table}"),
                _ => {
                    assert!(problems.iter().any(|p| p.contains(expected)), "{table}: {problems:?}");
                }
            }
        }
        assert_eq!(problems(&[], &[]), ["tests/conformance: there is no table"]);
    }
}
