//! A to-do list that works offline: a minimal Rejoin app to read and copy.
//!
//! ```sh
//! rejoin-server init && sqlite3 app.db < examples/cli/tasks.sql && rejoin-server serve   # once
//! todo add buy milk      # online or offline
//! todo                   # shows the list and marks pending edits
//! todo rename 1 buy oat milk
//! todo done 1
//! todo discard           # gives up edits that were not accepted
//! todo watch             # shows the list after each local or remote change
//! ```
//!
//! `TODO_FILE`, `TODO_SERVER` and `TODO_USER` set file, server and user. Each file is one device.

#![allow(clippy::print_stdout)] // A command-line program.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rejoin_core::{Client, Config, Error, MutationState, RowBuffer, SyncFault};

const USAGE: &str = "todo [list | add TITLE | rename NUMBER TITLE | done NUMBER | remove NUMBER | discard | sync | watch]";

/// The list. `rejoin_row_state` returns whether the server has accepted the edits of a row.
const LIST: &str = "SELECT id, title, done, rejoin_row_state('tasks', id) AS state FROM tasks \
                    ORDER BY position, id";

/// Adds a task at the end of the list. The server fills the other columns.
const ADD: &str = "INSERT INTO tasks (id, title, position) \
                   SELECT rejoin_new_id(), ?, ifnull(max(position), 0) + 1 FROM tasks";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let client = open().await?;
    match words.as_slice() {
        [] | ["list"] => {}
        ["sync"] => sync(&client).await?,
        ["watch"] => return watch(&client).await,
        ["add", title @ ..] if !title.is_empty() => {
            client.execute(ADD, (title.join(" "),)).await?;
            sync(&client).await?;
        }
        ["done", number] => {
            let id = find(&client, number).await?;
            client.execute("UPDATE tasks SET done = TRUE WHERE id = ?", (id,)).await?;
            sync(&client).await?;
        }
        ["rename", number, title @ ..] if !title.is_empty() => {
            let id = find(&client, number).await?;
            let update = "UPDATE tasks SET title = ? WHERE id = ?";
            client.execute(update, (title.join(" "), id)).await?;
            sync(&client).await?;
        }
        ["discard"] => {
            for pending in client.queue().all().await? {
                if pending.state == MutationState::Parked {
                    client.queue().discard(pending.id).await?;
                }
            }
        }
        ["remove", number] => {
            let id = find(&client, number).await?;
            client.execute("DELETE FROM tasks WHERE id = ?", (id,)).await?;
            sync(&client).await?;
        }
        _ => bail!("{USAGE}"),
    }
    show(&client.query(LIST, ()).await?)?;
    explain(&client).await?;
    client.shutdown().await?;
    Ok(())
}

/// Opens the file. The schema is bundled with the app, so the first start needs no network.
async fn open() -> Result<Client> {
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let config = Config::new(variable("TODO_FILE", "todo.db"))
        .server(variable("TODO_SERVER", "http://127.0.0.1:7878"))
        .user_id(variable("TODO_USER", "me"))
        .schema(serde_json::from_str(include_str!("../schema.json"))?);
    Ok(Client::open(config).await?)
}

/// Pushes and pulls if the server is reachable; otherwise the edits stay in the queue.
async fn sync(client: &Client) -> Result<()> {
    match client.sync().run(Some(Duration::from_secs(5))).await {
        Ok(report) => println!("sent {}, received {}", report.accepted, report.pulled),
        Err(Error::Sync(SyncFault::Offline(_))) => println!("offline; the change is queued"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The id of the task with this number in the list.
async fn find(client: &Client, number: &str) -> Result<String> {
    let number: usize = number.parse().context(USAGE)?;
    let rows = client.query(LIST, ()).await?;
    let row = number.checked_sub(1).and_then(|place| rows.row(place));
    Ok(row.with_context(|| format!("there is no task {number}"))?.get("id")?)
}

/// Shows the list now and after each change, until interrupted.
async fn watch(client: &Client) -> Result<()> {
    client.start()?;
    let mut list = client.watch(LIST, (), &[]).await?;
    while let Some(update) = list.next().await {
        println!("---");
        show(&update?.rows)?;
    }
    Ok(())
}

fn show(rows: &RowBuffer) -> Result<()> {
    for (place, row) in rows.iter().enumerate() {
        let mark = if row.get("done")? { 'x' } else { ' ' };
        let state = match row.get::<&str>("state")? {
            "synced" => String::new(),
            state => format!("  ({state})"),
        };
        println!("{:>2} [{mark}] {}{state}", place + 1, row.get::<&str>("title")?);
    }
    Ok(())
}

/// Prints the reason of each parked edit. A real app shows both values and lets the user choose.
async fn explain(client: &Client) -> Result<()> {
    for pending in client.queue().all().await? {
        if pending.state == MutationState::Parked {
            let message = pending.detail.and_then(|detail| detail.message);
            println!("not accepted: {}", message.as_deref().unwrap_or("no reason given"));
        }
    }
    Ok(())
}
