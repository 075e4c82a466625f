//! Tests of rows as arrays of cells.

use rejoin_protocol::{
    ColumnKind::{Bytes, Int64, Json, String},
    Value::{self, Blob, Integer, Null},
    codec::{self, RowError, RowsWriter, each_row},
};
use serde_json::value::RawValue;

const KINDS: [rejoin_protocol::ColumnKind; 4] = [String, Int64, Json, Bytes];

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn read(text: &str) -> Result<Vec<Vec<Value>>, std::string::String> {
    let mut rows = Vec::new();
    let read = each_row(&raw(text), &KINDS, |row| {
        rows.push(std::mem::take(row));
        Ok::<(), ()>(())
    });
    match read {
        Ok(count) => {
            assert_eq!(count, rows.len());
            Ok(rows)
        }
        Err(RowError::Decode(error)) => Err(error.to_string()),
        Err(RowError::Each(())) => panic!("the callback did not fail"),
    }
}

#[test]
fn rows_decode_as_they_were_encoded() {
    let rows = vec![
        vec![Value::from("a \"quoted\" ],[ text"), Integer(i64::MIN), Null, Blob(vec![1, 2])],
        vec![Value::from(""), Null, Value::from("{\"a\":[1,{\"b\":\"]}\"}]}"), Null],
        vec![Value::from("\u{1f35e}\\"), Integer(0), Value::from("[]"), Blob(vec![])],
    ];
    let mut writer = RowsWriter::default();
    for row in &rows {
        writer.push(row.iter().zip(KINDS)).unwrap();
    }
    let size = writer.size();
    let text = writer.finish().unwrap();
    assert_eq!(text.get().len(), size + 1);
    assert_eq!(read(text.get()).unwrap(), rows);
    assert_eq!(
        read(RowsWriter::default().finish().unwrap().get()).unwrap(),
        Vec::<Vec<Value>>::new()
    );
}

#[test]
fn inline_json_and_spaces_are_decoded() {
    let rows = read(" [ [ \"a\" , 1 , {\"x\": [ \"]\\\"\" ] } , null ] ,\n[\"b\",2,[ ],\"\"]\t] ")
        .unwrap();
    assert_eq!(rows[0][2], Value::from("{\"x\": [ \"]\\\"\" ] }"));
    assert_eq!(rows[1], [Value::from("b"), Integer(2), Value::from("[ ]"), Blob(vec![])]);
}

#[test]
fn refused_cell_removes_its_row() {
    let mut writer = RowsWriter::default();
    writer.push([(&Integer(1), Int64), (&Null, Int64)]).unwrap();
    let refused = writer.push([(&Integer(2), Int64), (&Value::from("x"), Int64)]);
    assert_eq!(refused.map_err(|(at, _)| at), Err(1));
    writer.push([(&Integer(3), Int64), (&Null, Int64)]).unwrap();
    assert_eq!(writer.finish().unwrap().get(), "[[1,null],[3,null]]");
}

#[test]
fn invalid_rows_are_refused_with_row_and_cell() {
    #[rustfmt::skip]
    let table = [
        ("{}", "no '[' at byte 0"),
        ("null", "no '[' at byte 0"),
        ("[1]", "row 0: no '[' at byte 1"),
        ("[[]]", "row 0: cell 0: no cell"),
        ("[[\"a\"]]", "row 0: 1 cells where 4 are expected"),
        ("[[\"a\",1,null,null],[\"b\",1,null]]", "row 1: 3 cells where 4 are expected"),
        ("[[\"a\",1,null,null,5]]", "row 0: more than 4 cells"),
        ("[[\"a\",true,null,5]]", "row 0: cell 3: a number in a column of bytes"),
        ("[[\"a\",\"x\",null,null]]", "row 0: cell 1: not an integer of 64 bits"),
    ];
    for (text, why) in table {
        assert_eq!(read(text), Err(why.to_owned()), "{text}");
    }
}

#[test]
fn no_row_is_delivered_after_a_callback_error() {
    let mut delivered = 0;
    let stopped = each_row(&raw("[[1],[2],[3]]"), &[Int64], |_| {
        delivered += 1;
        if delivered == 2 { Err("full") } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(RowError::Each("full"))));
    assert_eq!(delivered, 2);
}

#[test]
fn objects_keep_order_and_errors_name_the_column() {
    let name = Value::from("B");
    let object =
        codec::encode_object([("name", &name, String), ("n \"1\"", &Integer(5), Int64)]).unwrap();
    assert_eq!(object.get(), "{\"name\":\"B\",\"n \\\"1\\\"\":5}");
    let names: Vec<_> = codec::members(&object)
        .unwrap()
        .into_iter()
        .map(|(name, raw)| (name.into_owned(), raw.get().to_owned()))
        .collect();
    assert_eq!(names, [("name".into(), "\"B\"".into()), ("n \"1\"".into(), "5".into())]);
    assert_eq!(codec::encode_object([]).unwrap().get(), "{}");
    let refused = codec::encode_object([("score", &Value::Real(f64::NAN), Int64)]).unwrap_err();
    assert_eq!(refused.column, "score");
    assert!(codec::members(&raw("[1]")).is_err());
}
