//! Tests of cell conversions against the table for all languages (`docs/row-buffer.md`).

use serde_json::Value as Json;

use super::{encode, value};
use crate::error::{Error, InputFault, Result};
use crate::row_buffer::Row;

const TABLE: &str = include_str!("../../../vectors/cell-types.json");

/// Reads column `c` as a type of the table, formatted as in the table; `None` for types that Rust
/// lacks.
fn read(row: &Row<'_>, name: &str) -> Option<Result<String>> {
    let hex =
        |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Some(match name {
        "bool" => row.get::<bool>("c").map(|it| it.to_string()),
        "i8" => row.get::<i8>("c").map(|it| it.to_string()),
        "i16" => row.get::<i16>("c").map(|it| it.to_string()),
        "i32" => row.get::<i32>("c").map(|it| it.to_string()),
        "i64" => row.get::<i64>("c").map(|it| it.to_string()),
        "u8" => row.get::<u8>("c").map(|it| it.to_string()),
        "u16" => row.get::<u16>("c").map(|it| it.to_string()),
        "u32" => row.get::<u32>("c").map(|it| it.to_string()),
        "u64" => row.get::<u64>("c").map(|it| it.to_string()),
        "f32" => row.get::<f32>("c").map(|it| hex(&it.to_bits().to_be_bytes())),
        "f64" => row.get::<f64>("c").map(|it| hex(&it.to_bits().to_be_bytes())),
        "text" => row.get::<String>("c"),
        "blob" => row.get::<Vec<u8>>("c").map(|it| hex(&it)),
        _ => return None,
    })
}

#[test]
fn cell_conversions_match_the_shared_table() {
    let table: Json = serde_json::from_str(TABLE).unwrap();
    let (mut given, mut refused) = (0, 0);
    for case in table["cells"].as_array().unwrap() {
        let buffer = encode(&["c"], &[vec![value(&case["cell"])]]);
        let row = buffer.row(0).unwrap();
        for name in table["types"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let Some(found) = read(&row, name) else { continue };
            if let Some(expected) = case["fits"][name].as_str() {
                assert_eq!(found.unwrap(), expected, "{} as {name}", case["cell"]);
                given += 1;
            } else {
                let error = found.unwrap_err();
                assert!(
                    matches!(error, Error::InvalidInput(InputFault::Refused { .. })),
                    "{} as {name}",
                    case["cell"]
                );
                assert!(error.to_string().starts_with("refused reading column c: "), "{error}");
                refused += 1;
            }
        }
    }
    assert!(given > 200 && refused > 400, "{given} given, {refused} refused");
}

#[test]
fn null_converts_to_none_of_every_type() {
    let buffer = encode(&["c"], &[vec![crate::value::Value::Null]]);
    let row = buffer.row(0).unwrap();
    assert_eq!(row.get::<Option<bool>>("c").unwrap(), None);
    assert_eq!(row.get::<Option<u8>>("c").unwrap(), None);
    assert_eq!(row.get::<Option<f32>>("c").unwrap(), None);
    assert_eq!(row.get::<Option<&str>>("c").unwrap(), None);
    assert_eq!(row.get::<Option<Vec<u8>>>("c").unwrap(), None);
}
