//! Row level security: the policies as SQL for an operator to apply, a check that they hold, and the user of a transaction.
//!
//! A policy is the engine's own predicate with transaction settings in place of bound parameters,
//! so the two cannot differ. Requests run under a separate role. Triggers run as the role that
//! installed them. No policy may restrict that role, because triggers record only rows that they
//! see.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::access::{AccessParams, allowed};
use super::connection::Connection;
use super::records::kept;
use super::{Known, Shape, types};
use crate::config::RowSecurity;
use crate::error::{Bypass, RowSecurityProblem, ServerError};
use crate::model::{Access, PushPolicy, Table};
use crate::store::FurtherBuckets;
use crate::store::access::Right;
use crate::store::quote::{literal, quoted};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// A policy of a table.
struct Policy {
    name: &'static str,
    of: &'static str,
    /// `USING (...) WITH CHECK (...)`.
    rule: String,
}

impl Policy {
    /// Stored as the policy's comment and compared at start with the expected policy.
    fn mark(&self, role: &str) -> String {
        mark(&format!("{role}\n{}\n{}", self.of, self.rule))
    }
}

/// The comment by which an object of the database with this definition is recognised.
pub(super) fn mark(definition: &str) -> String {
    let hash = Sha256::digest(definition);
    hash.iter().take(8).fold(String::from("rejoin "), |mut mark, byte| {
        let _ = write!(mark, "{byte:02x}");
        mark
    })
}

/// The expressions that replace the parameters of a query.
struct Held {
    owners: &'static str,
    global: &'static str,
    buckets: &'static str,
}

/// The user of the transaction, and the buckets that [`ACT_FOR`] has set. A scalar subquery is
/// evaluated once per statement. It reads settings only. PostgreSQL also evaluates a policy for
/// rows that it then hides. A function or another table here would reveal, through the response
/// time, that another user's row exists.
const READER: Held = Held {
    owners: "(SELECT nullif(current_setting('rejoin.owners', true), ''))::text[]",
    global: "(nullif(current_setting('rejoin.user', true), '') IS NOT NULL)",
    buckets: "(SELECT nullif(current_setting('rejoin.buckets', true), ''))::text[]",
};

/// For writes: the user's own rows, and the buckets that the user may write.
const WRITER: Held = Held {
    owners: "ARRAY[nullif(current_setting('rejoin.user', true), '')]",
    global: "false",
    buckets: "(SELECT nullif(current_setting('rejoin.writes', true), ''))::text[]",
};

/// The engine's predicate with these expressions.
fn predicate(known: &Known, table: &Table, held: &Held, right: Right) -> String {
    // Numbers that no statement has, so that nothing else is replaced.
    let eyes = AccessParams { owners: 900_001, global: 900_002, buckets: 900_003 };
    allowed(known, (table, &quoted(&table.name)), eyes, right)
        .replace("$900001::text[]", held.owners)
        .replace("$900002::boolean", held.global)
        .replace("$900003::text[]", held.buckets)
}

fn policies(known: &Known, table: &Table) -> Vec<Policy> {
    let read = predicate(known, table, &READER, Right::Read);
    let own = match table.push {
        PushPolicy::Disabled | PushPolicy::InsertOnly => String::from("false"),
        PushPolicy::OwnerOnly | PushPolicy::Bucket => {
            predicate(known, table, &WRITER, Right::Write)
        }
    };
    let created = if table.push == PushPolicy::InsertOnly { READER.global } else { &own };
    let policy = |name, of, rule| Policy { name, of, rule };
    vec![
        policy("rejoin_read", "SELECT", format!("USING ({read})")),
        policy("rejoin_create", "INSERT", format!("WITH CHECK ({created})")),
        // Rows that are only read are locked too, and row locks require the UPDATE policy.
        policy("rejoin_change", "UPDATE", format!("USING ({read}) WITH CHECK ({own})")),
        policy("rejoin_delete", "DELETE", format!("USING ({own})")),
    ]
}

/// The script for the operator.
pub(super) fn script(known: &Known, security: &RowSecurity) -> String {
    let role = quoted(&security.role);
    let mut script = format!(
        "-- Row level security for what rejoin-server syncs. Run it as the role of the server's URL, whenever tables are added\n\
         -- or configured otherwise; it may be run again. It makes the role that serves, which needs CREATEROLE, unless it is\n\
         -- there and granted. Other programs write as the owner of the tables, or by policies of their own.\n\
         BEGIN;\nDO $rejoin$ BEGIN\n  \
           IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {word}) THEN\n    CREATE ROLE {role} NOLOGIN;\n  END IF;\n  \
           IF NOT pg_has_role(current_user, {word}, 'MEMBER') THEN\n    GRANT {role} TO CURRENT_USER;\n  END IF;\n\
         END $rejoin$;\nGRANT USAGE ON SCHEMA rejoin TO {role};\n\
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rejoin TO {role};\n\
         ALTER DEFAULT PRIVILEGES IN SCHEMA rejoin GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};\n",
        word = literal(&security.role),
    );
    for (table, Shape { name, .. }) in known.schema.tables.iter().zip(&known.shapes) {
        let schema = name.strip_suffix(&format!(".{}", quoted(&table.name))).unwrap_or("public");
        let _ = write!(
            script,
            "\nGRANT USAGE ON SCHEMA {schema} TO {role};\nGRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {role};\n\
             ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;\nALTER TABLE {name} NO FORCE ROW LEVEL SECURITY;\n"
        );
        for gone in ["rejoin_read", "rejoin_create", "rejoin_change", "rejoin_delete"] {
            let _ = writeln!(script, "DROP POLICY IF EXISTS {gone} ON {name};");
        }
        for policy in policies(known, table) {
            let mark = literal(&policy.mark(&security.role));
            let Policy { name: called, of, rule } = policy;
            let _ = writeln!(
                script,
                "CREATE POLICY {called} ON {name} FOR {of} TO {role} {rule};\nCOMMENT ON POLICY {called} ON {name} IS {mark};"
            );
        }
    }
    script.push_str("COMMIT;\n");
    script
}

/// Checks that the policies restrict the role that serves requests, and no role that the server needs to see every row.
pub(super) fn check(
    connection: &Connection,
    known: &Known,
    security: &RowSecurity,
) -> std::result::Result<(), ServerError> {
    let mut problems = Vec::new();
    let bypasses = check_role(connection, known, security, &mut problems)?;
    if !bypasses {
        for (table, shape) in known.schema.tables.iter().zip(&known.shapes) {
            check_table(connection, known, security, (table, shape), &mut problems)?;
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ServerError::RowSecurity(problems)) }
}

/// Whether the role bypasses all policies, and may.
fn check_role(
    connection: &Connection,
    known: &Known,
    security: &RowSecurity,
    problems: &mut Vec<RowSecurityProblem>,
) -> Result<bool> {
    let role = || security.role.clone();
    let select = "SELECT r.rolsuper, r.rolbypassrls, pg_has_role(session_user, r.oid, 'MEMBER'),
                  EXISTS (SELECT FROM pg_class AS c WHERE c.oid::bigint = ANY($2::bigint[])
                    AND NOT c.relforcerowsecurity AND pg_has_role(r.oid, c.relowner, 'USAGE'))
                  FROM pg_roles AS r WHERE r.rolname = $1";
    let relations: Vec<i64> = known.shapes.iter().map(|shape| shape.relation).collect();
    let Some(row) = connection.first(select, &[&security.role, &relations])? else {
        problems.push(RowSecurityProblem::NoRole { role: role() });
        return Ok(true);
    };
    if !row.get::<_, bool>(2) {
        problems.push(RowSecurityProblem::NotMember { role: role() });
    }
    let ways = [Bypass::Superuser, Bypass::Attribute, Bypass::Owner];
    let Some(how) = ways.into_iter().zip([0_usize, 1, 3]).find(|(_, at)| row.get(*at)) else {
        return Ok(false);
    };
    if security.allow_bypass {
        tracing::warn!(role = security.role, how = %how.0, "row level security does not hold");
    } else {
        problems.push(RowSecurityProblem::Bypasses { role: role(), how: how.0 });
    }
    Ok(true)
}

fn check_table(
    connection: &Connection,
    known: &Known,
    security: &RowSecurity,
    (table, shape): (&Table, &Shape),
    problems: &mut Vec<RowSecurityProblem>,
) -> Result<()> {
    let select = "SELECT c.relrowsecurity, row_security_active(c.oid),
                  has_schema_privilege($2, c.relnamespace, 'USAGE') AND has_table_privilege($2, c.oid, 'SELECT')
                  AND has_table_privilege($2, c.oid, 'INSERT') AND has_table_privilege($2, c.oid, 'UPDATE')
                  AND has_table_privilege($2, c.oid, 'DELETE'),
                  ARRAY(SELECT p.polname || ' ' || coalesce(obj_description(p.oid, 'pg_policy'), '')
                    FROM pg_policy AS p WHERE p.polrelid = c.oid),
                  EXISTS (SELECT FROM pg_policy AS p, unnest(p.polroles) AS r(oid)
                    WHERE p.polrelid = c.oid AND NOT p.polpermissive AND p.polcmd IN ('r', '*')
                    AND CASE WHEN r.oid = 0 THEN true ELSE pg_has_role($2, r.oid, 'USAGE') END)
                  FROM pg_class AS c WHERE c.oid = $1::bigint::oid";
    let Some(row) = connection.first(select, &[&shape.relation, &security.role])? else {
        return Ok(());
    };
    let name = || table.name.clone();
    if !row.get::<_, bool>(0) {
        problems.push(RowSecurityProblem::NotEnabled { table: name() });
        return Ok(());
    }
    if row.get(1) {
        problems.push(RowSecurityProblem::Blinds { table: name() });
    }
    let there: Vec<String> = row.get(3);
    let is_there = |policy: &Policy| {
        there.contains(&format!("{} {}", policy.name, policy.mark(&security.role)))
    };
    if !row.get::<_, bool>(2) || !policies(known, table).iter().all(is_there) {
        problems.push(RowSecurityProblem::Stale { table: name() });
    }
    // Caches keep the pages of these tables for all users.
    if row.get(4) && table.access == Access::Global {
        problems.push(RowSecurityProblem::Restricts { table: name() });
    }
    Ok(())
}

/// Switches to the serving role until the transaction ends.
pub(super) fn taking_role(security: &RowSecurity) -> String {
    format!("SET LOCAL ROLE {}", quoted(&security.role))
}

/// Sets the user of the transaction until its end or the next call, the buckets that the user may
/// read: the user's own, the public one, granted ones, and those of `$2`, and those that the user may
/// write, with those of `$3`. Without a user, no row is visible.
pub(super) const ACT_FOR: &str = "SELECT set_config('rejoin.user', $1::text, true), \
      set_config('rejoin.buckets', held.buckets::text, true), \
      set_config('rejoin.writes', held.writes::text, true), \
      set_config('rejoin.owners', ARRAY(SELECT substr(b, 6) FROM unnest(held.buckets) AS b \
        WHERE starts_with(b COLLATE \"C\", 'user:'))::text, true) \
    FROM (SELECT CASE WHEN $1::text = '' THEN '{}'::text[] \
      ELSE ARRAY['user:' || $1::text, 'global'] || ARRAY(SELECT b.bucket FROM rejoin.bucket AS b \
        WHERE b.user_id = $1::text AND b.reads) \
        || ARRAY(SELECT substr(m, 2) FROM unnest(rejoin.memberships($1::text)) AS m) || $2::text[] END AS buckets, \
      CASE WHEN $1::text = '' THEN '{}'::text[] \
      ELSE ARRAY['user:' || $1::text] || ARRAY(SELECT b.bucket FROM rejoin.bucket AS b \
        WHERE b.user_id = $1::text AND b.writes) \
        || ARRAY(SELECT substr(m, 2) FROM unnest(rejoin.memberships($1::text)) AS m WHERE m LIKE 'b%') || $3::text[] END AS writes OFFSET 0) AS held";

pub(super) fn act_for(connection: &Connection, user: &str, further: &FurtherBuckets) -> Result<()> {
    let [reads, writes] = [&further.reads, &further.writes].map(|buckets| {
        let texts = buckets.iter().map(String::as_str);
        texts.filter(|bucket| types::is_text(bucket)).collect::<Vec<&str>>()
    });
    connection.rows(ACT_FOR, &[&kept(user).as_ref(), &reads, &writes]).map(drop)
}
