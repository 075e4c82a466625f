//! Details that SQLite's pragmas do not report, read from the text of CREATE TABLE: expressions of
//! generated columns, columns of a CHECK, and collations.
//!
//! Handles parentheses, quotes and words only; it does not parse expressions. What it does not find
//! is left out.

/// The text between the outer parentheses of a CREATE TABLE, split at its commas.
pub(super) fn definitions(create_table: &str) -> Vec<String> {
    let Some(open) = create_table.find('(') else { return Vec::new() };
    let Some(body) = create_table.get(open..).and_then(inside) else { return Vec::new() };
    cut(body)
}

/// The words of a definition: unquoted identifiers, quoted strings, and parenthesised text as one
/// word.
pub(super) fn words(definition: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = definition.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' => inside(rest).map_or(rest.len(), |text| text.len() + 2),
            '\'' | '"' | '`' | '[' => quoted_length(rest),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (word, after) = rest.split_at(length.min(rest.len()));
        words.push(unquoted(word));
        rest = after.trim_start();
    }
    words
}

/// The expression of a generated column and whether it is stored.
pub(super) fn generated(definition: &str) -> Option<(String, bool)> {
    let words = words(definition);
    let at = words.iter().skip(1).position(|word| word.eq_ignore_ascii_case("as"))? + 2;
    let expression = words.get(at)?.strip_prefix('(')?.strip_suffix(')')?.trim().to_owned();
    let stored = words.get(at + 1).is_some_and(|word| word.eq_ignore_ascii_case("stored"));
    Some((expression, stored))
}

/// The collation that a column's definition names.
pub(super) fn collation(definition: &str) -> Option<String> {
    let words = words(definition);
    let at = words.iter().position(|word| word.eq_ignore_ascii_case("collate"))?;
    words.get(at + 1).cloned()
}

/// The expression of the CHECK named in SQLite's message, by its name or its text.
pub(super) fn check(create_table: &str, named: &str) -> String {
    for definition in definitions(create_table) {
        let words = words(&definition);
        for (at, pair) in words.windows(2).enumerate() {
            let is_check = pair.first().is_some_and(|word| word.eq_ignore_ascii_case("check"));
            let before = at.checked_sub(2).and_then(|from| words.get(from..at));
            let is_named = before.is_some_and(|two| {
                matches!(two, [keyword, name]
                    if keyword.eq_ignore_ascii_case("constraint") && name == named)
            });
            if let (true, true, Some(text)) = (is_check, is_named, pair.get(1)) {
                return text.clone();
            }
        }
    }
    named.to_owned()
}

/// Whether `text` uses `name` as a word.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    words(text).iter().any(|word| {
        if word.starts_with('(') {
            inside(word).is_some_and(|text| mentions(text, name))
        } else {
            word.eq_ignore_ascii_case(name)
        }
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

/// The text inside the parentheses at the start of `text`.
fn inside(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match character {
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return text.get(1..at);
                }
            }
            '\'' | '"' | '`' | '[' => {
                at += quoted_length(text.get(at..)?);
                continue;
            }
            _ => {}
        }
        at += character.len_utf8();
    }
    None
}

fn cut(body: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(character) = body.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = body.get(at..).unwrap_or_default();
        match character {
            '(' => at += inside(rest).map_or(rest.len(), |text| text.len() + 2),
            '\'' | '"' | '`' | '[' => at += quoted_length(rest),
            ',' => {
                parts.push(body.get(start..at).unwrap_or_default().trim().to_owned());
                at += 1;
                start = at;
            }
            other => at += other.len_utf8(),
        }
    }
    parts.push(body.get(start..).unwrap_or_default().trim().to_owned());
    parts
}

/// The length in bytes of the quoted word at the start of `text`; a doubled quote does not end it.
fn quoted_length(text: &str) -> usize {
    let close = match text.chars().next() {
        Some('[') => ']',
        Some(quote) => quote,
        None => return 0,
    };
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == close {
            if close != ']' && characters.peek().is_some_and(|(_, next)| *next == close) {
                characters.next();
                continue;
            }
            return at + character.len_utf8();
        }
    }
    text.len()
}

fn unquoted(word: &str) -> String {
    let inner = word.get(1..word.len().saturating_sub(1)).unwrap_or_default();
    match word.chars().next() {
        Some('"') => inner.replace("\"\"", "\""),
        Some('`') => inner.replace("``", "`"),
        Some('[') => inner.to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{check, collation, definitions, generated, mentions};

    const TABLE: &str = r#"CREATE TABLE "odd (name)" (
        id TEXT PRIMARY KEY COLLATE NOCASE, "a, b" TEXT DEFAULT 'x,)''y', total INTEGER
        GENERATED ALWAYS AS (price * (1 + tax)) STORED, shout AS (upper(id)),
        CONSTRAINT positive CHECK (price > 0 AND "a, b" <> ''))"#;

    #[test]
    fn create_table_is_split_at_top_level_commas() {
        let text = TABLE.replace("\"odd (name)\"", "odd");
        assert_eq!(definitions(&text).len(), 5);
    }

    #[test]
    fn generated_column_expression_and_storage_are_read() {
        let text = TABLE.replace("\"odd (name)\"", "odd");
        let found: Vec<_> = definitions(&text).iter().map(|text| generated(text)).collect();
        assert_eq!(found.get(2), Some(&Some((String::from("price * (1 + tax)"), true))));
        assert_eq!(found.get(3), Some(&Some((String::from("upper(id)"), false))));
        assert_eq!(found.first(), Some(&None));
    }

    #[test]
    fn check_is_found_by_name_with_its_columns() {
        let text = TABLE.replace("\"odd (name)\"", "odd");
        let found = check(&text, "positive");
        assert!(mentions(&found, "price") && mentions(&found, "a, b"));
        assert!(!mentions(&found, "tax"));
        assert_eq!(check(&text, "score < 5"), "score < 5");
    }

    #[test]
    fn collation_is_read_from_its_column() {
        let text = TABLE.replace("\"odd (name)\"", "odd");
        let found = definitions(&text);
        assert_eq!(found.first().and_then(|text| collation(text)).as_deref(), Some("NOCASE"));
        assert_eq!(found.get(1).and_then(|text| collation(text)), None);
    }
}
