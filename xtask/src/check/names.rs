//! `docs/api-names.md` names only what the public sources of each language declare.

use std::collections::BTreeSet;

use crate::workspace::File;

/// The page and its columns of names, in order, with the sources of each.
const PAGE: &str = "docs/api-names.md";
const LANGUAGES: [(&str, &str, &str); 4] = [
    ("Rust", "core/src/", ".rs"),
    ("Kotlin", "kotlin/rejoin/src/main/kotlin/dev/rejoin/", ".kt"),
    ("Swift", "swift/Sources/Rejoin/", ".swift"),
    ("TypeScript", "react-native/src/", ".ts"),
];

/// Words before a declared name.
const BEFORE: [&str; 15] = [
    "fn",
    "fun",
    "func",
    "struct",
    "enum",
    "class",
    "trait",
    "interface",
    "protocol",
    "type",
    "object",
    "val",
    "var",
    "async",
    "static",
];

/// Names of the page that no source of their language declares.
pub(super) fn undeclared(files: &[File]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is missing")];
    };
    let mut problems = Vec::new();
    for (number, (language, folder, ending)) in LANGUAGES.iter().enumerate() {
        let sources = files.iter().filter(|file| {
            file.path.starts_with(folder) && file.path.ends_with(ending) && is_written(&file.path)
        });
        let declared: BTreeSet<&str> = sources.flat_map(|file| declarations(&file.text)).collect();
        for name in names(&page.text, number) {
            if !declared.contains(name) {
                problems.push(format!("{PAGE}: {language} declares no {name}"));
            }
        }
    }
    problems
}

fn is_written(path: &str) -> bool {
    !path.contains("/generated/") && !path.contains("/ffi/") && !path.contains("/tests")
}

/// The names in this column of the page's tables, counted from the second.
fn names(page: &str, column: usize) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(column + 2));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// The words that follow a keyword of a declaration, and methods of TypeScript, which have none.
fn declarations(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let is_word = |char: char| char.is_alphanumeric() || char == '_';
        let words: Vec<&str> =
            line.split(|char| !is_word(char)).filter(|word| !word.is_empty()).collect();
        let after = words.iter().position(|word| BEFORE.contains(word));
        let declared = after.map_or(&[][..], |at| words.get(at + 1..).unwrap_or_default());
        let method = line.strip_prefix("  ").filter(|rest| rest.starts_with(is_word));
        let method = method
            .and_then(|rest| rest.split(['(', '<']).next())
            .filter(|name| name.chars().all(is_word));
        let mut names = declared.to_vec();
        names.extend(method);
        names
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_no_source_declares_is_a_problem() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let row = |rust: &str| format!("| x | `{rust}` | `open` | `open` | `open` |\n");
        let files = |rust: &str| {
            [
                file(PAGE, &row(rust)),
                file("core/src/a.rs", "    pub fn open(path: &Path) -> Task<Self> {"),
                file("kotlin/rejoin/src/main/kotlin/dev/rejoin/A.kt", "suspend fun <T> open(): T"),
                file("swift/Sources/Rejoin/A.swift", "    public static func open() {"),
                file("react-native/src/a.ts", "  open<T>(path: string): Promise<T> {"),
            ]
        };
        assert_eq!(undeclared(&files("open")), Vec::<String>::new());
        assert_eq!(undeclared(&files("close")), [format!("{PAGE}: Rust declares no close")]);
    }
}
