//! Import cycles between the files of a crate, outside its tests: two files may import each other, a longer cycle is
//! refused with its files and imports. An import through a name that the crate root re-exports is not followed.

use super::source::paths;
use crate::workspace::File;
use anyhow::Result;
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use std::collections::BTreeMap;

/// The crates whose files are checked.
const CRATES: [&str; 5] = ["protocol/", "log/", "core/", "server/", "bindings/"];

/// Maximum number of files that may import each other.
const LONGEST: usize = 2;

/// An edge for each import.
type Imports<'a> = DiGraphMap<&'a str, ()>;

/// The cycles that are too long, one text each.
pub(crate) fn cycles(files: &[File]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for prefix in CRATES {
        let files: Vec<&File> = files.iter().filter(|file| is_product(file, prefix)).collect();
        let imports = imports(&files)?;
        let cycles = tarjan_scc(&imports).into_iter().filter(|cycle| cycle.len() > LONGEST);
        problems.extend(cycles.map(|cycle| described(&imports, &cycle)));
    }
    Ok(problems)
}

fn is_product(file: &File, prefix: &str) -> bool {
    let source = format!("{prefix}src/");
    file.is_rust() && file.path.starts_with(&source) && !file.is_test()
}

/// The files of the crate that each file names.
fn imports<'a>(files: &[&'a File]) -> Result<Imports<'a>> {
    let modules: BTreeMap<String, &str> =
        files.iter().map(|file| (module(&file.path), file.path.as_str())).collect();
    let mut imports = Imports::new();
    for file in files {
        let named = paths(file)?;
        for other in named.iter().filter_map(|path| file_of(&modules, path)) {
            imports.add_edge(file.path.as_str(), other, ());
        }
    }
    Ok(imports)
}

/// `core/src/engine/queue.rs` is `crate::engine::queue`.
fn module(path: &str) -> String {
    let inside = path.split_once("src/").map_or(path, |(_, inside)| inside);
    let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    if inside == "lib" {
        "crate".to_owned()
    } else {
        format!("crate::{}", inside.replace('/', "::"))
    }
}

/// The file that defines a path: that of the longest matching module.
fn file_of<'a>(modules: &BTreeMap<String, &'a str>, path: &str) -> Option<&'a str> {
    let mut path = path;
    loop {
        if path == "crate" {
            return None;
        }
        if let Some(file) = modules.get(path) {
            return Some(file);
        }
        path = path.rsplit_once("::")?.0;
    }
}

fn described(imports: &Imports<'_>, cycle: &[&str]) -> String {
    let lines = cycle.iter().map(|file| {
        let others = imports.neighbors(file).filter(|other| cycle.contains(other) && other != file);
        format!("\n    {file} -> {}", others.collect::<Vec<_>>().join(", "))
    });
    format!("{} files import each other:{}", cycle.len(), lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::cycles;
    use crate::workspace::File;

    #[test]
    fn cycle_of_three_files_is_refused() {
        let table = [
            ([("a", "use crate::b::B;"), ("b", "use crate::a::A;"), ("c", "")], true),
            ([("a", "use crate::b::B;"), ("b", "use crate::c::C;"), ("c", "")], true),
            (
                [
                    ("a", "use crate::b::B;"),
                    ("b", "use super::c::C;"),
                    ("c", "fn f() { crate::a::g() }"),
                ],
                false,
            ),
            (
                [
                    ("a", "use crate::b::B;"),
                    ("b", "use crate::c::C;"),
                    ("c", "#[cfg(test)] mod tests { use crate::a::A; }"),
                ],
                true,
            ),
        ];
        for (files, good) in table {
            let file = |(name, text): &(&str, &str)| File {
                path: format!("core/src/{name}.rs"),
                text: (*text).to_owned(),
            };
            let problems = cycles(&files.each_ref().map(file)).unwrap();
            assert_eq!(problems.is_empty(), good, "{files:?}: {problems:?}");
        }
    }
}
