//! Reports of the test runners: JUnit XML below `target/reports/LANGUAGE`.

use crate::report::Count;
use crate::workspace;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The languages with tests, as named in report folders and documents.
pub(crate) const LANGUAGES: [&str; 4] = ["rust", "kotlin", "swift", "javascript"];

/// A test reported by a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// Class, file or test program, as the runner names it.
    pub(crate) class: String,
    /// The test's own name, without parentheses.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

/// The result of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// The folder of a language's reports.
pub(crate) fn folder(language: &str) -> PathBuf {
    workspace::root().join("target/reports").join(language)
}

/// The folder, emptied.
pub(crate) fn emptied(language: &str) -> Result<PathBuf> {
    let folder = folder(language);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// All cases of the reports in a folder; empty if there is no such folder.
pub(crate) fn read(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(cases) };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            let text = fs::read_to_string(&path)?;
            cases.extend(parse(&text).with_context(|| path.display().to_string())?);
        }
    }
    Ok(cases)
}

/// Counts cases, and prints those that did not pass.
pub(crate) fn count(cases: &[Case]) -> Count {
    let mut count = Count::default();
    for Case { class, name, outcome } in cases {
        match outcome {
            Outcome::Passed => count.passed += 1,
            Outcome::Failed => count.failed += 1,
            Outcome::Skipped => count.skipped += 1,
        }
        if *outcome != Outcome::Passed {
            println!("{outcome:?}: {class}: {name}");
        }
    }
    count
}

/// Writes a report of tests that were left out, each as its class and its name.
pub(crate) fn write_skipped(folder: &Path, tests: &[(String, String)]) -> Result<()> {
    let case = |(class, name): &(String, String)| {
        format!("<testcase classname=\"{class}\" name=\"{name}\"><skipped/></testcase>\n")
    };
    let cases: String = tests.iter().map(case).collect();
    let path = folder.join("skipped.xml");
    fs::write(&path, format!("<testsuite>\n{cases}</testsuite>\n"))
        .with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Case>> {
    let document = roxmltree::Document::parse(text)?;
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    let case = |node: roxmltree::Node<'_, '_>| {
        let attribute = |name: &str| node.attribute(name).unwrap_or_default();
        let has = |names: &[&str]| {
            node.children().any(|child| names.iter().any(|name| child.has_tag_name(*name)))
        };
        let outcome = match () {
            () if has(&["failure", "error"]) => Outcome::Failed,
            () if has(&["skipped"]) => Outcome::Skipped,
            () => Outcome::Passed,
        };
        let name = attribute("name");
        let name = name.strip_suffix("()").unwrap_or(name).to_owned();
        Case { class: attribute("classname").to_owned(), name, outcome }
    };
    Ok(cases.map(case).collect())
}

#[cfg(test)]
mod tests {
    use super::{Case, Outcome, count, parse, read, write_skipped};
    use crate::report::Count;

    #[test]
    fn junit_cases_are_read_and_counted() {
        // Nested suites, entities, output that looks like XML, a rerun: forms used by the four
        // runners.
        let cases = parse(
            r#"<?xml version="1.0"?><testsuites><testsuite name="s">
               <testcase name="a &amp; b" classname="C"><system-out><![CDATA[<failure/>]]></system-out></testcase>
               <testcase name="c()" classname="C"><failure message="x">y</failure></testcase>
               <testcase name="d" classname="C"><skipped/></testcase>
               <testcase name="e" classname="C"><flakyFailure/></testcase>
               </testsuite></testsuites>"#,
        )
        .unwrap();
        let case = |name: &str, outcome| Case { class: "C".into(), name: name.into(), outcome };
        let expected = [
            case("a & b", Outcome::Passed),
            case("c", Outcome::Failed),
            case("d", Outcome::Skipped),
            case("e", Outcome::Passed),
        ];
        assert_eq!(cases, expected);
        assert_eq!(count(&cases), Count { passed: 2, failed: 1, skipped: 1 });
        assert!(parse("<testsuite").is_err());
    }

    #[test]
    fn left_out_tests_are_read_as_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let test = ("rejoin-server::it".to_owned(), "push::conflict::postgres".to_owned());
        write_skipped(folder.path(), std::slice::from_ref(&test)).unwrap();
        let (class, name) = test;
        assert_eq!(read(folder.path()).unwrap(), [Case { class, name, outcome: Outcome::Skipped }]);
    }
}
