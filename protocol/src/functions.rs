//! Checks what an expression of a manifest calls. Pure.
//!
//! A device evaluates these expressions at each of its writes. A server must not choose how much memory
//! or time that takes, so functions are allowed by name, and those whose result could be much longer
//! than their arguments with certain arguments only.

use crate::expression::{self, Token};

/// What an expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A CHECK rule or a generated column: computed from a row.
    Row,
    /// A default: it may also be another value each time.
    Default,
}

/// Functions whose result is not longer than their arguments, or has a constant length.
const ALLOWED: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "concat",
    "cos",
    "cosh",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "exp",
    "floor",
    "glob",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array_length",
    "json_extract",
    "json_patch",
    "json_remove",
    "json_type",
    "json_valid",
    "julianday",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "nullif",
    "octet_length",
    "pi",
    "pow",
    "power",
    "radians",
    "rejoin_now",
    "round",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "tan",
    "tanh",
    "time",
    "timediff",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unixepoch",
    "unlikely",
    "upper",
];

/// Functions whose result may be several times as long as their arguments.
const GROWING: &[&str] = &[
    "format",
    "hex",
    "json_array",
    "json_insert",
    "json_object",
    "json_quote",
    "json_replace",
    "json_set",
    "printf",
    "quote",
];

/// Calls of [`GROWING`] functions inside each other: each could multiply the length.
const MOST_GROWING: usize = 3;

/// Functions whose arguments decide how long the result is; [`bounded`] checks them.
const BOUNDED: &[&str] = &["concat_ws", "format", "printf", "randomblob", "replace"];

/// Functions of defaults only.
const OF_DEFAULTS: &[&str] = &["random", "randomblob", "rejoin_new_id"];

/// Keywords that are no function although a bracket follows.
const KEYWORDS: &[&str] = &[
    "and", "between", "case", "cast", "else", "escape", "from", "glob", "in", "is", "like", "not",
    "or", "then", "when",
];

/// Checks the functions that the text of an expression calls. Returns the reason if one is not allowed.
/// [`refused`] covers functions that SQLite calls for an operator.
pub(crate) fn check(text: &str, of: Use) -> Result<(), String> {
    // A text that is not one expression is refused as that.
    let Ok(tokens) = expression::tokens(text) else { return Ok(()) };
    let is_query = |token: &Token<'_>| {
        let is =
            |word: &str| matches!(token, Token::Word(other) if other.eq_ignore_ascii_case(word));
        is("select") || is("values")
    };
    if tokens.iter().any(is_query) {
        return Err(String::from("has a query"));
    }
    // Operators for which SQLite calls a function of this name.
    let operator = |token: &Token<'_>| match token {
        Token::Word(word) => {
            ["match", "regexp"].into_iter().find(|name| word.eq_ignore_ascii_case(name))
        }
        _ => None,
    };
    if let Some(why) = tokens.iter().find_map(operator).and_then(|name| refused(name, of)) {
        return Err(why);
    }
    // For each open bracket, whether it is of a growing function.
    let mut open: Vec<bool> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(') => {
                let name = called(&tokens[..at]);
                let grows = name.as_deref().is_some_and(|name| GROWING.contains(&name));
                open.push(grows);
                let Some(name) = name else { continue };
                if let Some(why) = refused(&name, of) {
                    return Err(why);
                }
                if open.iter().filter(|grows| **grows).count() > MOST_GROWING {
                    return Err(format!(
                        "calls {name} inside too many calls that make a value longer"
                    ));
                }
                if BOUNDED.contains(&name.as_str()) && !bounded(&name, &tokens[at + 1..]) {
                    return Err(format!(
                        "calls {name}, with arguments that do not bound its result"
                    ));
                }
            }
            Token::Sign(')') => drop(open.pop()),
            _ => {}
        }
    }
    Ok(())
}

/// Why a function may not be called.
pub fn refused(name: &str, of: Use) -> Option<String> {
    let listed = |list: &[&str]| list.contains(&name);
    let is_allowed = listed(ALLOWED) || listed(GROWING) || name == "concat_ws" || name == "replace";
    let is_allowed = is_allowed || of == Use::Default && listed(OF_DEFAULTS);
    (!is_allowed).then(|| format!("calls {name}, which is not among the functions of a schema"))
}

/// The function whose arguments a bracket after these tokens opens, lower case.
fn called(before: &[Token<'_>]) -> Option<String> {
    match before.last()? {
        Token::Name(name) => Some(name.to_ascii_lowercase()),
        Token::Word(name) => {
            let name = name.to_ascii_lowercase();
            // `CAST (x AS character varying(20))`
            let words = before.iter().rev().map_while(|token| match token {
                Token::Word(word) => Some(word),
                _ => None,
            });
            let is_type = words.skip(1).any(|word| word.eq_ignore_ascii_case("as"));
            (!is_type && !KEYWORDS.contains(&name.as_str())).then_some(name)
        }
        Token::Text(_) | Token::Sign(_) => None,
    }
}

/// Whether the arguments, which begin with these tokens, bound the length of the result.
fn bounded(name: &str, tokens: &[Token<'_>]) -> bool {
    let arguments = arguments(tokens);
    let text = |at: usize| match arguments.get(at).copied() {
        Some([Token::Text(text)]) => Some(*text),
        _ => None,
    };
    match name {
        // No width is longer than two digits, and none is an argument.
        "format" | "printf" => text(0).is_some_and(|text| {
            let digits = text.split(|next: char| !next.is_ascii_digit());
            !text.contains('*') && digits.map(str::len).max() <= Some(2)
        }),
        "replace" => {
            matches!((text(1), text(2)), (Some(old), Some(new)) if new.len() <= old.len())
        }
        "concat_ws" => text(0).is_some_and(|text| text.len() <= 16),
        "randomblob" => {
            matches!(arguments.as_slice(), [[Token::Word(size)]]
                if size.len() <= 3 && size.bytes().all(|byte| byte.is_ascii_digit()))
        }
        _ => false,
    }
}

/// The arguments of a call, up to its closing bracket.
fn arguments<'a, 't>(tokens: &'a [Token<'t>]) -> Vec<&'a [Token<'t>]> {
    let (mut depth, mut from, mut arguments) = (0_usize, 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') if depth > 0 => depth -= 1,
            Token::Sign(end @ (')' | ',')) if depth == 0 => {
                arguments.push(&tokens[from..at]);
                from = at + 1;
                if *end == ')' {
                    break;
                }
            }
            _ => {}
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_functions_are_allowed() {
        for text in [
            "score BETWEEN 0 AND 5",
            "abs(lat) <= 90 AND length(trim(name)) > 0",
            "status IN ('a', 'b') AND (note IS NULL OR note NOT LIKE ('%x%'))",
            "CASE WHEN (a) THEN (b) ELSE (c) END",
            "CAST(a AS character varying(20)) || CAST(b AS DECIMAL (9, 2))",
            "substr('*****', 1, score)",
            "printf('INV-%05d', n) || format('%.2f', price)",
            "replace(lower(name), ' ', '-') || replace(replace(a, 'ab', ''), 'c', 'd')",
            "json_extract(data, '$.a') = data ->> '$.b'",
            "concat_ws(' ', first, last)",
            "6371 * acos(sin(radians(lat)) * sin(0.8) + cos(radians(lat)) * cos(0.8) * cos(radians(lon)))",
            "'load_extension(1)' <> \"select\" /* randomblob(1) */",
        ] {
            assert_eq!(check(text, Use::Row), Ok(()), "{text}");
        }
        for text in
            ["lower(hex(randomblob(16)))", "rejoin_new_id()", "random()", "CURRENT_TIMESTAMP"]
        {
            assert_eq!(check(text, Use::Default), Ok(()), "{text}");
        }
    }

    #[test]
    fn functions_without_a_bound_are_refused_by_name() {
        for (text, named) in [
            ("load_extension('x')", "load_extension"),
            ("\"LOAD_extension\" ('x')", "load_extension"),
            ("[zeroblob](1)", "zeroblob"),
            ("1 + zeroblob/* */\n(1000000000)", "zeroblob"),
            ("CASE WHEN (n) THEN randomblob(16) END", "randomblob"),
            ("CAST(zeroblob(9) AS TEXT)", "zeroblob"),
            ("n IN json_each(data)", "json_each"),
            ("name MATCH ('x')", "match"),
            ("name match 'x'", "match"),
            ("name REGEXP '^x'", "regexp"),
            ("hex(hex(hex(hex(name))))", "hex"),
            ("json_quote(json_quote(json_quote(quote(name)) || ''))", "quote"),
            ("printf('%1000000000d', 1)", "printf"),
            ("printf('%*d', 1000000000, 1)", "printf"),
            ("format('%' || n || 'd', 1)", "format"),
            ("printf('%''100d', 1)", "printf"),
            ("printf()", "printf"),
            ("replace(name, 'a', 'aa')", "replace"),
            ("replace(name, '', note)", "replace"),
            ("concat_ws('12345678901234567', a, b)", "concat_ws"),
            ("rejoin_fail(1, 1)", "rejoin_fail"),
            ("RAISE(ABORT, 'x')", "raise"),
        ] {
            let why = check(text, Use::Row).unwrap_err();
            assert!(why.contains(&format!("calls {named}")), "{text}: {why}");
        }
        for text in
            ["(SELECT 1)", "n IN (VALUES (1))", "EXISTS (WITH a AS (sElEcT 1) SELECT 1 FROM a)"]
        {
            assert!(check(text, Use::Row).is_err(), "{text}");
        }
        for text in ["randomblob(1000)", "randomblob(n)", "randomblob(9 * 999)", "zeroblob(1)"] {
            assert!(check(text, Use::Default).is_err(), "{text}");
        }
    }
}
