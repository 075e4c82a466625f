//! What the test runners of other languages report, as counts and names: JUnit's XML, as surefire and SwiftPM write it, and
//! vitest's JSON.

use crate::ledger::{Listed, bare};
use crate::report::Count;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::Path;

/// What became of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Failed,
    Skipped,
}

/// One test that a runner reports.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// Class or file, as the runner names it.
    pub(super) class: String,
    /// The test's own name, without parentheses.
    pub(super) name: String,
    pub(super) ending: Ending,
}

/// The cases, counted, and their names as the ledger writes them.
pub(super) fn summed(cases: &[Case], separator: &str) -> (Count, Listed) {
    let mut count = Count::default();
    let mut listed = Listed::default();
    for Case { class, name, ending } in cases {
        let full = format!("{class}{separator}{name}");
        match ending {
            Ending::Passed => count.passed += 1,
            Ending::Failed => count.failed += 1,
            Ending::Skipped => {
                count.skipped += 1;
                listed.ignored.insert(full.clone());
            }
        }
        let test = behind(name).map(|name| format!("{class}{separator}{name}"));
        listed.all.extend([full].into_iter().chain(test));
    }
    (count, listed)
}

/// The cases of a JUnit report.
pub(super) fn junit(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut inside = false;
    for tag in tags(text) {
        let name = tag.split([' ', '\t', '\n', '\r', '/']).next().unwrap_or_default();
        match name {
            "testcase" => {
                let attribute = |name: &str| attribute(tag, name).unwrap_or_default();
                cases.push(Case {
                    class: attribute("classname"),
                    name: bare(&attribute("name")).to_owned(),
                    ending: Ending::Passed,
                });
                inside = !tag.ends_with('/');
            }
            // The closing tag: its name is empty, because it begins with a slash.
            "" if tag == "/testcase" => inside = false,
            // Those of a rerun and the suite's own say nothing about this case.
            "failure" | "error" | "skipped" if inside => {
                let ending = if name == "skipped" { Ending::Skipped } else { Ending::Failed };
                if let Some(case) = cases.last_mut() {
                    case.ending = ending;
                }
            }
            _ => {}
        }
    }
    cases
}

/// What stands between `<` and `>`, comments and CDATA left out; a tag that was cut off says nothing.
fn tags(text: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let hidden = [("![CDATA[", "]]>"), ("!--", "-->")];
        let closing = hidden.iter().find(|(opening, _)| rest.starts_with(opening));
        let (to, length) = match closing {
            Some((_, closing)) => (rest.find(closing), closing.len()),
            None => (end_of_tag(rest), 1),
        };
        let Some(to) = to else { break };
        if closing.is_none() {
            tags.push(&rest[..to]);
        }
        rest = &rest[to + length..];
    }
    tags
}

/// The first `>` that stands in no value.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut in_value = false;
    text.char_indices().find_map(|(at, c)| {
        in_value ^= c == '"';
        (c == '>' && !in_value).then_some(at)
    })
}

/// The value of an attribute, its entities resolved.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let opening = format!("{name}=\"");
    let at = tag
        .match_indices(&opening)
        .map(|(at, _)| at)
        .find(|&at| tag[..at].ends_with(|before: char| before.is_whitespace()))?;
    let value = tag[at + opening.len()..].split('"').next()?;
    Some(plain(value))
}

fn plain(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let (entity, after) = after.split_once(';').unwrap_or((after, ""));
        text.extend(match entity {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number(entity).and_then(char::from_u32),
        });
        rest = after;
    }
    text.push_str(rest);
    text
}

fn number(entity: &str) -> Option<u32> {
    let digits = entity.strip_prefix('#')?;
    match digits.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// The test behind one run of it with parameters, as surefire names such runs: `name(String)[2]`, `name{String}[2]`.
fn behind(name: &str) -> Option<&str> {
    let (name, number) = name.strip_suffix(']')?.rsplit_once('[')?;
    number.parse::<u32>().ok()?;
    let end = name.rfind(['(', '{'])?;
    Some(name[..end].trim_end())
}

/// The cases of vitest's JSON report; files by their path from `folder`. A file that could not be loaded is one failed case.
pub(super) fn vitest(text: &str, folder: &Path) -> Result<Vec<Case>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Report {
        test_results: Vec<File>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct File {
        name: String,
        status: String,
        assertion_results: Vec<Assertion>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Assertion {
        ancestor_titles: Vec<String>,
        title: String,
        status: String,
    }
    let report: Report = serde_json::from_str(text).context("vitest's report")?;
    let mut cases = Vec::new();
    for File { name, status, assertion_results } in report.test_results {
        let path = Path::new(&name);
        let class = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/");
        let failed = assertion_results.iter().any(|assertion| assertion.status == "failed");
        for Assertion { ancestor_titles, title, status } in assertion_results {
            let names: Vec<String> = ancestor_titles.into_iter().chain([title]).collect();
            let ending = match status.as_str() {
                "passed" => Ending::Passed,
                "pending" | "skipped" | "todo" | "disabled" => Ending::Skipped,
                _ => Ending::Failed,
            };
            cases.push(Case { class: class.clone(), name: names.join(" > "), ending });
        }
        if status == "failed" && !failed {
            let name = "(the file itself)".to_owned();
            cases.push(Case { class, name, ending: Ending::Failed });
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::{Case, Ending, behind, junit, summed, vitest};
    use crate::report::Count;
    use std::path::Path;

    fn case(class: &str, name: &str, ending: Ending) -> Case {
        Case { class: class.into(), name: name.into(), ending }
    }

    #[test]
    fn junit_reports_are_read() {
        let table = [
            ("nothing", "", vec![]),
            ("an empty suite", r#"<testsuite name="a" tests="0"></testsuite>"#, vec![]),
            (
                "surefire, with entities and a name in back quotes",
                r#"<?xml version="1.0"?><testsuite tests="2" failures="0">
                   <properties><property name="x" value="y"/></properties>
                   <testcase name="a row &amp; &quot;b&quot; &#228;" classname="dev.rejoin.RowTest" time="0.1"/>
                   <testcase name="c()" classname="dev.rejoin.RowTest" time="0"><system-out><![CDATA[
                   <testcase name="no" classname="no"><failure/>]]></system-out></testcase></testsuite>"#,
                vec![
                    case("dev.rejoin.RowTest", "a row & \"b\" \u{e4}", Ending::Passed),
                    case("dev.rejoin.RowTest", "c", Ending::Passed),
                ],
            ),
            (
                "failures, errors and skips belong to their case",
                r#"<testsuite><testcase name="a" classname="C"><failure message="x">y</failure></testcase>
                   <testcase name="b" classname="C"><error/></testcase>
                   <testcase name="c" classname="C"><skipped/></testcase>
                   <testcase classname="C" name="d"/><!-- <failure/> --><failure/></testsuite>"#,
                vec![
                    case("C", "a", Ending::Failed),
                    case("C", "b", Ending::Failed),
                    case("C", "c", Ending::Skipped),
                    case("C", "d", Ending::Passed),
                ],
            ),
            (
                "SwiftPM",
                "<testsuites><testsuite name=\"TestResults\" errors=\"0\" tests=\"2\" failures=\"1\">\n\
                 <testcase classname=\"RejoinTests.RowTests\" name=\"row()\" time=\"0.003\">\n\
                 </testcase>\n<testcase classname=\"T\" name=\"of(_:is:)\" time=\"0\" />\n\
                 <testcase classname=\"RejoinTests.RowTests\" name=\"testOld\" time=\"0\">\n\
                 <failure message=\"failed\"></failure>\n</testcase>\n</testsuite></testsuites>",
                vec![
                    case("RejoinTests.RowTests", "row", Ending::Passed),
                    case("T", "of", Ending::Passed),
                    case("RejoinTests.RowTests", "testOld", Ending::Failed),
                ],
            ),
            ("a report that was cut", r#"<testcase name="a" classname="C"#, vec![]),
            (
                "a name with an arrow",
                r#"<testcase name="a -> b" classname="C"/>"#,
                vec![case("C", "a -> b", Ending::Passed)],
            ),
        ];
        for (what, text, expected) in table {
            assert_eq!(junit(text), expected, "{what}");
        }
    }

    #[test]
    fn vitest_reports_are_read() {
        let text = r#"{"numTotalTests": 3, "testResults": [
            {"name": "/w/react-native/test/row.test.ts", "status": "failed", "assertionResults": [
                {"ancestorTitles": ["rows", "of text"], "title": "are lazy", "status": "passed", "fullName": "x"},
                {"ancestorTitles": [], "title": "alone", "status": "failed"},
                {"ancestorTitles": [], "title": "later", "status": "skipped"}]},
            {"name": "/w/react-native/test/broken.test.ts", "status": "failed", "message": "no module", "assertionResults": []},
            {"name": "/w/react-native/test/empty.test.ts", "status": "passed", "assertionResults": []}]}"#;
        let found = vitest(text, Path::new("/w/react-native")).unwrap();
        let expected = [
            case("test/row.test.ts", "rows > of text > are lazy", Ending::Passed),
            case("test/row.test.ts", "alone", Ending::Failed),
            case("test/row.test.ts", "later", Ending::Skipped),
            case("test/broken.test.ts", "(the file itself)", Ending::Failed),
        ];
        assert_eq!(found, expected);
        assert!(vitest("{}", Path::new("/w")).is_err());
        assert!(vitest("", Path::new("/w")).is_err());
    }

    #[test]
    fn names_are_those_that_the_sources_have() {
        let table = [
            ("a row(String)[2]", Some("a row")),
            ("a row{String, int}[12]", Some("a row")),
            ("a [2]", None),
            ("a(b)[c]", None),
            ("a", None),
        ];
        for (name, expected) in table {
            assert_eq!(behind(name), expected);
        }
        let (_, listed) = summed(&[case("dev.A", "a row(String)[2]", Ending::Passed)], ".");
        assert!(
            listed.all.contains("dev.A.a row") && listed.all.contains("dev.A.a row(String)[2]")
        );
    }

    #[test]
    fn cases_are_counted_and_named_as_the_ledger_names_them() {
        let cases = [
            case("dev.A", "b c", Ending::Passed),
            case("dev.A", "d", Ending::Skipped),
            case("dev.A", "e", Ending::Failed),
        ];
        let (count, listed) = summed(&cases, ".");
        assert_eq!(count, Count { passed: 1, failed: 1, skipped: 1 });
        assert_eq!(listed.all.into_iter().collect::<Vec<_>>(), ["dev.A.b c", "dev.A.d", "dev.A.e"]);
        assert_eq!(listed.ignored.into_iter().collect::<Vec<_>>(), ["dev.A.d"]);
    }
}
