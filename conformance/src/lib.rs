//! `rejoin-conformance`: runs the requests of a plain v0.1.2 client against any sync server over HTTP, in named scenarios.
//!
//! It uses only what the server answers: users are given as credentials, tables are read from `/sync/schema`. Rows that it
//! creates are deleted at the end, as a device deletes them.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

mod bench;
mod client;
mod expect;
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
    /// The server: `http://host:port`, and the path that its routes are below, if there is one.
    #[arg(long)]
    url: String,
    /// Who asks, by a bearer token. Given twice it is two users, and nobody may meet the other's rows.
    #[arg(long, required_unless_present = "header")]
    token: Vec<String>,
    /// Who asks, by a header such as `X-User-ID: anna`. Given twice it is two users.
    #[arg(long, value_name = "NAME: VALUE", conflicts_with = "token")]
    header: Vec<String>,
    /// The table to write in; else the first that takes a row.
    #[arg(long)]
    table: Option<String>,
    /// What a column needs in a row that is made, as text or JSON; may be repeated.
    #[arg(long, value_name = "COLUMN=VALUE")]
    value: Vec<String>,
    /// A column that is left alone; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    leave: Vec<String>,
    /// Only scenarios whose names begin so; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How many seconds a change may take until it can be pulled.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// Prints one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The header that says who asks, for each user.
    fn users(&self) -> anyhow::Result<Vec<(String, String)>> {
        let of_token =
            |token: &String| (String::from("authorization"), format!("Bearer {}", token.trim()));
        let mut users: Vec<(String, String)> = self.token.iter().map(of_token).collect();
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("--header {header}: it is written `Name: value`"))?;
            users.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(users)
    }

    fn wishes(&self) -> anyhow::Result<Wishes> {
        let mut values = Vec::new();
        for value in &self.value {
            let (column, text) = value
                .split_once('=')
                .with_context(|| format!("--value {value}: it is written `column=value`"))?;
            let json = serde_json::from_str(text).unwrap_or_else(|_| text.into());
            values.push((column.to_owned(), json));
        }
        Ok(Wishes { table: self.table.clone(), values, leave: self.leave.clone() })
    }

    fn asks_for(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| scenario.name.starts_with(start))
    }
}

/// Runs the scenarios and writes the result of each to `out`, as text or, with `--json`, as one object.
///
/// # Errors
/// A scenario failed, the server cannot be reached, no table fits, or an option is malformed.
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
