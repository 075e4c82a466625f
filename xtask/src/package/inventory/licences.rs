//! The licence texts of all components, each text once.

use super::Component;
use crate::workspace::root;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// How the names of licence files begin.
const FILES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

const MPL: &str = "Mozilla Public License, version 2.0: https://www.mozilla.org/MPL/2.0/\n\
    The crate is unchanged. Its source is at https://crates.io/crates/NAME/VERSION";
const SQLITE: &str = "SQLite is in the public domain: https://sqlite.org/copyright.html";

/// Each distinct text with the components that it applies to.
pub(super) fn texts(components: &[Component]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for component in components {
        let Component { name, version, license, .. } = component;
        let mut own = own_texts(component)?;
        if own.is_empty() {
            own.push(standard_text(component)?);
        }
        for text in own {
            texts.entry(text).or_default().push(format!("{name} {version} ({license})"));
        }
    }
    Ok(texts)
}

/// The licence files that a crate contains.
fn own_texts(component: &Component) -> Result<Vec<String>> {
    let Some(folder) = component.manifest_path.parent() else { return Ok(Vec::new()) };
    let entries = fs::read_dir(folder).with_context(|| {
        format!("the source of {} is not in {}", component.name, folder.display())
    })?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.is_file() && is_licence(file));
    files.sort();
    let read = |file: PathBuf| {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(normalized(&String::from_utf8_lossy(&bytes)))
    };
    files.into_iter().map(read).collect()
}

fn is_licence(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    FILES.iter().any(|beginning| name.starts_with(beginning))
}

/// The text for a component without a file.
fn standard_text(component: &Component) -> Result<String> {
    let Component { name, version, license, .. } = component;
    if license.contains("Apache-2.0") {
        let file = root().join("LICENSE-APACHE");
        let text = fs::read_to_string(&file);
        return Ok(normalized(&text.with_context(|| format!("cannot read {}", file.display()))?));
    }
    match license.as_str() {
        "MPL-2.0" => Ok(MPL.replace("NAME", name).replace("VERSION", version)),
        "blessing" => Ok(SQLITE.to_owned()),
        _ => bail!(
            "{name} {version} has no licence file, and there is no standard text for {license:?}: \
             add it to xtask/src/package/inventory/licences.rs"
        ),
    }
}

/// The same text for copies that differ only in space at the ends of lines.
fn normalized(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// The page of all texts, in the order of the first component of each.
pub(super) fn page(texts: &BTreeMap<String, Vec<String>>) -> String {
    let mut sorted: Vec<_> = texts.iter().collect();
    sorted.sort_by_key(|(_, components)| *components);
    let mut page =
        "Third-party software in the native library of Rejoin, with its licences.\n".to_owned();
    for (text, components) in sorted {
        let rule = "=".repeat(78);
        // Writing to a string cannot fail.
        let _ = write!(page, "\n{rule}\n{}\n\n{text}\n", components.join("\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::{Component, page, texts};
    use std::fs;
    use std::path::PathBuf;

    fn component(name: &str, license: &str, manifest_path: PathBuf) -> Component {
        let (name, version, license) = (name.to_owned(), "1.0.0".to_owned(), license.to_owned());
        Component { name, version, license, manifest_path, source: None }
    }

    #[test]
    fn equal_licence_texts_are_printed_once() {
        let folder = tempfile::tempdir().unwrap();
        let with_text = |name: &str, text: &str| {
            let source = folder.path().join(name);
            fs::create_dir(&source).unwrap();
            fs::write(source.join("License-mit.txt"), text).unwrap();
            fs::write(source.join("README.md"), "not a licence").unwrap();
            component(name, "MIT", source.join("Cargo.toml"))
        };
        let components = [
            with_text("a", "same \r\ntext\n"),
            with_text("b", "same\ntext"),
            with_text("c", "own"),
        ];
        let page = page(&texts(&components).unwrap());
        let expected = "\na 1.0.0 (MIT)\nb 1.0.0 (MIT)\n\nsame\ntext\n";
        assert!(page.contains(expected), "{page}");
        assert!(page.ends_with("\nc 1.0.0 (MIT)\n\nown\n"), "{page}");
        assert!(!page.contains("not a licence"));
    }

    #[test]
    fn component_without_licence_file_has_the_standard_text() {
        for (license, expected) in [
            ("MIT OR Apache-2.0", "Apache License"),
            ("MPL-2.0", "https://crates.io/crates/a/1.0.0"),
            ("blessing", "public domain"),
        ] {
            let page = page(&texts(&[component("a", license, PathBuf::new())]).unwrap());
            assert!(page.contains(expected), "{license}: {page}");
        }
        let unknown = texts(&[component("a", "ISC", PathBuf::new())]).unwrap_err().to_string();
        assert!(unknown.starts_with("a 1.0.0 has no licence file"), "{unknown}");
    }
}
