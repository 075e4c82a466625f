//! Cells as JSON: a plain format that is easy to compare, and an exact format that no language
//! rounds.

use anyhow::{Context as _, Result, bail};
use rejoin_protocol::Value;
use serde_json::{Value as Json, json};

/// A plain cell: numbers are JSON numbers; infinities, which JSON lacks, use the exact format.
pub fn plain(value: &Value) -> Json {
    match value {
        Value::Integer(number) => json!(number),
        Value::Real(number) if number.is_finite() => json!(number),
        other => exact(other),
    }
}

/// An exact cell: integers are decimal digits, reals are the hexadecimal digits of their bits.
pub fn exact(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!({"i": number.to_string()}),
        Value::Real(number) => json!({"r": format!("{:016x}", number.to_bits())}),
        Value::Text(text) => json!(text),
        Value::Blob(bytes) => json!({"b": hex(bytes)}),
    }
}

/// The value of a cell in either format.
///
/// # Errors
/// The JSON is not a valid cell.
pub fn value(cell: &Json) -> Result<Value> {
    Ok(match cell {
        Json::Null => Value::Null,
        Json::Bool(is) => Value::Integer((*is).into()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Integer(number),
            (None, Some(number)) => Value::Real(number),
            (None, None) => bail!("{number} is not a number that SQLite supports"),
        },
        Json::Object(form) => {
            let entry = form.iter().next().filter(|_| form.len() == 1);
            match entry.map(|(kind, text)| (kind.as_str(), text.as_str().unwrap_or_default())) {
                Some(("i", digits)) => Value::Integer(digits.parse().context(digits.to_owned())?),
                Some(("r", digits)) => {
                    Value::Real(f64::from_bits(u64::from_str_radix(digits, 16)?))
                }
                Some(("b", digits)) => Value::Blob(bytes(digits)?),
                _ => bail!("{cell} is not a cell"),
            }
        }
        Json::Array(_) => bail!("{cell} is not a cell"),
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(digits: &str) -> Result<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        bail!("a blob must consist of pairs of hexadecimal digits");
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| Ok(u8::from_str_radix(pair, 16)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::{exact, plain, value};
    use rejoin_protocol::Value;
    use serde_json::json;

    #[test]
    fn exact_cell_round_trip_keeps_every_bit() {
        let table = [
            (Value::Null, json!(null)),
            (Value::Integer(i64::MIN), json!({"i": "-9223372036854775808"})),
            (Value::Integer(i64::MAX), json!({"i": "9223372036854775807"})),
            (Value::Real(-0.0), json!({"r": "8000000000000000"})),
            (Value::Real(5e-324), json!({"r": "0000000000000001"})),
            (Value::Real(f64::INFINITY), json!({"r": "7ff0000000000000"})),
            (Value::Text("\u{1f600}".into()), json!("\u{1f600}")),
            (Value::Blob(vec![0, 255]), json!({"b": "00ff"})),
            (Value::Blob(Vec::new()), json!({"b": ""})),
        ];
        for (original, form) in table {
            assert_eq!(exact(&original), form);
            // Compared as text, so that -0.0 is not 0.0.
            assert_eq!(format!("{:?}", value(&form).unwrap()), format!("{original:?}"));
        }
    }

    #[test]
    fn plain_cells_use_json_types() {
        let table = [
            (Value::Integer(7), json!(7)),
            (Value::Real(1.5), json!(1.5)),
            (Value::Real(f64::INFINITY), json!({"r": "7ff0000000000000"})),
            (Value::Text("a".into()), json!("a")),
            (Value::Blob(vec![1]), json!({"b": "01"})),
        ];
        for (original, form) in table {
            assert_eq!(plain(&original), form);
            assert_eq!(value(&form).unwrap(), original);
        }
        assert_eq!(value(&json!(true)).unwrap(), Value::Integer(1));
    }

    #[test]
    fn invalid_cell_is_rejected() {
        for cell in [
            json!([]),
            json!({}),
            json!({"i": "1.5"}),
            json!({"i": "9223372036854775808"}),
            json!({"r": "x"}),
            json!({"b": "0"}),
            json!({"b": "\u{e4}"}),
            json!({"i": "1", "b": "00"}),
            json!({"t": "1"}),
        ] {
            assert!(value(&cell).is_err(), "{cell}");
        }
    }
}
