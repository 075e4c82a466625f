//! The membership query: a function that reads the memberships of one user, and triggers that wake the
//! users whose memberships a change concerns.
//!
//! The function is there without a configuration too, and returns nothing then. It runs with the rights
//! of the server's role, so that row level security of the application's tables does not hide rows. It
//! depends on no table: a view would refuse that the application changes its columns. In a trigger, the
//! changed rows have the name of the changed table, so the query names the users of these rows.

use super::connection::Connection;
use super::error::log_text;
use super::policies::mark;
use crate::config::MembershipConfig;
use crate::error::{Problem, ServerError};
use crate::store::quote::{literal, quoted};

type Result<T> = std::result::Result<T, ServerError>;

/// The names of the triggers begin with it.
const TRIGGERS: &str = "rejoin_membership_";

/// The function of a database without a configured query; the planner removes it from a statement.
const NONE: &str = "CREATE OR REPLACE FUNCTION rejoin.memberships(member text) RETURNS text[] \
    LANGUAGE sql IMMUTABLE AS $$ SELECT '{}'::text[] $$";

/// The events and the names under which a trigger sees the changed rows.
const EVENTS: [(&str, &str, &str); 4] = [
    ("insert", "INSERT", "NEW"),
    ("update_old", "UPDATE", "OLD"),
    ("update_new", "UPDATE", "NEW"),
    ("delete", "DELETE", "OLD"),
];

/// Installs the function and the triggers for this query, or removes them. Tables that are named and do
/// not exist, and a query that PostgreSQL refuses, are problems of the configuration.
pub(super) fn install(connection: &Connection, config: Option<&MembershipConfig>) -> Result<()> {
    let (query, wake, tables) = match config {
        None => (String::from(NONE), String::new(), Vec::new()),
        Some(config) => {
            let path = search_path(connection)?;
            let query = reading(connection, config, &path)?;
            (query, waking(config, &path), relations(connection, config)?)
        }
    };
    let mark = mark(&format!("{query}\n{wake}"));
    if is_installed(connection, &mark, &tables)? {
        return Ok(());
    }
    let old = "SELECT tgname::text, tgrelid::regclass::text FROM pg_trigger \
               WHERE starts_with(tgname::text, $1)";
    for row in connection.rows(old, &[&TRIGGERS])? {
        let (name, relation): (String, String) = (row.get(0), row.get(1));
        connection.batch(&format!("DROP TRIGGER {} ON {relation}", quoted(&name)))?;
    }
    let comment = format!("COMMENT ON FUNCTION rejoin.memberships(text) IS {}", literal(&mark));
    connection.batch(&format!("{query}; {comment}; {wake}"))?;
    for Relation { name, table, .. } in &tables {
        for (what, event, rows) in EVENTS {
            let trigger = format!("{TRIGGERS}{what}");
            let made = connection.batch(&format!(
                "CREATE TRIGGER {trigger} AFTER {event} ON {name} REFERENCING {rows} TABLE AS {}
                 FOR EACH STATEMENT EXECUTE FUNCTION rejoin.membership_changed();
                 ALTER TABLE {name} ENABLE ALWAYS TRIGGER {trigger}",
                quoted(table)
            ));
            made.map_err(|error| problem("tables", format!("{table}: {}", log_text(&error))))?;
        }
    }
    Ok(())
}

/// A table of the query.
struct Relation {
    id: i64,
    /// Its name with its schema, quoted.
    name: String,
    table: String,
}

fn problem(key: &str, why: String) -> ServerError {
    ServerError::Config(vec![Problem::new(format!("membership.{key}"), why)])
}

fn search_path(connection: &Connection) -> Result<String> {
    let shown = connection.first("SELECT current_setting('search_path')", &[])?;
    Ok(shown.map_or_else(|| String::from("public"), |row| row.get(0)))
}

fn is_installed(connection: &Connection, mark: &str, tables: &[Relation]) -> Result<bool> {
    let select = "SELECT obj_description(to_regprocedure('rejoin.memberships(text)'), 'pg_proc'),
        ARRAY(SELECT tgrelid::bigint FROM pg_trigger WHERE starts_with(tgname::text, $1) AND tgenabled = 'A')";
    let Some(row) = connection.first(select, &[&TRIGGERS])? else { return Ok(false) };
    let mut there: Vec<i64> = row.get(1);
    let mut wanted: Vec<i64> = tables.iter().flat_map(|table| [table.id; EVENTS.len()]).collect();
    there.sort_unstable();
    wanted.sort_unstable();
    Ok(row.get::<_, Option<&str>>(0) == Some(mark) && there == wanted)
}

fn relations(connection: &Connection, config: &MembershipConfig) -> Result<Vec<Relation>> {
    let select = "SELECT c.oid::bigint, c.oid::regclass::text, c.relname::text FROM pg_class AS c \
                  WHERE c.oid = to_regclass(quote_ident($1)) AND c.relkind IN ('r', 'p')";
    let found = config.tables.iter().map(|table| {
        let row = connection.first(select, &[table])?;
        let row = row.ok_or_else(|| {
            problem("tables", format!("the database has no table {table} on the search path"))
        })?;
        Ok(Relation { id: row.get(0), name: row.get(1), table: row.get(2) })
    });
    found.collect()
}

/// The function that reads the memberships of one user as texts: the right (`b` to read and write, `r` to read), then
/// the bucket. The column of the user is compared in its own
/// type, so that an index serves; an id that is no value of this type has no membership.
fn reading(connection: &Connection, config: &MembershipConfig, path: &str) -> Result<String> {
    let query = config.query.trim();
    let columns = connection
        .columns(&format!("SELECT m.* FROM ({query}) AS m"))
        .map_err(|error| problem("query", log_text(&error)))?;
    let of = |name: &str| columns.iter().find(|(column, _)| column == name);
    let lacks = |name: &str| problem("query", format!("it has no column {name}: name it by AS"));
    let (_, user) = of("user_id").ok_or_else(|| lacks("user_id"))?;
    of("bucket").ok_or_else(|| lacks("bucket"))?;
    let writes = match of("writes") {
        Some(_) => "CASE WHEN m.writes::boolean THEN 'b' ELSE 'r' END",
        None => "'b'",
    };
    let (guard, compared) = comparison(user);
    let body = format!(
        "#variable_conflict use_column
BEGIN
  IF {guard} THEN RETURN '{{}}'; END IF;
  RETURN ARRAY(SELECT {writes} || m.bucket::text FROM ({query}) AS m
    WHERE {compared} AND m.bucket::text <> '' AND NOT starts_with(m.bucket::text, '#'));
END"
    );
    Ok(format!(
        "CREATE OR REPLACE FUNCTION rejoin.memberships(member text) RETURNS text[]
         LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = {path} AS {}",
        literal(&body)
    ))
}

/// The condition under which an id is no user's, and the one of a user's rows.
fn comparison(user_type: &str) -> (&'static str, &'static str) {
    match user_type {
        "uuid" => (
            "member !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'",
            "m.user_id = member::uuid",
        ),
        "int2" | "int4" | "int8" => {
            ("member !~ '^(0|-?[1-9][0-9]{0,17})$'", "m.user_id = member::bigint")
        }
        "text" | "varchar" => ("false", "m.user_id = member"),
        _ => ("false", "m.user_id::text = member"),
    }
}

/// The function that wakes the users of changed rows. If the query fails, because the application has
/// changed its tables, the write goes on, and the devices learn the change with their next pull.
fn waking(config: &MembershipConfig, path: &str) -> String {
    let query = config.query.trim();
    let body = format!(
        "BEGIN
  INSERT INTO rejoin.inbox(bucket, table_number, record_id)
    SELECT DISTINCT 'user:' || m.user_id::text, 0, '' FROM ({query}) AS m WHERE m.user_id IS NOT NULL;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'rejoin: the membership query fails: %', SQLERRM;
  RETURN NULL;
END"
    );
    format!(
        "CREATE OR REPLACE FUNCTION rejoin.membership_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = {path} AS {}",
        literal(&body)
    )
}
