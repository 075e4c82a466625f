//! Locks on keys, whether or not there is a row with the key.
//!
//! A row that is absent, deleted softly or invisible to the user cannot be locked in its table. An advisory lock on its key takes the
//! place of the row lock. It holds among the pushes of all nodes until the transaction ends; other programs do not take it.
//! The keys of a push are locked in one order, so that two pushes do not deadlock on them.

use super::connection::Connection;
use super::records::kept;
use crate::model::KeyLock;

/// A key is one of 4,096 numbers, since the lock table of PostgreSQL has a fixed size. Two keys with one number wait for each
/// other without need. Case is ignored: a column may compare its keys without it.
const LOCK: &str = "SELECT CASE WHEN is_written THEN pg_advisory_xact_lock(1380600400, number)
      ELSE pg_advisory_xact_lock_shared(1380600400, number) END
    FROM (SELECT hashtext(lower(k.name)) & 4095 AS number, bool_or(k.is_written) AS is_written
      FROM unnest($1::text[], $2::boolean[]) AS k(name, is_written) GROUP BY 1 ORDER BY 1) AS numbers";

pub(super) fn lock(connection: &Connection, keys: &[KeyLock]) -> Result<(), tokio_postgres::Error> {
    let name = |key: &KeyLock| kept(&format!("{} {}", key.table, key.id)).into_owned();
    let names: Vec<String> = keys.iter().map(name).collect();
    let written: Vec<bool> = keys.iter().map(|key| key.is_written).collect();
    connection.rows(LOCK, &[&names, &written]).map(drop)
}
