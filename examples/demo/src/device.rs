//! A device process: an app that reads commands from stdin and answers on stdout.

use std::fmt::Write as _;
use std::io::{BufRead, Write as _, stdin, stdout};
use std::path::Path;
use std::process;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use anyhow::Result;
use rejoin_core::SyncState as State;
use rejoin_core::{
    ActionFault, Actions, Client, ColumnValues, Config, Error, InputFault, MutationId, QueueFault,
    Services, SyncFault, Undone, VerdictDetail,
};

use crate::control::{Order, QueueItem, Report};
use crate::log::{ADD_GUEST, SELL_SEAT};
use crate::stock::TAKE_PART;

/// Executes commands until stdin closes.
pub(crate) fn run(name: &str, user: &str, file: &Path, url: &str) -> Result<()> {
    let config = Config::new(file)
        .server(url.to_owned())
        .user_id(user.to_owned())
        .device_name(name.to_owned())
        .page_size(250);
    let actions = Actions::new().declare(TAKE_PART).declare(SELL_SEAT).declare(ADD_GUEST);
    let actions = Some(actions.into());
    let client = Client::open_with(config, Services { actions, ..Services::default() }).wait()?;
    for order in orders() {
        let order: Order = serde_json::from_str(&order)?;
        let last = order == Order::Shutdown;
        let report = follow(&client, order).unwrap_or_else(|error| match error {
            Error::Sync(SyncFault::Offline(_)) => Report::Offline,
            Error::Action { fault: ActionFault::Precondition(_), .. }
            | Error::Queue(QueueFault::Changed { .. }) => {
                Report::Refused { why: error.to_string() }
            }
            other => Report::Failed { why: other.to_string() },
        });
        say(&report);
        if last {
            return Ok(());
        }
    }
    Ok(())
}

/// The lines of stdin. When it closes, the process exits, even while a command waits for an
/// unreachable server; the file survives that as it survives a crash.
fn orders() -> Receiver<String> {
    let (sender, orders) = channel();
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        process::exit(0);
    });
    orders
}

fn follow(client: &Client, order: Order) -> rejoin_core::Result<Report> {
    match order {
        Order::FirstSync => first_sync(client),
        Order::Write { statements } => client
            .transaction(move |transaction| {
                statements.iter().try_for_each(|sql| transaction.execute(sql, ()).map(drop))
            })
            .wait()
            .map(|()| Report::Done { detail: String::new() }),
        Order::Perform { action, arguments } => {
            let performed = client.perform(&action, arguments).wait()?;
            let id = performed.id.map(|id| id.to_string());
            Ok(Report::Made { id, value: performed.value })
        }
        Order::Undo { id } => client.queue().undo(parse(&id)?).wait().map(made),
        Order::Redo { id } => client.queue().redo(parse(&id)?).wait().map(made),
        Order::Discard { id } => client
            .queue()
            .discard(parse(&id)?)
            .wait()
            .map(|()| Report::Done { detail: String::new() }),
        Order::Subscribe { stream, parameters } => {
            // Dropped: it lasts for its time to live.
            drop(client.sync().subscribe(stream, parameters).wait()?);
            Ok(Report::Done { detail: String::new() })
        }
        Order::Unsubscribe { stream, parameters } => {
            client.sync().subscribe(stream, parameters).wait()?.unsubscribe().wait()?;
            Ok(Report::Done { detail: String::new() })
        }
        Order::Sync => {
            let report = client.sync().run(None).wait()?;
            Ok(Report::Done {
                detail: format!(
                    "pushed and pulled: {} accepted, {} parked, {} rows pulled",
                    report.accepted, report.parked, report.pulled
                ),
            })
        }
        Order::SyncInBackground => {
            client.sync().request()?;
            Ok(Report::Done { detail: String::new() })
        }
        Order::Pending => {
            let pending = client.queue().all().wait()?;
            let mutations = pending
                .into_iter()
                .map(|mutation| QueueItem {
                    id: mutation.id.to_string(),
                    state: format!("{:?}", mutation.state).to_lowercase(),
                    reason: mutation.reason.map(|reason| format!("{reason:?}").to_lowercase()),
                    detail: mutation.detail.as_ref().map(describe),
                })
                .collect();
            Ok(Report::Queue { mutations })
        }
        Order::Shutdown => {
            client.shutdown().wait()?;
            Ok(Report::Done { detail: String::new() })
        }
    }
}

fn parse(id: &str) -> rejoin_core::Result<MutationId> {
    let why = || {
        Error::InvalidInput(InputFault::Refused {
            what: id.to_owned(),
            reason: String::from("not a mutation id"),
        })
    };
    MutationId::parse(id).ok_or_else(why)
}

fn made(undone: Undone) -> Report {
    let id = match undone {
        Undone::NewMutation(id) => Some(id.to_string()),
        Undone::GivenUp | Undone::Nothing => None,
    };
    Report::Made { id, value: serde_json::Value::Null }
}

/// Starts syncing and reports progress until the first sync is complete.
fn first_sync(client: &Client) -> rejoin_core::Result<Report> {
    let watching = client.on_status(|status| {
        if let State::Applying(rows) = status.state {
            #[allow(clippy::cast_precision_loss)]
            say(&Report::Progress {
                done: rows.done,
                total: rows.total.unwrap_or(rows.done),
                rate: rows.rows_per_second as f64,
            });
        }
    });
    let started = Instant::now();
    client.start()?;
    client.sync().first_sync(None).wait()?;
    let took = started.elapsed().as_secs_f64();
    drop(watching);
    let places = client.query_one("SELECT count(*) FROM places", ()).wait()?;
    let places: i64 = places.map_or(Ok(0), |row| row.get(0))?;
    #[allow(clippy::cast_precision_loss)]
    let rate = places as f64 / took;
    let done = places.unsigned_abs();
    say(&Report::Progress { done, total: done, rate });
    Ok(Report::Done { detail: format!("registered and received {places} places in {took:.2} s") })
}

/// The server's message, and both values of each column in conflict.
fn describe(detail: &VerdictDetail) -> String {
    let code = detail.code.as_deref().unwrap_or_default();
    let message = detail.message.as_deref().unwrap_or_default();
    let mut line = match (&detail.table, &detail.key) {
        (Some(table), Some(key)) => {
            format!("{table} {} ({code}): {message}", key.to_id().unwrap_or_default())
        }
        _ => format!("({code}): {message}"), // A precondition of an action has no row.
    };
    for row in &detail.rows {
        for column in &row.columns {
            let shown = |side: &Option<ColumnValues>| {
                let value = side.as_ref().and_then(|values| values.get(column));
                value
                    .and_then(|value| serde_json::to_string(value).ok())
                    .unwrap_or_else(|| "null".to_owned())
            };
            let _ = write!(
                line,
                "; {column}: mine {}, theirs {}",
                shown(&row.mine),
                shown(&row.theirs)
            );
        }
    }
    line
}

/// Prints one line. The lock keeps lines of several threads apart.
fn say(report: &Report) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    if let Ok(line) = serde_json::to_string(report) {
        let mut out = stdout().lock();
        let _ = writeln!(out, "{line}");
        let _ = out.flush();
    }
}
