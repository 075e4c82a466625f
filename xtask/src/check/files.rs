//! Rules for single files: header, length, and patterns that no line may have.

use crate::workspace::File;
use anyhow::Result;
use regex::Regex;

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
pub(crate) const NOT_ASCII: &str = r"[^\x00-\x7F]";

/// Marks of unfinished work. (`todo!` and similar are lints.)
pub(crate) const UNFINISHED: &str = "FIX[M]E|TO[D]O:|X[X]X";

/// Words of an older style of this repository; `docs/glossary.md` has the terms to use.
pub(crate) const NOT_PLAIN: &str =
    r"(?i-u)\b(?:no[b]ody|some[b]ody|who[e]ver|who[m]|an[e]w|men[d]ed|jud[g]ed)\b";

/// A path that exists on one machine only. `docs/work/x` and `https://a.b/home/x` are none.
pub(crate) const MACHINE_PATH: &str =
    r"(?m)(?:^|[^0-9A-Za-z._\-})~$])/(?:tmp|root|work|home|Users)/[[:alnum:]]";

/// The first place with this pattern in each of the files.
pub(crate) fn lines(
    files: &[File],
    of: impl Fn(&File) -> bool,
    pattern: &str,
) -> Result<Vec<String>> {
    let pattern = Regex::new(pattern)?;
    let problem = |File { path, text }: &File| {
        let found = pattern.find(text)?;
        let line = text[..found.end()].lines().count();
        Some(format!("{path}:{line}: {:?}", found.as_str().trim()))
    };
    Ok(files.iter().filter(|file| of(file)).filter_map(problem).collect())
}

#[cfg(test)]
mod tests {
    use super::{MACHINE_PATH, NOT_ASCII, NOT_PLAIN, UNFINISHED, header, length, lines};
    use crate::workspace::File;

    #[test]
    fn each_rule_refuses_only_its_bad_file() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        for (path, text, good) in [
            ("a.rs", "//! Promise.\nfn a() {}", true),
            ("a.rs", "#![doc = include_str!(\"x.md\")]", true),
            ("a.rs", "// no promise", false),
            ("a.rs", "//!\nfn a() {}", false),
            ("a.rs", "use a;\n//! late", false),
            ("a.kt", "/*\n * What it promises.\n */\npackage a", true),
            ("a.swift", "// swift-tools-version: 6.0\n// What it promises.\nimport A", true),
            ("a.swift", "// swift-tools-version: 6.0\nimport A", false),
            ("a.kt", "package a // What it promises.", false),
            ("a.kt", "", false),
        ] {
            assert_eq!(header(&file(path, text)).is_none(), good, "{text}");
        }
        assert!(length(&file("a.rs", &"x\n".repeat(500))).is_none());
        assert!(length(&file("a.rs", &"x\n".repeat(501))).is_some());
        for (pattern, text, good) in [
            (NOT_ASCII, "plain \\u{fc}", true),
            (NOT_ASCII, "\u{fc}", false),
            (UNFINISHED, "let todo = 1;", true),
            (UNFINISHED, concat!("// FIX", "ME later"), false),
            (NOT_PLAIN, "a wholesome body", true),
            (NOT_PLAIN, concat!("that No", "body reads"), false),
            (MACHINE_PATH, "docs/home/x, https://a.b/work/x, $X/tmp/y and /var/lib/x", true),
            (MACHINE_PATH, concat!("\"/ho", "me/someone/x\""), false),
            (MACHINE_PATH, concat!("a\n/t", "mp/x"), false),
        ] {
            let problems = lines(&[file("a.md", text)], |_| true, pattern).unwrap();
            assert_eq!(problems.is_empty(), good, "{text}: {problems:?}");
        }
    }
}
