//! Tests of actions on real files: what they may do, what is recorded, and what is rejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rejoin_protocol::manifest::{Manifest, ReferenceAction, Rule, TableManifest};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{Actions, Context, Parameter, ParameterType};
use crate::engine::action::perform;
use crate::engine::queue::intent::decode_reads;
use crate::engine::rebase::decide;
use crate::engine::tests::{all, base, mutations, queued, table};
use crate::engine::{Engine, OpenOptions};
use crate::error::{ActionFault, Error, InputFault, Result};
use crate::host::{Host, TestHost};

pub(crate) const TAKE: &str = r#"{"name": "take", "version": 2,
    "parameters": [{"name": "id", "type": "text"}, {"name": "n", "type": "integer"}],
    "preconditions": [{"sql": "SELECT n >= :n FROM stock WHERE id = :id", "message": "not enough in stock"}],
    "statements": ["UPDATE stock SET n = n - :n WHERE id = :id"],
    "result": "SELECT n AS left FROM stock WHERE id = :id"}"#;

pub(crate) const ORDER: &str = r#"{"name": "order",
    "parameters": [{"name": "stock", "type": "text"}, {"name": "n", "type": "integer"}],
    "ids": {"line": {"table": "line", "identity": ["stock"]}},
    "statements": ["INSERT INTO line (id, stock, n, at) VALUES (:line, :stock, :n, :time)"],
    "result": "SELECT id, at FROM line WHERE id = :line"}"#;

fn tables() -> Vec<TableManifest> {
    let references = Rule::References {
        column: String::from("stock"),
        table: String::from("stock"),
        on_delete: ReferenceAction::default(),
        on_update: ReferenceAction::default(),
    };
    let not_below =
        Rule::Check { name: String::from("not below"), expression: String::from("n >= 0") };
    let mut line = table(
        "line",
        &[("id", "string"), ("stock", "string"), ("n", "int64"), ("at", "datetime")],
        vec![references],
    );
    line.columns[3].default_kind = String::from("server_only");
    vec![table("stock", &[("id", "string"), ("n", "int64")], vec![not_below]), line]
}

/// An engine with five nails in the base, and these actions.
pub(crate) fn shop(actions: Actions) -> (TempDir, Engine) {
    shop_on(Arc::new(TestHost::new(1)), actions)
}

/// The same on this host.
pub(crate) fn shop_on(host: Arc<dyn Host>, actions: Actions) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Some(Manifest::new(1, tables()));
    let options = OpenOptions { path: folder.path().join("app.db"), manifest };
    let mut engine = Engine::open(&options, host).unwrap();
    engine.execute("CREATE TABLE basket (id TEXT PRIMARY KEY, n INTEGER)", &[]).unwrap();
    engine.execute("CREATE VIEW scarce AS SELECT id, n FROM stock WHERE n < 9", &[]).unwrap();
    base(&mut engine, "INSERT INTO stock (id, n) VALUES ('nails', 5)");
    perform::set_actions(&mut engine, Arc::new(actions), true).unwrap();
    (folder, engine)
}

/// An action that runs any SQL.
fn any() -> Actions {
    let parameters = [
        Parameter::new("sql", ParameterType::Text),
        Parameter::optional("value", ParameterType::Text),
    ];
    Actions::new().handler("any", parameters, |context, arguments| {
        let sql = arguments.text("sql").unwrap_or_default();
        let rows = match arguments.value("value") {
            value if value.is_null() => context.query(sql, ())?,
            value => context.query(sql, [value])?,
        };
        Ok(rows.len().into())
    })
}

fn fault(error: Error) -> ActionFault {
    match error {
        Error::Action { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn refused_action_leaves_nothing() {
    let greedy = r#"{"name": "greedy", "statements": ["UPDATE stock SET n = n - 1", "UPDATE stock SET n = n - 9"]}"#;
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE).declare(greedy));
    let error = perform::perform(&mut engine, "take", &json!({"id": "nails", "n": 6})).unwrap_err();
    assert_eq!(error.to_string(), "action take: not enough in stock");
    let error =
        perform::perform(&mut engine, "take", &json!({"id": "screws", "n": 1})).unwrap_err();
    assert_eq!(fault(error), ActionFault::Precondition("not enough in stock".to_owned()));
    let error = perform::perform(&mut engine, "greedy", &Json::Null).unwrap_err();
    assert!(matches!(error, Error::Constraint { .. }), "{error}");
    assert_eq!(
        (mutations(&engine), all(&mut engine, "SELECT n FROM stock")),
        (0, vec!["5".to_owned()])
    );
}

#[test]
fn invalid_arguments_are_named_before_the_run() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE));
    let error = perform::perform(&mut engine, "take", &json!({"n": "two"})).unwrap_err();
    let problems = ["id is missing", "n is no integer of 64 bits"].map(str::to_owned);
    assert_eq!(fault(error), ActionFault::Arguments(problems.to_vec()));
    assert_eq!(
        fault(perform::perform(&mut engine, "give", &Json::Null).unwrap_err()),
        ActionFault::Unknown
    );
}

#[test]
fn invalid_actions_list_every_problem() {
    let actions = Actions::new().declare(TAKE).declare(TAKE).declare("{}").handler(
        "",
        [Parameter::new("a b", ParameterType::Text)],
        |_, _| Ok(Json::Null),
    );
    let Err(Error::Configuration(problems)) = actions.check() else { panic!("accepted") };
    assert_eq!(problems.len(), 4, "{problems:#?}");

    let (_folder, mut engine) = shop(Actions::new());
    let actions = Actions::new()
        .declare(
            r#"{"name": "a", "statements": ["UPDATE stok SET n = 1", "UPDATE basket SET n = 1"]}"#,
        )
        .declare(
            r#"{"name": "b", "statements": ["DELETE FROM line"], "result": "SELECT random()"}"#,
        )
        .only_by_actions("stok");
    let actions = Arc::new(actions);
    let Err(Error::Configuration(problems)) =
        perform::set_actions(&mut engine, Arc::clone(&actions), true)
    else {
        panic!("accepted")
    };
    let found = problems.join("\n");
    for part in [
        "table stok is not",
        "a: statement 1: sql",
        "a: statement 2: refused the table basket",
        "b: result: refused random()",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    // A later schema change by the server must not prevent opening the file.
    perform::set_actions(&mut engine, actions, false).unwrap();
}

#[test]
fn nondeterministic_statements_are_refused_by_name() {
    let refused = [
        ("SELECT * FROM basket", "the table basket"),
        ("INSERT INTO basket VALUES ('a', 1)", "the table basket"),
        ("UPDATE stock SET n = (SELECT count(*) FROM basket)", "the table basket"),
        ("WITH b AS (SELECT n FROM basket) SELECT n FROM b", "the table basket"),
        ("SELECT name FROM sqlite_schema", "the table sqlite_master"),
        ("SELECT count(*) FROM rejoin_mutation", "the table rejoin_mutation"),
        ("SELECT * FROM pragma_table_info('stock')", "the table pragma_table_info"),
        ("PRAGMA table_info(stock)", "the statement PRAGMA"),
        ("CREATE TABLE made (id TEXT)", "the statement CREATE"),
        ("UPDATE stock SET n = abs(random() % 9)", "random()"),
        ("SELECT randomblob(4)", "randomblob()"),
        ("INSERT INTO stock (id) VALUES (rejoin_new_id())", "rejoin_new_id()"),
        ("SELECT changes()", "changes()"),
        ("SELECT total_changes()", "total_changes()"),
        ("SELECT last_insert_rowid()", "last_insert_rowid()"),
        ("SELECT rowid FROM stock", "the rowid of stock"),
        ("SELECT id FROM stock ORDER BY _rowid_", "the rowid of stock"),
        ("UPDATE line SET at = CURRENT_TIMESTAMP", "current_timestamp()"),
        ("SELECT datetime('now')", "'now'"),
        ("SELECT datetime(\"NOW\")", "'NOW'"),
        ("SELECT date()", "date() without a time"),
        ("SELECT strftime('%Y')", "strftime() without a time"),
        ("SELECT date(at, 'localtime') FROM line", "'localtime'"),
        ("SELECT rejoin_row_state('stock', id) FROM stock", "rejoin_row_state()"),
        ("UPDATE OR ROLLBACK stock SET n = 1", "OR ROLLBACK"),
    ];
    let (_folder, mut engine) = shop(any());
    for (sql, what) in refused {
        let error = perform::perform(&mut engine, "any", &json!({"sql": sql})).unwrap_err();
        let Error::InvalidInput(InputFault::Refused { what: refused, .. }) = &error else {
            panic!("{sql}: {error}")
        };
        assert_eq!(*refused, format!("{what} in an action"), "{sql}");
    }
    let late = json!({"sql": "SELECT date(?)", "value": "now"});
    let error = perform::perform(&mut engine, "any", &late).unwrap_err();
    assert!(error.to_string().starts_with("refused 'now'"), "{error}");
    assert_eq!(mutations(&engine), 0);
}

#[test]
fn deterministic_statements_are_allowed() {
    let allowed = [
        ("a view of a synced table", "SELECT n FROM scarce"),
        ("a view, counted", "SELECT count(*) FROM scarce"),
        ("an expression of a WITH", "WITH s AS (SELECT n FROM stock) SELECT count(*) FROM s"),
        ("JSON elements", "SELECT value FROM json_each('[1]')"),
        ("a date of a column", "SELECT strftime('%Y', at) FROM line"),
        ("a date as an argument", "SELECT date(rejoin_now(), '+7 days')"),
        ("a column named like a word", "SELECT id AS date, n AS time FROM stock"),
        ("a word in a string", "SELECT id FROM stock WHERE id = 'now'"),
        ("a mirrored write", "UPDATE stock SET n = 4"),
    ];
    let (_folder, mut engine) = shop(any());
    engine
        .execute(
            "CREATE TRIGGER mirror AFTER UPDATE ON stock BEGIN
             INSERT INTO basket SELECT 'k' || random(), n FROM stock; END",
            &[],
        )
        .unwrap();
    for (name, sql) in allowed {
        perform::perform(&mut engine, "any", &json!({"sql": sql}))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(all(&mut engine, "SELECT count(*) FROM basket"), ["1"]);
}

#[test]
fn time_and_ids_come_from_the_mutation() {
    let (_folder, mut engine) = shop(Actions::new().declare(ORDER));
    let made = perform::perform(&mut engine, "order", &json!({"stock": "nails", "n": 1})).unwrap();
    let mutation = engine.mutation(made.id.unwrap()).unwrap().unwrap();
    let row = json!({"stock": "nails"});
    let id = crate::ids::row_id::row_id(
        &mutation.id.to_string(),
        "line",
        row.as_object().unwrap(),
        Some(&["stock"]),
    );
    assert_eq!(made.value["id"], json!(id.unwrap().to_string()));
    let at = rejoin_protocol::time::format(mutation.time_ms * 1000);
    assert_eq!(made.value["at"], json!(at));
    // Another action creates another row with the same identity.
    let other = perform::perform(&mut engine, "order", &json!({"stock": "nails", "n": 1})).unwrap();
    assert_ne!(made.value["id"], other.value["id"]);
}

#[test]
fn clock_is_constant_during_an_action() {
    let actions = Actions::new().handler("clock", [], |context, _| {
        let seen: String = context.query_one("SELECT rejoin_now()", ())?.unwrap().get(0)?;
        assert_eq!(seen, context.time());
        Ok(Json::Null)
    });
    let (_folder, mut engine) = shop(actions);
    perform::perform(&mut engine, "clock", &Json::Null).unwrap();
    let [one, other] = [(); 2].map(|()| all(&mut engine, "SELECT rejoin_now()"));
    assert_ne!(one, other, "outside of actions it advances");
}

#[test]
fn duplicate_row_identity_rolls_the_action_back() {
    let twice = |passes_over: bool| {
        move |context: &mut Context<'_, '_>, _: &super::Arguments| -> Result<Json> {
            let first = context.row_id("line", &json!({"stock": "nails", "n": 1}))?;
            context.execute("INSERT INTO line (id, stock) VALUES (?, 'nails')", [first])?;
            let second = context.row_id("line", &json!({"stock": "nails", "n": 2}));
            if passes_over { Ok(Json::Null) } else { second.map(Json::from) }
        }
    };
    let actions = Actions::new()
        .identity("line", &["stock"])
        .handler("twice", [], twice(false))
        .handler("twice, passed over", [], twice(true));
    let (_folder, mut engine) = shop(actions);
    for name in ["twice", "twice, passed over"] {
        let error = perform::perform(&mut engine, name, &Json::Null).unwrap_err();
        assert_eq!(fault(error), ActionFault::SameRow { table: "line".to_owned() }, "{name}");
    }
    assert_eq!(
        (mutations(&engine), all(&mut engine, "SELECT count(*) FROM line")),
        (0, vec!["0".to_owned()])
    );
}

#[test]
fn projection_defines_row_identity() {
    let project = |row: &serde_json::Map<String, Json>| {
        let half = row["n"].as_i64().unwrap_or(0) / 2;
        json!({"half": half}).as_object().unwrap().clone()
    };
    let actions = Actions::new().projection("line", project).handler("ids", [], |context, _| {
        let ids = [2, 4].map(|n| context.row_id("line", &json!({"n": n})));
        assert_ne!(ids[0].as_ref().unwrap(), ids[1].as_ref().unwrap());
        assert!(context.row_id("line", &json!({"n": 5})).is_err(), "as 4 has it");
        Ok(Json::Null)
    });
    let (_folder, mut engine) = shop(
        actions
            .handler("none", [], |context, _| context.row_id("stock", &json!({})).map(Json::from)),
    );
    assert!(matches!(
        fault(perform::perform(&mut engine, "ids", &Json::Null).unwrap_err()),
        ActionFault::SameRow { .. }
    ));
    let error = perform::perform(&mut engine, "none", &Json::Null).unwrap_err();
    assert!(error.to_string().contains("Actions::identity"), "{error}");
}

#[test]
fn actions_only_table_refuses_other_local_writes() {
    let (_folder, mut engine) = shop(Actions::new().declare(TAKE).only_by_actions("Stock"));
    for sql in [
        "UPDATE stock SET n = 9",
        "DELETE FROM stock",
        "INSERT OR IGNORE INTO stock VALUES ('a', 1)",
    ] {
        let error = engine.execute(sql, &[]).unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("a write to stock") && words.contains("perform()"),
            "{sql}: {words}"
        );
    }
    perform::perform(&mut engine, "take", &json!({"id": "nails", "n": 1})).unwrap();
    base(&mut engine, "UPDATE stock SET n = 7"); // Rows from the server are applied as usual.
    engine.execute("INSERT INTO line (id, stock) VALUES ('l', 'nails')", &[]).unwrap();
    assert_eq!(mutations(&engine), 2);
}

#[test]
fn panicking_action_leaves_nothing_and_the_next_works() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let actions = Actions::new().handler("shaky", [], move |context, _| {
        context.execute("UPDATE stock SET n = n - 1", ())?;
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("by accident"),
            1 => Err(Error::Callback("on purpose".to_owned())),
            // A failed statement is rolled back alone, and the action may continue.
            _ => Ok(context.execute("UPDATE stock SET n = -1", ()).is_err().into()),
        }
    });
    let (_folder, mut engine) = shop(actions);
    for words in ["by accident", "on purpose"] {
        let error = perform::perform(&mut engine, "shaky", &Json::Null).unwrap_err();
        assert_eq!(error.to_string(), format!("callback failed: {words}"));
        assert_eq!(
            (mutations(&engine), all(&mut engine, "SELECT n FROM stock")),
            (0, vec!["5".to_owned()])
        );
    }
    assert_eq!(perform::perform(&mut engine, "shaky", &Json::Null).unwrap().value, json!(true));
    assert_eq!(queued(&engine), ["stock nails update n 5>4"]);
}

/// The tables that the last mutation is recorded to have read.
fn reads(engine: &Engine) -> Vec<String> {
    let last = "/*rejoin*/SELECT reads FROM rejoin_mutation ORDER BY seq DESC LIMIT 1";
    let bytes: Vec<u8> = engine.db.conn().query_row(last, [], |row| row.get(0)).unwrap();
    let reads = decode_reads(&bytes).unwrap();
    reads.tables.iter().map(|number| engine.schema.table(*number).unwrap().name.clone()).collect()
}

#[test]
fn written_tables_and_tables_of_their_rules_are_reads() {
    let (_folder, mut engine) = shop(any());
    let reads_of = |engine: &mut Engine, sql: &str| {
        perform::perform(engine, "any", &json!({"sql": sql})).unwrap();
        reads(engine)
    };
    let insert = "INSERT INTO stock (id, n) VALUES ('screws', 1)";
    assert_eq!(reads_of(&mut engine, insert), ["line", "stock"], "a rule of line reads it");
    assert_eq!(reads_of(&mut engine, "UPDATE stock SET n = 3"), ["line", "stock"]);
}

#[test]
fn reads_by_key_are_recorded_as_before_the_run() {
    let run = |context: &mut Context<'_, '_>, arguments: &super::Arguments| -> Result<Json> {
        for sql in arguments.text("sql").unwrap_or_default().split("; ") {
            context.execute(sql, ())?;
        }
        Ok(Json::Null)
    };
    let sql = [Parameter::new("sql", ParameterType::Text)];
    let (_folder, mut engine) = shop(Actions::new().handler("run", sql, run));
    base(&mut engine, "INSERT INTO stock (id, n) VALUES ('screws', 7)");
    let line = "INSERT INTO line (id, n) VALUES ('a', 1)";
    let screws = "SELECT n FROM stock WHERE id = 'screws'";
    let [less, more] = ["-", "+"].map(|sign| format!("UPDATE stock SET n = n {sign} 1 WHERE id"));
    let table = [
        (format!("{screws}; {line}"), "stock screws n=7"),
        (format!("{screws}; {screws}; {line}"), "stock screws n=7"),
        (format!("SELECT count(*) FROM stock WHERE id = 'screws'; {line}"), "stock screws"),
        (format!("SELECT n FROM stock WHERE id = 'bolts'; {line}"), "stock bolts -"),
        (format!("UPDATE stock SET n = 1 WHERE id = 'bolts'; {line}"), "stock bolts -"),
        // A written, deleted or created row is a change, not a read.
        (format!("SELECT n FROM stock WHERE id = 'nails'; {less} = 'nails'"), ""),
        (String::from("DELETE FROM stock WHERE id = 'nails'"), ""),
        (format!("SELECT n FROM line WHERE id = 'a'; {line}"), ""),
        // Its own write is not recorded as a read.
        (format!("{less} = 'screws'; {more} = 'screws'; {line}"), "stock screws n=7"),
        (format!("SELECT n FROM stock WHERE n > 5; {line}"), ""),
    ];
    for (sql, expected) in table {
        let id = perform::perform(&mut engine, "run", &json!({"sql": sql})).unwrap().id.unwrap();
        assert_eq!(seen(&engine), expected, "{sql}");
        decide::discard(&mut engine, id).unwrap();
    }
}

/// The rows that the last mutation is recorded to have read by key.
fn seen(engine: &Engine) -> String {
    let last = "/*rejoin*/SELECT reads FROM rejoin_mutation ORDER BY seq DESC LIMIT 1";
    let bytes: Vec<u8> = engine.db.conn().query_row(last, [], |row| row.get(0)).unwrap();
    let rows = decode_reads(&bytes).unwrap().seen.into_iter().map(|one| {
        let table = engine.schema.table(one.row.table).unwrap();
        let name = |id| table.columns[table.position(id).unwrap()].name.clone();
        let columns = match one.columns {
            None => vec![String::from("-")],
            Some(columns) => columns
                .into_iter()
                .map(|(id, value)| format!("{}={}", name(id), value.to_id().unwrap()))
                .collect(),
        };
        format!("{} {} {}", table.name, one.row.key.to_id().unwrap(), columns.join(" "))
            .trim()
            .to_owned()
    });
    rows.collect::<Vec<_>>().join(", ")
}
