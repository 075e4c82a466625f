//! Tokens of a statement, for the determinism check of actions; pure.
//!
//! SQLite reports which tables and functions a statement uses, but not a function's arguments or
//! the conflict clause. Those are read from the text here: strings, comments and quoted names are
//! separated from words.

/// A token of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// A keyword, a name or a number.
    Word(&'s str),
    /// The text between single quotes, with doubled quotes.
    Text(&'s str),
    /// The text between other quotes: a name in double quotes, brackets or backticks, or else a
    /// string.
    Quoted(&'s str),
    /// A parameter with its prefix character.
    Parameter(&'s str),
    /// Any other character.
    Mark(char),
}

impl<'s> Token<'s> {
    /// The text of a word or a quoted token.
    pub(super) fn text(self) -> Option<&'s str> {
        match self {
            Self::Word(text) | Self::Text(text) | Self::Quoted(text) => Some(text),
            Self::Parameter(_) | Self::Mark(_) => None,
        }
    }
}

/// The tokens of a statement, without blanks and comments.
pub(super) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' | '"' | '`' => quoted(rest, first),
            '[' => quoted(rest, ']'),
            '-' if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => {
                (None, rest[2..].find("*/").map_or(rest.len(), |end| end + 4))
            }
            ':' | '@' | '$' | '?' => {
                let length = 1 + word(&rest[1..]);
                (Some(Token::Parameter(&rest[..length])), length)
            }
            _ if is_of_word(first) => {
                let length = word(rest);
                (Some(Token::Word(&rest[..length])), length)
            }
            _ if first.is_whitespace() => (None, first.len_utf8()),
            _ => (Some(Token::Mark(first)), first.len_utf8()),
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    tokens
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || !character.is_ascii()
}

fn word(text: &str) -> usize {
    text.find(|character| !is_of_word(character)).unwrap_or(text.len())
}

/// The quoted token and its number of bytes; a doubled quote is part of the text.
fn quoted(text: &str, close: char) -> (Option<Token<'_>>, usize) {
    let mut from = 1;
    while let Some(at) = text[from..].find(close) {
        let end = from + at + 1;
        if close == ']' || !text[end..].starts_with(close) {
            return (Some(between(close, &text[1..end - 1])), end);
        }
        from = end + 1;
    }
    (Some(between(close, &text[1..])), text.len())
}

fn between(quote: char, text: &str) -> Token<'_> {
    if quote == '\'' { Token::Text(text) } else { Token::Quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::Token::{Mark, Parameter, Quoted, Text, Word};
    use super::*;

    #[test]
    fn words_are_separated_from_quotes_and_comments() {
        let table: [(&str, &[Token<'_>]); 7] = [
            ("a.b", &[Word("a"), Mark('.'), Word("b")]),
            ("'it''s' x", &[Text("it''s"), Word("x")]),
            ("\"a b\"[c d]`e`", &[Quoted("a b"), Quoted("c d"), Quoted("e")]),
            ("x -- y 'z\n:p1", &[Word("x"), Parameter(":p1")]),
            ("/* a ' */ b", &[Word("b")]),
            ("?1,?", &[Parameter("?1"), Mark(','), Parameter("?")]),
            ("'open", &[Text("open")]),
        ];
        for (sql, expected) in table {
            assert_eq!(tokens(sql), expected, "{sql}");
        }
    }
}
