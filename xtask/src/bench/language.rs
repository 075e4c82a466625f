//! Benchmark programs of the other languages: each prints one JSON line per figure, shown here next
//! to Rust's.
//!
//! Programs and library are built in release. Figures are matched by name.

use crate::built::Built;
use crate::language::javascript;
use crate::process::{cargo, for_each_line, output, run};
use crate::toolchain::swift;
use anyhow::{Context as _, Result, ensure};
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

/// The maximum ratio of a line to its peer, if the program has several for one line.
type Goal = (&'static str, Option<&'static str>, f64);

const LANGUAGES: [Language; 3] = [
    Language {
        name: "kotlin",
        goals: &[(ROWS, Some("sqlite-jdbc"), 1.5), (WRITES, Some("sqlite-jdbc"), 4.0)],
        command: |library| Ok(kotlin(library)),
    },
    Language {
        name: "swift",
        goals: &[(ROWS, None, 1.3), (DECODABLE, None, 1.5), (WRITES, None, 4.0)],
        command: swift,
    },
    Language { name: "javascript", goals: &[(FROM_STRING, None, 0.5)], command: javascript },
];

/// A figure as printed by the programs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Figure {
    what: String,
    ours_ms: f64,
    peer: Option<String>,
    peer_ms: Option<f64>,
    ratio: Option<f64>,
}

impl Language {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        LANGUAGES.iter().find(|language| language.name == name)
    }

    /// Builds everything, runs Rust's program and then the language's, and prints the table.
    pub(super) fn bench(&self) -> Result<ExitCode> {
        let built = Built::by("release", &["build", "--release", "--package", "rejoin-bindings"])?;
        let folder = built.folder();
        let own = ["run", "--quiet", "--release", "--package", "rejoin-bench", "--", "border"];
        let rust = figures(cargo(&own, &[]))?;
        let mut command = (self.command)(folder)?;
        command.env("REJOIN_LIBRARY_DIR", folder);
        let measured = figures(command)?;
        let heads = ["what", "ours", "peer", "peer's", "ratio", "goal", "in Rust"];
        println!();
        print_line(&heads.map(str::to_owned));
        for figure in measured {
            print_line(&self.cells(&figure, &rust));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The cells of a line, with the figure of Rust that has the same name.
    fn cells(&self, figure: &Figure, rust: &[Figure]) -> [String; 7] {
        let millis = |value: f64| format!("{value:.3} ms");
        let applies = |(line, peer, _): &&Goal| {
            figure.what == *line && peer.is_none_or(|peer| figure.peer.as_deref() == Some(peer))
        };
        let goal = self.goals.iter().find(applies).map(|(.., goal)| {
            let met = figure.ratio.is_some_and(|ratio| ratio <= *goal);
            format!("{goal:.2} {}", if met { "met" } else { "MISSED" })
        });
        let same = rust.iter().find(|other| other.what == figure.what);
        [
            figure.what.clone(),
            millis(figure.ours_ms),
            figure.peer.clone().unwrap_or_default(),
            figure.peer_ms.map(millis).unwrap_or_default(),
            figure.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            goal.unwrap_or_default(),
            same.map(|rust| millis(rust.ours_ms)).unwrap_or_default(),
        ]
    }
}

fn print_line([what, cells @ ..]: &[String; 7]) {
    let cells = cells.each_ref().map(|cell| format!("{cell:>12}")).join("  ");
    println!("{}", format!("{what:<50}  {cells}").trim_end());
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
    run(install)?;
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
    ensure!(well && !figures.is_empty(), "the program failed or printed no figure");
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::{Figure, Language, ROWS};

    #[test]
    fn figures_are_shown_with_those_of_rust_and_the_goal() {
        let figure = |what: &str, peer: Option<&str>, ratio| {
            let (what, peer) = (what.to_owned(), peer.map(str::to_owned));
            Figure { what, ours_ms: 12.5, peer, peer_ms: Some(10.0), ratio }
        };
        let kotlin = Language::named("kotlin").unwrap();
        let cells = |peer, ratio| kotlin.cells(&figure(ROWS, Some(peer), Some(ratio)), &[]);
        let good = ["12.500 ms", "sqlite-jdbc", "10.000 ms", "1.25", "1.50 met", ""];
        assert_eq!(cells("sqlite-jdbc", 1.25)[1..], good);
        assert_eq!(cells("sqlite-jdbc", 1.6)[5], "1.50 MISSED");
        assert_eq!(cells("another", 3.0)[5], "", "the goal is for another peer");
        let rust = [figure("commit", None, None)];
        assert_eq!(kotlin.cells(&figure("commit", None, None), &rust)[6], "12.500 ms");
    }
}
