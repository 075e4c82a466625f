//! `rejoin-conformance` runs the requests of a plain v0.1.2 client against any sync server over
//! HTTP.
//!
//! It needs only credentials: it reads the tables from `/sync/schema`. At the end it deletes the
//! rows that it created, as a device deletes them.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

mod bench;
mod client;
mod expect;
mod news;
mod report;
mod scenarios;
mod tables;

use bench::Bench;
use client::Client;
use expect::Ended;
use report::{Outcome, Report};
use scenarios::Scenario;
use tables::Wishes;

/// Which server to test, as which users, and what to report.
#[derive(Debug, clap::Parser)]
#[command(name = "rejoin-conformance", version)]
pub struct Options {
    /// The server as `http://host:port`, with a path prefix if it has one.
    #[arg(long)]
    url: String,
    /// Bearer token of a user. Given twice, there are two users, and neither may see the other's
    /// rows.
    #[arg(long, required_unless_present = "header")]
    token: Vec<String>,
    /// Header that identifies a user, such as `X-User-ID: anna`. Given twice, there are two users.
    #[arg(long, value_name = "NAME: VALUE", conflicts_with = "token")]
    header: Vec<String>,
    /// The table to write to [default: the first that accepts a row].
    #[arg(long)]
    table: Option<String>,
    /// A required value of a column in created rows, as text or JSON; repeatable.
    #[arg(long, value_name = "COLUMN=VALUE")]
    value: Vec<String>,
    /// A column that is never written; repeatable.
    #[arg(long, value_name = "COLUMN")]
    leave: Vec<String>,
    /// Runs only scenarios whose names begin with this; repeatable.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Seconds that a change may take to appear in a pull.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The header that identifies each user.
    fn users(&self) -> anyhow::Result<Vec<(String, String)>> {
        let of_token =
            |token: &String| (String::from("authorization"), format!("Bearer {}", token.trim()));
        let mut users: Vec<(String, String)> = self.token.iter().map(of_token).collect();
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("--header {header}: expected `Name: value`"))?;
            users.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(users)
    }

    fn wishes(&self) -> anyhow::Result<Wishes> {
        let mut values = Vec::new();
        for value in &self.value {
            let (column, text) = value
                .split_once('=')
                .with_context(|| format!("--value {value}: expected `column=value`"))?;
            let json = serde_json::from_str(text).unwrap_or_else(|_| text.into());
            values.push((column.to_owned(), json));
        }
        Ok(Wishes { table: self.table.clone(), values, leave: self.leave.clone() })
    }

    fn asks_for(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| scenario.name.starts_with(start))
    }
}

/// Runs the scenarios and writes the results to `out`, as text or, with `--json`, as one object.
///
/// # Errors
/// A scenario failed, the server is unreachable, no table is suitable, or an option is malformed.
pub fn run(options: &Options, out: &mut dyn Write) -> anyhow::Result<()> {
    let chosen: Vec<&Scenario> =
        scenarios::all().filter(|scenario| options.asks_for(scenario)).collect();
    anyhow::ensure!(!chosen.is_empty(), "no scenario has a name that begins so");
    let client = Client::to(&options.url)?;
    let patience = Duration::from_secs(options.patience);
    let mut bench = Bench::new(client, options.users()?, patience);
    tables::find(&mut bench, &options.wishes()?).map_err(|ended| bench.cannot_begin(ended))?;
    let mut report = Report::new(&options.url, &bench.place.name, options.json, out)?;
    for scenario in chosen {
        bench.begin();
        let outcome = match (scenario.tell)(&mut bench) {
            Ok(()) => Outcome::Passed,
            Err(Ended::Skipped(why)) => Outcome::NotApplicable(why),
            Err(Ended::Failed(why)) => Outcome::Failed(why, bench.exchanges().to_vec()),
        };
        report.add(scenario, outcome)?;
    }
    report.left = bench.tidy();
    report.close()
}
