//! The device in Rust: the orders of `tests/interop/README.md` on the client as an app in Rust holds it.
#![allow(clippy::print_stdout)] // Its standard output is how it answers.

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rejoin_core::client::HeldTransaction;
use rejoin_core::{
    Client, Config, Error, MutationState, ParkReason, PatchKind, Pending, RowBuffer, Services,
    TokenError, TokenProvider, Value,
};
use rejoin_story_server::cell;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

/// How long a sync may take before it counts as offline.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Order {
    Open { path: String, url: String, user: String, token: String, schema: Option<Json> },
    Exec(Statement),
    Batch { statements: Vec<Statement> },
    Fail { statements: Vec<Statement> },
    Hold { statements: Vec<Statement> },
    Rows(Statement),
    Sync,
    Pending,
    Close,
    Quit,
}

#[derive(Debug, Deserialize)]
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

/// What is open, and what is held in it.
#[derive(Debug, Default)]
struct Device {
    client: Option<Client>,
    held: Option<HeldTransaction>,
}

/// Answers the same token each time.
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
        let order = serde_json::from_str::<Order>(&line?);
        let quits = matches!(order, Ok(Order::Quit));
        let answer = order.map_err(Into::into).and_then(|order| device.carry_out(order));
        println!("{}", answer.unwrap_or_else(told));
        if quits {
            break;
        }
    }
    Ok(())
}

impl Device {
    fn carry_out(&mut self, order: Order) -> Result<Json> {
        match order {
            Order::Open { path, url, user, token, schema } => {
                self.open(path, url, user, token, schema)
            }
            Order::Exec(statement) => {
                let changes = self.client()?.execute(&statement.sql, statement.values()?).wait()?;
                Ok(json!({"changes": changes}))
            }
            Order::Batch { statements } => Ok(json!({"changes": self.batch(statements)?})),
            Order::Fail { statements } => self.fail(statements),
            Order::Hold { statements } => self.hold(&statements),
            Order::Rows(statement) => {
                rows(&self.client()?.query(&statement.sql, statement.values()?).wait()?)
            }
            Order::Sync => {
                let report = self.client()?.sync_and_wait(Some(PATIENCE)).wait()?;
                Ok(json!({
                    "accepted": report.accepted, "parked": report.parked,
                    "pulled": report.pulled, "still_pending": report.still_pending,
                }))
            }
            Order::Pending => {
                let pending = self.client()?.pending().wait()?;
                Ok(json!({"pending": pending.iter().map(mutation).collect::<Vec<_>>()}))
            }
            Order::Close | Order::Quit => self.close(),
        }
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().context("nothing is open")
    }

    fn open(
        &mut self,
        path: String,
        url: String,
        user: String,
        token: String,
        schema: Option<Json>,
    ) -> Result<Json> {
        let config = Config {
            server_url: Some(url),
            user_id: Some(user),
            schema: schema.map(serde_json::from_value).transpose()?,
            sync_interval: Duration::from_hours(1),
            push_debounce: Duration::ZERO,
            ..Config::new(path)
        };
        let services = Services { tokens: Some(Arc::new(Token(token))), ..Services::default() };
        self.client = Some(Client::open_with(config, services).wait()?);
        Ok(json!({"ok": true}))
    }

    fn batch(&self, statements: Vec<Statement>) -> Result<Vec<usize>> {
        let statements = valued(statements)?;
        let run = move |tx: &mut rejoin_core::Transaction<'_, '_>| {
            statements.iter().map(|(sql, values)| tx.execute(sql, values.as_slice())).collect()
        };
        Ok(self.client()?.transaction(run).wait()?)
    }

    fn fail(&self, statements: Vec<Statement>) -> Result<Json> {
        let statements = valued(statements)?;
        let ended = self.client()?.transaction::<()>(move |tx| {
            for (sql, values) in &statements {
                tx.execute(sql, values.as_slice())?;
            }
            Err(Error::Foreign("of the body's own".to_owned()))
        });
        match ended.wait() {
            Err(Error::Foreign(own)) => Ok(json!({"thrown": own == "of the body's own"})),
            Err(other) => Err(other.into()),
            Ok(()) => Ok(json!({"thrown": false})),
        }
    }

    fn hold(&mut self, statements: &[Statement]) -> Result<Json> {
        let held = self.client()?.begin().wait()?;
        for statement in statements {
            held.execute(&statement.sql, statement.values()?).wait()?;
        }
        self.held = Some(held);
        Ok(json!({"held": true}))
    }

    fn close(&mut self) -> Result<Json> {
        self.held = None;
        if let Some(client) = self.client.take() {
            client.shutdown().wait()?;
        }
        Ok(json!({"ok": true}))
    }
}

fn valued(statements: Vec<Statement>) -> Result<Vec<(String, Vec<Value>)>> {
    statements.into_iter().map(|it| Ok((it.sql.clone(), it.values()?))).collect()
}

fn rows(buffer: &RowBuffer) -> Result<Json> {
    let row = |row: rejoin_core::Row<'_>| -> Result<Vec<Json>> {
        row.cells().map(|found| Ok(cell::exact(&found?.to_value()))).collect()
    };
    let rows = buffer.iter().map(row).collect::<Result<Vec<_>>>()?;
    Ok(json!({"columns": buffer.columns(), "rows": rows}))
}

fn mutation(pending: &Pending) -> Json {
    let rows = pending.rows.iter().map(|row| {
        let columns = row.columns.iter().map(|column| {
            json!({"name": column.name, "old": cell::exact(&column.old), "new": cell::exact(&column.new)})
        });
        json!({
            "table": row.table,
            "key": cell::exact(&row.key),
            "operation": match row.operation {
                PatchKind::Insert => "insert",
                PatchKind::Update => "update",
                PatchKind::Delete => "delete",
            },
            "columns": columns.collect::<Vec<_>>(),
        })
    });
    json!({
        "id": pending.id.to_string(),
        "state": match pending.state {
            MutationState::Pending => "pending",
            MutationState::Sent => "sent",
            MutationState::Uncertain => "uncertain",
            MutationState::Parked => "parked",
        },
        "reason": pending.reason.map(|reason| match reason {
            ParkReason::Rejected => "rejected",
            ParkReason::Conflicted => "conflicted",
            ParkReason::Refused => "refused",
            ParkReason::Unreplayable => "unreplayable",
            ParkReason::Depends => "depends",
            ParkReason::Remainder => "remainder",
        }),
        "rows": rows.collect::<Vec<_>>(),
    })
}

/// The error under the name that it has in the other languages.
fn told(error: anyhow::Error) -> Json {
    let reason = format!("{error:#}");
    let kind = error.downcast::<Error>().map_or("Other".to_owned(), |error| {
        let named = format!("{:?}", rejoin_ffi::RejoinError::from(error));
        named.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
    });
    json!({"error": kind, "reason": reason})
}
