//! The device in Rust: implements the commands of `tests/interop/README.md` with the Rust client.
#![allow(clippy::print_stdout)] // Responses go to standard output.

use anyhow::{Context as _, Result, bail};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rejoin_core::client::HeldTransaction;
use rejoin_core::{
    Actions, Client, Config, Error, PendingMutation, RowBuffer, Services, TokenError,
    TokenProvider, Transaction, Value,
};
use rejoin_story_server::cell;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

/// Sync timeout, after which the device counts as offline.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Open(Open),
    Perform {
        action: String,
        #[serde(default)]
        arguments: serde_json::Map<String, Json>,
    },
    Exec(Statement),
    Transaction {
        steps: Vec<Command>,
    },
    Hold {
        steps: Vec<Command>,
    },
    Rows(Statement),
    Sync,
    Doctor,
    Pending,
    Close,
    Quit,
}

#[derive(Debug, Deserialize)]
struct Open {
    path: String,
    url: String,
    user: String,
    token: String,
    schema: Option<Json>,
    #[serde(default)]
    actions: Vec<Json>,
}

impl Open {
    fn run(self) -> Result<Client> {
        let mut config = Config::new(self.path)
            .server(self.url)
            .user_id(self.user)
            .sync_interval(Duration::from_hours(1))
            .push_debounce(Duration::ZERO);
        config.schema = self.schema.map(serde_json::from_value).transpose()?;
        let tokens = Some(Arc::new(Token(self.token)) as Arc<dyn TokenProvider>);
        let actions = Some(Arc::new(self.actions.iter().try_fold(Actions::new(), add)?));
        let services = Services { tokens, actions, ..Services::default() };
        Ok(Client::open_with(config, services).wait()?)
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Statement {
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
}

impl Statement {
    fn values(&self) -> Result<Vec<Value>> {
        self.params.iter().map(cell::value).collect()
    }
}

/// The open client and its open interactive transaction.
#[derive(Debug, Default)]
struct Device {
    client: Option<Client>,
    held: Option<HeldTransaction>,
}

/// Always returns the same token.
#[derive(Debug)]
struct Token(String);

impl TokenProvider for Token {
    fn token(&self, _refresh: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let token = self.0.clone();
        async move { Ok(Some(token)) }.boxed()
    }
}

fn main() -> Result<()> {
    let mut device = Device::default();
    for line in std::io::stdin().lock().lines() {
        let command = serde_json::from_str::<Command>(&line?);
        let quits = matches!(command, Ok(Command::Quit));
        let response = command.map_err(Into::into).and_then(|command| device.execute(command));
        println!("{}", response.unwrap_or_else(error_json));
        if quits {
            break;
        }
    }
    Ok(())
}

impl Device {
    fn execute(&mut self, command: Command) -> Result<Json> {
        let ok = json!({"ok": true});
        Ok(match command {
            Command::Open(open) => {
                self.client = Some(open.run()?);
                ok
            }
            Command::Perform { action, arguments } => {
                let performed = self.client()?.perform(&action, arguments.into()).wait()?;
                json!({"id": performed.id.map(|id| id.to_string()), "value": performed.value})
            }
            Command::Exec(statement) => {
                json!({"changes": self.client()?.execute(&statement.sql, statement.values()?).wait()?})
            }
            Command::Transaction { steps } => {
                self.client()?.transaction(move |tx| run(tx, &steps)).wait()?;
                ok
            }
            Command::Hold { steps } => {
                let held = self.client()?.begin().wait()?;
                for step in &steps {
                    let Command::Exec(statement) = step else {
                        bail!("{step:?} cannot run in an interactive transaction")
                    };
                    held.execute(&statement.sql, statement.values()?).wait()?;
                }
                self.held = Some(held);
                json!({"held": true})
            }
            Command::Rows(statement) => {
                rows(&self.client()?.query(&statement.sql, statement.values()?).wait()?)?
            }
            Command::Sync => {
                let report = self.client()?.sync().run(Some(SYNC_TIMEOUT)).wait()?;
                json!({
                    "accepted": report.accepted, "parked": report.parked,
                    "pulled": report.pulled, "still_pending": report.still_pending,
                })
            }
            Command::Doctor => {
                serde_json::to_value(self.client()?.sync().doctor(Some(SYNC_TIMEOUT)).wait()?)?
            }
            Command::Pending => {
                let pending = self.client()?.queue().all().wait()?;
                json!({"pending": pending.iter().map(mutation).collect::<Vec<_>>()})
            }
            Command::Close | Command::Quit => {
                self.held = None;
                if let Some(client) = self.client.take() {
                    client.shutdown().wait()?;
                }
                ok
            }
        })
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().context("no database is open")
    }
}

/// Adds an action: one with `runs` is code, which executes the statements of its first run.
fn add(actions: Actions, entry: &Json) -> Result<Actions> {
    let Some(runs) = entry.get("runs") else { return Ok(actions.declare(&entry.to_string())) };
    let name = entry["name"].as_str().context("an action has no name")?;
    let steps: Vec<Statement> = serde_json::from_value(runs[0].clone())?;
    Ok(actions.handler(name, [], move |context, _| {
        for step in &steps {
            let values = step.values().map_err(|error| Error::Internal(error.to_string()))?;
            context.execute(&step.sql, values)?;
        }
        Ok(Json::Null)
    }))
}

/// Runs the statements of a transaction.
fn run(tx: &mut Transaction<'_, '_>, steps: &[Command]) -> Result<(), Error> {
    for step in steps {
        let Command::Exec(statement) = step else {
            return Err(Error::Internal(format!("{step:?}")));
        };
        let values = statement.values().map_err(|error| Error::Internal(error.to_string()))?;
        tx.execute(&statement.sql, values)?;
    }
    Ok(())
}

fn rows(buffer: &RowBuffer) -> Result<Json> {
    let row = |row: rejoin_core::Row<'_>| -> Result<Vec<Json>> {
        row.cells().map(|found| Ok(cell::exact(&found?.to_value()))).collect()
    };
    let rows = buffer.iter().map(row).collect::<Result<Vec<_>>>()?;
    Ok(json!({"columns": buffer.columns(), "rows": rows}))
}

fn mutation(pending: &PendingMutation) -> Json {
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let rows = pending.rows.iter().map(|row| {
        let columns = row.columns.iter().map(|column| {
            json!({"name": column.name, "old": cell::exact(&column.old), "new": cell::exact(&column.new)})
        });
        json!({
            "table": row.table, "key": cell::exact(&row.key), "operation": name(&row.operation),
            "columns": columns.collect::<Vec<_>>(),
        })
    });
    json!({
        "id": pending.id.to_string(), "state": name(&pending.state),
        "reason": pending.reason.map(|reason| name(&reason)), "rows": rows.collect::<Vec<_>>(),
    })
}

/// The error, with the kind that it has in the other languages.
fn error_json(error: anyhow::Error) -> Json {
    let reason = format!("{error:#}");
    let kind = error.downcast::<Error>().map_or("Other".to_owned(), |error| {
        let named = format!("{:?}", rejoin_ffi::RejoinError::from(error));
        named.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
    });
    json!({"error": kind, "reason": reason})
}
