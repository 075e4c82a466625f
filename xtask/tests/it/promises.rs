//! What the pages of the house promise about the house itself: pinned tools, the README's shape, mutants that are caught.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn table(path: &str) -> toml::Table {
    text(path).parse().unwrap()
}

/// Every Rust file below a folder, with its path.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_toolchain_is_pinned_and_every_crate_has_the_lints_of_the_workspace() {
    let toolchain = table("rust-toolchain.toml");
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    let numbers: Vec<&str> = channel.split('.').collect();
    assert!(numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{channel}");
    let workspace = table("Cargo.toml");
    let workspace = workspace["workspace"].as_table().unwrap();
    let least = workspace["package"]["rust-version"].as_str().unwrap();
    assert!(channel.starts_with(least), "{channel} and {least}");
    assert_eq!(workspace["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for member in workspace["members"].as_array().unwrap() {
        let path = format!("{}/Cargo.toml", member.as_str().unwrap());
        let own = table(&path);
        assert_eq!(own["lints"]["workspace"].as_bool(), Some(true), "{path}");
        assert!(own["package"]["license"]["workspace"].as_bool().unwrap(), "{path}");
    }
    assert!(text("Cargo.lock").contains("name = \"rejoin-core\""), "one lockfile");
}

#[test]
fn the_readme_says_what_why_two_commands_and_fifteen_lines() {
    let readme = text("README.md");
    for part in ["# Rejoin\n", "**Why.**", "## Two commands", "Not there yet", "MIT or Apache-2.0"]
    {
        assert!(readme.contains(part), "{part}");
    }
    let block = |language: &str| {
        let from = readme.split_once(&format!("```{language}")).unwrap().1;
        let body = from.split_once('\n').unwrap().1.split_once("\n```").unwrap().0;
        body.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let commands = block("sh");
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(
        commands[0].starts_with("cargo xtask demo") && commands[1].starts_with("cargo xtask test")
    );
    assert!(block("rust").len() <= 15, "{} lines", block("rust").len());
    // CI runs what the README names.
    assert!(text(".ci/run").contains("cargo xtask test"));
    let library = text("core/src/lib.rs");
    assert!(library.contains("include_str!(\"../../README.md\")"), "its example is compiled");
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(text(licence).len() > 1_000, "{licence}");
    }
}

#[test]
fn every_mutant_is_asked_by_the_code_and_caught_by_a_test() {
    let list = text("core/src/mutant.rs");
    let list = list.split_once("pub enum Mutant {").unwrap().1.split_once('}').unwrap().0;
    let names: Vec<&str> =
        list.lines().filter_map(|line| line.trim().split_once(',')).map(|(name, _)| name).collect();
    assert!(names.len() >= 10, "{names:?}");
    let mut files = Vec::new();
    sources(&root().join("core"), &mut files);
    sources(&root().join("tests"), &mut files);
    for name in names {
        let asked = format!("mutant::on(Mutant::{name})");
        assert!(files.iter().any(|(_, text)| text.contains(&asked)), "{name} is asked nowhere");
        let turned_on = |call: &str| {
            let call = format!("{call}(Mutant::{name}");
            files.iter().any(|(_, text)| text.contains(&call))
        };
        // A table of stories or of a simulation, each of whose lines is held to notice its switch.
        let listed = |(path, text): &(String, String)| {
            let is_table =
                ["sync/log/stories.rs", "src/simulate/"].iter().any(|table| path.contains(table));
            is_table && text.split(|one: char| !one.is_alphanumeric()).any(|word| word == name)
        };
        let caught = ["caught", "with"].into_iter().any(turned_on) || files.iter().any(listed);
        assert!(caught, "no test turns {name} on");
    }
}
