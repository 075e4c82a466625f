//! What memberships and subscriptions cost: an idle pull of a user with 100 memberships against one of
//! a user with none, and a subscription to one of 10,000 projects against one of 100.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, Session};
use crate::device::{Device, uuid};
use crate::measure::ratio;
use crate::report::{Goal, Line};
use crate::served::{self, Served};
use crate::speed::line;

/// Rows of each project.
const REPORTS: usize = 100;
/// At most 1.2 times as long.
const GOAL: Option<Goal> = Some(Goal::AtLeast(1.0 / 1.2));
/// Requests that are timed together.
const BATCH: usize = 50;

pub(crate) fn lines(cluster: &Cluster, rounds: usize) -> Result<Vec<Line>> {
    let [few, many] = [("few", 100), ("many", 10_000)].map(|(name, projects)| {
        let url = cluster.database(name)?;
        fill(&Session::to(&url)?, projects)?;
        Served::over_members(&url)
    });
    let (few, many) = (few?, many?);
    Ok(vec![idle_pulls(&many, rounds)?, subscriptions(&few, &many, rounds)?])
}

/// The user `member` has 100 memberships, among 10,000 of other users; `user` is in every project.
fn fill(session: &Session, projects: usize) -> Result<()> {
    served::tables(session)?;
    session.run(&format!(
        "CREATE TABLE member(user_id text, team text, PRIMARY KEY (user_id, team));
         CREATE TABLE project_member(user_id text, project text, PRIMARY KEY (user_id, project));
         CREATE TABLE reports(id text PRIMARY KEY, project text, body text, updated_at timestamptz, deleted_at timestamptz);
         INSERT INTO member SELECT 'user' || n / 10, 'team' || n FROM generate_series(1, 10000) AS n;
         INSERT INTO member SELECT 'member', 'team' || n * 100 FROM generate_series(1, 100) AS n;
         INSERT INTO project_member SELECT 'reader', n::text FROM generate_series(1, {projects}) AS n;
         INSERT INTO reports(id, project, body)
           SELECT md5(n::text), (1 + n % {projects})::text, repeat(md5(n::text), 3)
           FROM generate_series(1, {projects} * {REPORTS}) AS n;
         ANALYZE"
    ))
}

fn idle_pulls(server: &Served, rounds: usize) -> Result<Line> {
    let what = "idle pull, 100 memberships";
    eprintln!("{what} ...");
    let (mut with, mut without) = (idle(server, "member")?, idle(server, "guest")?);
    let pulls = |device: &mut Device| {
        let started = Instant::now();
        for _ in 0..BATCH {
            ensure!(device.pull_page(1_000)?.rows == 0, "the pull is not idle");
        }
        Ok(started.elapsed())
    };
    let ratio = ratio(rounds, BATCH, &mut || pulls(&mut with), &mut || pulls(&mut without))?;
    Ok(line(what, "without a membership", &ratio, "pull", GOAL))
}

/// A device that has all rows of its user.
fn idle(server: &Served, user: &str) -> Result<Device> {
    let mut device = Device::new(&server.address, user, &uuid(user))?;
    device.snapshot(1_000)?;
    device.pull()?;
    Ok(device)
}

fn subscriptions(few: &Served, many: &Served, rounds: usize) -> Result<Line> {
    let what = "subscription to one of 10,000 projects";
    eprintln!("{what} ...");
    let (mut of_many, mut of_few) = (idle(many, "reader")?, idle(few, "reader")?);
    let subscribe = |device: &mut Device, projects: usize| {
        let started = Instant::now();
        for number in 0..BATCH {
            let project = 1 + number * 37 % projects;
            device.http.subscriptions =
                format!(r#"[{{"stream":"project","parameters":{{"project":"{project}"}}}}]"#);
            // Does not move the cursor: the next subscription is again the only one.
            let page = device.pull_page(1_000)?;
            ensure!(page.rows == REPORTS, "{} rows of the project came", page.rows);
        }
        Ok(started.elapsed())
    };
    let (ours, reference) =
        (&mut || subscribe(&mut of_many, 10_000), &mut || subscribe(&mut of_few, 100));
    let ratio = ratio(rounds, BATCH, ours, reference)?;
    Ok(line(what, "one of 100", &ratio, "subscription", GOAL))
}
