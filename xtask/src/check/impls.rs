//! No type has methods in too many files: such a type should be split.
//!
//! Trait implementations and types in tests do not count. A type is identified by its crate and
//! name.

use crate::workspace::File;
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of files with methods of one type.
const MOST: usize = 4;

/// The products' sources.
const SOURCES: [&str; 5] = ["bindings/src", "core/src", "log/src", "protocol/src", "server/src"];

/// Types with methods in too many files.
pub(super) fn spread(files: &[File]) -> Result<Vec<String>> {
    let mut found: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let root = SOURCES.iter().find(|root| file.path.starts_with(&format!("{root}/")));
        let is_test = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
        if let Some(root) = root.filter(|_| !is_test) {
            for name in types(file)? {
                found.entry((root, name)).or_default().insert(&file.path);
            }
        }
    }
    let problem = |((root, name), files): (&(&str, String), &BTreeSet<&str>)| {
        (files.len() > MOST).then(|| {
            let places: Vec<&str> = files.iter().copied().collect();
            let (files, places) = (files.len(), places.join(", "));
            format!("{root}: {name} has methods in {files} files, not {MOST}: {places}")
        })
    };
    Ok(found.iter().filter_map(problem).collect())
}

/// The types to which a file adds methods, each once.
fn types(file: &File) -> Result<BTreeSet<String>> {
    let source = syn::parse_file(&file.text).with_context(|| file.path.clone())?;
    let types = source.items.iter().filter_map(|item| {
        let syn::Item::Impl(block) = item else { return None };
        let syn::Type::Path(path) = &*block.self_ty else { return None };
        let is_own = block.trait_.is_none();
        path.path.segments.last().filter(|_| is_own).map(|last| last.ident.to_string())
    });
    Ok(types.collect())
}

#[cfg(test)]
mod tests {
    use super::spread;
    use crate::workspace::File;

    fn files(number: usize, name: &str) -> Vec<File> {
        let file = |at| File {
            path: format!("server/src/part{at}.rs"),
            text: format!("impl Clone for {name} {{}}\nimpl<'a> super::{name}<'a> {{}}"),
        };
        (0..number).map(file).collect()
    }

    #[test]
    fn methods_in_a_fifth_file_are_refused() {
        assert_eq!(spread(&files(4, "Page")).unwrap(), Vec::<String>::new());
        let problems = spread(&files(5, "Page")).unwrap();
        assert!(matches!(problems.as_slice(), [one] if one.contains("5 files, not 4")));
        let mut others = files(4, "Page");
        let text = String::from("impl Clone for Page {}");
        others.push(File { path: String::from("server/src/other.rs"), text });
        let text = String::from("impl Page {}");
        others.push(File { path: String::from("server/src/page/tests.rs"), text });
        assert_eq!(spread(&others).unwrap(), Vec::<String>::new());
    }
}
