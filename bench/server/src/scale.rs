//! Plans at two sizes: the same rows per user, and many times the users. The cost of a request must
//! not grow with them.
//!
//! Each user has 20 tasks and 80 notes, four below each task. With 100 subscriptions to teams of
//! two tasks, a user sees 220 tasks and 880 notes. A tenth of the tasks was changed once since the
//! server started, so the log has entries of all users.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cluster::{Cluster, Session};
use crate::device::Device;
use crate::plans::{self, Done};
use crate::report::{Goal, Line};
use crate::served::{self, Served};
use crate::speed::{creates, each_alone};

/// A table with at most this many rows may be scanned.
const TINY: u64 = 100;

/// The requests, in this order. Compaction reads every device and deletes a varying amount: it has
/// no goal.
const BOUNDED: [&str; 8] = [
    "register",
    "snapshot, first page",
    "snapshot, middle page",
    "snapshot, last page",
    "empty pull",
    "pull of 10",
    "push of 10",
    "push of 10 again",
];

type Requests = BTreeMap<&'static str, Done>;

pub(crate) fn lines(rows: usize) -> Result<Vec<Line>> {
    let cluster = Cluster::start(true)?;
    let small = requests(&cluster, "small", 10_000.min(rows))?;
    let large = requests(&cluster, "large", rows)?;
    let mut lines = Vec::new();
    for (what, large) in &large {
        let small = small.get(what).with_context(|| format!("{what} was not asked twice"))?;
        for (table, looked) in large.scanned.iter().filter(|(_, looked)| **looked > TINY) {
            eprintln!("{what}: {table} is read from end to end, {looked} rows");
        }
        print_growth(what, small, large);
        let is_bounded = BOUNDED.contains(what);
        lines.push(Line {
            what: format!("buffers: {what}, {rows} rows"),
            against: String::from("10,000 rows"),
            figure: large.buffers as f64 / small.buffers.max(1) as f64,
            unit: "",
            spread: None,
            goal: is_bounded.then_some(Goal::AtMost(1.3)),
            note: format!(
                "{} and {} in {} statements",
                large.buffers, small.buffers, large.statements
            ),
        });
        let scans = large.scanned.values().filter(|looked| **looked > TINY).count();
        lines.push(Line {
            what: format!("scans: {what}, tables of more than {TINY} rows read from end to end"),
            against: String::from("the plans"),
            figure: scans as f64,
            unit: "",
            spread: None,
            goal: is_bounded.then_some(Goal::AtMost(0.0)),
            note: String::new(),
        });
    }
    Ok(lines)
}

/// Prints the statements that grew most.
fn print_growth(what: &str, small: &Done, large: &Done) {
    let mut grown: Vec<_> = large
        .by_text
        .iter()
        .map(|(text, buffers)| (*buffers, small.by_text.get(text).copied().unwrap_or(0), text))
        .filter(|(large, small, _)| large > &(small + small / 4 + 8))
        .collect();
    grown.sort();
    for (large, small, text) in grown.iter().rev().take(4) {
        eprintln!("  {what}: {large} buffers, {small} at 10,000 rows: {text}");
    }
}

/// The rows before the log exists.
fn fill(session: &Session, rows: usize) -> Result<()> {
    let (tasks, users) = (rows / 5, rows / 100);
    let teams = tasks / 2;
    session.run(&format!(
        "INSERT INTO tasks(id, owner_id, team, title, body, rank) SELECT md5(n::text), 'user' || n % {users},
           'team' || n % {teams}, 'task ' || n, repeat(md5(n::text), 3), n FROM generate_series(0, {tasks} - 1) AS n;
         INSERT INTO notes(id, task_id, body) SELECT md5('note ' || n), md5((n / 4)::text), 'a note of the task ' || n / 4
           FROM generate_series(0, {tasks} * 4 - 1) AS n"
    ))
}

/// Users with a device and 100 subscriptions each, none to a team of their own tasks; and a log.
fn users(session: &Session, rows: usize) -> Result<()> {
    let (users, teams) = (rows / 100, rows / 10);
    session.run(&format!(
        "UPDATE tasks SET rank = rank + 1 WHERE rank % 10 = 0; SELECT rejoin.sequence();
         INSERT INTO rejoin.client(user_id, client_id, id, platform, app_version, incarnation, opening, acked_below,
           purged_below, position, last_pull_at, created_at, seen_at)
         SELECT 'user' || n, 'device' || n, 'id' || n, 'bench', '', 0, '', 0, 0, (SELECT position FROM rejoin.head), at, at, at
           FROM generate_series(0, {users} - 1) AS n, to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at;
         ALTER TABLE rejoin.bucket DISABLE TRIGGER USER;
         INSERT INTO rejoin.bucket(user_id, bucket)
           SELECT 'user' || n, 'team:team' || (n + 1 + t * 7919 % ({users} - 1) + {users}::bigint * (t % 10)) % {teams}
           FROM generate_series(0, {users} - 1) AS n, generate_series(1, 100) AS t ORDER BY 1, 2;
         ALTER TABLE rejoin.bucket ENABLE ALWAYS TRIGGER subscribed"
    ))?;
    session.run("VACUUM ANALYZE")
}

/// Waits until the server has ended its transactions, which it does without waiting: the last plan
/// is logged at the end.
fn settle(session: &Session) -> Result<()> {
    const BUSY: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'";
    for _ in 0..1_000 {
        if session.one(BUSY)? == "0" {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("the server does not leave its transactions")
}

/// The activity of each request in a database of this size.
fn requests(cluster: &Cluster, name: &str, rows: usize) -> Result<Requests> {
    eprintln!("{rows} rows ...");
    let url = cluster.database(name)?;
    let session = Session::to(&url)?;
    // The statements that fill the tables are not explained.
    session.run("SET auto_explain.log_min_duration = -1")?;
    served::tables(&session)?;
    fill(&session, rows)?;
    let server = Served::over(&url)?;
    users(&session, rows)?;
    let mut done = Requests::new();
    let mut asked = |what: &'static str, ask: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let before = cluster.log()?.len();
        ask()?;
        settle(&session)?;
        let log = cluster.log()?;
        done.insert(what, plans::read(log.get(before..).unwrap_or_default()));
        Ok(())
    };
    let user = "user7";
    let mut device = Device::new(&server.address, user, "device7")?;
    let (cursors, seen) = device.snapshot(100)?;
    ensure!(seen == 1_100, "{seen} rows are seen: the two sizes would not be asked for the same");
    // Excludes what a connection loads once: catalogues, plans.
    device.pull()?;
    asked("register", &mut || device.register())?;
    let pages = [("first", 0), ("middle", cursors.len() / 2), ("last", cursors.len() - 1)];
    for (which, at) in pages {
        let what = match which {
            "first" => "snapshot, first page",
            "middle" => "snapshot, middle page",
            _ => "snapshot, last page",
        };
        let cursor = cursors.get(at).cloned().flatten();
        asked(what, &mut || device.snapshot_page(cursor.as_ref(), 100).map(drop))?;
    }
    asked("empty pull", &mut || device.pull_page(100).map(drop))?;
    session.run(&format!(
        "UPDATE tasks SET rank = rank + 1 WHERE id IN (SELECT id FROM tasks WHERE owner_id = '{user}' ORDER BY id LIMIT 10)"
    ))?;
    session.run("SELECT rejoin.sequence()")?;
    asked("pull of 10", &mut || {
        let page = device.pull_page(100)?;
        ensure!(page.rows == 10, "{} rows came", page.rows);
        Ok(())
    })?;
    for what in ["push of 10", "push of 10 again"] {
        let (changes, _) = creates(&format!("{name} {what}"), 10);
        let body = device.push_body(&each_alone(changes));
        asked(what, &mut || device.push(&body, 10))?;
    }
    asked("compaction", &mut || server.command("compact"))?;
    eprintln!("  {seen} rows are seen by one user, {} pages", cursors.len());
    Ok(done)
}
