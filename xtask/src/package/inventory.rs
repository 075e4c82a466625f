//! What the native libraries contain: `THIRD-PARTY-LICENSES`, with each licence text once, and the
//! bill of materials `rejoin.cdx.json` (CycloneDX), from cargo's tree for all phones and the sources
//! that cargo has downloaded.
//!
//! Programs that only run during the build (build scripts, procedural macros) are not in the
//! libraries, and not in these files. `deny.toml` has the licences that are allowed.

use super::targets;
use crate::process::{cargo, output};
use crate::report::Count;
use crate::workspace::{self, root};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// How the names of licence files begin.
const FILES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

const MPL: &str = "Mozilla Public License, version 2.0: https://www.mozilla.org/MPL/2.0/\n\
    The crate is unchanged. Its source is at https://crates.io/crates/NAME/VERSION";
const SQLITE: &str = "SQLite is in the public domain: https://sqlite.org/copyright.html";

/// A component of the libraries.
#[derive(Debug, Clone)]
struct Component {
    name: String,
    version: String,
    /// An SPDX expression.
    license: String,
    /// The folder of the crate's sources; `None` for what is no crate.
    folder: Option<PathBuf>,
}

/// Writes both files.
pub(super) fn write(folder: &Path) -> Result<Count> {
    let components = components()?;
    let materials = serde_json::to_string_pretty(&document(&components))?;
    for (name, text) in
        [("THIRD-PARTY-LICENSES", licences(&components)?), ("rejoin.cdx.json", materials)]
    {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}: {} components", file.display(), components.len());
    }
    Ok(Count::one(true))
}

/// The crates of others in the libraries, SQLite and Rust's standard library.
fn components() -> Result<Vec<Component>> {
    let edges = ["tree", "--package", "rejoin-bindings", "--edges", "normal,no-proc-macro"];
    let mut tree = cargo(&edges, &[]);
    tree.args(["--locked", "--prefix", "none", "--format", "{p} "]);
    tree.args(targets().flat_map(|target| ["--target", target]));
    // A line is `serde v1.0.2 (*)`.
    let tree = output(tree)?;
    let lines: BTreeSet<_> = tree.lines().filter_map(|line| line.split_once(" v")).collect();
    let listed = |name: &str, version: &str| {
        lines.iter().any(|line| line.0 == name && line.1.split(' ').next() == Some(version))
    };
    let crates = workspace::packages()?.into_iter().filter(|it| listed(&it.name, &it.version));
    let mut components = Vec::new();
    for package in crates.filter(|package| package.source.is_some()) {
        if package.name == "libsqlite3-sys" {
            let header = fs::read_to_string(package.folder().join("sqlite3/sqlite3.h"))?;
            let version = header.lines().find_map(|it| it.strip_prefix("#define SQLITE_VERSION "));
            let version = version.context("the header of SQLite has no version")?.trim();
            components.push(component("sqlite", version.trim_matches('"'), "blessing", None));
        }
        let license = package.license.as_deref().unwrap_or_default().replace('/', " OR ");
        let folder = Some(package.folder().to_owned());
        components.push(component(&package.name, &package.version, &license, folder));
    }
    ensure!(components.len() > 1, "cargo tree lists no dependency of rejoin-bindings");
    let pinned: toml::Table = fs::read_to_string(root().join("rust-toolchain.toml"))?.parse()?;
    let version =
        pinned["toolchain"]["channel"].as_str().context("no version of Rust is pinned")?;
    components.push(component("rust-std", version, "MIT OR Apache-2.0", None));
    Ok(components)
}

fn component(name: &str, version: &str, license: &str, folder: Option<PathBuf>) -> Component {
    let [name, version, license] = [name, version, license].map(str::to_owned);
    Component { name, version, license, folder }
}

/// The bill of materials, without time and serial number: the same tree gives the same file.
fn document(components: &[Component]) -> Value {
    let entry = |Component { name, version, license, folder }: &Component| {
        let kind = if folder.is_some() { "cargo" } else { "generic" };
        let purl = format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B"));
        let licenses = [json!({ "expression": license })];
        json!({
            "type": "library", "bom-ref": purl, "name": name, "version": version,
            "licenses": licenses, "purl": purl,
        })
    };
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "library", "bom-ref": "rejoin", "name": "rejoin", "version": env!("CARGO_PKG_VERSION"),
        } },
        "components": components.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// The page of all licence texts, each with the components that it applies to.
fn licences(components: &[Component]) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for component in components {
        let Component { name, version, license, .. } = component;
        for text in licence_texts(component)? {
            // Copies may differ in space at the ends of lines.
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            let text = lines.join("\n").trim_matches('\n').to_owned();
            texts.entry(text).or_default().push(format!("{name} {version} ({license})"));
        }
    }
    let mut sorted: Vec<_> = texts.into_iter().map(|(text, users)| (users, text)).collect();
    sorted.sort();
    let (rule, mut page) = ("=".repeat(78), String::new());
    page += "Third-party software in the native libraries of Rejoin, with its licences.\n";
    for (users, text) in sorted {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n{rule}\n{}\n\n{text}\n", users.join("\n"));
    }
    Ok(page)
}

/// The licence files of a crate, or the standard text of its licence.
fn licence_texts(component: &Component) -> Result<Vec<String>> {
    let Component { name, version, license, folder } = component;
    let mut files = Vec::new();
    for entry in folder.as_ref().map(fs::read_dir).transpose()?.into_iter().flatten() {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        files.extend(FILES.iter().any(|it| file.starts_with(it) && path.is_file()).then_some(path));
    }
    files.sort();
    let read = |file: &PathBuf| fs::read(file).map(|it| String::from_utf8_lossy(&it).into_owned());
    let own = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(match license.as_str() {
        _ if !own.is_empty() => own,
        either if either.contains("Apache-2.0") => {
            vec![fs::read_to_string(root().join("LICENSE-APACHE"))?]
        }
        "MPL-2.0" => vec![MPL.replace("NAME", name).replace("VERSION", version)],
        "blessing" => vec![SQLITE.to_owned()],
        _ => bail!(
            "{name} {version} has no licence file; add the text of {license:?} to package/inventory.rs"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{component, document, licences};
    use std::fs;

    #[test]
    fn component_has_name_version_licence_and_purl() {
        let toml = component("toml", "0.9.12+spec-1.1.0", "MIT OR Apache-2.0", Some("a".into()));
        let document = document(&[toml, component("sqlite", "3.1", "blessing", None)]);
        let first = &document["components"][0];
        assert_eq!(first["purl"], "pkg:cargo/toml@0.9.12%2Bspec-1.1.0");
        assert_eq!(first["licenses"], serde_json::json!([{ "expression": "MIT OR Apache-2.0" }]));
        assert_eq!(document["components"][1]["purl"], "pkg:generic/sqlite@3.1");
    }

    #[test]
    fn licence_texts_are_printed_once_or_are_the_standard_text() {
        let root = tempfile::tempdir().unwrap();
        let with_text = |name: &str, text: &str| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("License-mit.txt"), text).unwrap();
            fs::write(folder.join("README.md"), "not a licence").unwrap();
            component(name, "1.0.0", "MIT", Some(folder))
        };
        let page = licences(&[
            with_text("a", "same \r\ntext\n"),
            with_text("b", "same\ntext"),
            component("c", "1.0.0", "MIT OR Apache-2.0", None),
            component("d", "1.0.0", "MPL-2.0", None),
        ]);
        let page = page.unwrap();
        assert!(page.contains("\na 1.0.0 (MIT)\nb 1.0.0 (MIT)\n\nsame\ntext\n"), "{page}");
        assert!(page.contains("Apache License") && page.contains("/crates/d/1.0.0"), "{page}");
        assert!(!page.contains("not a licence"));
        let unknown = licences(&[component("a", "1.0.0", "ISC", None)]).unwrap_err().to_string();
        assert!(unknown.starts_with("a 1.0.0 has no licence file"), "{unknown}");
    }
}
