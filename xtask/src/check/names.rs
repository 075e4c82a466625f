//! `docs/api-names.md` names only what the listings in `docs/api` have.

use std::collections::BTreeSet;

use crate::workspace::File;

/// The page and its columns of names, in order, with the listing of each.
const PAGE: &str = "docs/api-names.md";
const LISTINGS: [&str; 4] =
    ["docs/api/rust.txt", "docs/api/kotlin.txt", "docs/api/swift.txt", "docs/api/typescript.txt"];

/// Names of the page that the listing of their language does not have.
pub(super) fn undeclared(files: &[File]) -> Vec<String> {
    let text = |path| files.iter().find(|file| file.path == path).map_or("", |file| &file.text);
    let mut problems = Vec::new();
    for (column, path) in LISTINGS.into_iter().enumerate() {
        let words = text(path).split(|char: char| !char.is_alphanumeric() && char != '_');
        let declared: BTreeSet<&str> = words.collect();
        let missing = names(text(PAGE), column)
            .into_iter()
            .filter(|name| !declared.contains(name) && !declared.contains(getter(name).as_str()));
        problems.extend(missing.map(|name| format!("{PAGE}: {path} has no {name}")));
    }
    problems
}

/// The names in this column of the page's tables, counted from the second.
fn names(page: &str, column: usize) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(column + 2));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// A property of Kotlin in compiled classes.
fn getter(name: &str) -> String {
    let (first, rest) = name.split_at(name.len().min(1));
    format!("get{}{rest}", first.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_no_listing_has_is_a_problem() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = |kotlin: &str| {
            [
                file(PAGE, &format!("| x | `open` | `{kotlin}` | `open` | `open` |\n")),
                file(LISTINGS[0], "pub fn rejoin_core::Client::open(&std::path::Path)\n"),
                file(LISTINGS[1], "public final fun getStatus ()Ldev/rejoin/Status;\n"),
                file(LISTINGS[2], "Client.open(_:): static func open(_ path: String)\n"),
                file(LISTINGS[3], "    open<T>(path: string): Promise<T>;\n"),
            ]
        };
        assert_eq!(undeclared(&files("status")), Vec::<String>::new());
        assert_eq!(undeclared(&files("Status")), Vec::<String>::new());
        let problem = format!("{PAGE}: {} has no state", LISTINGS[1]);
        assert_eq!(undeclared(&files("state")), [problem]);
    }
}
