//! Pages that repeat others: `docs/api-names.md` names only what the listings in `docs/api` have, and
//! the examples on the first page are those of the SDKs' pages, whose tests compile and run them.

use crate::workspace::File;
use std::collections::BTreeSet;

/// The page and its columns of names, in order, with the listing of each.
const NAMES: &str = "docs/api-names.md";
const LISTINGS: [&str; 4] =
    ["docs/api/rust.txt", "docs/api/kotlin.txt", "docs/api/swift.txt", "docs/api/typescript.txt"];

/// The first page, and the page of each SDK with the language of its blocks.
const FIRST: &str = "README.md";
const SDKS: [(&str, &str); 3] = [
    ("kotlin", "kotlin/README.md"),
    ("swift", "swift/README.md"),
    ("ts", "react-native/README.md"),
];

fn text<'files>(files: &'files [File], path: &str) -> &'files str {
    files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
}

/// Names of the page that the listing of their language does not have.
pub(super) fn undeclared(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for (column, path) in LISTINGS.into_iter().enumerate() {
        let words = text(files, path).split(|char: char| !char.is_alphanumeric() && char != '_');
        let declared: BTreeSet<&str> = words.collect();
        let missing = names(text(files, NAMES), column)
            .into_iter()
            .filter(|name| !declared.contains(name) && !declared.contains(getter(name).as_str()));
        problems.extend(missing.map(|name| format!("{NAMES}: {path} has no {name}")));
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

/// Blocks of the first page that the SDK's page does not have.
pub(super) fn untested(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for (language, page) in SDKS {
        let tested = blocks(text(files, page), language);
        let shown = blocks(text(files, FIRST), language);
        if shown.is_empty() {
            problems.push(format!("{FIRST}: it has no block in {language}"));
        }
        if !shown.iter().all(|block| tested.contains(block)) {
            problems.push(format!("{FIRST}: a block in {language} is not one of {page}"));
        }
    }
    problems
}

/// The fenced blocks of a language, without their fences.
fn blocks<'page>(page: &'page str, language: &str) -> Vec<&'page str> {
    let parts = page.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
    parts.iter().filter_map(|part| Some(part.split_once("\n```")?.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_no_listing_has_is_a_problem() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = |kotlin: &str| {
            [
                file(NAMES, &format!("| x | `open` | `{kotlin}` | `open` | `open` |\n")),
                file(LISTINGS[0], "pub fn rejoin_core::Client::open(&std::path::Path)\n"),
                file(LISTINGS[1], "public final fun getStatus ()Ldev/rejoin/Status;\n"),
                file(LISTINGS[2], "Client.open(_:): static func open(_ path: String)\n"),
                file(LISTINGS[3], "    open<T>(path: string): Promise<T>;\n"),
            ]
        };
        assert_eq!(undeclared(&files("status")), Vec::<String>::new());
        assert_eq!(undeclared(&files("Status")), Vec::<String>::new());
        let problem = format!("{NAMES}: {} has no state", LISTINGS[1]);
        assert_eq!(undeclared(&files("state")), [problem]);
    }

    #[test]
    fn block_that_no_test_compiles_is_a_problem() {
        let page = |path: &str, code: &str| File {
            path: path.into(),
            text: ["kotlin", "swift", "ts"]
                .map(|language| format!("text\n```{language}\n{code}\n```\n"))
                .concat(),
        };
        let sdks = || SDKS.iter().map(|(_, path)| page(path, "open()"));
        let files = |first| sdks().chain([page(FIRST, first)]).collect::<Vec<_>>();
        assert_eq!(untested(&files("open()")), Vec::<String>::new());
        let expected = SDKS
            .map(|(language, page)| format!("{FIRST}: a block in {language} is not one of {page}"));
        assert_eq!(untested(&files("close()")), expected);
        let none: Vec<File> = sdks().collect();
        assert_eq!(untested(&none).len(), 3);
    }
}
