//! Tests cited in documents: each must have run and passed.
//!
//! `docs/invariants.md` cites the tests of every guarantee, and `tests/conformance/*.md` the tests
//! for another project's scenarios. A name is written in backticks: `rejoin-core:
//! engine::tests::name` for Rust, `kotlin: dev.rejoin.RowTest.name`, `swift:
//! RejoinTests.RowTests/name`, `javascript: test/row.test.ts > name`, or `suite: area/name` for a
//! scenario of `rejoin-conformance`. A name that ends before `::`, a bracket or a parenthesis
//! includes all cases below it. A test that was left out for a missing program is skipped here, too.

use crate::junit::{self, LANGUAGES};
use crate::report::Count;
use crate::rust_tests::left_out::LeftOut;
use crate::workspace::{self, File};
use anyhow::{Result, ensure};
use junit_parser::TestCase;
use std::collections::BTreeSet;

/// The page of guarantees.
const INVARIANTS: &str = "docs/invariants.md";

/// The scenarios of the conformance suite.
const SUITE: &str = "conformance/src/scenarios/";

/// Compares the names in documents with the reports of this run.
pub(crate) fn tests_exist() -> Result<Count> {
    let files = workspace::files()?;
    let mut reports = Reports::new(LeftOut::here());
    for language in LANGUAGES {
        reports.add(language, &junit::read(&junit::folder(language))?);
    }
    ensure!(reports.ran.contains("rust"), "run the stage `tests` first: it reports which passed");
    reports.passed.extend(scenarios(&files));
    Ok(compared(&files, &reports))
}

/// The tests of this run by their outcome, with the names that documents use.
#[derive(Debug)]
struct Reports {
    /// The languages that have a report.
    ran: BTreeSet<&'static str>,
    passed: BTreeSet<String>,
    skipped: BTreeSet<String>,
    /// The Rust tests that are in no report.
    left_out: LeftOut,
}

impl Reports {
    fn new(left_out: LeftOut) -> Self {
        let (ran, passed, skipped) = Default::default();
        Self { ran, passed, skipped, left_out }
    }

    fn add(&mut self, language: &'static str, cases: &[TestCase]) {
        for case in cases {
            self.ran.insert(language);
            if case.status.is_success() {
                self.passed.insert(full_name(language, case));
            } else if case.status.is_skipped() {
                self.skipped.insert(full_name(language, case));
            }
        }
    }

    /// A name of a language that did not run, or of a test that was left out, is skipped.
    fn outcome(&self, name: &str) -> Count {
        let is_skipped = || {
            !self.ran.contains(language_of(name))
                || covers(&self.skipped, name)
                || self.left_out.contains(name)
        };
        let has_passed = covers(&self.passed, name);
        if !has_passed && is_skipped() {
            return Count { skipped: 1, ..Count::default() };
        }
        Count::one(has_passed)
    }
}

fn compared(files: &[File], reports: &Reports) -> Count {
    let mut count = Count::default();
    for page in files.iter().filter(|file| is_page(file)) {
        for problem in empty_sections(page) {
            println!("{problem}");
            count += Count::one(false);
        }
        for (line, name) in names(&page.text) {
            let outcome = reports.outcome(name);
            if outcome.failed > 0 {
                println!("{}:{line}: no test passed that is called `{name}`", page.path);
            }
            count += outcome;
        }
    }
    count
}

fn is_page(file: &File) -> bool {
    let is_conformance = file.path.starts_with("tests/conformance/") && file.has_extension("md");
    file.path == INVARIANTS || is_conformance
}

/// A test's name as written in documents.
fn full_name(language: &str, case: &TestCase) -> String {
    let class = case.classname.as_deref().unwrap_or_default();
    // JUnit 5 ends names with `()`.
    let name = case.original_name.trim_end_matches("()");
    match language {
        // `rejoin-server::it` is a test program of `rejoin-server`.
        "rust" => format!("{}: {name}", class.split("::").next().unwrap_or(class)),
        "kotlin" => format!("{language}: {class}.{name}"),
        "swift" => format!("{language}: {class}/{name}"),
        _ => format!("{language}: {class} > {name}"),
    }
}

fn language_of(name: &str) -> &str {
    let prefix = name.split(": ").next().unwrap_or_default();
    if LANGUAGES.contains(&prefix) { prefix } else { "rust" }
}

/// Whether the name, or a case below it, is among these.
fn covers(among: &BTreeSet<String>, name: &str) -> bool {
    let mut from = among.range(name.to_owned()..).take_while(|found| found.starts_with(name));
    from.any(|found| {
        matches!(found[name.len()..].chars().next(), None | Some(':' | '[' | '(' | ' '))
    })
}

/// The scenarios of the conformance suite: `"area/name"` in its sources.
fn scenarios(files: &[File]) -> Vec<String> {
    let sources = files.iter().filter(|file| file.path.starts_with(SUITE));
    let quoted = sources.flat_map(|file| file.text.split('"').skip(1).step_by(2));
    quoted.filter(|name| name.contains('/')).map(|name| format!("suite: {name}")).collect()
}

/// Names of tests in backticks, with their lines.
fn names(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(at, line)| {
        let quoted = line.split('`').skip(1).step_by(2);
        quoted.filter(|name| is_name(name)).map(move |name| (at + 1, name))
    })
}

fn is_name(quoted: &str) -> bool {
    let prefix = quoted.split_once(": ").map_or("", |(prefix, _)| prefix);
    ["suite", "xtask"].contains(&prefix)
        || LANGUAGES.contains(&prefix)
        || prefix.starts_with("rejoin-")
}

/// Guarantees without a test, and rows with neither a test nor a reason.
fn empty_sections(page: &File) -> Vec<String> {
    if page.path == INVARIANTS {
        let sections = page.text.split("\n### ").skip(1);
        let bare = sections.filter(|section| names(section).next().is_none());
        let title = |section: &str| section.lines().next().unwrap_or_default().to_owned();
        return bare
            .map(|section| format!("{}: {} names no test", page.path, title(section)))
            .collect();
    }
    let rows =
        page.text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id "));
    let has_reason =
        |row: &str| ["not ours: ", "no test: "].iter().any(|start| row.contains(start));
    let bare = rows.filter(|row| names(row).next().is_none() && !has_reason(row));
    bare.map(|row| format!("{}: names no test and gives no reason: {row}", page.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Reports, compared, empty_sections, names};
    use crate::report::Count;
    use crate::rust_tests::left_out::LeftOut;
    use crate::workspace::File;
    use junit_parser::{TestCase, TestSkipped, TestStatus};

    fn case(class: &str, name: &str) -> TestCase {
        let (classname, original_name) = (Some(class.to_owned()), name.to_owned());
        TestCase { classname, original_name, ..TestCase::default() }
    }

    fn page(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn test_names_are_found_in_the_reports() {
        let mut reports = Reports::new(LeftOut::missing(&[]));
        for (language, case) in [
            ("rust", case("rejoin-server::it", "push::conflict::postgres")),
            ("rust", case("rejoin-core", "engine::tests::undo")),
            ("kotlin", case("dev.rejoin.RowTest", "a row is read()")),
            ("swift", case("RejoinTests.RowTests", "aRowIsRead")),
            ("javascript", case("test/row.test.ts", "rows > are read")),
        ] {
            reports.add(language, &[case]);
        }
        let table = [
            ("rejoin-server: push::conflict", true),
            ("rejoin-server: push::conflict::postgres", true),
            ("rejoin-server: push::con", false),
            ("rejoin-core: engine::tests::undo", true),
            ("rejoin-core: engine::tests::redo", false),
            ("kotlin: dev.rejoin.RowTest.a row is read", true),
            ("swift: RejoinTests.RowTests/aRowIsRead", true),
            ("javascript: test/row.test.ts > rows > are read", true),
            ("javascript: test/row.test.ts > rows > are written", false),
        ];
        for (name, known) in table {
            let text = format!("see `{name}`, `cargo xtask demo` and `a: b`");
            assert_eq!(names(&text).collect::<Vec<_>>(), [(1, name)]);
            assert_eq!(reports.outcome(name), Count::one(known), "{name}");
        }
    }

    #[test]
    fn guarantee_without_a_test_is_named() {
        let invariants = "# x\n\n### a\n`rejoin-core: t`\n\n### b\nnothing\n";
        let problems = empty_sections(&page("docs/invariants.md", invariants));
        assert_eq!(problems, ["docs/invariants.md: b names no test"]);
        let rows = "| id | w | by |\n|---|---|---|\n| 1 | x | `rejoin-core: t` |\n| 2 | x | not ours: y |\n| 3 | x | - |\n";
        assert_eq!(empty_sections(&page("tests/conformance/a.md", rows)).len(), 1);
    }

    #[test]
    fn lost_test_of_a_language_that_ran_fails() {
        let text = "### a\n`rejoin-server: x::skipped` `rejoin-server: x::nginx_gets_it` \
                    `swift: A/b` `rejoin-core: lost`\n";
        let mut reports = Reports::new(LeftOut::missing(&["nginx"]));
        let status = TestStatus::Skipped(TestSkipped::default());
        let skipped = TestCase { status, ..case("rejoin-server::it", "x::skipped") };
        reports.add("rust", &[skipped, case("rejoin-server::it", "y")]);
        let count = compared(&[page("docs/invariants.md", text)], &reports);
        assert_eq!(count, Count { passed: 0, failed: 1, skipped: 3 });
    }
}
