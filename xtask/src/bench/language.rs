//! Benchmark programs of the other languages: each prints one JSON line per figure, shown here next
//! to Rust's.
//!
//! Programs and library are built in release. Figures are matched by name.

use crate::built::Built;
use crate::language::javascript;
use crate::process::{cargo, for_each_line, output, succeeds};
use crate::toolchain::swift;
use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The lines with goals: rows into objects, also in memory on both sides (row buffer against
/// `JSON.parse`), and single writes.
const ROWS: &str = "10,000 x 8 rows into objects";
const FROM_STRING: &str = "the same, from a string";
const DECODABLE: &str = "10,000 x 8 rows into Decodable objects";
const WRITES: &str = "1,000 writes";
/// The last version that Node 20 can load.
const BETTER_SQLITE3: &str = "better-sqlite3@12.11.1";

/// A language with a bench program.
pub(super) struct Language {
    name: &'static str,
    goals: &'static [Goal],
    /// The program; receives the folder of the library.
    command: fn(&Path) -> Result<Command>,
}

/// The maximum ratio of a line.
struct Goal {
    line: &'static str,
    /// The peer that the goal applies to, if the program has several for one line.
    peer: Option<&'static str>,
    ratio: f64,
}

impl Goal {
    const fn of(line: &'static str, ratio: f64) -> Self {
        Self { line, peer: None, ratio }
    }

    const fn to(line: &'static str, peer: &'static str, ratio: f64) -> Self {
        Self { line, peer: Some(peer), ratio }
    }

    fn applies_to(&self, figure: &Figure) -> bool {
        figure.what == self.line
            && self.peer.is_none_or(|peer| figure.peer.as_deref() == Some(peer))
    }
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "kotlin",
        goals: &[Goal::to(ROWS, "sqlite-jdbc", 1.5), Goal::to(WRITES, "sqlite-jdbc", 4.0)],
        command: |library| Ok(kotlin(library)),
    },
    Language {
        name: "swift",
        goals: &[Goal::of(ROWS, 1.3), Goal::of(DECODABLE, 1.5), Goal::of(WRITES, 4.0)],
        command: swift,
    },
    Language { name: "javascript", goals: &[Goal::of(FROM_STRING, 0.5)], command: javascript },
];

/// A figure as printed by the programs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Figure {
    what: String,
    ours_ms: f64,
    #[serde(default)]
    peer: Option<String>,
    #[serde(default)]
    peer_ms: Option<f64>,
    #[serde(default)]
    ratio: Option<f64>,
}

impl Language {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        LANGUAGES.iter().find(|language| language.name == name)
    }

    /// Builds everything, runs Rust's program and then the language's, and prints the table.
    pub(super) fn bench(&self) -> Result<ExitCode> {
        let built = Built::by(&["build", "--release", "--package", "rejoin-bindings"])?;
        let folder = built.library()?.parent().context("the library has no parent folder")?;
        let own = ["run", "--quiet", "--release", "--package", "rejoin-bench", "--", "border"];
        let rust = figures(cargo(&own, &[]))?;
        let mut command = (self.command)(folder)?;
        command.env("REJOIN_LIBRARY_DIR", folder);
        let measured = figures(command)?;
        println!("\n{}", table(&measured, &rust, self));
        Ok(ExitCode::SUCCESS)
    }
}

/// Maven runs the program in its own process.
fn kotlin(library: &Path) -> Command {
    let mut command = Command::new("mvn");
    command.args(["--batch-mode", "--no-transfer-progress", "--quiet", "--file", "kotlin/pom.xml"]);
    command.args(["--projects", "rejoin", "test-compile", "exec:java"]);
    command.args(["-Dexec.mainClass=dev.rejoin.bench.MainKt", "-Dexec.classpathScope=test"]);
    command.arg(format!("-Djna.library.path={}", library.display()));
    command
}

fn swift(library: &Path) -> Result<Command> {
    let swift = swift::found()?.context("no swift: run `cargo xtask toolchain swift`")?;
    let mut command = swift.command("swift");
    command.args(["run", "--configuration", "release", "--scratch-path"]);
    command.arg(library.with_file_name("swift")).arg("rejoin-bench");
    // The package has the program only on request: it needs SQLite's own header.
    command.env("REJOIN_BENCH", "1");
    Ok(command)
}

/// npm compiles the peer, with the headers of this node if they are installed; no other command
/// needs it.
fn javascript(library: &Path) -> Result<Command> {
    let peers = library.with_file_name("javascript-peers");
    fs::create_dir_all(&peers)?;
    fs::write(peers.join("package.json"), "{}")?;
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--no-save", BETTER_SQLITE3]);
    install.current_dir(&peers);
    let mut node = Command::new("node");
    node.args(["--print", "require('path').dirname(path.dirname(process.execPath))"]);
    let prefix = output(node)?;
    if Path::new(prefix.trim()).join("include/node").is_dir() {
        install.env("npm_config_nodedir", prefix.trim());
    }
    ensure!(succeeds(install)?, "npm cannot install {BETTER_SQLITE3}");
    let mut command = Command::new("node");
    command.env("REJOIN_NODE_RUNTIME", javascript::prepare()?).env("REJOIN_BENCH_PEERS", peers);
    command.arg("bench/main.mjs").current_dir(javascript::folder());
    Ok(command)
}

/// The figures that a program prints; other lines are passed through.
fn figures(command: Command) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let well = for_each_line(command, |line| match serde_json::from_str(line) {
        Ok(figure) => figures.push(figure),
        Err(_) => println!("{line}"),
    })?;
    if !well {
        bail!("the program ended badly");
    }
    ensure!(!figures.is_empty(), "the program printed no figure");
    Ok(figures)
}

/// The table, with one line per figure of the language.
fn table(measured: &[Figure], rust: &[Figure], language: &Language) -> String {
    let heads = ["what", "ours", "peer", "peer's", "ratio", "goal", "in Rust"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(heads)
        .chain(measured.iter().map(|figure| {
            let same = rust.iter().find(|other| other.what == figure.what);
            cells(figure, same, language)
        }))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cells(figure: &Figure, rust: Option<&Figure>, language: &Language) -> [String; 7] {
    let millis = |value: f64| format!("{value:.3} ms");
    let goal = language.goals.iter().find(|goal| goal.applies_to(figure)).map(|goal| {
        let met = figure.ratio.is_some_and(|ratio| ratio <= goal.ratio);
        format!("{:.2} {}", goal.ratio, if met { "met" } else { "MISSED" })
    });
    [
        figure.what.clone(),
        millis(figure.ours_ms),
        figure.peer.clone().unwrap_or_default(),
        figure.peer_ms.map(millis).unwrap_or_default(),
        figure.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        goal.unwrap_or_default(),
        rust.map(|rust| millis(rust.ours_ms)).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Figure, LANGUAGES, Language, table};

    fn figure(json: &str) -> Figure {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn figures_are_shown_with_those_of_rust_and_the_goal() {
        let measured = [
            figure(
                r#"{"what":"10,000 x 8 rows into objects","ours_ms":12.5,"peer":"sqlite-jdbc","peer_ms":10,"ratio":1.25}"#,
            ),
            figure(r#"{"what":"commit to emission, p50","ours_ms":0.5}"#),
        ];
        let rust = [figure(r#"{"what":"commit to emission, p50","ours_ms":0.25,"peer":null}"#)];
        let table = table(&measured, &rust, Language::named("kotlin").unwrap());
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect())
            .collect();
        assert_eq!(lines[1][1..], ["12.500 ms", "sqlite-jdbc", "10.000 ms", "1.25", "1.50 met"]);
        assert_eq!(lines[2], ["commit to emission, p50", "0.500 ms", "0.250 ms"]);
    }

    #[test]
    fn missed_goal_is_reported() {
        let measured =
            [figure(r#"{"what":"10,000 x 8 rows into objects","ours_ms":3,"ratio":1.6}"#)];
        assert!(table(&measured, &[], Language::named("swift").unwrap()).contains("1.30 MISSED"));
    }

    #[test]
    fn kotlin_goal_applies_to_one_peer_only() {
        let measured = [figure(
            r#"{"what":"10,000 x 8 rows into objects","ours_ms":3,"peer":"another","peer_ms":1,"ratio":3}"#,
        )];
        let table = table(&measured, &[], Language::named("kotlin").unwrap());
        assert!(table.contains("another") && !table.contains("MISSED"), "{table}");
    }

    #[test]
    fn javascript_goal_applies_to_the_parser_line_only() {
        let measured = [
            figure(r#"{"what":"10,000 x 8 rows into objects","ours_ms":3,"ratio":0.4}"#),
            figure(r#"{"what":"the same, from a string","ours_ms":3,"ratio":0.9}"#),
        ];
        let table = table(&measured, &[], Language::named("javascript").unwrap());
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert!(!lines[1].contains("met") && lines[2].ends_with("  0.50 MISSED"), "{table}");
    }

    #[test]
    fn only_names_of_languages_are_accepted() {
        assert!(LANGUAGES.iter().all(|it| Language::named(it.name).is_some()));
        assert!(Language::named("--filter").is_none() && Language::named("border").is_none());
    }
}
