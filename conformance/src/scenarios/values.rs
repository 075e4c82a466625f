//! Round trip of values: every device receives exactly what was pushed.

use serde_json::{Value, json};

use super::{Scenario, fixed, wire};
use crate::bench::Bench;
use crate::expect::{self, ScenarioResult, fail, hold, is};

pub(crate) const ALL: &[Scenario] = &[
    wire("values/text", text),
    wire("values/null", null),
    wire("values/integer", integer),
    wire("values/integer-as-text", integer_as_text),
    fixed("values/integer-of-64-bits", "numbers go through a double", integer_of_64_bits),
    fixed("values/fraction-in-an-integer", "the fraction is truncated", fraction_in_an_integer),
    wire("values/decimal-as-text", decimal_as_text),
    wire("values/boolean", boolean),
    fixed("values/boolean-as-number", "it is rejected forever", boolean_as_number),
    wire("values/instant", instant),
    wire("values/date", date),
    wire("values/json", json_value),
    wire("values/json-as-text", json_as_text),
    wire("values/array", array),
    fixed("values/array-as-text", "500 for the whole push", array_as_text),
    wire("values/bytes-as-hex", bytes_as_hex),
    fixed(
        "values/bytes-as-base64",
        "the base64 text is stored instead of the bytes",
        bytes_as_base64,
    ),
];

/// Writes a value to a column of a new row and returns what a pull contains.
fn back(bench: &mut Bench, column: &str, value: &Value) -> ScenarioResult<Value> {
    let mut data = bench.data("value");
    data[column] = value.clone();
    let row = bench.create_with(0, &data)?;
    let news = bench.pull_row(0, &row.id)?;
    Ok(news.row(&row.id)?[column].clone())
}

fn comes_back(bench: &mut Bench, column: &str, sent: &Value, expected: &Value) -> ScenarioResult {
    let found = back(bench, column, sent)?;
    if found == *expected { Ok(()) } else { fail(format!("{sent} comes back as {found}")) }
}

fn text(bench: &mut Bench) -> ScenarioResult {
    let column = bench.place.text.clone();
    let texts = [
        "",
        " ",
        "a'b\"c\\d",
        "line\nline\ttab",
        "\u{e4}\u{4e16}\u{1f33b}",
        "\u{1}<&>\u{2028}",
        "null",
    ];
    for text in texts {
        comes_back(bench, &column, &json!(text), &json!(text))?;
    }
    comes_back(bench, &column, &json!("x".repeat(100_000)), &json!("x".repeat(100_000)))
}

fn null(bench: &mut Bench) -> ScenarioResult {
    let column = bench.place.column("nullable type", |column| column.nullable)?;
    comes_back(bench, &column.name, &Value::Null, &Value::Null)
}

fn whole(bench: &Bench) -> ScenarioResult<String> {
    Ok(bench.place.column("integer type", |column| column.logical.starts_with("int"))?.name)
}

fn large(bench: &Bench) -> ScenarioResult<String> {
    Ok(bench.place.column("64-bit integer type", |column| column.logical == "int64")?.name)
}

fn integer(bench: &mut Bench) -> ScenarioResult {
    let column = whole(bench)?;
    for number in [0, 1, -1, 12_345] {
        comes_back(bench, &column, &json!(number), &json!(number))?;
    }
    Ok(())
}

fn integer_as_text(bench: &mut Bench) -> ScenarioResult {
    let column = large(bench)?;
    comes_back(bench, &column, &json!("9007199254740993"), &json!(9_007_199_254_740_993_i64))
}

fn integer_of_64_bits(bench: &mut Bench) -> ScenarioResult {
    let column = large(bench)?;
    for number in [9_007_199_254_740_993, i64::MAX, i64::MIN] {
        comes_back(bench, &column, &json!(number), &json!(number))?;
    }
    Ok(())
}

fn fraction_in_an_integer(bench: &mut Bench) -> ScenarioResult {
    let column = whole(bench)?;
    let mut data = bench.data("value");
    data[&column] = json!(1.5);
    let id = bench.new_id(0);
    let record = bench.record("create", &id, &data);
    let pushed = bench.push(0, &[record])?;
    is(pushed.of(&id)?, "status", "rejected_terminal")
}

/// At most 15 digits, the precision of a SQLite REAL.
fn decimal_as_text(bench: &mut Bench) -> ScenarioResult {
    let column = bench.place.column("decimals", super::super::tables::Column::is_decimal)?;
    let found = back(bench, &column.name, &json!("1234567.25"))?;
    let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    hold(found.trim_end_matches('0') == "1234567.25", &format!("1234567.25 comes back as {found}"))
}

fn boolean(bench: &mut Bench) -> ScenarioResult {
    let column = bench.place.column("boolean type", |column| column.logical == "boolean")?;
    for truth in [true, false] {
        comes_back(bench, &column.name, &json!(truth), &json!(truth))?;
    }
    Ok(())
}

fn boolean_as_number(bench: &mut Bench) -> ScenarioResult {
    let column = bench.place.column("boolean type", |column| column.logical == "boolean")?;
    comes_back(bench, &column.name, &json!(1), &json!(true))?;
    comes_back(bench, &column.name, &json!(0), &json!(false))
}

fn instant(bench: &mut Bench) -> ScenarioResult {
    let column = bench.place.column("timestamp type", |column| column.logical == "datetime")?;
    if column.db_type.contains('(') {
        return expect::skip("the timestamps have another precision");
    }
    for sent in ["2026-01-31T12:00:00.123456Z", "2026-01-31T14:00:00.123456+02:00"] {
        let found = back(bench, &column.name, &json!(sent))?;
        let found = expect::instant(&json!({"instant": found}), "instant")?;
        let expected = rejoin_protocol::time::parse("2026-01-31T12:00:00.123456Z");
        hold(Some(found) == expected, &format!("{sent} comes back as another timestamp"))?;
    }
    Ok(())
}

fn date(bench: &mut Bench) -> ScenarioResult {
    let column = bench.place.column("date type", |column| column.logical == "date")?;
    comes_back(bench, &column.name, &json!("2024-02-29"), &json!("2024-02-29"))
}

fn json_column(bench: &Bench) -> ScenarioResult<String> {
    let column =
        bench.place.column("JSON type", |column| column.logical == "json" && !column.is_array())?;
    Ok(column.name)
}

fn json_value(bench: &mut Bench) -> ScenarioResult {
    let column = json_column(bench)?;
    let value = json!({"a": [1, null, true, {"b": "\u{e4}"}], "c": ""});
    comes_back(bench, &column, &value, &value)
}

/// The format of the SDKs.
fn json_as_text(bench: &mut Bench) -> ScenarioResult {
    let column = json_column(bench)?;
    comes_back(bench, &column, &json!("{\"a\": [1, 2]}"), &json!({"a": [1, 2]}))
}

fn array_of_text(bench: &Bench) -> ScenarioResult<String> {
    let is = |column: &super::super::tables::Column| {
        column.is_array() && column.db_type.starts_with("text")
    };
    Ok(bench.place.column("arrays of text", is)?.name)
}

fn array(bench: &mut Bench) -> ScenarioResult {
    let column = array_of_text(bench)?;
    comes_back(bench, &column, &json!(["a", "b,c", "d\"e"]), &json!(["a", "b,c", "d\"e"]))
}

fn array_as_text(bench: &mut Bench) -> ScenarioResult {
    let column = array_of_text(bench)?;
    comes_back(bench, &column, &json!("[\"a\",\"b\"]"), &json!(["a", "b"]))
}

fn bytes(bench: &Bench) -> ScenarioResult<String> {
    Ok(bench.place.column("bytes type", |column| column.logical == "bytes")?.name)
}

fn bytes_as_hex(bench: &mut Bench) -> ScenarioResult {
    let column = bytes(bench)?;
    comes_back(bench, &column, &json!("\\x00ff10"), &json!("\\x00ff10"))
}

/// The format of the SDKs.
fn bytes_as_base64(bench: &mut Bench) -> ScenarioResult {
    let column = bytes(bench)?;
    comes_back(bench, &column, &json!("AP8Q"), &json!("\\x00ff10"))
}
