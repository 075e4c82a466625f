//! Reads the application's tables from the catalogue, and reports everything that cannot be synced.

use rejoin_protocol::manifest::SyncModel;

use super::connection::Connection;
use super::portable::portable;
use super::types::{self, Described, Type};
use crate::config::TableConfig;
use crate::error::SchemaProblem;
use crate::model::LeftOut;
use crate::store::admit::ReadTable;
use crate::store::chosen;
use crate::store::describe::{Found, FoundColumn, FoundReference};
use crate::store::quote::quoted;

/// A table, with details that only this store uses.
#[derive(Debug)]
pub(super) struct FoundTable {
    pub(super) found: Found,
    /// `pg_class.oid`.
    pub(super) relation: i64,
    /// `"schema"."table"`.
    pub(super) name: String,
    /// The type and the `attnum` of each column.
    pub(super) types: Vec<Type>,
    pub(super) attnums: Vec<i32>,
    /// Each column's base type and modifier, for comparing two columns.
    bases: Vec<(String, i32)>,
}

impl ReadTable for FoundTable {
    fn found(&self) -> &Found {
        &self.found
    }

    fn remove(&mut self, column: &str) {
        if let Some(at) = self.found.columns.iter().position(|other| other.name == column) {
            self.types.remove(at);
            self.attnums.remove(at);
            self.bases.remove(at);
        }
        self.found.leave_out(column);
    }
}

/// A column with its type description.
struct Column {
    found: FoundColumn,
    attnum: i32,
    of: Option<Type>,
    base: String,
    modifier: i32,
    deterministic: bool,
    always: bool,
}

const TABLE: &str = "SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
    EXISTS (SELECT FROM pg_inherits AS i WHERE c.oid IN (i.inhparent, i.inhrelid))
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";

const COLUMNS: &str = "SELECT a.attnum::bigint, a.attname::text, format_type(b.oid, b.typmod),
    a.attnotnull OR b.not_null, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text,
    t.typname::text, t.typnamespace = 'pg_catalog'::regnamespace, t.typtype::text, format_type(t.oid, NULL),
    coalesce(co.collisdeterministic, true), b.typmod::bigint,
    e.typname::text, e.typnamespace = 'pg_catalog'::regnamespace, e.typtype::text, format_type(e.oid, NULL),
    a.attnum = ANY(k.keys)
    FROM pg_attribute AS a
    CROSS JOIN LATERAL (
      WITH RECURSIVE up(oid, typmod, not_null, depth) AS (
        SELECT a.atttypid, a.atttypmod, false, 0
        UNION ALL
        SELECT t.typbasetype, t.typtypmod, up.not_null OR t.typnotnull, up.depth + 1
        FROM up JOIN pg_type AS t ON t.oid = up.oid WHERE t.typtype = 'd'
      ) SELECT * FROM up ORDER BY depth DESC LIMIT 1
    ) AS b
    JOIN pg_type AS t ON t.oid = b.oid
    LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation AS co ON co.oid = a.attcollation
    CROSS JOIN LATERAL (
      SELECT coalesce(array_agg(n), ARRAY[]::smallint[]) AS keys
      FROM pg_index AS i, unnest(i.indkey::smallint[]) AS n WHERE i.indrelid = a.attrelid AND i.indisprimary
    ) AS k
    WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const REFERENCES: &str = "SELECT a.attname::text,
    CASE WHEN to_regclass(quote_ident(c.relname)) = c.oid THEN c.relname::text ELSE f.confrelid::regclass::text END,
    u.attname::text, f.confdeltype::text, f.confupdtype::text
    FROM pg_constraint AS f JOIN pg_class AS c ON c.oid = f.confrelid
    JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
    JOIN pg_attribute AS u ON u.attrelid = f.confrelid AND u.attnum = f.confkey[1]
    WHERE f.conrelid = $1::bigint::oid AND f.contype = 'f' AND cardinality(f.conkey) = 1 ORDER BY f.conname";

const INDEXES: &str = "SELECT c.relname::text, array_agg(a.attname::text ORDER BY k.place)
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
    CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = $1::bigint::oid AND NOT i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
    AND i.indisvalid AND m.amname = 'btree' AND k.place <= i.indnkeyatts AND c.relname NOT LIKE 'rejoin\\_%'
    GROUP BY c.relname ORDER BY c.relname";

/// Reads the table that `config` names and adds its problems to `problems`. Columns of an unsupported
/// type are added to `left_out`.
pub(super) fn read(
    connection: &Connection,
    config: &TableConfig,
    problems: &mut Vec<SchemaProblem>,
    left_out: &mut Vec<LeftOut>,
) -> Result<Option<FoundTable>, tokio_postgres::Error> {
    let mut problem = |column: Option<&str>, why: String| {
        let column = column.map(str::to_owned);
        problems.push(SchemaProblem { table: config.name.clone(), column, why });
    };
    let Some(row) = connection.first(TABLE, &[&quoted(&config.name)])? else {
        problem(None, String::from("the database has no such table: make it first"));
        return Ok(None);
    };
    let (relation, space, name): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
    let (kind, persistence): (String, String) = (row.get(3), row.get(4));
    if kind != "r" || persistence != "p" || row.get(5) {
        let why = "only an ordinary table is synced: no view, no partition, no heir, none that is \
                   temporary or unlogged";
        problem(None, String::from(why));
        return Ok(None);
    }
    // Locked against changes until the transaction ends.
    let name = format!("{}.{}", quoted(&space), quoted(&name));
    connection.batch(&format!("LOCK TABLE {name} IN ACCESS SHARE MODE"))?;
    let mut columns = columns(connection, relation)?;
    key_problems(&columns, &mut problem);
    config_problems(config, &columns, &mut problem);
    let odd = columns.extract_if(.., |column| column.of.is_none()).map(|column| column.found);
    chosen::unknown_types(config, odd, left_out, &mut problem);
    let found = Found {
        references: references(connection, relation)?,
        indexes: indexes(connection, relation)?,
        without_rowid: false,
        columns: Vec::with_capacity(columns.len()),
    };
    let mut table = FoundTable {
        found,
        relation,
        name,
        types: Vec::new(),
        attnums: Vec::new(),
        bases: Vec::new(),
    };
    let mut kept = Vec::with_capacity(columns.len());
    for Column { found, attnum, of, base, modifier, .. } in columns {
        kept.push((attnum, (base, modifier), of));
        table.found.columns.push(found);
    }
    let stays = table.found.choose(config);
    for ((attnum, base, of), _) in kept.into_iter().zip(stays).filter(|(_, stays)| *stays) {
        table.attnums.push(attnum);
        table.bases.push(base);
        table.types.extend(of);
    }
    Ok(Some(table))
}

/// Problems between two tables: a child's column must be comparable with its parent's key.
pub(super) fn chain_problems<'t>(
    tables: &(impl Iterator<Item = (&'t TableConfig, &'t FoundTable)> + Clone),
    problems: &mut Vec<SchemaProblem>,
) {
    for (config, child) in tables.clone() {
        let Some(parent) = &config.parent else { continue };
        let mut all = tables.clone();
        let Some((_, above)) = all.find(|(other, _)| other.name == parent.table) else {
            continue;
        };
        let place = |table: &FoundTable, is: &dyn Fn(&FoundColumn) -> bool| {
            let at = table.found.columns.iter().position(is)?;
            Some((table.bases.get(at)?.0.clone(), table.types.get(at)?.form))
        };
        let link = place(child, &|column| column.name == parent.column);
        let key = place(above, &|column| column.is_key);
        if let (Some((base, form)), Some((other, other_form))) = (link, key)
            && form != other_form
        {
            problems.push(SchemaProblem {
                table: config.name.clone(),
                column: Some(parent.column.clone()),
                why: format!(
                    "the type '{base}' does not compare with the key of '{}', '{other}': declare it \
                     as that one",
                    parent.table
                ),
            });
        }
    }
}

fn columns(connection: &Connection, relation: i64) -> Result<Vec<Column>, tokio_postgres::Error> {
    let rows = connection.rows(COLUMNS, &[&relation])?;
    let column = |row: &tokio_postgres::Row| {
        let described = Described {
            name: row.get(7),
            built_in: row.get(8),
            class: row.get(9),
            whole: row.get(10),
            deterministic: row.get(11),
        };
        let element = row.get::<_, Option<String>>(13).map(|name| Described {
            name,
            built_in: row.get(14),
            class: row.get(15),
            whole: row.get(16),
            deterministic: true,
        });
        let of = types::of(&described, element.as_ref());
        let (identity, generated): (String, String) = (row.get(5), row.get(6));
        let is_generated = !generated.is_empty();
        let is_key: bool = row.get(17);
        let declared: String = row.get(2);
        let default: Option<String> = row.get::<_, Option<String>>(4).filter(|_| !is_generated);
        let default = default.or_else(|| (!identity.is_empty()).then(|| String::from("identity")));
        Column {
            attnum: i32::try_from(row.get::<_, i64>(0)).unwrap_or_default(),
            base: described.name,
            deterministic: described.deterministic,
            modifier: i32::try_from(row.get::<_, i64>(12)).unwrap_or(-1),
            always: identity == "a",
            found: FoundColumn {
                name: row.get(1),
                not_null: row.get(3),
                portable_default: default
                    .as_deref()
                    .zip(of.as_ref())
                    .and_then(|(text, of)| portable(text, of.form)),
                default,
                is_key,
                generated: None,
                // The expression is PostgreSQL's: devices get the value but cannot write it.
                read_only: (is_generated || identity == "a") && !is_key,
                logical: of.as_ref().map_or("", |of| of.logical),
                declared,
            },
            of,
        }
    };
    Ok(rows.iter().map(column).collect())
}

fn key_problems(columns: &[Column], problem: &mut impl FnMut(Option<&str>, String)) {
    let keys: Vec<&Column> = columns.iter().filter(|column| column.found.is_key).collect();
    let [key] = keys.as_slice() else {
        let why = if keys.is_empty() { "the table has no" } else { "the table has a composite" };
        problem(None, format!("{why} primary key: a synced table needs exactly one key column"));
        return;
    };
    let name = Some(key.found.name.as_str());
    if !matches!(
        key.base.as_str(),
        "text" | "varchar" | "bpchar" | "uuid" | "int2" | "int4" | "int8"
    ) {
        problem(name, String::from("a key is text, a UUID or an integer"));
    }
    if !key.deterministic {
        let why = "a key compares by bytes: devices would take keys for different that this \
                   collation takes for the same";
        problem(name, String::from(why));
    }
    if key.always {
        let why = "devices give keys: declare it GENERATED BY DEFAULT AS IDENTITY";
        problem(name, String::from(why));
    }
}

fn config_problems(
    config: &TableConfig,
    columns: &[Column],
    problem: &mut impl FnMut(Option<&str>, String),
) {
    let find = |name: &str| columns.iter().find(|column| column.found.name == name);
    match find(&config.updated_at_column) {
        _ if config.sync == SyncModel::Log => {}
        None => problem(
            Some(&config.updated_at_column),
            String::from("the table has no column for a row's version: add it, timestamptz"),
        ),
        Some(column) => {
            let name = Some(column.found.name.as_str());
            let is_short = (0..6).contains(&column.modifier);
            match column.base.as_str() {
                "timestamptz" | "timestamp" if is_short => {
                    let why = "a version rises by microseconds: declare it without a precision";
                    problem(name, String::from(why));
                }
                "timestamptz" | "timestamp" | "text" => {}
                "varchar" if column.modifier < 0 || column.modifier >= 31 => {}
                _ => problem(name, String::from("a version is timestamptz, timestamp or text")),
            }
        }
    }
    chosen::problems(
        config,
        &columns.iter().map(|column| &column.found).collect::<Vec<_>>(),
        problem,
    );
}

fn references(
    connection: &Connection,
    relation: i64,
) -> Result<Vec<FoundReference>, tokio_postgres::Error> {
    let word = |letter: String| match letter.as_str() {
        "c" => String::from("CASCADE"),
        "n" => String::from("SET NULL"),
        "r" => String::from("RESTRICT"),
        "d" => String::from("SET DEFAULT"),
        _ => String::from("NO ACTION"),
    };
    let rows = connection.rows(REFERENCES, &[&relation])?;
    let reference = |row: &tokio_postgres::Row| FoundReference {
        column: row.get(0),
        table: row.get(1),
        target: Some(row.get(2)),
        on_delete: word(row.get(3)),
        on_update: word(row.get(4)),
    };
    Ok(rows.iter().map(reference).collect())
}

/// Plain indexes, for the manifest.
fn indexes(
    connection: &Connection,
    relation: i64,
) -> Result<Vec<(String, Vec<String>)>, tokio_postgres::Error> {
    let rows = connection.rows(INDEXES, &[&relation])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
