//! Reports of the test runners: JUnit XML below `target/reports/LANGUAGE`, read by `junit-parser`.

use crate::report::Count;
use crate::workspace;
use anyhow::{Context as _, Result};
use junit_parser::{TestCase, TestStatus, TestSuite};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The languages with tests, as named in report folders and documents.
pub(crate) const LANGUAGES: [&str; 4] = ["rust", "kotlin", "swift", "javascript"];

/// The folder of a language's reports.
pub(crate) fn folder(language: &str) -> PathBuf {
    workspace::root().join("target/reports").join(language)
}

/// The folder, emptied.
pub(crate) fn emptied(language: &str) -> Result<PathBuf> {
    workspace::emptied(folder(language))
}

/// All cases of the reports in a folder; empty if there is no such folder.
pub(crate) fn read(folder: &Path) -> Result<Vec<TestCase>> {
    let mut cases = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(cases) };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            let report = junit_parser::from_reader(BufReader::new(File::open(&path)?));
            let report = report.with_context(|| path.display().to_string())?;
            report.suites.into_iter().for_each(|suite| collect(suite, &mut cases));
        }
    }
    Ok(cases)
}

fn collect(suite: TestSuite, cases: &mut Vec<TestCase>) {
    cases.extend(suite.cases);
    suite.suites.into_iter().for_each(|suite| collect(suite, cases));
}

/// Counts cases, and prints those that did not pass.
pub(crate) fn count(cases: &[TestCase]) -> Count {
    let mut count = Count::default();
    for case in cases {
        match case.status {
            TestStatus::Success => count.passed += 1,
            TestStatus::Skipped(_) => count.skipped += 1,
            TestStatus::Error(_) | TestStatus::Failure(_) => count.failed += 1,
        }
        if !case.status.is_success() {
            let how = if case.status.is_skipped() { "skipped" } else { "FAILED" };
            println!("{how}: {}", case.name);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{count, read};
    use crate::report::Count;
    use std::fs;

    #[test]
    fn junit_cases_are_read_and_counted() {
        // Nested suites, entities, output that looks like XML, a rerun: forms used by the four
        // runners.
        let report = r#"<?xml version="1.0"?><testsuites><testsuite name="s"><testsuite name="t">
            <testcase name="a &amp; b" classname="C"><system-out><![CDATA[<failure/>]]></system-out></testcase>
            <testcase name="c()" classname="C"><failure message="x">y</failure></testcase></testsuite>
            <testcase name="d" classname="C"><skipped/></testcase>
            <testcase name="e" classname="C"><flakyFailure/></testcase>
            <testcase name="f" classname="C"><error>y</error></testcase>
            </testsuite></testsuites>"#;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("report.xml"), report).unwrap();
        let cases = read(folder.path()).unwrap();
        assert!(cases.iter().any(|case| case.original_name == "a & b"), "{cases:?}");
        assert_eq!(count(&cases), Count { passed: 2, failed: 2, skipped: 1 });
        fs::write(folder.path().join("report.xml"), "<testsuite").unwrap();
        assert!(read(folder.path()).is_err());
    }
}
