//! Actions of the scenarios: they read and write several tables, branch, create rows, and refuse.

use fastrand::Rng;
use serde_json::{Value as Json, json};

use crate::engine::action::{Actions, Arguments, Context, Parameter, ParameterType};
use crate::error::Result;

/// Code of an action: takes a key, another one, and a number.
type Program = fn(&mut Context<'_, '_>, &Arguments) -> Result<()>;

const PROGRAMS: [(&str, Program); 13] = [
    ("count", |c, a| {
        write(c, a, "UPDATE u SET n = (SELECT count(*) FROM p WHERE a > :n) WHERE id = :k")
    }),
    ("raise", |c, a| write(c, a, "UPDATE p SET a = (a + 1) % 7 WHERE a BETWEEN 0 AND :n")),
    ("clear", |c, a| write(c, a, "DELETE FROM p WHERE a = :n")),
    ("ignore", |c, a| write(c, a, "INSERT OR IGNORE INTO u (id, name, n) VALUES (:k, :j, :n)")),
    ("child", |c, a| write(c, a, "INSERT INTO c (id, pid, v) VALUES (:k, :j, :n)")),
    ("blind", |c, a| write(c, a, "UPDATE c SET v = :n")),
    ("empty", |c, a| write(c, a, "DELETE FROM u")),
    ("copy", |c, a| write(c, a, "UPDATE c SET v = :n WHERE pid = :k")),
    ("hide", |c, a| write(c, a, "UPDATE p SET b = :n WHERE id = :k")),
    ("point", |c, a| {
        let at = a_of(c, a)?.unwrap_or(0).rem_euclid(4);
        c.execute("UPDATE u SET n = ? WHERE id = 'k' || ?", (a.value("n"), at)).map(drop)
    }),
    ("branch", branch),
    ("guard", |c, a| {
        if a_of(c, a)?.unwrap_or(0) < 2 {
            return Err(c.refuse("too few"));
        }
        write(c, a, "UPDATE p SET a = a - 2 WHERE id = :k")
    }),
    ("make", |c, a| {
        let id = c.row_id("u", &json!({"name": a.json("j")}))?;
        let row = (id, a.value("j"), a.value("n"));
        c.execute("INSERT INTO u (id, name, n) VALUES (?, ?, ?)", row).map(drop)
    }),
];

/// Writes one of two tables, depending on what it reads.
fn branch(context: &mut Context<'_, '_>, arguments: &Arguments) -> Result<()> {
    if a_of(context, arguments)?.unwrap_or(0) % 2 == 0 {
        write(context, arguments, "UPDATE c SET v = :n WHERE id = :j")
    } else {
        write(context, arguments, "UPDATE u SET n = :n WHERE id = :j")
    }
}

fn a_of(context: &mut Context<'_, '_>, arguments: &Arguments) -> Result<Option<i64>> {
    let row = context.query_one("SELECT a FROM p WHERE id = ?", [arguments.value("k")])?;
    row.map_or(Ok(None), |row| row.get(0))
}

fn write(context: &mut Context<'_, '_>, arguments: &Arguments, sql: &str) -> Result<()> {
    let mut sql = sql.to_owned();
    let mut params = Vec::new();
    // By position, in the order of the text.
    while let Some(at) = sql.find(':') {
        params.push(arguments.value(&sql[at + 1..at + 2]));
        sql.replace_range(at..at + 2, "?");
    }
    context.execute(&sql, params).map(drop)
}

/// The actions, registered.
pub(super) fn actions() -> Actions {
    let parameters = || {
        [("k", ParameterType::Text), ("j", ParameterType::Text), ("n", ParameterType::Integer)]
            .map(|(name, kind)| Parameter::new(name, kind))
    };
    let register = |actions: Actions, (name, program): (&str, Program)| {
        actions.handler(name, parameters(), move |context, arguments| {
            program(context, arguments).map(|()| Json::Null)
        })
    };
    PROGRAMS.into_iter().fold(Actions::new().identity("u", &["name"]), register)
}

/// A random action, with its arguments.
pub(super) fn any(rng: &mut Rng) -> (String, Json) {
    let (name, _) = PROGRAMS[rng.usize(..PROGRAMS.len())];
    let key = |rng: &mut Rng| format!("k{}", rng.u8(..5));
    (name.to_owned(), json!({"k": key(rng), "j": key(rng), "n": rng.u8(..7)}))
}

/// A random action whose writes depend on the row that it reads.
pub(super) fn turning(rng: &mut Rng, key: &str, other: &str) -> (String, Json) {
    let name = if rng.u8(..3) == 0 { "guard" } else { "branch" };
    (name.to_owned(), json!({"k": key, "j": other, "n": rng.u8(..7)}))
}
