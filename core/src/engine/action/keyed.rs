//! Determines from its text which row a statement reads by key; pure.
//!
//! A statement on one table with `key = value` among its AND conditions reads that row only: its
//! result depends on this row's columns, or on its absence. Only such reads can be compared row by
//! row. In case of doubt it counts as a read of the table.

use super::token::Token;
use crate::engine::database::fit::KeySource;
use crate::value::Value;

/// What names the row that a statement on `table` reads by its key column.
pub(crate) fn key_of(tokens: &[Token<'_>], table: &str, key: &str) -> Option<KeySource> {
    let (rest, alias) = after_table(tokens, table)?;
    let conditions = conditions(rest)?;
    conditions.into_iter().find_map(|condition| {
        let named = |column: &[Token<'_>], value: &[Token<'_>]| {
            is_key(column, key, table, alias).then(|| value_of(tokens, value)).flatten()
        };
        let equals = condition.iter().position(|token| *token == Token::Mark('='))?;
        let (left, right) = condition.split_at(equals);
        let right = right.get(1..)?;
        let right = right.strip_prefix(&[Token::Mark('=')]).unwrap_or(right);
        named(left, right).or_else(|| named(right, left))
    })
}

fn is(token: &Token<'_>, word: &str) -> bool {
    matches!(token, Token::Word(text) if text.eq_ignore_ascii_case(word))
}

/// The tokens after the only table of the statement, and the table's alias.
fn after_table<'t, 's>(
    tokens: &'t [Token<'s>],
    table: &str,
) -> Option<(&'t [Token<'s>], Option<&'s str>)> {
    let selects = tokens.iter().filter(|token| is(token, "select")).count();
    let froms = tokens.iter().filter(|token| is(token, "from")).count();
    let at =
        match tokens.first()? {
            first if is(first, "select") && (selects, froms) == (1, 1) => {
                tokens.iter().position(|token| is(token, "from"))? + 1
            }
            first if is(first, "delete") && (selects, froms) == (0, 1) => 2,
            first if is(first, "update") && (selects, froms) == (0, 0) => {
                if is(tokens.get(1)?, "or") { 3 } else { 1 }
            }
            _ => return None,
        };
    let (name, rest) = tokens.get(at..)?.split_first()?;
    if matches!(name, Token::Text(_)) || !name.text()?.eq_ignore_ascii_case(table) {
        return None;
    }
    let is_end = |token: &Token<'_>| is(token, "where") || is(token, "set");
    match rest {
        [first, ..] if is_end(first) => Some((rest, None)),
        [first, Token::Word(alias), end, ..] if is(first, "as") && is_end(end) => {
            Some((&rest[2..], Some(*alias)))
        }
        [Token::Word(alias), end, ..] if is_end(end) => Some((&rest[1..], Some(*alias))),
        _ => None,
    }
}

/// The AND conditions of the WHERE; `None` if they are joined differently.
fn conditions<'t, 's>(tokens: &'t [Token<'s>]) -> Option<Vec<&'t [Token<'s>]>> {
    const BEHIND: &[&str] = &["group", "order", "limit", "having", "window", "returning"];
    // The AND of BETWEEN and CASE joins no conditions, and OR makes a condition optional.
    const OTHERWISE: &[&str] = &["or", "between", "case", "union", "intersect", "except"];
    let (mut depth, mut found, mut from) = (0_i32, Vec::new(), None);
    for (at, token) in tokens.iter().enumerate() {
        match (token, from) {
            (Token::Mark('('), _) => depth += 1,
            (Token::Mark(')'), _) => depth -= 1,
            (Token::Word(_), None) if depth == 0 && is(token, "where") => from = Some(at + 1),
            (Token::Word(word), Some(start)) if depth == 0 => {
                let is_one =
                    |words: &[&str]| words.iter().any(|one| word.eq_ignore_ascii_case(one));
                if is_one(OTHERWISE) {
                    return None;
                }
                if is_one(BEHIND) {
                    found.push(&tokens[start..at]);
                    return Some(found);
                }
                if is(token, "and") {
                    found.push(&tokens[start..at]);
                    from = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    found.push(&tokens[from?..]);
    Some(found)
}

/// Whether these tokens are the key column. A name in quotes could be a string.
fn is_key(tokens: &[Token<'_>], key: &str, table: &str, alias: Option<&str>) -> bool {
    match tokens {
        [column] => is(column, key),
        [of, Token::Mark('.'), column] => is(of, alias.unwrap_or(table)) && is(column, key),
        _ => false,
    }
}

fn value_of(all: &[Token<'_>], tokens: &[Token<'_>]) -> Option<KeySource> {
    let tokens = match tokens {
        [rest @ .., Token::Mark(';')] => rest,
        all => all,
    };
    match tokens {
        [Token::Parameter(name)] => {
            let at = all.iter().position(|token| std::ptr::eq(token, &raw const tokens[0]))?;
            Some(KeySource::Parameter(number_of(&all[..at], name)?.checked_sub(1)?))
        }
        [Token::Text(text)] => Some(KeySource::Value(text.replace("''", "'").into())),
        [Token::Word(word)] => Some(KeySource::Value(Value::Integer(word.parse().ok()?))),
        _ => None,
    }
}

/// The number that SQLite assigns to a parameter after these tokens.
fn number_of(before: &[Token<'_>], name: &str) -> Option<usize> {
    let mut named: Vec<(&str, usize)> = Vec::new();
    let mut largest = 0;
    let earlier = before.iter().filter_map(|token| match token {
        Token::Parameter(name) => Some(*name),
        _ => None,
    });
    for one in earlier.chain([name]) {
        let known = named.iter().find(|(other, _)| *other == one && one != "?");
        let number = match (known, one.strip_prefix('?')) {
            (Some((_, number)), _) => *number,
            (None, Some(digits)) if !digits.is_empty() => digits.parse().ok()?,
            _ => largest + 1,
        };
        largest = largest.max(number);
        named.push((one, number));
    }
    named.last().map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::super::token::tokens;
    use super::*;

    #[test]
    fn only_unambiguous_key_conditions_are_reads_by_key() {
        let parameter = |at| Some(KeySource::Parameter(at));
        let text = |text: &str| Some(KeySource::Value(text.into()));
        let table = [
            ("SELECT n FROM t WHERE id = ?", parameter(0)),
            ("SELECT n >= :n FROM t WHERE id = :id", parameter(1)),
            ("SELECT :id, n FROM t WHERE :id = id", parameter(0)),
            ("SELECT ?, ? FROM t WHERE id = ?", parameter(2)),
            ("SELECT ?3 FROM t WHERE id = ?2", parameter(1)),
            ("SELECT ?3 FROM t WHERE id = ?", parameter(3)),
            ("select * from T as x where x.id == 'it''s' limit 1", text("it's")),
            ("SELECT * FROM t x WHERE x.id = 5;", Some(KeySource::Value(5.into()))),
            ("SELECT * FROM \"t\" WHERE n > 0 AND id = ? AND (a OR b)", parameter(0)),
            ("SELECT max(n) FROM t WHERE id = ? GROUP BY n", parameter(0)),
            ("UPDATE t SET n = n - :n, id = :x WHERE id = :id", parameter(2)),
            ("UPDATE OR IGNORE t SET n = 1 WHERE id = ? RETURNING n", parameter(0)),
            ("DELETE FROM t WHERE NOT n = 2 AND id = ?", parameter(0)),
            // Any of these could read more, or something else.
            ("SELECT n FROM t", None),
            ("SELECT n FROM t WHERE id = ? OR n = 1", None),
            ("SELECT n FROM t WHERE id > ?", None),
            ("SELECT n FROM t WHERE id = ? + 1", None),
            ("SELECT n FROM t WHERE id = n", None),
            ("SELECT n FROM t WHERE 'id' = ?", None),
            ("SELECT n FROM t WHERE \"id\" = ?", None),
            ("SELECT n FROM t WHERE a BETWEEN 1 AND id = ?", None),
            ("SELECT n FROM t WHERE CASE WHEN a THEN b AND id = ? END", None),
            ("SELECT n FROM t, u WHERE id = ?", None),
            ("SELECT n FROM t JOIN u WHERE id = ?", None),
            ("SELECT n FROM u WHERE id = ?", None),
            ("SELECT n FROM 't' WHERE id = ?", None),
            ("SELECT (SELECT 1 FROM u) FROM t WHERE id = ?", None),
            ("SELECT n FROM t WHERE id = ? UNION SELECT 1", None),
            ("SELECT n FROM t WHERE id = ? UNION VALUES (1)", None),
            ("WITH u AS (SELECT 1) DELETE FROM t WHERE id = ?", None),
            ("UPDATE t SET n = u.n FROM u WHERE id = ?", None),
            ("INSERT INTO t (id) VALUES (?)", None),
            ("SELECT n FROM t WHERE (id = ?)", None),
            ("", None),
        ];
        for (sql, expected) in table {
            assert_eq!(key_of(&tokens(sql), "t", "id"), expected, "{sql}");
        }
    }
}
