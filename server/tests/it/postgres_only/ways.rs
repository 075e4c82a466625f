//! Reads along the index of each access path equal reads by the predicate, row for row and page by
//! page: for all types of keys and owners, and for all users.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use rejoin_protocol::Value;
use rejoin_server::model::{PageLimit, ReadScope};
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::{Reading, Store, read};
use rejoin_server::{PostgresUrl, TableConfig};

use rejoin_postgres::Database;

const NOW: &str = "2026-11-20T08:00:00.000000Z";

/// Each kind of key, owner, bucket column and chain. `mood` and `char` have no array type of their
/// own.
const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('glad', 'sad', '1');
    CREATE FUNCTION readers(table_name text, operation text, new_row jsonb, old_row jsonb) RETURNS SETOF text
    LANGUAGE sql STABLE AS $$ SELECT 'read:' || w FROM unnest(string_to_array(new_row->>'readers', ' ')) AS w $$;
    CREATE TABLE docs(id text PRIMARY KEY, owner_id text, team varchar(20), readers text, updated_at timestamptz,
      deleted_at timestamptz);
    CREATE TABLE notes(id bigint PRIMARY KEY, doc_id text, team text, updated_at timestamptz, deleted_at timestamptz);
    CREATE TABLE marks(id uuid PRIMARY KEY, note_id bigint, updated_at timestamptz);
    CREATE TABLE counts(id integer PRIMARY KEY, owner_id bigint, team integer, readers text, updated_at timestamptz,
      deleted_at timestamptz);
    CREATE TABLE things(id uuid PRIMARY KEY, owner_id uuid, readers text, updated_at timestamptz);
    CREATE TABLE odd(id text PRIMARY KEY, owner_id char(6), team mood, updated_at timestamptz, deleted_at timestamptz);
    CREATE TABLE self(id text PRIMARY KEY, updated_at timestamptz);
    CREATE TABLE news(id text PRIMARY KEY, updated_at timestamptz);
    CREATE TABLE secrets(id text PRIMARY KEY, updated_at timestamptz);
";

fn tables() -> Vec<TableConfig> {
    let open = |table: TableConfig| TableConfig {
        allow_global_read: true,
        global_when_bucket_null: true,
        ..table
    };
    vec![
        open(TableConfig::owned("docs", "owner_id").with_bucket("team", "team:"))
            .with_bucket_function("readers"),
        TableConfig::child("notes", "docs", "doc_id").with_bucket("team", "note:"),
        TableConfig::child("marks", "notes", "note_id"),
        open(TableConfig::owned("counts", "owner_id").with_bucket("team", "t"))
            .with_bucket_function("readers"),
        TableConfig::owned("things", "owner_id").with_bucket_function("readers"),
        open(TableConfig::owned("odd", "owner_id").with_bucket("team", "mood:")),
        TableConfig::owned("self", "id"),
        TableConfig::global("news"),
        TableConfig::new("secrets"),
    ]
}

const OWNERS: [&str; 7] = ["anna", "Anna", "", "\u{fc}mit", "7", "-3", UUID];
const UUID: &str = "00000000-0000-4000-8000-00000000000a";
const TEAMS: [&str; 6] = ["a", "b", "", "7", "glad", "12"];

fn text(random: &mut fastrand::Rng) -> String {
    let letters = ["a", "A", "\u{e4}", "Z", "~", " ", "-", "1", "\u{1f418}", "b", "_"];
    (0..random.usize(1..5)).map(|_| letters[random.usize(0..letters.len())]).collect()
}

fn uuid(random: &mut fastrand::Rng) -> String {
    let number = random.u128(..);
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A random value or NULL, as SQL.
fn one_of(random: &mut fastrand::Rng, values: &[&str]) -> String {
    match random.usize(0..=values.len()) {
        0 => String::from("NULL"),
        at => format!("'{}'", values[at - 1]),
    }
}

fn deleted(random: &mut fastrand::Rng) -> &'static str {
    if random.u8(0..5) == 0 { "now()" } else { "NULL" }
}

fn fill(random: &mut fastrand::Rng) -> String {
    let mut sql = String::new();
    let mut put = |table: &str, columns: &str, values: String| {
        let _ = writeln!(
            sql,
            "INSERT INTO {table}({columns}) VALUES ({values}) ON CONFLICT DO NOTHING;"
        );
    };
    let readers = ["a", "b a", "b c", "c a b"];
    let mut docs = Vec::new();
    for number in -40..60_i64 {
        let id = text(random);
        let row = [one_of(random, &OWNERS), one_of(random, &TEAMS), one_of(random, &readers)];
        put(
            "docs",
            "id, owner_id, team, readers, deleted_at",
            format!("'{id}', {}, {}", row.join(", "), deleted(random)),
        );
        docs.push(id);
        let doc = docs[random.usize(0..docs.len())].clone();
        let team = one_of(random, &TEAMS);
        put(
            "notes",
            "id, doc_id, team, deleted_at",
            format!("{number}, '{doc}', {team}, {}", deleted(random)),
        );
        put("marks", "id, note_id", format!("'{}', {}", uuid(random), random.i64(-41..62)));
        let row = [
            one_of(random, &["7", "-3", "0"]),
            one_of(random, &["7", "12"]),
            one_of(random, &readers),
        ];
        put(
            "counts",
            "id, owner_id, team, readers, deleted_at",
            format!("{}, {}, {}", number * 7, row.join(", "), deleted(random)),
        );
        let other = uuid(random);
        let row = [one_of(random, &[UUID, &other]), one_of(random, &readers)];
        put("things", "id, owner_id, readers", format!("'{}', {}", uuid(random), row.join(", ")));
        let row = [one_of(random, &OWNERS[..4]), one_of(random, &["glad", "sad", "1"])];
        put(
            "odd",
            "id, owner_id, team, deleted_at",
            format!("'{}', {}, {}", text(random), row.join(", "), deleted(random)),
        );
        put("news", "id", format!("'{}'", text(random)));
        put("secrets", "id", format!("'{}'", text(random)));
    }
    for owner in OWNERS {
        put("self", "id", format!("'{owner}'"));
    }
    sql
}

fn some_of(random: &mut fastrand::Rng, all: &[&str]) -> Vec<String> {
    all.iter().filter(|_| random.u8(0..3) == 0).map(|one| (*one).to_owned()).collect()
}

fn scope(random: &mut fastrand::Rng) -> ReadScope {
    let owners = some_of(random, &OWNERS);
    let mut buckets: Vec<String> = owners.iter().map(|owner| format!("user:{owner}")).collect();
    let named = [
        "team:a",
        "team:b",
        "team:7",
        "team:",
        "note:a",
        "note:12",
        "t7",
        "t12",
        "t012",
        "mood:glad",
        "mood:sad",
        "mood:a",
    ];
    buckets.extend(some_of(random, &named));
    buckets.extend(some_of(random, &["read:a", "read:b", "read:c", "read:\0"]));
    if random.u8(0..4) == 0 {
        // More than the maximum number of branches.
        buckets.extend((0..150).map(|number| format!("team:{number}")));
    }
    ReadScope { owners, global: random.bool(), buckets }
}

/// The names of the visible rows of a table by the predicate, in key order.
fn by_predicate(
    reading: &dyn Reading,
    table: &str,
    keys: &[Value],
    scope: &ReadScope,
) -> Vec<String> {
    let schema = reading.schema().clone();
    let table = schema.table(table).unwrap();
    let asked: Vec<Option<Value>> = keys.iter().cloned().map(Some).collect();
    let mut seen = Vec::new();
    let done = reading.images(table, &asked, scope, &mut |image| {
        seen.extend(image.map(|row| row.id(table)));
        true
    });
    done.unwrap();
    seen
}

fn by_pages(
    reading: &dyn Reading,
    table: &str,
    scope: &ReadScope,
    mut limit: impl FnMut() -> PageLimit,
) -> Vec<String> {
    let schema = reading.schema().clone();
    let table = schema.table(table).unwrap();
    let (mut names, mut after) = (Vec::new(), None);
    for _ in 0..10_000 {
        let limit = limit();
        let page = reading.page(table, after.as_ref(), limit, scope).unwrap();
        assert!(page.rows.len() <= limit.rows && (page.ends || !page.rows.is_empty()));
        names.extend(page.rows.iter().map(|row| row.id(table)));
        if page.ends {
            return names;
        }
        after = page.rows.last().map(|row| row.cell(table.key).clone());
    }
    panic!("the pages of {} do not end", table.name);
}

/// All keys of a table, in order.
fn keys(database: &Database, table: &str) -> Vec<Value> {
    let session = database.session();
    let numbers =
        session.one(&format!("SELECT pg_typeof(id)::text ~ 'int' FROM {table} LIMIT 1")) == "t";
    let order = if numbers { "id" } else { "id::text COLLATE \"C\"" };
    let keys = session.lines(&format!("SELECT id::text AS key FROM {table} ORDER BY {order}"));
    let key =
        |key: String| if numbers { Value::Integer(key.parse().unwrap()) } else { Value::from(key) };
    keys.into_iter().map(key).collect()
}

fn compare(
    store: &dyn Store,
    database: &Database,
    scope: &ReadScope,
    random: &mut fastrand::Rng,
) -> usize {
    let mut seen = 0;
    for config in tables() {
        let table = config.name.as_str();
        let keys = keys(database, table);
        read(store, |reading| {
            let expected = by_predicate(reading, table, &keys, scope);
            let rows = random.usize(1..70);
            let limit = || PageLimit { rows, bytes: random.usize(1..20_000) };
            assert_eq!(
                by_pages(reading, table, scope, limit),
                expected,
                "{table} by {rows}, {scope:?}"
            );
            let schema = reading.schema().clone();
            let found = schema.table(table).unwrap();
            assert_eq!(reading.count(found, scope)?, i64::try_from(expected.len()).unwrap());
            let mut each = Vec::new();
            reading.each(found, scope, &mut |row| each.push(row.id(found)))?;
            assert_eq!(each, expected, "{table}, {scope:?}");
            seen += expected.len();
            Ok(())
        })
        .unwrap();
    }
    seen
}

fn store(database: &Database) -> PostgresStore {
    database.session().run(TABLES);
    let url = PostgresUrl::from(database.url.as_str());
    PostgresStore::open(&url, &tables(), Duration::from_secs(5), NOW).unwrap()
}

#[test]
fn access_paths_return_the_rows_of_the_predicate() {
    let database = Database::new();
    let store = store(&database);
    let mut seen = BTreeSet::new();
    for seed in 0..3 {
        let mut random = fastrand::Rng::with_seed(seed);
        database.session().run(&fill(&mut random));
        for _ in 0..12 {
            let scope = scope(&mut random);
            seen.insert(compare(&store, &database, &scope, &mut random));
        }
    }
    // The users saw no, few and many rows; otherwise nothing was compared.
    assert!(seen.len() > 20 && seen.last() > Some(&200), "{seen:?}");
}

/// With more visible parents than are read one by one, all keys are scanned until that finds too
/// few.
#[test]
fn many_visible_parents_give_the_same_child_rows() {
    let database = Database::new();
    let store = store(&database);
    database.session().run(
        "INSERT INTO docs(id, owner_id) SELECT 'd' || n, CASE WHEN n < 1200 THEN 'anna' ELSE 'ben' END
           FROM generate_series(1, 1500) AS n;
         INSERT INTO notes(id, doc_id, team) SELECT n, 'd' || (n % 1500 + 1), CASE WHEN n % 90 = 0 THEN 'x' END
           FROM generate_series(1, 1000) AS n;
         INSERT INTO notes(id, doc_id) SELECT n, CASE WHEN n % 40 = 0 THEN 'd7' ELSE 'd1400' END
           FROM generate_series(1001, 3000) AS n",
    );
    let mut random = fastrand::Rng::with_seed(7);
    for owner in ["anna", "ben"] {
        let owners = vec![owner.to_owned()];
        let scope = ReadScope { owners, global: false, buckets: vec![String::from("note:x")] };
        assert!(compare(&store, &database, &scope, &mut random) > 1_000);
    }
}
