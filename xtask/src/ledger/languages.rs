//! Ledger lines whose proof is a test in another language: found in the sources by its name, compared with what the runner
//! reported, and told apart where the language was not run.
//!
//! The names: `kotlin: dev.rejoin.RowTest.a row is read`, `swift: RejoinTests.RowTests/aRowIsRead`,
//! `javascript: test/row.test.ts > rows > are read`.

use super::{Line, Listed, Proof};
use crate::workspace::File;
use std::collections::BTreeMap;

/// The languages besides Rust.
pub(super) const LANGUAGES: &[&str] = &["kotlin", "swift", "javascript"];

/// What the languages said of themselves in this run: those that ran, with the names of their tests.
#[derive(Debug, Default)]
pub(crate) struct Spoken(BTreeMap<&'static str, Listed>);

impl Spoken {
    /// A language ran these tests.
    pub(crate) fn heard(&mut self, language: &'static str, listed: Listed) {
        self.0.insert(language, listed);
    }

    /// The lines that can be compared, and those of each language that did not run, counted.
    pub(crate) fn part(&self, lines: Vec<Line>) -> (Vec<Line>, BTreeMap<&'static str, u64>) {
        let mut silent = BTreeMap::new();
        let is_told = |line: &Line| match line.proof {
            Proof::Spoken { language, .. } if !self.0.contains_key(language) => {
                *silent.entry(language).or_default() += 1;
                false
            }
            _ => true,
        };
        let told = lines.into_iter().filter(is_told).collect();
        (told, silent)
    }

    /// The names by language, to be looked up like those of the crates.
    pub(crate) fn names(&self) -> impl Iterator<Item = (String, Listed)> {
        self.0.iter().map(|(language, listed)| ((*language).to_owned(), listed.clone()))
    }
}

/// The name without what its runner puts behind it: parentheses with the labels of parameters.
pub(crate) fn bare(name: &str) -> &str {
    let labels = |inner: &str| inner.is_empty() || inner.ends_with(':') && !inner.contains(' ');
    let parts = name.strip_suffix(')').and_then(|name| name.rsplit_once('('));
    parts.filter(|(_, inner)| labels(inner)).map_or(name, |(name, _)| name)
}

/// What is wrong with a name as far as the sources tell: no file has the class, or none of them the test.
pub(super) fn wrong_in_sources(language: &str, name: &str, files: &[File]) -> Option<String> {
    let Some((place, test)) = parted(language, name) else {
        return Some(format!("`{name}` is no name of a {language} test"));
    };
    let holds = |file: &&File| match language {
        "kotlin" => file.has_extension("kt") && is_declared(&file.text, &place),
        "swift" => file.has_extension("swift") && is_declared(&file.text, &place),
        _ => file.path == format!("react-native/{place}"),
    };
    // A name that is put together when the tests run stands nowhere; the run itself is then compared with it.
    let is_told = |file: &File| file.text.contains(&test) || file.text.contains(".each(");
    let mut candidates = files.iter().filter(holds).peekable();
    if candidates.peek().is_none() {
        return Some(format!("no {language} source holds {place}"));
    }
    (!candidates.any(is_told)).then(|| format!("{place} has no test `{test}`"))
}

/// The class or file of a test, and its own name.
fn parted(language: &str, name: &str) -> Option<(String, String)> {
    let (place, test) = match language {
        "javascript" => {
            let (file, names) = name.split_once(" > ")?;
            (file, names.rsplit(" > ").next().unwrap_or(names))
        }
        "swift" => {
            let (class, test) = name.split_once('/')?;
            (class.rsplit('.').next().unwrap_or(class), test)
        }
        _ => {
            // The package is in lower case, the class is not.
            let starts_upper = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase());
            let class = name.split('.').find(|part| starts_upper(part))?;
            let at = name.find(&format!("{class}."))?;
            (class, &name[at + class.len() + 1..])
        }
    };
    let well = !place.is_empty() && !test.is_empty();
    well.then(|| (place.to_owned(), test.to_owned()))
}

/// Whether the source declares a type of this name.
fn is_declared(text: &str, name: &str) -> bool {
    let starts = |rest: &str| {
        rest.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    };
    ["class ", "struct ", "object ", "actor ", "enum ", "extension "]
        .iter()
        .any(|word| text.split(word).skip(1).any(starts))
}

#[cfg(test)]
mod tests {
    use super::{Spoken, bare, wrong_in_sources};
    use crate::ledger::{Listed, missing_in_binaries, read};
    use crate::workspace::File;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_name_is_the_same_with_and_without_the_labels_of_its_parameters() {
        let table = [
            ("a()", "a"),
            ("a(_:)", "a"),
            ("a(of:is:)", "a"),
            ("a row (of two)", "a row (of two)"),
            ("a", "a"),
        ];
        for (name, expected) in table {
            assert_eq!(bare(name), expected);
        }
    }

    #[test]
    fn a_proof_in_another_language_is_looked_for_in_its_sources() {
        let files = [
            file("kotlin/a/RowTest.kt", "class RowTest {\n @Test fun `a row. is read`() {}\n}"),
            file(
                "swift/Tests/RowTests.swift",
                "final class RowTests: XCTestCase {\n func testRow() {}\n}",
            ),
            file("react-native/test/row.test.ts", "describe('rows', () => { it('are read', f) })"),
            file("react-native/test/each.test.ts", "it.each([1, 2])('reads %d', f)"),
        ];
        let table = [
            ("kotlin", "dev.rejoin.RowTest.a row. is read", ""),
            ("kotlin", "dev.rejoin.RowTest.another", "has no test"),
            ("kotlin", "dev.rejoin.Row.a row", "no kotlin source"),
            ("kotlin", "rowtest", "is no name"),
            ("swift", "RejoinTests.RowTests/testRow", ""),
            ("swift", "RejoinTests.RowTests/testLost", "has no test"),
            ("swift", "RejoinTests.RowTests", "is no name"),
            ("javascript", "test/row.test.ts > rows > are read", ""),
            ("javascript", "test/row.test.ts > rows > are lost", "has no test"),
            ("javascript", "test/lost.test.ts > rows", "no javascript source"),
            ("javascript", "test/each.test.ts > reads 1", ""),
        ];
        for (language, name, expected) in table {
            let problem = wrong_in_sources(language, name, &files);
            match expected {
                "" => assert_eq!(problem, None, "{name}"),
                _ => assert!(
                    problem.clone().is_some_and(|p| p.contains(expected)),
                    "{name}: {problem:?}"
                ),
            }
        }
    }

    #[test]
    fn lines_of_a_language_that_did_not_run_are_counted_and_the_others_compared() {
        let ledger = "\"4 a: b\" = [\"kotlin: dev.A.ran\", \"kotlin: dev.A.lost\", \"kotlin: dev.A.off\"]\n\
                      \"4 c: d\" = [\"swift: T.B/c\", \"swift: T.B/d\"]";
        let mut spoken = Spoken::default();
        let ran = Listed {
            all: ["dev.A.ran".into(), "dev.A.off".into()].into(),
            ignored: ["dev.A.off".into()].into(),
        };
        spoken.heard("kotlin", ran);
        let lines = read(&[file("tests/ledger.toml", ledger)]).unwrap();
        let (told, silent) = spoken.part(lines);
        assert_eq!(silent.into_iter().collect::<Vec<_>>(), [("swift", 2)]);
        let problems = missing_in_binaries(&told, &spoken.names().collect());
        assert_eq!(
            problems,
            [
                "\"4 a: b\": kotlin: dev.A.lost was not run",
                "\"4 a: b\": kotlin: dev.A.off is ignored"
            ]
        );
    }
}
