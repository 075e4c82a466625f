//! The ledger (D35): each claim of the project, and the test or command that shows it.
//!
//! `tests/ledger.toml` and `tests/ledger.d/*.toml` hold lines `"<section> <area>: <claim>" = "<proof>"`, or a list
//! of proofs. A proof is `<crate>: <test path as cargo prints it>`, with `/<row>` behind it for one row of a table
//! test, or `cargo xtask ...`. `check` looks for the function in the sources; `test` compares with what the built
//! test binaries list, and what the runners of other languages report (`ledger/languages.rs`).

mod languages;

pub(crate) use languages::{Spoken, bare};

use crate::source;
use crate::workspace::{File, Package};
use anyhow::{Context as _, Result, bail};
use languages::LANGUAGES;
use std::collections::{BTreeMap, BTreeSet};

/// One claim with one proof of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) claim: String,
    pub(crate) proof: Proof,
}

/// What shows a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A test of a crate, by its full path; for a table test, the row.
    Test { package: String, path: String, row: Option<String> },
    /// A test in another language, by the name that its runner reports.
    Spoken { language: &'static str, name: String },
    /// The arguments of a `cargo xtask` command.
    Command(Vec<String>),
}

/// Whether a file belongs to the ledger.
fn is_ledger(file: &File) -> bool {
    file.path == "tests/ledger.toml"
        || file.path.starts_with("tests/ledger.d/") && file.has_extension("toml")
}

/// All lines of all ledger files; refuses one that is malformed, and a claim that stands twice.
pub(crate) fn read(files: &[File]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut claims = BTreeSet::new();
    for file in files.iter().filter(|file| is_ledger(file)) {
        for line in parse(&file.text).with_context(|| file.path.clone())? {
            lines.push(line);
        }
        let table: BTreeMap<String, toml::Value> = toml::from_str(&file.text)?;
        for claim in table.into_keys() {
            if !claims.insert(claim.clone()) {
                bail!("{}: {claim:?} stands in another file too", file.path);
            }
        }
    }
    if lines.is_empty() {
        bail!("the ledger is empty");
    }
    Ok(lines)
}

fn parse(text: &str) -> Result<Vec<Line>> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Proofs {
        One(String),
        Several(Vec<String>),
    }
    let table: BTreeMap<String, Proofs> = toml::from_str(text)?;
    let mut lines = Vec::new();
    for (claim, proofs) in table {
        if !claim.starts_with(|c: char| c.is_ascii_digit()) || !claim.contains(": ") {
            bail!("{claim:?}: a claim is written \"<section> <area>: <claim>\"");
        }
        let proofs = match proofs {
            Proofs::One(proof) => vec![proof],
            Proofs::Several(proofs) => proofs,
        };
        if proofs.is_empty() {
            bail!("{claim:?} has no proof");
        }
        for proof in proofs {
            lines.push(Line {
                proof: self::proof(&proof).context(claim.clone())?,
                claim: claim.clone(),
            });
        }
    }
    Ok(lines)
}

/// A proof as it is written.
pub(crate) fn proof(text: &str) -> Result<Proof> {
    if let Some(arguments) = text.strip_prefix("cargo xtask ") {
        return Ok(Proof::Command(arguments.split_whitespace().map(str::to_owned).collect()));
    }
    let Some((package, name)) = text.split_once(": ") else {
        bail!("{text:?} is neither \"<crate>: <test path>\" nor \"cargo xtask ...\"");
    };
    if let Some(language) = LANGUAGES.iter().find(|language| **language == package) {
        return Ok(Proof::Spoken { language, name: bare(name).to_owned() });
    }
    let (path, row) = match name.split_once('/') {
        Some((path, row)) => (path, Some(row.to_owned())),
        None => (name, None),
    };
    Ok(Proof::Test { package: package.to_owned(), path: path.to_owned(), row })
}

/// What is wrong with the proofs as far as the sources tell: a test that no file has, one that is ignored or has no
/// test attribute, a row that its file does not name, a command that does not parse.
pub(crate) fn missing_in_sources(
    lines: &[Line],
    packages: &[Package],
    files: &[File],
    command_parses: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    let wrong = |line: &Line| {
        let problem = match &line.proof {
            Proof::Command(arguments) => (!command_parses(arguments))
                .then(|| format!("no command `cargo xtask {}`", arguments.join(" "))),
            Proof::Spoken { language, name } => languages::wrong_in_sources(language, name, files),
            Proof::Test { package, path, row } => {
                let own = packages.iter().find(|p| p.source.is_none() && p.name == *package);
                match own {
                    None => Some(format!("no crate {package} in the workspace")),
                    Some(own) => wrong_in(&own.folder(), path, row.as_deref(), files),
                }
            }
        };
        problem.map(|problem| format!("{:?}: {problem}", line.claim))
    };
    lines.iter().filter_map(wrong).collect()
}

/// What is wrong with one test of the crate in this folder.
fn wrong_in(folder: &str, path: &str, row: Option<&str>, files: &[File]) -> Option<String> {
    let function = path.rsplit("::").next().unwrap_or(path);
    let mut verdict = format!("{folder} has no test `{path}`");
    // Most files are passed over before they are read as source, which costs more.
    let signature = format!("fn {function}");
    for file in files.iter().filter(|file| file.is_rust() && file.text.contains(&signature)) {
        let Some(in_crate) = file.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let code = source::code(&file.text);
        let module = source::module_of(in_crate);
        // A test that a macro stamps out (a contract suite) is listed under the module that calls the macro.
        let fits = module.is_empty()
            || path.starts_with(&format!("{module}::"))
            || code.contains("macro_rules!");
        match attributes(&code, function) {
            None => {}
            Some(_) if !fits => {
                verdict = format!("`{function}` stands in {}, not where `{path}` says", file.path);
            }
            Some(found) if found.contains("#[ignore") => {
                return Some(format!("`{path}` is ignored"));
            }
            Some(found) if !found.contains("test") && !is_handed_to_a_suite(&code, function) => {
                return Some(format!("`{path}` is no test"));
            }
            Some(_) => {
                let named = |row: &str| file.text.contains(&format!("\"{row}\""));
                return row
                    .filter(|row| !named(row))
                    .map(|row| format!("{} has no row {row:?} for `{path}`", file.path));
            }
        }
    }
    Some(verdict)
}

/// Whether a macro of this file makes a test of every function that it is given by name, and this one is given.
fn is_handed_to_a_suite(code: &str, function: &str) -> bool {
    let stamps = code.contains("macro_rules!") && code.contains("#[test]") && code.contains("fn $");
    stamps && code.lines().any(|line| line.trim().trim_end_matches(',') == function)
}

/// The attributes above `fn name`, without comments between; None if there is no such function.
fn attributes(code: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        line.split_once("fn ").is_some_and(|(before, after)| {
            let rest = after.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['(', '<']))
                && before.chars().all(|c| c.is_ascii_alphabetic() || "() ".contains(c))
        })
    };
    let at = lines.iter().position(is_it)?;
    let above = lines[..at].iter().rev();
    let attributes = above.take_while(|line| {
        line.is_empty() || line.starts_with('#') || line.ends_with(']') || line.ends_with(',')
    });
    Some(attributes.copied().collect::<Vec<_>>().join("\n"))
}

/// What the built test binaries list of one crate, or a runner of one language.
#[derive(Debug, Default, Clone)]
pub(crate) struct Listed {
    pub(crate) all: BTreeSet<String>,
    pub(crate) ignored: BTreeSet<String>,
}

/// The proofs that no built test binary holds, or holds as ignored; `listed` has the names by crate or language.
pub(crate) fn missing_in_binaries(
    lines: &[Line],
    listed: &BTreeMap<String, Listed>,
) -> Vec<String> {
    let wrong = |line: &Line| {
        let (of, path, nowhere) = match &line.proof {
            Proof::Test { package, path, .. } => (package.as_str(), path, "is in no test binary"),
            Proof::Spoken { language, name } => (*language, name, "was not run"),
            Proof::Command(_) => return None,
        };
        let problem = match listed.get(of) {
            Some(listed) if listed.ignored.contains(path) => "is ignored",
            Some(listed) if listed.all.contains(path) => return None,
            _ => nowhere,
        };
        Some(format!("{:?}: {of}: {path} {problem}", line.claim))
    };
    lines.iter().filter_map(wrong).collect()
}

#[cfg(test)]
mod tests;
