//! The tables of a v0.1.2 SDK in an app's file: its own two tables, the synced tables without
//! rules, three triggers for each.
//!
//! It keeps the SDK's quirks: a no-op update is queued, REPLACE queues a create, a delete of a
//! deleted row queues an update.

use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{ColumnManifest, TableManifest};
use rusqlite::{Connection, Result};

/// The SDK's own tables. `_synchro_clock` is an addition: the SDK's triggers read the machine's
/// clock, a test must not.
const OWN: &str = "
    CREATE TABLE IF NOT EXISTS _synchro_pending_changes (
        record_id TEXT NOT NULL, table_name TEXT NOT NULL, operation TEXT NOT NULL,
        base_updated_at TEXT, client_updated_at TEXT NOT NULL, PRIMARY KEY (table_name, record_id));
    CREATE TABLE IF NOT EXISTS _synchro_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS _synchro_clock (now TEXT NOT NULL);
    INSERT INTO _synchro_clock SELECT '1970-01-01T00:00:00.000Z' WHERE NOT EXISTS (SELECT 1 FROM _synchro_clock);
    INSERT OR IGNORE INTO _synchro_meta VALUES ('sync_lock', '0'), ('checkpoint', '0');
";

/// Creates the SDK's own tables, if they are missing.
pub(super) fn prepare(conn: &Connection) -> Result<()> {
    conn.execute_batch(OWN)
}

/// Creates the synced tables and their triggers.
pub(super) fn create(conn: &Connection, manifest: &Manifest) -> Result<()> {
    for table in &manifest.tables {
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        let name = quoted(&table.table_name);
        conn.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {name} ({})", columns.join(", ")))?;
        conn.execute_batch(&triggers(table))?;
    }
    Ok(())
}

/// Drops the synced tables, and their triggers with them.
pub(super) fn drop_all(conn: &Connection, manifest: &Manifest) -> Result<()> {
    for table in &manifest.tables {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(&table.table_name)))?;
    }
    Ok(())
}

/// A quoted identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name of the key column.
pub(super) fn key(table: &TableManifest) -> &str {
    table.primary_key.first().map_or("id", String::as_str)
}

fn column(column: &ColumnManifest) -> String {
    let kind = match column.logical_type.as_str() {
        "int" | "int64" | "boolean" => "INTEGER",
        "float" => "REAL",
        "bytes" => "BLOB",
        _ => "TEXT",
    };
    let mut text = format!("{} {kind}", quoted(&column.name));
    if column.is_primary_key {
        text.push_str(" PRIMARY KEY");
    } else if !column.nullable {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.sqlite_default_sql {
        text.push_str(" DEFAULT ");
        text.push_str(default);
    }
    text
}

fn triggers(table: &TableManifest) -> String {
    let name = &table.table_name;
    let (on, key) = (quoted(name), quoted(key(table)));
    let (updated, deleted) = (quoted(&table.updated_at_column), quoted(&table.deleted_at_column));
    let free = "(SELECT value FROM _synchro_meta WHERE key = 'sync_lock') = '0'";
    let now = "(SELECT now FROM _synchro_clock)";
    let upsert = |id: &str, operation: &str, base: &str, merged: &str, kept: &str| {
        format!(
            "INSERT INTO _synchro_pending_changes VALUES ({id}, '{name}', {operation}, {base}, {now})
             ON CONFLICT (table_name, record_id) DO UPDATE SET operation = {merged},
             base_updated_at = {kept}, client_updated_at = excluded.client_updated_at"
        )
    };
    let inserted = upsert(
        &format!("NEW.{key}"),
        "'create'",
        "NULL",
        "CASE operation WHEN 'delete' THEN 'update' ELSE operation END",
        "base_updated_at",
    );
    let changed = upsert(
        &format!("NEW.{key}"),
        &format!(
            "CASE WHEN OLD.{deleted} IS NULL AND NEW.{deleted} IS NOT NULL THEN 'delete' ELSE 'update' END"
        ),
        &format!("OLD.{updated}"),
        "CASE WHEN operation = 'create' AND excluded.operation = 'update' THEN 'create'
         ELSE excluded.operation END",
        "CASE WHEN operation = 'create' AND excluded.operation = 'delete' THEN NULL
         ELSE coalesce(base_updated_at, excluded.base_updated_at) END",
    );
    format!(
        "CREATE TRIGGER \"_synchro_cdc_insert_{name}\" AFTER INSERT ON {on} WHEN {free} BEGIN {inserted}; END;
         CREATE TRIGGER \"_synchro_cdc_update_{name}\" AFTER UPDATE ON {on} WHEN {free} BEGIN {changed};
             DELETE FROM _synchro_pending_changes WHERE table_name = '{name}' AND record_id = NEW.{key}
                 AND operation = 'delete' AND base_updated_at IS NULL; END;
         CREATE TRIGGER \"_synchro_cdc_delete_{name}\" BEFORE DELETE ON {on} WHEN {free} BEGIN
             UPDATE {on} SET {deleted} = {now} WHERE {key} = OLD.{key};
             SELECT RAISE(IGNORE); END;"
    )
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::Manifest;
    use rusqlite::Connection;
    use serde_json::json;

    use super::{create, prepare};

    fn manifest() -> Manifest {
        let column = |name: &str, key: bool| {
            json!({"name": name, "db_type": "text", "logical_type": "string", "nullable": true,
                   "default_kind": "none", "is_primary_key": key})
        };
        let table = json!({
            "table_name": "orders", "push_policy": "owner_only", "updated_at_column": "updated_at",
            "deleted_at_column": "deleted_at", "primary_key": ["id"],
            "columns": [column("id", true), column("name", false), column("updated_at", false), column("deleted_at", false)],
        });
        let whole =
            json!({"schema_version": 1, "schema_hash": "", "server_time": "", "tables": [table]});
        serde_json::from_value(whole).unwrap()
    }

    /// The queue entries that v0.1.2's triggers were recorded to make.
    #[test]
    fn triggers_queue_recorded_operations() {
        const NEW: &str = "INSERT INTO orders (id, name, updated_at) VALUES ('1', 'x', 'L')";
        const EDIT: &str = "UPDATE orders SET name = 'y' WHERE id = '1'";
        const DELETE: &str = "DELETE FROM orders WHERE id = '1'";
        const UNDELETE: &str = "UPDATE orders SET deleted_at = NULL WHERE id = '1'";
        const REPLACE: &str =
            "INSERT OR REPLACE INTO orders (id, name, updated_at) VALUES ('1', 'z', 'S')";
        let table: [(bool, &[&str], &str); 11] = [
            (false, &[NEW], "create -"),
            (false, &[NEW, EDIT], "create L"),
            (false, &[NEW, EDIT, DELETE], ""),
            (false, &[NEW, DELETE], ""),
            (false, &[NEW, DELETE, UNDELETE], "update L"),
            (true, &[REPLACE], "create -"),
            (true, &[EDIT], "update S"),
            (true, &[EDIT, DELETE], "delete S"),
            (true, &[DELETE, UNDELETE], "update S"),
            (true, &[DELETE, DELETE], "update S"),
            (true, &["UPDATE orders SET name = name"], "update S"),
        ];
        for (is_known, steps, expected) in table {
            let conn = Connection::open_in_memory().unwrap();
            prepare(&conn).unwrap();
            create(&conn, &manifest()).unwrap();
            if is_known {
                conn.execute_batch(
                    "INSERT INTO orders (id, name, updated_at) VALUES ('1', 's', 'S');
                     DELETE FROM _synchro_pending_changes",
                )
                .unwrap();
            }
            for step in steps {
                conn.execute_batch(step).unwrap();
            }
            let sql = "SELECT coalesce(group_concat(operation || ' ' || coalesce(base_updated_at, '-')), '')
                       FROM _synchro_pending_changes";
            let queued: String = conn.query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(queued, expected, "{steps:?}");
        }
    }
}
