//! Rust source as the rules want to see it: without comments and strings, without its tests, its paths in full.
//!
//! A lexer of sixty lines, not a parser: it must be right about where comments, strings and test modules lie, and
//! nothing else. Lines keep their numbers.

/// The code alone: comments, and what stands within string and character literals, become blanks.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let hidden = hidden_length(bytes, at);
        for &byte in &bytes[at..at + hidden.max(1)] {
            let shown = hidden == 0 && byte.is_ascii() || byte == b'\n';
            code.push(if shown { char::from(byte) } else { ' ' });
        }
        at += hidden.max(1);
    }
    code
}

/// The length of the comment or literal that begins here; 0 if none does.
fn hidden_length(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let to = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with(b"//") {
        return to(rest.iter().position(|&byte| byte == b'\n'));
    }
    if rest.starts_with(b"/*") {
        return block_comment(rest);
    }
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest[0] {
        b'"' => string(rest),
        b'r' | b'b' | b'c' if !in_word => {
            let prefix = rest.iter().take_while(|byte| b"rbc".contains(byte)).count();
            let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
            let opens = rest.get(prefix + hashes) == Some(&b'"') && prefix <= 2;
            match (opens, rest[..prefix].contains(&b'r')) {
                (true, true) => {
                    let end = ["\"", "#".repeat(hashes).as_str()].concat();
                    let body = prefix + hashes + 1;
                    to(find(&rest[body..], end.as_bytes()).map(|found| body + found + end.len()))
                }
                (true, false) if hashes == 0 => prefix + string(&rest[prefix..]),
                _ => 0,
            }
        }
        b'\'' => character(rest),
        _ => 0,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    let end = match rest.get(1) {
        Some(b'\\') => find(rest.get(3..).unwrap_or_default(), b"'").map(|found| found + 4),
        // At most four bytes of one character stand between the quotes.
        Some(_) => (2..=5).find(|&at| rest.get(at) == Some(&b'\'')).map(|at| at + 1),
        None => None,
    };
    let one = |end: &usize| {
        rest[1] == b'\\'
            || std::str::from_utf8(&rest[1..end - 1]).is_ok_and(|text| text.chars().count() == 1)
    };
    end.filter(one).unwrap_or(0)
}

/// The code before the file's own test module (`#[cfg(test)] mod ... {`), which stands last by house rule.
pub(crate) fn without_tests(code: &str) -> &str {
    let is_tests = |at: &usize| {
        let rest = code[at + "#[cfg(test)]".len()..].trim_start();
        let head: &str = rest.split(['{', ';']).next().unwrap_or_default();
        rest[head.len()..].starts_with('{')
            && head.trim_start_matches("pub(crate) ").starts_with("mod ")
    };
    let mut marks = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    marks.find(is_tests).map_or(code, |at| &code[..at])
}

/// Every path that the code names, in full: imports with their braces opened, and paths written in place.
/// Leading `super` and `self` are resolved against `module`, the file's own path (`engine::capture`).
pub(crate) fn paths(code: &str, module: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !is_path(c)).unwrap_or(rest.len());
        let token = &rest[..word];
        let after = rest[word..].chars().next().map_or(0, char::len_utf8);
        if token == "use" && rest[word..].starts_with([' ', '\n']) {
            let end = rest.find(';').unwrap_or(rest.len());
            open_braces("", &rest[word..end], &mut |path| paths.push((line, full(&path, module))));
            line += rest[..end].matches('\n').count();
            rest = &rest[end..];
            continue;
        }
        if token.contains("::") {
            paths.push((line, full(token, module)));
        }
        line += usize::from(rest[word..].starts_with('\n'));
        rest = &rest[word + after..];
    }
    paths
}

fn is_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// `a::{b, c::{d, self}}` gives `a::b`, `a::c::d`, `a::c`.
fn open_braces(prefix: &str, tree: &str, each: &mut impl FnMut(String)) {
    let (mut depth, mut start) = (0, 0);
    let mut branches = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&tree[start..]);
    for branch in branches.into_iter().map(str::trim).filter(|branch| !branch.is_empty()) {
        if let Some((head, tail)) = branch.split_once('{') {
            let inner = tail.trim_end().strip_suffix('}').unwrap_or(tail);
            open_braces(&format!("{prefix}{}", head.trim()), inner, each);
        } else {
            let name = branch.split_whitespace().next().unwrap_or_default();
            let path = format!("{prefix}{name}");
            each(path.strip_suffix("::self").map_or(path.clone(), str::to_owned));
        }
    }
}

/// The path with leading `self` and `super` resolved to `crate::...`.
fn full(path: &str, module: &str) -> String {
    let mut here: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut rest = path.trim_start_matches("::");
    let mut relative = false;
    loop {
        if let Some(tail) = rest.strip_prefix("super::") {
            here.pop();
            (rest, relative) = (tail, true);
        } else if let Some(tail) = rest.strip_prefix("self::") {
            (rest, relative) = (tail, true);
        } else if relative {
            return [&["crate"], &here[..], &[rest]].concat().join("::");
        } else {
            return rest.to_owned();
        }
    }
}

/// The module of a source file within its crate, from its path in the crate: `src/engine/watch.rs` is
/// `engine::watch`; `tests/it/main.rs` is the root, as is any `main.rs`, `lib.rs` and `tests/x.rs`.
pub(crate) fn module_of(path_in_crate: &str) -> String {
    let path = path_in_crate.strip_suffix(".rs").unwrap_or(path_in_crate);
    let parts: Vec<&str> = path.split('/').collect();
    let skip = if parts[0] == "src" { 1 } else { 2 };
    let mut parts = parts.get(skip..).unwrap_or_default().to_vec();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts.join("::")
}

#[cfg(test)]
mod tests {
    use super::{code, module_of, paths, without_tests};

    #[test]
    fn comments_and_literals_are_blanked_and_code_is_kept() {
        let table = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y") + g"#, r"f(      ) + g"),
            (r##"f(r#"x"y"#, b"z", cr"q")"##, "f(        ,     ,      )"),
            ("'a' 'b '\\'' '\\u{41}' &'static str", "    'b               &'static str"),
            ("\"open\nnext", "     \n    "),
            ("for_r\"x\"", "for_r   "),
            ("r#type", "r#type"),
            ("x\u{fc}y", "x  y"),
        ];
        for (text, expected) in table {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    #[test]
    fn only_the_test_module_is_cut_off() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests { b }"), "a\n");
        let other = "a\n#[cfg(test)]\nfn helper() { b }";
        assert_eq!(without_tests(other), other);
        let outside = "a\n#[cfg(test)]\nmod tests;\nb";
        assert_eq!(without_tests(outside), outside);
    }

    #[test]
    fn imports_are_opened_and_relative_paths_resolved() {
        let named = |code: &str| -> Vec<String> {
            paths(code, "engine::capture").into_iter().map(|(_, path)| path).collect()
        };
        let table: [(&str, &[&str]); 6] = [
            ("use crate::sync;", &["crate::sync"]),
            ("use a::{b, c::{d as e, self}};", &["a::b", "a::c::d", "a::c"]),
            ("use super::queue::Queue;", &["crate::engine::queue::Queue"]),
            ("use super::super::{sync::Session};", &["crate::sync::Session"]),
            ("fn f() { tokio::spawn(g::h) }", &["tokio::spawn", "g::h"]),
            ("let used = 1; user::x()", &["user::x"]),
        ];
        for (code, expected) in table {
            assert_eq!(named(code), expected, "{code}");
        }
        assert_eq!(
            paths("a\nuse b::{\nc,\n};\nd::e", ""),
            [(2, "b::c".into()), (5, "d::e".into())]
        );
    }

    #[test]
    fn a_file_knows_its_module() {
        let table = [
            ("src/lib.rs", ""),
            ("src/main.rs", ""),
            ("src/engine/mod.rs", "engine"),
            ("src/engine/watch.rs", "engine::watch"),
            ("tests/it/main.rs", ""),
            ("tests/it/pull.rs", "pull"),
            ("tests/cross.rs", ""),
        ];
        for (path, module) in table {
            assert_eq!(module_of(path), module, "{path}");
        }
    }
}
