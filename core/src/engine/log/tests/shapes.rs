//! Rows in every shape of a table that the engine allows.

use rejoin_log::replica::store::ReplicaStore as _;
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::store::{LogRows as _, StoreError, Table as _};
use rejoin_protocol::manifest::{GeneratedColumn, TableExtension, TableManifest};

use super::LogFile;
use super::SqliteReplica;
use crate::engine::tests::{all, engine, in_log, table};
use crate::value::Value;

/// Key of this kind, a text, a number with a default, and a generated column.
fn shape(key: &str, without_rowid: bool) -> TableManifest {
    let columns = [("id", key), ("body", "string"), ("n", "int64")];
    let mut manifest = table("t", &columns, Vec::new());
    manifest.columns[2].sqlite_default_sql = Some(String::from("7"));
    let generated = ["VIRTUAL", "STORED"].map(|kind| GeneratedColumn {
        name: format!("g_{kind}"),
        sql_type: String::from("TEXT"),
        expression: String::from("body || n"),
        stored: kind == "STORED",
    });
    let generated = generated.into();
    manifest.rejoin =
        Some(TableExtension { without_rowid, generated, ..TableExtension::default() });
    in_log(manifest)
}

fn name(id: &str) -> RowName {
    RowName::new("t", id)
}

fn image(body: &str, number: i64) -> LogRow {
    LogRow::from([("body", Value::from(body)), ("n", Value::from(number))])
}

#[test]
fn rows_are_written_and_read_in_every_shape_of_a_table() {
    for (key, without_rowid) in
        [("string", false), ("string", true), ("int64", false), ("int64", true)]
    {
        let mut file = LogFile::of(engine(vec![shape(key, without_rowid)]));
        let mut store = file.store();
        store.put_row(&name("10"), Some(&image("a", 1))).unwrap();
        store.put_row(&name("9"), Some(&image("b", 2))).unwrap();
        store.put_row(&name("10"), Some(&image("c", 3))).unwrap();
        store.put_row(&name("9"), None).unwrap();
        store.put_row(&name("-3"), Some(&image("d", 4))).unwrap();
        store.put_row(&name("9"), Some(&image("e", 5))).unwrap();
        let rows = vec![
            (name("-3"), image("d", 4)),
            (name("10"), image("c", 3)),
            (name("9"), image("e", 5)),
        ];
        assert_eq!(store.all_rows().unwrap(), rows, "{key} {without_rowid}");
        assert_eq!(store.row(&name("9")).unwrap(), Some(image("e", 5)));
        assert_eq!(store.row(&name("09")).unwrap(), None, "another key, or none");
        let generated = all(&mut file.engine, "SELECT g_STORED || g_VIRTUAL FROM t WHERE id = 9");
        assert_eq!(generated, ["'e5e5'"]);
        assert_eq!(crate::engine::tests::mutations(&file.engine), 0);
    }
}

/// The server sends the rows of a snapshot in the order of their names.
#[test]
fn names_of_integer_keys_are_listed_as_texts() {
    let first = TableManifest { table_name: String::from("a"), ..shape("int64", false) };
    let mut file = LogFile::of(engine(vec![shape("int64", false), first]));
    let mut store = file.store();
    for table in ["a", "t"] {
        for id in ["-3", "-20", "0", "1", "10", "100", "2", "9"] {
            store.put_row(&RowName::new(table, id), Some(&image("a", 1))).unwrap();
        }
    }
    let listed = |store: &SqliteReplica<'_>, ends: [Option<(&str, &str)>; 2]| {
        let [after, through] = ends.map(|end| end.map(|(table, id)| RowName::new(table, id)));
        let names = store.names_between(after.as_ref(), through.as_ref()).unwrap();
        names.iter().map(|name| format!("{}{}", name.table, name.id)).collect::<Vec<_>>().join(" ")
    };
    let all = listed(&store, [None, None]);
    assert_eq!(all, "a-20 a-3 a0 a1 a10 a100 a2 a9 t-20 t-3 t0 t1 t10 t100 t2 t9");
    assert_eq!(listed(&store, [Some(("t", "1")), Some(("t", "2"))]), "t10 t100 t2");
    assert_eq!(listed(&store, [Some(("a", "2")), Some(("t", "-3"))]), "a9 t-20 t-3");
    assert_eq!(listed(&store, [Some(("t", "9")), None]), "");
    assert_eq!(listed(&store, [Some(("t", "2")), Some(("t", "1"))]), "");
    store.put_row(&name("20"), Some(&image("a", 1))).unwrap();
    store.put_row(&name("9"), None).unwrap();
    assert_eq!(listed(&store, [Some(("t", "2")), None]), "t20");
    assert!(store.create_row(&name("21"), &image("a", 1)).unwrap());
    assert_eq!(listed(&store, [Some(("t", "2")), None]), "t20 t21");
}

#[test]
fn column_that_an_image_lacks_gets_its_default() {
    let mut file = LogFile::of(engine(vec![shape("string", false)]));
    let mut store = file.store();
    let old = LogRow::from([("body", Value::from("a")), ("removed", Value::from(1))]);
    store.put_row(&name("new"), Some(&old)).unwrap();
    store.put_row(&name("there"), Some(&image("b", 2))).unwrap();
    store.put_row(&name("there"), Some(&old)).unwrap();
    for id in ["new", "there"] {
        assert_eq!(store.row(&name(id)).unwrap(), Some(image("a", 7)), "{id}");
    }
}

#[test]
fn table_that_the_schema_lacks_has_no_rows() {
    let mut file = LogFile::of(engine(vec![shape("string", false)]));
    let mut store = file.store();
    let other = RowName::new("other", "a");
    store.put_row(&other, Some(&image("a", 1))).unwrap();
    assert_eq!(store.row(&other).unwrap(), None);
    assert_eq!(store.all_rows().unwrap(), []);
}

#[test]
fn key_of_another_type_is_an_error_that_names_the_row() {
    let mut file = LogFile::of(engine(vec![shape("int64", false)]));
    let mut store = file.store();
    let StoreError(text) = store.put_row(&name("x"), Some(&image("a", 1))).unwrap_err();
    assert!(text.contains("row x of table t"), "{text}");
    assert!(file.failure.take().is_some(), "the caller gets the error itself");
}
