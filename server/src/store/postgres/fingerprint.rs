//! Whether the application's tables are still those that were read: a fingerprint of the catalogue.

use tokio_postgres::{Error, Row};

use super::connection::Connection;

/// A fingerprint of the tables as transactions see them: it changes with any column, default, rule,
/// index, trigger or partition. It consists of the transaction ids that wrote the catalogue rows; every
/// request computes it, so nothing is converted to text. Returns one row, even if no table exists.
pub(super) const FINGERPRINT: &str = "WITH tables(oids, line) AS MATERIALIZED (
      SELECT array_agg(to_regclass(name)::oid), string_agg(coalesce(to_regclass(name)::oid::text, '-'), ' ')
      FROM unnest($1::text[]) AS name)
    SELECT concat_ws(' ', line, (SELECT sum(part) FROM (
      SELECT hashint8extended(a.attnum, hashoidextended(a.attrelid, a.xmin::text::bigint)) AS part
      FROM pg_attribute AS a WHERE a.attrelid = ANY((SELECT oids FROM tables)::oid[]) AND a.attnum > 0
      UNION ALL SELECT hashoidextended(d.oid, d.xmin::text::bigint)
      FROM pg_attrdef AS d WHERE d.adrelid = ANY((SELECT oids FROM tables)::oid[])
      UNION ALL SELECT hashoidextended(c.oid, c.xmin::text::bigint)
      FROM pg_constraint AS c WHERE c.conrelid = ANY((SELECT oids FROM tables)::oid[])
      UNION ALL SELECT hashoidextended(i.indexrelid, i.xmin::text::bigint)
      FROM pg_index AS i WHERE i.indrelid = ANY((SELECT oids FROM tables)::oid[])
      UNION ALL SELECT hashoidextended(g.oid, g.xmin::text::bigint)
      FROM pg_trigger AS g WHERE g.tgrelid = ANY((SELECT oids FROM tables)::oid[])
      UNION ALL SELECT hashoidextended(r.oid, r.xmin::text::bigint)
      FROM pg_rewrite AS r WHERE r.ev_class = ANY((SELECT oids FROM tables)::oid[])
      UNION ALL SELECT hashoidextended(e.oid, e.xmin::text::bigint) FROM pg_enum AS e WHERE e.enumtypid IN (
        SELECT coalesce(nullif(t.typelem, 0), nullif(t.typbasetype, 0), t.oid) FROM pg_attribute AS a
        JOIN pg_type AS t ON t.oid = a.atttypid WHERE a.attrelid = ANY((SELECT oids FROM tables)::oid[])
        AND a.attnum > 0 AND a.atttypid >= 16384)
      UNION ALL SELECT hashoidextended(p.oid, ascii(p.relpersistence))
      FROM pg_class AS p WHERE p.oid = ANY((SELECT oids FROM tables)::oid[])
      UNION ALL SELECT hashoidextended(h.inhrelid, h.xmin::text::bigint)
      FROM pg_inherits AS h WHERE h.inhparent = ANY((SELECT oids FROM tables)::oid[])
    ) AS parts)) FROM tables";

/// The fingerprint of the tables as this connection sees them.
pub(super) fn fingerprint(connection: &Connection, names: &[String]) -> Result<String, Error> {
    Ok(connection.first(FINGERPRINT, &[&names])?.map_or(String::new(), |row| row.get(0)))
}

/// Whether the last column of the first row is this fingerprint.
pub(super) fn is_of(rows: &[Row], fingerprint: &str) -> bool {
    rows.first().is_some_and(|row| row.get::<_, &str>(row.len() - 1) == fingerprint)
}
