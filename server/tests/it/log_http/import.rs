//! Import of a Synchrotron log: the documented statements over its tables, and the file that they
//! write.

use std::fmt::Write as _;
use std::path::PathBuf;

use macro_rules_attribute::apply;
use rejoin_server::error::{ImportFault, ServerError};
use rejoin_server::{Config, Imported, TableConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::device::{Device, settle};
use super::rows;
use crate::world::{Backend, World};

const PAGE: &str = include_str!("../../../../docs/from-synchrotron.md");

const TABLES: &str =
    "CREATE TABLE seats(id TEXT PRIMARY KEY, event TEXT, owner TEXT, note TEXT, number BIGINT);";

/// A server, a Synchrotron log in the same database, and the file of an export.
struct Source {
    world: World,
    folder: TempDir,
    statements: Vec<String>,
    separator: &'static str,
}

impl From<Backend> for Source {
    fn from(backend: Backend) -> Self {
        let with_log =
            |config: Config| config.with_table(TableConfig::log("seats", "event", "event:"));
        let world = World::with(backend, TABLES, with_log);
        let (json, at) = if backend == Backend::Sqlite { ("TEXT", 1) } else { ("JSONB", 0) };
        world.write(&format!(
            "CREATE TABLE action_records(id TEXT PRIMARY KEY, server_ingest_id BIGINT, _tag TEXT, client_id TEXT,
               clock_time_ms BIGINT, clock_counter BIGINT, synced INTEGER);
             CREATE TABLE action_modified_rows(id TEXT PRIMARY KEY, table_name TEXT, row_id TEXT, action_record_id TEXT,
               audience_key TEXT, operation TEXT, forward_patches {json}, sequence INTEGER);
             CREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT, number BIGINT, audience_key TEXT)"
        ));
        let block = PAGE.split("```sql\n").nth(at + 1).unwrap().split("```").next().unwrap();
        let block = block.replace("'notes'", "'seats'");
        let block = block.replace("'text', text,", "'note', text, 'number', number,");
        let block = block
            .replace("to_jsonb(t)", "to_jsonb(t) - 'text' || jsonb_build_object('note', text)");
        let statements = block.split(';').map(str::trim).filter(|one| !one.is_empty());
        let statements = statements.map(str::to_owned).collect();
        Self { world, folder: tempfile::tempdir().unwrap(), statements, separator: "\n" }
    }
}

impl Source {
    /// An action with its changes: row, audience, operation, columns.
    fn action(&self, id: &str, client: &str, millis: u64, changes: &[(&str, &str, &str, Value)]) {
        let mut sql = format!(
            "INSERT INTO action_records VALUES ('{id}', 1, 'note', '{client}', {millis}, 1, 1)"
        );
        for (sequence, (row, audience, operation, forward)) in changes.iter().enumerate() {
            write!(
                sql,
                "; INSERT INTO action_modified_rows VALUES ('{id}:{sequence}', 'seats', '{row}', '{id}', '{audience}',
                   '{operation}', '{forward}', {sequence})"
            ).unwrap();
        }
        self.world.write(&sql);
    }

    fn present(&self, id: &str, text: &str, number: i64, audience: &str) {
        let text = if text.is_empty() { String::from("NULL") } else { format!("'{text}'") };
        self.world
            .write(&format!("INSERT INTO notes VALUES ('{id}', {text}, {number}, '{audience}')"));
    }

    /// A log with a late edit, a correction, a marker, a lost update to NULL, and a row whose insert
    /// was deleted.
    fn filled(&self) {
        let put = |text: &str, number: i64| json!({"id": "x", "note": text, "number": number});
        self.action(
            "00000000-0000-4000-8000-000000000001",
            "c1",
            1_000,
            &[
                ("r1", "event:e1", "INSERT", put("first", 1)),
                ("r1", "event:e1", "UPDATE", json!({"number": 2})),
                ("r2", "event:e2", "INSERT", put("other", 1)),
            ],
        );
        self.action("late", "c2", 900, &[("r3", "event:e1", "INSERT", put("late", 1))]);
        self.action(
            "edit",
            "c2",
            1_100,
            &[("r1", "event:e1", "UPDATE", json!({"note": "second"}))],
        );
        self.action("marker", "c2", 1_200, &[]);
        self.action("gone", "c1", 1_300, &[("r3", "event:e1", "DELETE", json!({}))]);
        self.action("null", "c1", 1_400, &[("r2", "event:e2", "UPDATE", json!({"number": 7}))]);
        self.action("cut", "c1", 1_500, &[("r4", "event:e1", "UPDATE", json!({"number": 9}))]);
        self.present("r1", "second", 2, "event:e1");
        self.present("r2", "", 7, "event:e2");
        self.present("r4", "old", 9, "event:e1");
    }

    /// The filled log after an import, and a device with an edit that it has not sent.
    async fn edited(&self) -> Device<'_> {
        self.filled();
        self.world.server.grant("anna", "event:e1").unwrap();
        self.world.server.import_log(&self.export()).unwrap();
        let mut anna = Device::new(&self.world, "anna", 1).await;
        anna.fetch().await;
        anna.act("append", "r1", "!").unwrap();
        anna
    }

    fn export(&self) -> PathBuf {
        let lines = |statement: &String| {
            let newline = self.separator;
            self.world.one(&format!(
                "SELECT coalesce(string_agg(line, '{newline}'), '') FROM ({statement}) AS t"
            ))
        };
        let lines: Vec<String> = self.statements.iter().map(lines).collect();
        self.file(&lines.join("\n"))
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("log.jsonl");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn rows(&self) -> String {
        self.world.one(
            "SELECT coalesce(string_agg(line, ' ' ORDER BY line), '') FROM (SELECT id || '=' || event || ',' ||
               coalesce(note, '-') || ',' || number AS line FROM seats) AS t",
        )
    }

    /// The refusal of a file with this line.
    fn refused(&self, line: &str) -> (usize, ImportFault) {
        match self.world.server.import_log(&self.file(line)) {
            Err(ServerError::Import { line, why }) => (line, why),
            other => panic!("{line}: {other:?}"),
        }
    }
}

const ROWS: &str = "r1=e1,second,2 r2=e2,-,7 r4=e1,old,9";

#[apply(stores!)]
async fn rows_of_the_source_are_in_the_table_and_on_devices(source: Source) {
    source.filled();
    source.world.server.grant("anna", "event:e1").unwrap();
    let done = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!(
        done,
        Imported { entries: 6, known: 0, old: 0, empty: 1, set_rows: 2, kept_rows: 0 }
    );
    assert_eq!(source.rows(), ROWS);
    let mut anna = Device::new(&source.world, "anna", 1).await;
    anna.sync().await;
    assert_eq!(rows(&anna), "r1=e1,-,second,2 r4=e1,-,old,9");
    anna.act("append", "r1", "!").unwrap();
    anna.sync().await;
    assert!(source.rows().contains("second!"), "{}", source.rows());
    source.world.server.compact().unwrap();
    assert!(source.rows().contains("second!") && source.rows().contains("r4=e1,old,9"));
}

#[apply(stores!)]
async fn second_import_adds_only_what_is_new(source: Source) {
    source.filled();
    source.world.server.import_log(&source.export()).unwrap();
    let head = source.world.server.log_status().unwrap().head;
    let again = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!(
        again,
        Imported { entries: 0, known: 6, old: 0, empty: 1, set_rows: 0, kept_rows: 0 }
    );
    assert_eq!(
        (source.rows().as_str(), source.world.server.log_status().unwrap().head),
        (ROWS, head)
    );
    source.action("more", "c3", 2_000, &[("r4", "event:e1", "DELETE", json!({}))]);
    source.world.write("DELETE FROM notes WHERE id = 'r4'");
    let more = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!(
        more,
        Imported { entries: 1, known: 6, old: 0, empty: 1, set_rows: 0, kept_rows: 0 }
    );
    assert_eq!(source.rows(), "r1=e1,second,2 r2=e2,-,7");
}

#[apply(stores!)]
async fn refused_line_imports_nothing(source: Source) {
    source.filled();
    let good = std::fs::read_to_string(source.export()).unwrap();
    let action = |table: &str, forward: Value, millis: u64| {
        let change = json!({"table": table, "id": "r9", "audience": "event:e1", "operation": "INSERT", "forward": forward});
        json!({"action": {"id": "bad", "client_id": "c", "millis": millis, "counter": 1, "rows": [change]}}).to_string()
    };
    let actions =
        good.lines().filter(|line| line.contains("\"action\"")).collect::<Vec<_>>().join("\n");
    let at = actions.lines().count() + 1;
    let far = u64::try_from(i64::MAX).unwrap();
    let refused = |line: String| source.refused(&format!("{actions}\n{line}"));
    for (line, is_it) in [
        (
            String::from("no JSON"),
            (|why| matches!(why, ImportFault::Form { .. })) as fn(&ImportFault) -> bool,
        ),
        (
            action("sync_server_meta", json!({}), 1),
            |why| matches!(why, ImportFault::Table { table } if table == "sync_server_meta"),
        ),
        (
            action("seats", json!({"number": {"a": 1}}), 1),
            |why| matches!(why, ImportFault::Value { column, .. } if column == "number"),
        ),
        (action("seats", json!({"colour": "red"}), 1), |why| {
            matches!(why, ImportFault::Row { .. })
        }),
        (action("seats", json!({"number": "many"}), 1), |why| {
            matches!(why, ImportFault::Row { .. })
        }),
        (action("seats", json!({}), far), |why| matches!(why, ImportFault::Ahead { .. })),
        (
            action("seats", json!({}), 1)
                .replace("\"counter\":1", "\"counter\":18446744073709551615"),
            |why| matches!(why, ImportFault::Counter { .. }),
        ),
        (action("seats", json!({"note": "x".repeat(5 << 20)}), 1), |why| {
            matches!(why, ImportFault::Row { .. })
        }),
        (action("seats", json!({}), 1).replace("event:e1", "event:"), |why| {
            matches!(why, ImportFault::Audience { .. })
        }),
        (action("seats", json!({}), 1).replace("event:e1", "e1"), |why| {
            matches!(why, ImportFault::Audience { .. })
        }),
    ] {
        let (line_number, why) = refused(line.clone());
        assert!(line_number == at && is_it(&why), "{line}: line {line_number}: {why:?}");
        assert_eq!(source.rows(), "", "{line}");
    }
    let (line, why) = source.refused(&format!("{good}\n{}", action("seats", json!({}), 1)));
    assert!(matches!(why, ImportFault::Order), "line {line}: {why:?}");
    let missing = source.world.server.import_log(&source.folder.path().join("none"));
    assert!(matches!(missing, Err(ServerError::ImportFile { .. })), "{missing:?}");
    assert_eq!((source.rows().as_str(), source.world.server.log_status().unwrap().head), ("", 0));
}

#[apply(stores!)]
async fn entries_stay_known_after_compaction(source: Source) {
    source.filled();
    source.world.server.import_log(&source.export()).unwrap();
    source.world.clock.advance(400 * 86_400_000_000);
    source.world.server.compact().unwrap();
    assert_eq!(source.rows(), ROWS);
    let again = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!(
        again,
        Imported { entries: 0, known: 6, old: 0, empty: 1, set_rows: 0, kept_rows: 0 }
    );
    source.action("older", "c3", 2_000, &[("r4", "event:e1", "DELETE", json!({}))]);
    let later = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!((later.entries, later.old), (0, 1), "below the horizon");
    assert_eq!(source.rows(), ROWS);
}

/// A server that ran before the import has a horizon, below which nothing can be placed.
#[apply(stores!)]
async fn import_into_a_compacted_log_sets_the_rows_of_old_entries(source: Source) {
    source.filled();
    source.world.clock.advance(400 * 86_400_000_000);
    source.world.server.compact().unwrap();
    let done = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!((done.entries, done.old, done.set_rows), (0, 6, 3));
    assert_eq!(source.rows(), ROWS);
}

/// A second import must not set rows back that a device has written since.
#[apply(stores!)]
async fn later_import_keeps_what_devices_wrote(source: Source) {
    let mut anna = source.edited().await;
    anna.sync().await;
    let rows = source.rows();
    assert!(rows.contains("second!"), "{rows}");
    let again = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!((again.entries, again.set_rows, again.kept_rows), (0, 0, 1));
    assert_eq!(source.rows(), rows);
}

/// Such an edit was set back once the log was compacted: its entry was not there any more.
#[apply(stores!)]
async fn import_after_a_compaction_keeps_what_devices_wrote(source: Source) {
    let mut anna = source.edited().await;
    anna.sync().await;
    source.world.clock.advance(400 * 86_400_000_000);
    source.world.server.compact().unwrap();
    let now = anna.wall();
    let more = ("r1", "event:e1", "UPDATE", json!({"number": 3}));
    source.action("more", "c3", now, &[more]);
    source.world.write("UPDATE notes SET number = 3 WHERE id = 'r1'");
    let again = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!((again.entries, again.set_rows, again.kept_rows), (1, 0, 1));
    assert!(source.rows().contains("r1=e1,second!,3"), "{}", source.rows());
}

/// A row that an import sets is as old as the entries that it completes: an edit made offline before
/// the import, and sent after it, was undone.
#[apply(stores!)]
async fn edit_made_offline_before_an_import_counts(source: Source) {
    let mut anna = source.edited().await;
    source.world.clock.advance(60_000_000);
    source.world.write("UPDATE notes SET text = 'lost', number = 8 WHERE id = 'r1'");
    let again = source.world.server.import_log(&source.export()).unwrap();
    assert_eq!((again.entries, again.set_rows, again.kept_rows), (0, 1, 0));
    anna.sync().await;
    settle(&mut [anna]).await;
    assert!(source.rows().contains("r1=e1,lost!,8"), "{}", source.rows());
}
