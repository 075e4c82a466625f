//! Rules for single files: header, length, ASCII, no unfinished marks, no machine-specific paths.

use crate::workspace::File;

/// Maximum length of a source file, including its tests.
const LONGEST: usize = 500;

/// Every file starts with a header that describes its purpose and scope: `//!` in Rust, a comment
/// elsewhere, after lines that tools require.
pub(crate) fn header(file: &File) -> Option<String> {
    let is_for_tools =
        |line: &&str| line.contains("swift-tools-version") || line.starts_with("#!/");
    let first = file.text.lines().find(|line| !is_for_tools(line)).unwrap_or_default();
    let marks: &[&str] = if file.is_rust() { &["//! ", "#![doc"] } else { &["// ", "/*", "/// "] };
    let has_header = marks.iter().any(|mark| first.starts_with(mark));
    (!has_header).then(|| format!("{}: does not start with a header comment", file.path))
}

/// A file that is too long should be split.
pub(crate) fn length(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    let too_long = lines > LONGEST;
    too_long.then(|| format!("{}: {lines} lines, at most {LONGEST}: split by idea", file.path))
}

/// Rust sources are ASCII, so that they compile as they look; use `\u{..}` in literals.
pub(crate) fn ascii(file: &File) -> Option<String> {
    first_line(&file.text, |line| !line.is_ascii())
        .map(|line| format!("{}:{line}: not ASCII", file.path))
}

/// Unfinished work is not committed. (`todo!` and similar are lints.)
pub(crate) fn finished(file: &File) -> Option<String> {
    // Split, so that this file passes the rule.
    let words = [concat!("FIX", "ME"), concat!("TO", "DO:"), concat!("X", "XX")];
    first_line(&file.text, |line| words.iter().any(|word| line.contains(word)))
        .map(|line| format!("{}:{line}: unfinished", file.path))
}

/// Words of an older style of this repository; `docs/glossary.md` has the terms to use.
pub(crate) fn plain_words(file: &File) -> Option<String> {
    // Split, so that this file passes the rule.
    let words = [
        concat!("no", "body"),
        concat!("some", "body"),
        concat!("who", "ever"),
        concat!("who", "m"),
        concat!("an", "ew"),
        concat!("men", "ded"),
        concat!("jud", "ged"),
    ];
    let is_old = |word: &str| words.iter().any(|old| word.eq_ignore_ascii_case(old));
    let has_old = |line: &str| line.split(|char: char| !char.is_alphanumeric()).any(is_old);
    first_line(&file.text, has_old).map(|line| format!("{}:{line}: not plain", file.path))
}

/// No committed text names a path that exists on one machine only.
pub(crate) fn no_machine_path(file: &File) -> Option<String> {
    if file.has_extension("lock") {
        return None;
    }
    first_line(&file.text, names_a_machine)
        .map(|line| format!("{}:{line}: a path of one machine", file.path))
}

fn names_a_machine(line: &str) -> bool {
    ["tmp", "root", "work", "home", "Users"].iter().any(|folder| {
        let folder = format!("/{folder}/");
        line.match_indices(&folder).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + folder.len()..].chars().next();
            // `docs/work/x` and `https://a.b/home/x` are not absolute paths.
            !before.is_some_and(|c| c.is_ascii_alphanumeric() || "._-})~$".contains(c))
                && after.is_some_and(|c| c.is_ascii_alphanumeric())
        })
    })
}

fn first_line(text: &str, is_bad: impl Fn(&str) -> bool) -> Option<usize> {
    text.lines().position(is_bad).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::{ascii, finished, header, length, no_machine_path};
    use crate::workspace::File;

    type Rule = fn(&File) -> Option<String>;

    fn problem(rule: Rule, text: &str) -> Option<String> {
        rule(&File { path: "a.rs".into(), text: text.into() })
    }

    #[test]
    fn non_rust_source_starts_with_a_header() {
        let table = [
            ("/*\n * What it promises.\n */\npackage a", true),
            ("// swift-tools-version: 6.0\n// What it promises.\nimport A", true),
            ("// swift-tools-version: 6.0\nimport A", false),
            ("package a // What it promises.", false),
            ("", false),
        ];
        for (text, good) in table {
            let file = File { path: "a.kt".into(), text: text.into() };
            assert_eq!(header(&file).is_none(), good, "{text}");
        }
    }

    #[test]
    fn each_rule_refuses_only_its_bad_file() {
        let long = "//! a\n".to_owned() + &"x\n".repeat(500);
        let limit = "//! a\n".to_owned() + &"x\n".repeat(499);
        let machine = ["\"", "/ho", "me/someone/x\""].concat();
        let mark = ["// FIX", "ME later"].concat();
        let table: [(Rule, &str, bool); 15] = [
            (header, "//! Promise.\nfn a() {}", true),
            (header, "#![doc = include_str!(\"x.md\")]", true),
            (header, "// no promise", false),
            (header, "//!\nfn a() {}", false),
            (header, "use a;\n//! late", false),
            (header, "", false),
            (length, &limit, true),
            (length, &long, false),
            (ascii, "//! plain \\u{fc}", true),
            (ascii, "//! \u{fc}", false),
            (finished, "let todo = 1;", true),
            (finished, &mark, false),
            (no_machine_path, "see docs/home/x, https://a.b/work/x, $X/tmp/y and /var/lib/x", true),
            (no_machine_path, &machine, false),
            (no_machine_path, &["open(\"/t", "mp/x\")"].concat(), false),
        ];
        for (rule, text, good) in table {
            assert_eq!(problem(rule, text).is_none(), good, "{text:.80}");
        }
    }
}
