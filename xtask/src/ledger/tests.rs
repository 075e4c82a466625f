//! The ledger against small bad inputs: a line that shows nothing must be named.

use super::{Line, Listed, Proof, missing_in_binaries, missing_in_sources, proof, read};
use crate::workspace::{File, Package, root};
use std::collections::BTreeMap;

fn file(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}

fn core() -> Package {
    Package {
        name: "rejoin-core".into(),
        version: "0.1.0".into(),
        license: None,
        source: None,
        dependencies: Vec::new(),
        manifest_path: root().join("core/Cargo.toml"),
    }
}

fn line(text: &str) -> Line {
    Line { claim: "3 capture: x".into(), proof: proof(text).unwrap() }
}

#[test]
fn lines_are_read_from_every_ledger_file() {
    let files = [
        file("tests/ledger.toml", "\"1 check: all\" = \"cargo xtask check\""),
        file("tests/ledger.d/a.toml", "\"3 a: b\" = [\"c: d::e\", \"c: f/row one\"]"),
        file("docs/ledger.toml", "not read"),
    ];
    let lines = read(&files).unwrap();
    let test = |path: &str, row: Option<&str>| Proof::Test {
        package: "c".into(),
        path: path.into(),
        row: row.map(str::to_owned),
    };
    let proofs: Vec<_> = lines.into_iter().map(|line| line.proof).collect();
    let check = Proof::Command(vec!["check".into()]);
    assert_eq!(proofs, [check, test("d::e", None), test("f", Some("row one"))]);
}

#[test]
fn a_malformed_ledger_is_refused() {
    let table = [
        ("an empty one", "", ""),
        ("no section", "\"capture: x\" = \"a: b\"", ""),
        ("no area", "\"3 capture\" = \"a: b\"", ""),
        ("no proof", "\"3 a: b\" = []", ""),
        ("neither test nor command", "\"3 a: b\" = \"somewhere\"", ""),
        ("another command", "\"3 a: b\" = \"cargo test\"", ""),
        ("one claim twice", "\"3 a: b\" = \"c: d\"", "\"3 a: b\" = \"c: e\""),
        ("no toml", "3 a", ""),
    ];
    for (what, first, second) in table {
        let files = [file("tests/ledger.toml", first), file("tests/ledger.d/b.toml", second)];
        assert!(read(&files).is_err(), "{what}");
    }
}

#[test]
fn a_proof_that_the_sources_lack_is_named() {
    let files = [
        file(
            "core/src/engine/capture.rs",
            "mod tests {\n#[test]\nfn good() {}\n// fn commented() {}\n#[test]\n#[ignore = \"slow\"]\n\
             fn ignored() {}\n#[ignore]\n#[tokio::test(flavor = \"x\")]\nasync fn ignored_too() {}\n\
             #[tokio::test]\nasync fn good_too() { f(\"a row\") }\nfn helper() {}\n}",
        ),
        file("core/tests/it/pull.rs", "#[test]\nfn pulled() {}"),
        file("core/src/contract.rs", "macro_rules! suite { () => {\n#[test]\nfn stamped() {}\n}}"),
        file(
            "core/tests/it/contract.rs",
            "fn kept() {}\nfn helper() { kept() }\nmacro_rules! suite { ($($c:ident),*) => {\n\
             $(#[test]\nfn $c() { super::$c() })*\n}}\nsuite! {\nkept,\n}",
        ),
        file("server/src/lib.rs", "#[test]\nfn elsewhere() {}"),
    ];
    let table = [
        ("rejoin-core: engine::capture::tests::good", ""),
        ("rejoin-core: engine::capture::tests::good_too", ""),
        ("rejoin-core: engine::capture::tests::good_too/a row", ""),
        ("rejoin-core: engine::capture::tests::good_too/a lost row", "has no row"),
        ("rejoin-core: engine::capture::tests::commented", "has no test"),
        ("rejoin-core: engine::capture::tests::goo", "has no test"),
        ("rejoin-core: engine::capture::tests::ignored", "is ignored"),
        ("rejoin-core: engine::capture::tests::ignored_too", "is ignored"),
        ("rejoin-core: engine::capture::tests::helper", "is no test"),
        ("rejoin-core: engine::watch::tests::good", "stands in"),
        ("rejoin-core: pull::pulled", ""),
        ("rejoin-core: memory::tests::stamped", ""),
        ("rejoin-core: contract::sqlite::kept", ""),
        ("rejoin-core: contract::sqlite::helper", "is no test"),
        ("rejoin-core: tests::elsewhere", "has no test"),
        ("rejoin-lost: tests::good", "no crate"),
        ("cargo xtask check", ""),
        ("cargo xtask fly", "no command"),
    ];
    for (text, expected) in table {
        let parses = |arguments: &[String]| arguments == ["check"];
        let problems = missing_in_sources(&[line(text)], &[core()], &files, parses);
        match expected {
            "" => assert!(problems.is_empty(), "{text}: {problems:?}"),
            _ => assert!(problems.iter().any(|p| p.contains(expected)), "{text}: {problems:?}"),
        }
    }
}

#[test]
fn a_proof_that_no_binary_lists_is_named() {
    let listed = Listed {
        all: ["a::good".into(), "a::slow".into()].into(),
        ignored: ["a::slow".into()].into(),
    };
    let listed = BTreeMap::from([("rejoin-core".to_owned(), listed)]);
    let table = [
        ("rejoin-core: a::good", true),
        ("rejoin-core: a::slow", false),
        ("rejoin-core: a::lost", false),
        ("rejoin-server: a::good", false),
        ("cargo xtask demo", true),
    ];
    for (text, good) in table {
        assert_eq!(missing_in_binaries(&[line(text)], &listed).is_empty(), good, "{text}");
    }
}
