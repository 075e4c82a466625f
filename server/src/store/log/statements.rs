//! The statements of the log's tables, the same for both databases except for the tables' prefix.
//!
//! Parameters are `$1`, `$2` and so on, first used in this order: SQLite numbers them by their first
//! use.

/// The number of links from a key on that are read together.
pub(super) const AHEAD: usize = 4;

/// The statements of one database.
#[derive(Debug)]
pub(in crate::store) struct Statements {
    /// The row model's epoch.
    pub(super) epoch: &'static str,
    pub(super) facts: &'static str,
    pub(super) set_facts: &'static str,
    pub(super) entry: &'static str,
    pub(super) put_entry: &'static str,
    pub(super) remove_entry: &'static str,
    pub(super) by_key: &'static str,
    pub(super) by_position: &'static str,
    pub(super) base: &'static str,
    /// The row at the horizon with its name.
    pub(super) named_base: &'static str,
    /// Any row of a table that is in the log.
    pub(super) any_row: &'static str,
    pub(super) put_base: &'static str,
    pub(super) remove_base: &'static str,
    pub(super) base_after: &'static str,
    pub(super) link: &'static str,
    pub(super) link_before: &'static str,
    pub(super) link_after: &'static str,
    /// The link before a key, and the first [`AHEAD`] from it on.
    pub(super) links_around: &'static str,
    /// The keys of the first links of a row.
    pub(super) link_keys: &'static str,
    /// A link with its row and key.
    pub(super) named_link: &'static str,
    pub(super) put_link: &'static str,
    pub(super) remove_link: &'static str,
    pub(super) linked_rows: &'static str,
    /// `$1` stands for a list.
    pub(super) stored_among: &'static str,
    pub(super) final_author: &'static str,
    pub(super) put_final: &'static str,
    pub(super) author: &'static str,
    pub(super) put_author: &'static str,
    pub(super) remove_author: &'static str,
    pub(super) remove_finals: &'static str,
    pub(super) membership: &'static str,
    pub(super) put_membership: &'static str,
}

macro_rules! statements {
    ($prefix:literal, $meta:literal) => {
        Statements {
            epoch: concat!("SELECT value FROM ", $meta, " WHERE key = 'epoch'"),
            facts: concat!("SELECT body FROM ", $prefix, "facts"),
            set_facts: concat!(
                "INSERT INTO ",
                $prefix,
                "facts(one, body) VALUES (1, $1)
                 ON CONFLICT(one) DO UPDATE SET body = excluded.body"
            ),
            entry: concat!("SELECT body FROM ", $prefix, "entry WHERE id = $1"),
            put_entry: concat!(
                "INSERT INTO ",
                $prefix,
                "entry(id, key, position, author, body)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT(id) DO UPDATE SET key = excluded.key,
                 position = excluded.position, author = excluded.author, body = excluded.body"
            ),
            remove_entry: concat!("DELETE FROM ", $prefix, "entry WHERE id = $1"),
            by_key: concat!(
                "SELECT id FROM ",
                $prefix,
                "entry WHERE key > $1 ORDER BY key LIMIT $2"
            ),
            by_position: concat!(
                "SELECT id FROM ",
                $prefix,
                "entry WHERE position > $1 ORDER BY position LIMIT $2"
            ),
            base: concat!(
                "SELECT body FROM ",
                $prefix,
                "base WHERE table_name = $1 AND row_id = $2"
            ),
            named_base: concat!(
                "SELECT table_name, row_id, body FROM ",
                $prefix,
                "base WHERE table_name = $1 AND row_id = $2"
            ),
            any_row: concat!(
                "SELECT row_id FROM ",
                $prefix,
                "base WHERE table_name = $1 UNION ALL SELECT row_id FROM ",
                $prefix,
                "link WHERE table_name = $1 LIMIT 1"
            ),
            put_base: concat!(
                "INSERT INTO ",
                $prefix,
                "base(table_name, row_id, body) VALUES ($1, $2, $3)
                 ON CONFLICT(table_name, row_id) DO UPDATE SET body = excluded.body"
            ),
            remove_base: concat!(
                "DELETE FROM ",
                $prefix,
                "base WHERE table_name = $1 AND row_id = $2"
            ),
            base_after: concat!(
                "SELECT table_name, row_id, body FROM ",
                $prefix,
                "base
                 WHERE (table_name, row_id) > ($1, $2) ORDER BY table_name, row_id LIMIT $3"
            ),
            link: concat!(
                "SELECT body FROM ",
                $prefix,
                "link
                 WHERE table_name = $1 AND row_id = $2 AND key = $3"
            ),
            link_before: concat!(
                "SELECT body FROM ",
                $prefix,
                "link
                 WHERE table_name = $1 AND row_id = $2 AND key < $3 ORDER BY key DESC LIMIT 1"
            ),
            link_after: concat!(
                "SELECT key, body FROM ",
                $prefix,
                "link
                 WHERE table_name = $1 AND row_id = $2 AND key > $3 ORDER BY key LIMIT 1"
            ),
            links_around: concat!(
                "SELECT table_name, row_id, key, body FROM (SELECT * FROM ",
                $prefix,
                "link WHERE table_name = $1 AND row_id = $2 AND key < $3
                 ORDER BY key DESC LIMIT 1) AS before
                 UNION ALL SELECT table_name, row_id, key, body FROM (SELECT * FROM ",
                $prefix,
                "link WHERE table_name = $1 AND row_id = $2 AND key >= $3
                 ORDER BY key LIMIT 4) AS from_key"
            ),
            link_keys: concat!(
                "SELECT key FROM ",
                $prefix,
                "link WHERE table_name = $1 AND row_id = $2 ORDER BY key LIMIT $3"
            ),
            named_link: concat!(
                "SELECT table_name, row_id, key, body FROM ",
                $prefix,
                "link WHERE table_name = $1 AND row_id = $2 AND key = $3"
            ),
            put_link: concat!(
                "INSERT INTO ",
                $prefix,
                "link(table_name, row_id, key, body) VALUES ($1, $2, $3, $4)
                 ON CONFLICT(table_name, row_id, key) DO UPDATE SET body = excluded.body"
            ),
            remove_link: concat!(
                "DELETE FROM ",
                $prefix,
                "link WHERE table_name = $1 AND row_id = $2 AND key = $3"
            ),
            linked_rows: concat!(
                "SELECT DISTINCT table_name, row_id FROM ",
                $prefix,
                "link ORDER BY table_name, row_id"
            ),
            stored_among: concat!(
                "SELECT id FROM ",
                $prefix,
                "entry WHERE id IN ($1) UNION ALL SELECT id FROM ",
                $prefix,
                "final WHERE id IN ($1)"
            ),
            final_author: concat!("SELECT author FROM ", $prefix, "final WHERE id = $1"),
            put_final: concat!(
                "INSERT INTO ",
                $prefix,
                "final(id, author) VALUES ($1, $2)
                 ON CONFLICT(id) DO UPDATE SET author = excluded.author"
            ),
            author: concat!("SELECT body FROM ", $prefix, "author WHERE id = $1"),
            put_author: concat!(
                "INSERT INTO ",
                $prefix,
                "author(id, body) VALUES ($1, $2)
                 ON CONFLICT(id) DO UPDATE SET body = excluded.body"
            ),
            remove_author: concat!("DELETE FROM ", $prefix, "author WHERE id = $1"),
            remove_finals: concat!("DELETE FROM ", $prefix, "final WHERE author = $1"),
            membership: concat!("SELECT body FROM ", $prefix, "member WHERE user_id = $1"),
            put_membership: concat!(
                "INSERT INTO ",
                $prefix,
                "member(user_id, body) VALUES ($1, $2)
                 ON CONFLICT(user_id) DO UPDATE SET body = excluded.body"
            ),
        }
    };
}

pub(in crate::store) static SQLITE: Statements = statements!("rejoin_log_", "rejoin_meta");
pub(in crate::store) static POSTGRES: Statements = statements!("rejoin.log_", "rejoin.meta");
