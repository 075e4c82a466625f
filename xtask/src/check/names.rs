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

/// Words before the name of a function, which its parameters follow.
const FUNCTIONS: [&str; 3] = ["fn", "fun", "func"];

/// Words before the name of a type or a property.
const OTHERS: [&str; 11] = [
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
    "const",
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

/// The public names that a source declares.
fn declarations(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with(['/', '*']));
    code.filter_map(|line| declared(line).or_else(|| method(line)))
}

/// The name that a line declares with a keyword, if it is public.
fn declared(line: &str) -> Option<&str> {
    let (before, _) = line.split_once('(').unwrap_or((line, ""));
    let words = |text| str::split(text, |char| !is_word(char)).filter(|word| !word.is_empty());
    let is_public = |word: &str| ["pub", "public", "export"].contains(&word);
    if line.trim_start().starts_with("pub(") || !words(line).any(is_public) {
        return None;
    }
    if words(before).any(|word| FUNCTIONS.contains(&word)) {
        // Generic parameters may follow the name.
        let name = before.split_once('<').filter(|(head, _)| !ends_in(head, &FUNCTIONS));
        return words(name.map_or(before, |(head, _)| head)).next_back();
    }
    let mut after = words(line).skip_while(|word| !OTHERS.contains(word));
    after.find(|word| !OTHERS.contains(word))
}

fn ends_in(head: &str, words: &[&str]) -> bool {
    words.iter().any(|word| head.trim_end().ends_with(word))
}

/// The name of a method of TypeScript, which has no keyword.
fn method(line: &str) -> Option<&str> {
    let line = line.strip_prefix("  ").filter(|rest| rest.starts_with(is_word))?;
    let line = line.strip_prefix("static ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (name, _) = line.split_once(['(', '<'])?;
    name.chars().all(is_word).then_some(name)
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
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
                file(
                    "kotlin/rejoin/src/main/kotlin/dev/rejoin/A.kt",
                    "public suspend fun <T> open(): T",
                ),
                file("swift/Sources/Rejoin/A.swift", "    public static func open() {"),
                file("react-native/src/a.ts", "  open<T>(path: string): Promise<T> {"),
            ]
        };
        assert_eq!(undeclared(&files("open")), Vec::<String>::new());
        assert_eq!(undeclared(&files("close")), [format!("{PAGE}: Rust declares no close")]);
    }

    #[test]
    fn only_public_declarations_count() {
        let table = [
            ("    pub fn open<T>(path: &Path) {", Some("open")),
            ("    pub(crate) fn open(path: &Path) {", None),
            ("    fn open(path: &Path) {", None),
            ("public suspend inline fun <reified T> RowBuffer.decode(): T", Some("decode")),
            ("public enum class State {", Some("State")),
            ("pub struct QueueHandle<'c>(pub(super) &'c Client);", Some("QueueHandle")),
            ("    public val status: Status", Some("status")),
            ("    public static func open() {", Some("open")),
            ("export type Json = null | Json[];", Some("Json")),
            ("  static async open<T>(path: string) {", Some("open")),
            ("  // the type of open", None),
            ("  /** The class open. */", None),
        ];
        for (line, name) in table {
            assert_eq!(declarations(line).next(), name, "{line}");
        }
    }
}
