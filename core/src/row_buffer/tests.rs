//! Tests of row buffers with vectors of an independent encoder and with damaged bytes.

use serde_json::Value as Json;

use super::*;
use crate::value::Value;

mod cell_types;

/// Written by an independent encoder; the decoders of all platforms use the same file.
const VECTORS: &str = include_str!("../../vectors/row-buffer.json");

fn value(json: &Json) -> Value {
    let cell = json.as_object().unwrap();
    let is_class = |name: &str| !["times", "declared"].contains(&name);
    let (class, text) = cell.iter().find(|(name, _)| is_class(name)).unwrap();
    let (text, times) = (text.as_str().unwrap(), times(json));
    match class.as_str() {
        "null" => Value::Null,
        "integer" => Value::Integer(text.parse().unwrap()),
        "real" => Value::Real(f64::from_bits(u64::from_str_radix(text, 16).unwrap())),
        "text" => Value::Text(text.repeat(times)),
        "blob" => Value::Blob(unhex(text).repeat(times)),
        other => panic!("class {other}"),
    }
}

fn times(json: &Json) -> usize {
    json["times"].as_u64().map_or(1, |times| usize::try_from(times).unwrap())
}

/// The bytes of a vector, given as one text or in pieces.
fn bytes_of(vector: &Json) -> Vec<u8> {
    let Some(pieces) = vector["pieces"].as_array() else {
        return unhex(vector["hex"].as_str().unwrap());
    };
    let mut bytes = Vec::new();
    for piece in pieces {
        if let Some(hex) = piece["hex"].as_str() {
            bytes.extend(unhex(hex).repeat(times(piece)));
        } else {
            let number = |name: &str| u32::try_from(piece[name].as_u64().unwrap()).unwrap();
            let starts = (0..number("index")).map(|row| row * number("step"));
            bytes.extend(starts.flat_map(u32::to_le_bytes));
        }
    }
    bytes
}

fn list<'a>(json: &'a Json, name: &str) -> &'a [Json] {
    json[name].as_array().unwrap()
}

fn columns_of(vector: &Json) -> Vec<&str> {
    list(vector, "columns").iter().map(|name| name.as_str().unwrap()).collect()
}

fn rows_of(vector: &Json) -> Vec<Vec<Value>> {
    let rows = list(vector, "rows").iter();
    let rows: Vec<Vec<Value>> =
        rows.map(|row| row.as_array().unwrap().iter().map(value).collect()).collect();
    std::iter::repeat_n(rows, times(vector)).flatten().collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn encode(columns: &[&str], rows: &[Vec<Value>]) -> RowBuffer {
    let mut encoder = Encoder::new(columns.iter().copied());
    for row in rows {
        encoder.row(row).unwrap();
    }
    encoder.finish().unwrap()
}

/// Values with their bit patterns, so that -0.0 and 0.0 differ.
fn bits(buffer: &RowBuffer) -> Vec<Vec<String>> {
    let bits = |cell: Cell<'_>| match cell {
        Cell::Real(number) => format!("{:016x}", number.to_bits()),
        other => format!("{other:?}"),
    };
    buffer.iter().map(|row| row.cells().map(|cell| bits(cell.unwrap())).collect()).collect()
}

/// Decodes a vector and compares it with its expected values.
fn reads(vector: &Json, name: &str) -> RowBuffer {
    let read = RowBuffer::from_bytes(bytes_of(vector)).unwrap();
    let rows = rows_of(vector);
    assert_eq!(read.columns(), columns_of(vector), "{name}");
    assert_eq!(read.len(), rows.len(), "{name}");
    for (row, values) in read.iter().zip(&rows) {
        let cells: Vec<Value> = row.cells().map(|cell| cell.unwrap().to_value()).collect();
        assert!(&cells == values, "{name}");
    }
    read
}

#[test]
fn vectors_encode_and_decode_exactly() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    assert!(list(&vectors, "valid").len() >= 14);
    for vector in list(&vectors, "valid") {
        let name = vector["name"].as_str().unwrap();
        let made = encode(&columns_of(vector), &rows_of(vector));
        assert!(made.as_bytes() == &bytes_of(vector), "{name}: encoded");
        assert_eq!(bits(&reads(vector, name)), bits(&made), "{name}: decoded");
    }
}

#[test]
fn wider_forms_than_needed_are_decoded() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    assert!(!list(&vectors, "readable").is_empty());
    for vector in list(&vectors, "readable") {
        reads(vector, vector["name"].as_str().unwrap());
    }
}

#[test]
fn damaged_vectors_are_refused_at_the_expected_step() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    assert!(list(&vectors, "damaged").len() >= 27);
    for vector in list(&vectors, "damaged") {
        let (name, opened) = (&vector["name"], RowBuffer::from_bytes(bytes_of(vector)));
        let refused = match vector["found"].as_str().unwrap() {
            "open" => opened.is_err(),
            _ => opened.unwrap().row(0).unwrap().cells().any(|cell| cell.is_err()),
        };
        assert!(refused, "{name}");
    }
}

#[test]
fn buffer_equals_the_stepped_rows() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let mut statement =
        connection.prepare("SELECT ?1 AS a, ?2 AS b, ?3 AS c, ?4 AS d, ?5 AS e").unwrap();
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(-0.0),
        Value::Text("x".repeat(1 << 20)),
        Value::Blob(vec![0; 1 << 20]),
    ];
    let mut encoder = Encoder::new(["a", "b", "c", "d", "e"]);
    let mut rows = statement.query(rusqlite::params_from_iter(&values)).unwrap();
    encoder.step(rows.next().unwrap().unwrap()).unwrap();
    assert_eq!(encoder.finish().unwrap(), encode(&["a", "b", "c", "d", "e"], &[values.to_vec()]));
}

/// JavaScript has no other means to see which integers are booleans.
#[test]
fn integers_of_columns_declared_boolean_are_marked() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE task (done BOOLEAN, n INTEGER);
             INSERT INTO task VALUES (0, 0), (1, 1), (2, 2), (NULL, NULL);
             CREATE VIEW shown AS SELECT n, done AS is_done FROM task",
        )
        .unwrap();
    for (sql, expected) in [
        ("SELECT done, n FROM task", "0a0100 0b0101 01020102 0000"),
        ("SELECT n, is_done FROM (SELECT * FROM shown)", "01000a 01010b 01020102 0000"),
        ("SELECT done + 0, max(done) OVER () FROM task", "01000102 01010102 01020102 000102"),
    ] {
        let mut statement = connection.prepare(sql).unwrap();
        let mut encoder = Encoder::of(&statement);
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            encoder.step(row).unwrap();
        }
        let buffer = encoder.finish().unwrap();
        let names: usize = buffer.columns().iter().map(|name| 4 + name.len()).sum();
        let body = &buffer.as_bytes()[HEADER + names..];
        assert!(body.starts_with(&unhex(&expected.replace(' ', ""))), "{sql}: {body:?}");
        assert_eq!(buffer.row(1).unwrap().get::<i64>(0).unwrap(), 1);
    }
}

#[test]
fn large_buffer_is_read_from_either_end() {
    let rows: Vec<Vec<Value>> =
        (0..100_000).map(|n| vec![Value::Integer(n), Value::Text(format!("row {n}"))]).collect();
    let buffer = encode(&["n", "t"], &rows);
    assert_eq!(buffer.iter().len(), 100_000);
    let last = buffer.row(99_999).unwrap();
    assert_eq!(last.get::<i64>("n").unwrap(), 99_999);
    assert_eq!(last.get::<&str>("t").unwrap(), "row 99999");
    assert!(buffer.row(100_000).is_none());
    assert_eq!(buffer.iter().map(|row| row.get::<i64>(0).unwrap()).sum::<i64>(), 4_999_950_000);
}

#[test]
fn cell_of_another_type_is_refused_with_column_name() {
    let buffer = encode(
        &["n", "t", "nothing"],
        &[vec![Value::Integer(-5), Value::from("five"), Value::Null]],
    );
    let row = buffer.into_first().unwrap();
    for (refusal, message) in [
        (row.get::<i64>("t").unwrap_err(), "refused reading column t: it is text, not an integer"),
        (row.get::<&str>("n").unwrap_err(), "refused reading column n: it is an integer, not text"),
        (row.get::<u32>("n").unwrap_err(), "refused reading column n: -5 does not fit u32"),
        (
            row.get::<String>("nothing").unwrap_err(),
            "refused reading column nothing: it is NULL, not text",
        ),
        (
            row.get::<i64>("m").unwrap_err(),
            "refused reading column m: the result has the columns n, t, nothing",
        ),
        (row.get::<i64>(3).unwrap_err(), "refused reading column 3: the result has 3 columns"),
    ] {
        assert_eq!(refusal.to_string(), message);
    }
    assert_eq!(row.get::<Option<String>>("nothing").unwrap(), None);
    assert_eq!(row.get::<Option<i32>>("n").unwrap(), Some(-5));
}

#[test]
fn row_with_wrong_number_of_values_is_refused() {
    let mut encoder = Encoder::new(["a"]);
    assert!(encoder.row(&[]).is_err());
    assert!(encoder.row(&[Value::Null, Value::Null]).is_err());
    assert_eq!(encoder.finish().unwrap().len(), 0);
}

/// Reads everything that can be read; only termination matters.
fn read_all(bytes: Vec<u8>) -> bool {
    let Ok(buffer) = RowBuffer::from_bytes(bytes) else { return false };
    let mut whole = true;
    for row in buffer.iter().take(1000) {
        whole &= row.cells().all(|cell| cell.is_ok());
        for column in 0..row.columns().len().min(20) {
            whole &= row.cell(column).is_ok();
        }
        let _ = row.bytes();
        let _ = format!("{row:?}");
    }
    whole
}

#[test]
fn truncated_buffer_is_an_error_at_every_length() {
    let rows = vec![vec![Value::Integer(7), Value::from("text"), Value::Blob(vec![1; 300])]; 3];
    let bytes = encode(&["a", "b", "c"], &rows).as_bytes().to_vec();
    assert!(read_all(bytes.clone()));
    for length in 0..bytes.len() {
        assert!(RowBuffer::from_bytes(bytes[..length].to_vec()).is_err(), "truncated at {length}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(RowBuffer::from_bytes(longer).is_err(), "trailing bytes were accepted");
}

#[test]
fn short_result_keeps_little_of_what_was_expected() {
    let mut encoder = Encoder::new(["id"]).expecting(usize::MAX);
    encoder.row(&[Value::from("a")]).unwrap();
    let inner = Arc::into_inner(encoder.finish().unwrap().inner).unwrap();
    assert!(inner.bytes.try_into_mut().unwrap().capacity() <= 1024);
}
