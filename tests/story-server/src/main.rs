//! A server process for tests in other languages, built on the server library.
//!
//! It prints one line, `{"url":"http://127.0.0.1:PORT"}`, and then executes commands: one JSON
//! object per line on standard input, each with one response line on standard output, in order. The
//! response to a failed command is `{"error":"..."}`. The process exits when its standard input
//! closes, so it cannot outlive the test. Its files are in a temporary folder.
//!
//! | Command | Response |
//! |---|---|
//! | `{"do":"token","user":"u1","seconds":60}` | `{"token":"..."}`: a JWT that expires in this many seconds; 0 or less: it has expired |
//! | `{"do":"expire_all"}` | `{"ok":true}`: all earlier tokens are rejected with 401 |
//! | `{"do":"sql","sql":"..."}` | `{"changes":1}`: writes to the server's database file like another program; several statements are allowed |
//! | `{"do":"sql","sql":"... ?1","params":[...]}` | the same, one statement with parameters |
//! | `{"do":"rows","sql":"...","params":[...]}` | `{"columns":["id"],"rows":[["t1"]]}` from the server's database file |
//! | `{"do":"rows","sql":"...","exact":true}` | the same with exact cells, see below |
//! | `{"do":"digest","user":"u1","table":"task"}` | `{"count":2,"sum":"9c..."}`: the server's digest of the table's rows visible to the user |
//! | `{"do":"subscribe","user":"u1","bucket":"event:e1"}` | `{"ok":true}`: the user becomes a member of the bucket |
//! | `{"do":"schema"}` | `{"schema":{...}}`: the manifest, as bundled by an app for a first start without a network |
//! | `{"do":"stop"}` | `{"ok":true}`: the server is unreachable; open connections are cut, new ones are closed immediately |
//! | `{"do":"hang"}` | `{"ok":true}`: open connections are cut, new ones are accepted and never answered |
//! | `{"do":"go"}` | `{"ok":true}`: the server responds again, at the same address |
//! | `{"do":"quit"}` | `{"ok":true}`, then the process exits |
//!
//! Without `--tokens` a request names its user in the header `X-User-ID`; with it, a JWT in
//! `Authorization: Bearer` does. A request that arrived before `stop` or `hang` is still executed;
//! only its response is lost, as on a real network.
//!
//! Plain cells are JSON null, numbers and texts; a blob is `{"b":"00ff"}`. Exact cells, which are
//! also allowed as parameters: an integer is `{"i":"-7"}`, a real `{"r":"3ff0000000000000"}` (its
//! 64 bits as 16 hexadecimal digits), a blob `{"b":"00ff"}`, a text is a text and NULL is null.
//!
//! The tables are in `tables.rs`: `task`, owned by its `user_id`; `tag`, a child of `task`; `sample`, one column of each kind;
//! `tasks`, the table of the guides; `card`, whose rows come with subscriptions to the stream `board` (parameter `board`, an
//! integer) of users in `board_member`; with `--log`, `seat`, a table of the log in the bucket `event:` and its `event`.
#![allow(clippy::disallowed_methods)] // A standalone program with its own clock, tasks and connections.

mod gate;
mod order;
mod served;
mod tables;

use anyhow::Result;
use clap::Parser;
use order::Order;
use served::Served;
use std::io::{BufRead as _, Write};

/// A test server; its commands are documented at the top of its source
#[derive(Debug, Parser)]
struct Arguments {
    /// Identify users by tokens instead of a header
    #[arg(long)]
    tokens: bool,
    /// Serve a table of the log too
    #[arg(long)]
    log: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let mut served = runtime.block_on(Served::start(arguments.tokens, arguments.log))?;
    let mut out = std::io::stdout().lock();
    say(&mut out, &serde_json::json!({"url": served.url()}))?;
    for line in std::io::stdin().lock().lines() {
        let order = serde_json::from_str::<Order>(&line?);
        let quits = matches!(order, Ok(Order::Quit));
        let answer = match order {
            Ok(order) => runtime.block_on(served.carry_out(order)),
            Err(error) => Err(error.into()),
        };
        let failed = |error: anyhow::Error| serde_json::json!({"error": format!("{error:#}")});
        say(&mut out, &answer.unwrap_or_else(failed))?;
        if quits {
            break;
        }
    }
    // Requests in progress are abandoned.
    runtime.shutdown_background();
    Ok(())
}

fn say(out: &mut impl Write, answer: &serde_json::Value) -> Result<()> {
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}
