//! A server process for stories that are told in other languages, over the companion server's own library.
//!
//! It prints one line, `{"url":"http://127.0.0.1:PORT"}`, and then follows orders: one JSON object a line on standard input, each
//! answered by one line on standard output, in order. An order that fails is answered `{"error":"..."}`. It ends when its
//! standard input closes, so it cannot outlive the test that started it. What it keeps lies in a temporary folder.
//!
//! | Order | Answer |
//! |---|---|
//! | `{"do":"token","user":"u1","seconds":60}` | `{"token":"..."}`: a JWT that ends so many seconds from now; 0 or less: it has ended |
//! | `{"do":"expire_all"}` | `{"ok":true}`: every token given so far is refused from now on, with 401 |
//! | `{"do":"sql","sql":"..."}` | `{"changes":1}`: what another program writes into the server's own file, several statements too |
//! | `{"do":"sql","sql":"... ?1","params":[...]}` | the same, one statement with parameters |
//! | `{"do":"rows","sql":"...","params":[...]}` | `{"columns":["id"],"rows":[["t1"]]}` of the server's own file |
//! | `{"do":"rows","sql":"...","exact":true}` | the same with cells that no language rounds, see below |
//! | `{"do":"digest","user":"u1","table":"task"}` | `{"count":2,"sum":"9c..."}`: the server's digest of what the user sees of the table |
//! | `{"do":"schema"}` | `{"schema":{...}}`: the manifest, as an app would bundle it for a first start without a network |
//! | `{"do":"stop"}` | `{"ok":true}`: open connections are cut, new ones are closed at once: nobody can reach it |
//! | `{"do":"hang"}` | `{"ok":true}`: open connections are cut, new ones are taken and never answered |
//! | `{"do":"go"}` | `{"ok":true}`: it answers again, at the same address |
//! | `{"do":"quit"}` | `{"ok":true}`, and the process ends |
//!
//! Without `--tokens` a request names its user in the header `X-User-ID`; with it, by the JWT in `Authorization: Bearer`. `stop`
//! and `hang` let a request that had arrived be carried out; only its answer is lost, as on a real line.
//!
//! Plain cells are JSON null, numbers and texts; a blob is `{"b":"00ff"}`. Exact cells, which parameters may be written in too: an
//! integer is `{"i":"-7"}`, a real `{"r":"3ff0000000000000"}` (its 64 bits as 16 hexadecimal digits), a blob `{"b":"00ff"}`, a text is
//! a text and NULL is null.
//!
//! The tables are in `tables.rs`: `task`, owned by its `user_id`; `tag`, a child of `task`; `sample`, one column of each kind.
#![allow(clippy::disallowed_methods)] // It is an outside program: it has its own clock, tasks and connections.

mod gate;
mod order;
mod served;
mod tables;

use anyhow::Result;
use clap::Parser;
use order::Order;
use served::Served;
use std::io::{BufRead as _, Write};

/// A server for stories; what it understands is in the header of its source.
#[derive(Debug, Parser)]
struct Arguments {
    /// Users are named by tokens, not by a header
    #[arg(long)]
    tokens: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let mut served = runtime.block_on(Served::start(arguments.tokens))?;
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
    // Nobody waits for requests that are under way.
    runtime.shutdown_background();
    Ok(())
}

fn say(out: &mut impl Write, answer: &serde_json::Value) -> Result<()> {
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}
