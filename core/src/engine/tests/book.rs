//! Runs the statements of `docs/sql.md` in order and checks that they succeed or fail as
//! documented.

use rejoin_protocol::Manifest;

const PAGE: &str = include_str!("../../../../docs/sql.md");

/// The code blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn documented_statements_behave_as_documented() {
    let manifest: Manifest = serde_json::from_str(&blocks("json")[0]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut engine = super::open(&folder, Some(manifest)).unwrap();
    let (mut ran, mut failed) = (0, 0);
    for line in blocks("sql").iter().flat_map(|block| block.lines()) {
        match line.split_once(" -- fails: ") {
            None => {
                engine.execute_batch(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                ran += 1;
            }
            Some((sql, why)) => {
                let error = engine.execute_batch(sql).expect_err(line).to_string();
                assert!(error.contains(why), "{line}: {error}");
                failed += 1;
            }
        }
    }
    assert!(ran >= 12 && failed >= 20, "{ran} ran, {failed} failed");
}
