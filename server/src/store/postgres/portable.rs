//! Converts PostgreSQL defaults to SQLite expressions for devices; others stay on the server.

use super::types::Form;

/// The default for a device's table; `None` if only this database can evaluate it.
pub(super) fn portable(default: &str, form: Form) -> Option<String> {
    let bare = without_casts(default);
    let upper = bare.to_ascii_uppercase();
    match upper.as_str() {
        "TRUE" => return Some(String::from("1")),
        "FALSE" => return Some(String::from("0")),
        "NOW()"
        | "CURRENT_TIMESTAMP"
        | "TRANSACTION_TIMESTAMP()"
        | "STATEMENT_TIMESTAMP()"
        | "CLOCK_TIMESTAMP()" => return Some(String::from("CURRENT_TIMESTAMP")),
        "NULL" | "CURRENT_DATE" => return Some(upper),
        _ => {}
    }
    let text = bare.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    // A single literal, not two with something between.
    let text = text.filter(|text| !text.replace("''", "").contains('\''));
    match (text, form) {
        (Some("{}"), Form::Array { .. }) => Some(String::from("'[]'")),
        (_, Form::Array { .. } | Form::Bytes) => None,
        (Some(text), Form::Truth) => match text {
            "t" | "true" => Some(String::from("1")),
            "f" | "false" => Some(String::from("0")),
            _ => None,
        },
        (Some(text), Form::Integer | Form::Real) => is_number(text).then(|| text.to_owned()),
        // `'now'` and similar are evaluated when the row is written.
        (Some(text), Form::Instant) => rejoin_protocol::time::parse(text).map(|_| bare.to_owned()),
        (Some(_), _) => Some(bare.to_owned()),
        (None, _) => is_number(bare).then(|| bare.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c == '.' || c.is_ascii_digit())
        && text.parse::<f64>().is_ok()
}

/// `(('x'::text))::character varying` is `'x'`.
fn without_casts(expression: &str) -> &str {
    let mut text = expression.trim();
    loop {
        let (cast, closes) = outermost(text);
        let shorter = match cast {
            Some(at) => text.get(..at),
            None if closes => text.get(1..text.len() - 1),
            None => None,
        };
        match shorter {
            Some(shorter) => text = shorter.trim(),
            None => return text,
        }
    }
}

/// The position of the last cast of the whole expression, and whether one pair of parentheses
/// encloses all of it.
fn outermost(text: &str) -> (Option<usize>, bool) {
    let bytes = text.as_bytes();
    let (mut depth, mut quote, mut cast) = (0_usize, None, None);
    let mut closes = text.starts_with('(') && text.ends_with(')');
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'\'' | b'"') => quote = Some(*byte),
            (None, b'(') => depth += 1,
            (None, b')') => {
                depth = depth.saturating_sub(1);
                closes &= depth > 0 || at + 1 == bytes.len();
            }
            (None, b':') if depth == 0 && bytes.get(at + 1) == Some(&b':') => cast = Some(at),
            // A cast binds tighter than other operators: what follows belongs to a larger
            // expression.
            (None, b'+' | b'-' | b'*' | b'/' | b'|' | b'<' | b'>' | b'=' | b'%')
                if cast.is_some() =>
            {
                return (None, false);
            }
            _ => {}
        }
    }
    (cast, closes)
}

#[cfg(test)]
mod tests {
    use super::{Form, portable};

    #[test]
    fn defaults_convert_if_sqlite_can_express_them() {
        let table = [
            ("'x'::text", Form::Text, Some("'x'")),
            ("'it''s'::character varying", Form::Text, Some("'it''s'")),
            ("('a'::text)::status", Form::Text, Some("'a'")),
            ("0", Form::Integer, Some("0")),
            ("'-5'::integer", Form::Integer, Some("-5")),
            ("(0)::numeric", Form::Text, Some("0")),
            ("1.50", Form::Text, Some("1.50")),
            ("true", Form::Truth, Some("1")),
            ("'{}'::jsonb", Form::Text, Some("'{}'")),
            ("'{}'::text[]", Form::Array { of_json: false }, Some("'[]'")),
            ("'{a}'::text[]", Form::Array { of_json: false }, None),
            ("now()", Form::Instant, Some("CURRENT_TIMESTAMP")),
            ("CURRENT_TIMESTAMP", Form::Instant, Some("CURRENT_TIMESTAMP")),
            ("NULL::text", Form::Text, Some("NULL")),
            ("gen_random_uuid()", Form::Uuid, None),
            ("nextval('s'::regclass)", Form::Integer, None),
            ("('a'::text || 'b'::text)", Form::Text, None),
            ("'\\x00'::bytea", Form::Bytes, None),
        ];
        for (default, form, expected) in table {
            assert_eq!(portable(default, form).as_deref(), expected, "{default}");
        }
    }
}
