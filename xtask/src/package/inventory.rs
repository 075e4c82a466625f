//! What the native library contains: `THIRD-PARTY-LICENSES` and the bill of materials
//! `rejoin.cdx.json` (CycloneDX), from cargo's tree and the sources that cargo has downloaded.
//!
//! Programs that only run during the build (build scripts, procedural macros) are not in the
//! library, and not in these files.

mod licences;

use crate::process::{cargo, output};
use crate::report::Count;
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A component of the library, with its licence as an SPDX expression.
#[derive(Debug, Clone, Deserialize)]
struct Component {
    name: String,
    version: String,
    #[serde(default)]
    license: String,
    /// Its manifest; empty if it has no folder with licence files.
    manifest_path: PathBuf,
    /// The registry; `None` for crates of this workspace and for what is no crate.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Component>,
}

/// Writes both files.
pub(super) fn write(folder: &Path, targets: &[&str]) -> Result<Count> {
    let mut components = components(targets)?;
    components.extend([sqlite(&components)?, standard_library()?]);
    let licences = licences::page(&licences::texts(&components)?);
    let materials = serde_json::to_string_pretty(&document(&components))?;
    for (name, text) in [("THIRD-PARTY-LICENSES", licences), ("rejoin.cdx.json", materials)] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}: {} components", file.display(), components.len());
    }
    Ok(Count::one(true))
}

/// The crates in the library, by cargo's tree for these targets.
fn components(targets: &[&str]) -> Result<Vec<Component>> {
    let edges = ["tree", "--package", "rejoin-bindings", "--edges", "normal,no-proc-macro"];
    let mut tree = cargo(&edges, &[]);
    tree.args(["--locked", "--prefix", "none", "--format", "{p}"]);
    tree.args(targets.iter().flat_map(|target| ["--target", target]));
    let tree = output(tree)?;
    let metadata = output(cargo(&["metadata", "--locked", "--format-version", "1"], &[]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata changed")?;
    let mut known: BTreeMap<(String, String), Component> = BTreeMap::new();
    for mut component in metadata.packages {
        component.license = component.license.replace('/', " OR ");
        known.insert((component.name.clone(), component.version.clone()), component);
    }
    let third_party = names(&tree).into_iter().map(|(name, version)| {
        let found = known.get(&(name.to_owned(), version.to_owned()));
        found.cloned().with_context(|| format!("cargo metadata does not list {name} {version}"))
    });
    let mut components = third_party.collect::<Result<Vec<_>>>()?;
    components.retain(|component| component.source.is_some());
    ensure!(!components.is_empty(), "cargo tree lists no dependency of rejoin-bindings");
    Ok(components)
}

/// Names and versions in the lines of `cargo tree`, each once: `serde v1.0.2 (*)`.
fn names(tree: &str) -> BTreeSet<(&str, &str)> {
    let lines = tree.lines().filter_map(|line| line.split_once(" v"));
    lines.map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default())).collect()
}

/// SQLite, whose C code is part of a crate: scanners search for it by its own version.
fn sqlite(components: &[Component]) -> Result<Component> {
    let mut crates = components.iter();
    let owner = crates.find(|component| component.name == "libsqlite3-sys");
    let owner = owner.context("libsqlite3-sys is not in cargo's tree")?;
    let header = owner.manifest_path.with_file_name("sqlite3/sqlite3.h");
    let text = fs::read_to_string(&header)
        .with_context(|| format!("cannot read SQLite's version from {}", header.display()))?;
    let mut lines = text.lines();
    let version = lines.find_map(|line| line.strip_prefix("#define SQLITE_VERSION ")).unwrap_or("");
    let version = version.trim().trim_matches('"').to_owned();
    ensure!(!version.is_empty(), "{} has no SQLITE_VERSION", header.display());
    let (name, license) = ("sqlite".to_owned(), "blessing".to_owned());
    Ok(Component { name, version, license, source: None, manifest_path: PathBuf::new() })
}

/// Rust's standard library, which is linked into every library.
fn standard_library() -> Result<Component> {
    let mut rustc = Command::new("rustc");
    rustc.arg("--version");
    let version = output(rustc)?;
    let version = version.split(' ').nth(1).context("rustc printed no version")?.to_owned();
    let (name, license) = ("rust-std".to_owned(), "MIT OR Apache-2.0".to_owned());
    Ok(Component { name, version, license, source: None, manifest_path: PathBuf::new() })
}

/// The bill of materials, without time and serial number: the same tree gives the same file.
fn document(components: &[Component]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "library", "bom-ref": "rejoin-android", "name": "rejoin-android", "version": version,
        } },
        "components": components.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry(component: &Component) -> Value {
    let Component { name, version, license, source, .. } = component;
    let kind = if source.is_some() { "cargo" } else { "generic" };
    let purl = format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B"));
    json!({
        "type": "library", "bom-ref": purl, "name": name, "version": version,
        "licenses": [{ "expression": license }],
        "purl": purl,
    })
}

#[cfg(test)]
mod tests {
    use super::{Component, document, names};

    #[test]
    fn cargo_tree_lists_each_crate_once() {
        let tree = "a v1.0.0 (/x)\nserde v1.0.2\nserde v1.0.2 (*)\nsyn v2.0.1\n\n";
        let expected = [("a", "1.0.0"), ("serde", "1.0.2"), ("syn", "2.0.1")];
        assert_eq!(names(tree).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn component_has_name_version_licence_and_purl() {
        let toml = Component {
            name: "toml".to_owned(),
            version: "0.9.12+spec-1.1.0".to_owned(),
            license: "MIT OR Apache-2.0".to_owned(),
            manifest_path: "Cargo.toml".into(),
            source: Some("registry".to_owned()),
        };
        let sqlite = Component { name: "sqlite".to_owned(), source: None, ..toml.clone() };
        let document = document(&[toml, sqlite]);
        let first = &document["components"][0];
        assert_eq!(first["purl"], "pkg:cargo/toml@0.9.12%2Bspec-1.1.0");
        assert_eq!(first["licenses"], serde_json::json!([{ "expression": "MIT OR Apache-2.0" }]));
        assert_eq!(document["components"][1]["purl"], "pkg:generic/sqlite@0.9.12%2Bspec-1.1.0");
    }
}
