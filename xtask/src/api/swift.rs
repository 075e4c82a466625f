//! The public symbols of the Swift modules that apps import, from the compiler's symbol graph.

use crate::language::apple::MODULES;
use crate::language::swift;
use crate::process::run;
use crate::workspace::root;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;

#[derive(Deserialize)]
struct Graph {
    symbols: Vec<Symbol>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Symbol {
    path_components: Vec<String>,
    declaration_fragments: Vec<Fragment>,
}

#[derive(Deserialize)]
struct Fragment {
    spelling: String,
}

pub(super) fn listing() -> Result<String> {
    MODULES.into_iter().map(symbols).collect()
}

/// The symbols of a module.
fn symbols(module: &str) -> Result<String> {
    let folder = root().join("target/swift-api");
    fs::create_dir_all(&folder)?;
    let graph = swift::symbol_graph(module, &folder)?;
    run(graph)?;
    let path = folder.join(format!("{module}.symbols.json"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    lines(&text)
}

/// One line for each symbol: its path, and its declaration.
fn lines(graph: &str) -> Result<String> {
    let graph: Graph = serde_json::from_str(graph)?;
    let line = |symbol: &Symbol| {
        let declaration: String =
            symbol.declaration_fragments.iter().map(|fragment| &*fragment.spelling).collect();
        let declaration = declaration.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}: {declaration}\n", symbol.path_components.join("."))
    };
    let lines: BTreeSet<String> = graph.symbols.iter().map(line).collect();
    Ok(lines.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn symbol_is_one_line_by_its_path() {
        let graph = r#"{"symbols": [
            {"pathComponents": ["Row", "get"], "declarationFragments": [
                {"spelling": "func"}, {"spelling": " get("}, {"spelling": "\n  at: Int)"}]},
            {"pathComponents": ["Row"], "declarationFragments": [{"spelling": "struct Row"}]}]}"#;
        assert_eq!(super::lines(graph).unwrap(), "Row.get: func get( at: Int)\nRow: struct Row\n");
    }
}
