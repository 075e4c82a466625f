//! Checks expressions of a manifest: defaults, generated columns, CHECK rules. Pure.
//!
//! They become part of engine statements, between parentheses. A server must not inject statements,
//! so a text is accepted only if it cannot close those parentheses. What the expression reads and
//! calls is checked by SQLite and the authorizer.

/// A part of an expression; white space and comments are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    /// A keyword, a bare name or a number.
    Word(&'t str),
    /// A quoted name, or the part of one up to a doubled quote.
    Name(&'t str),
    /// A text literal, or the part of one up to a doubled quote.
    Text(&'t str),
    /// Any other character.
    Sign(char),
}

/// Checks that brackets, quotes and comments are balanced, so that the text is one expression.
/// Returns the reason if not.
pub(crate) fn check(text: &str) -> Result<(), &'static str> {
    tokens(text).map(drop)
}

/// The parts of a balanced expression, or why it is none.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, &'static str> {
    if text.trim().is_empty() {
        return Err("is empty");
    }
    if text.contains('\0') {
        return Err("has a character NUL");
    }
    let (mut open, mut tokens, mut rest) = (0_usize, Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (begin, end) = match first {
            // A doubled quote ends one text and begins the next, with the same result.
            '\'' => ("'", "'"),
            '"' => ("\"", "\""),
            '`' => ("`", "`"),
            '[' => ("[", "]"),
            '-' if rest.starts_with("--") => ("--", "\n"),
            '/' if rest.starts_with("/*") => ("/*", "*/"),
            ';' => return Err("has a semicolon"),
            // SQLite reads brackets and quotes after the name of a parameter as part of the name.
            '?' | ':' | '@' | '#' | '$' => return Err("has a parameter"),
            _ => {
                let word = rest.find(|next| !is_of_word(next)).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(word.max(first.len_utf8()));
                open = match first {
                    '(' => open + 1,
                    ')' => open.checked_sub(1).ok_or("closes a bracket that it has not opened")?,
                    _ => open,
                };
                match first {
                    _ if is_of_word(first) => tokens.push(Token::Word(word)),
                    _ if first.is_whitespace() => {}
                    _ => tokens.push(Token::Sign(first)),
                }
                rest = behind;
                continue;
            }
        };
        let inner = &rest[begin.len()..];
        let (inner, behind) = inner.split_once(end).ok_or("leaves a quote or a comment open")?;
        match begin {
            "--" | "/*" => {}
            "'" => tokens.push(Token::Text(inner)),
            _ => tokens.push(Token::Name(inner)),
        }
        rest = behind;
    }
    if open == 0 { Ok(tokens) } else { Err("leaves a bracket open") }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || "_$".contains(character) || !character.is_ascii()
}

/// The declared type of a generated column: one of five, by SQLite's affinity rules.
pub fn declared_type(text: &str) -> &'static str {
    let text = text.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match () {
        () if has(&["INT"]) => "INTEGER",
        () if has(&["CHAR", "CLOB", "TEXT"]) => "TEXT",
        () if has(&["BLOB"]) || text.trim().is_empty() => "BLOB",
        () if has(&["REAL", "FLOA", "DOUB"]) => "REAL",
        () => "NUMERIC",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_with_balanced_brackets_is_accepted() {
        for text in [
            "1",
            " 'it''s; (not) -- a comment' ",
            "\"a;b\" || `c)` || [d'(]",
            "(a + (b - -1)) * 2 / 3",
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
            "json_extract(data, '$.a')",
            "a$b = 1",
            "CASE WHEN a THEN ';' ELSE NULL END",
            "a > 0 /* not ) or ; */ AND b -- nor )\n > 0",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn expression_that_could_close_its_brackets_is_refused() {
        for (text, why) in [
            ("  ", "is empty"),
            ("1); DROP TABLE rejoin_queue; --", "closes a bracket that it has not opened"),
            ("1) CHECK (0", "closes a bracket that it has not opened"),
            ("(1", "leaves a bracket open"),
            ("1; ATTACH 'x' AS y", "has a semicolon"),
            ("1 -- )", "leaves a quote or a comment open"),
            ("1 /* )", "leaves a quote or a comment open"),
            ("/*/ 1", "leaves a quote or a comment open"),
            ("1 */ ); --\n", "closes a bracket that it has not opened"),
            ("'it''", "leaves a quote or a comment open"),
            ("[a", "leaves a quote or a comment open"),
            ("$a('))--')", "has a parameter"),
            ("a = ?1", "has a parameter"),
            ("a\0", "has a character NUL"),
            ("'a\0'", "has a character NUL"),
        ] {
            assert_eq!(check(text), Err(why), "{text}");
        }
    }

    #[test]
    fn declared_type_is_one_of_five() {
        for (text, declared) in [
            ("VARCHAR(20)", "TEXT"),
            ("bigint", "INTEGER"),
            ("double precision", "REAL"),
            ("", "BLOB"),
            ("DECIMAL(9,2)", "NUMERIC"),
            ("NUMERIC REFERENCES rejoin_queue ON DELETE CASCADE", "NUMERIC"),
            ("x); DROP TABLE places; --", "NUMERIC"),
        ] {
            assert_eq!(declared_type(text), declared, "{text}");
        }
    }
}
