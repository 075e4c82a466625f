//! Notifications from other nodes: a separate connection that LISTENs and calls back with the log's
//! head, or with the buckets of new entries of the log model (`notifier`).
//!
//! The sequencer notifies in the transaction that numbers entries. Writers of the tables do not: a
//! transaction that notifies holds a server-wide lock at commit, which would serialise all writers.
//! Changes of outside programs are numbered by the next read of the log on any node. While this
//! connection is lost, nodes rely on polling, and notices of the log model are missed: so its
//! replacement reports a notice for every device. An idle connection is probed and replaced if the
//! probe fails.

use std::future::pending;
use std::pin::Pin;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Duration, sleep, timeout};
use tokio_postgres::{AsyncMessage, Error};
use uuid::Uuid;

use super::connection::{FIRST_PAUSE, LONGEST_PAUSE};
use super::error::log_text;
use super::notifier::notice;
use super::tls::Target;
use crate::model::Touched;
use crate::store::{NodeNotice, NoticeListener};

const LISTEN: &str = "LISTEN rejoin";

/// A statement whose result is pending.
type Statement<'c> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'c>>;

/// Listens until the callback returns `false`, as this node. Reconnects with doubling pauses when
/// the connection is lost.
pub(super) async fn listen(target: Target, node: Uuid, notify: NoticeListener) {
    let mut pause = Duration::ZERO;
    let mut missed = None;
    loop {
        sleep(pause).await;
        let mut is_listening = false;
        let attempt = run_connection(&target, node, &notify, missed, &mut is_listening);
        match attempt.await {
            Ok(()) => return,
            Err(why) => {
                tracing::debug!(why, "news of other nodes are lost, the log is looked at instead");
            }
        }
        missed = Some(missed_notices());
        pause =
            if is_listening { FIRST_PAUSE } else { (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
    }
}

/// The notice in place of those that were missed: the empty bucket concerns every device.
fn missed_notices() -> NodeNotice {
    NodeNotice::Log(vec![Touched { bucket: String::new(), is_grant: false }])
}

/// Passes the notifications of one connection to the callback, after `missed`. Ends when the callback
/// returns `false`.
async fn run_connection(
    target: &Target,
    node: Uuid,
    notify: &NoticeListener,
    mut missed: Option<NodeNotice>,
    is_listening: &mut bool,
) -> Result<(), String> {
    let words = |error: Error| log_text(&error);
    let silent = || String::from("the database does not answer");
    let connected = timeout(target.connects_within(), target.connect()).await;
    let (client, mut connection) = connected.map_err(|_| silent())?.map_err(words)?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let ask = |text| -> Statement<'_> { Box::pin(client.batch_execute(text)) };
    // The pending statement: first LISTEN, then probes of the connection.
    let mut asked = Some(ask(LISTEN));
    loop {
        tokio::select! {
            done = answer(asked.as_mut()) => {
                done.map_err(words)?;
                asked = None;
                *is_listening = true;
                if missed.take().is_some_and(|missed| !notify(missed)) {
                    return Ok(());
                }
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(news))) => {
                    // Other programs may notify on this channel; their payloads are ignored.
                    if notice(news.payload(), node).is_some_and(|notice| !notify(notice)) {
                        return Ok(());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(words(error)),
                None => return Err(String::from("the connection is closed")),
            },
            () = sleep(target.probes_after()) => match asked {
                Some(_) => return Err(silent()),
                None => asked = Some(ask("")),
            }
        }
    }
}

/// The result of the pending statement; never ready if there is none.
async fn answer(asked: Option<&mut Statement<'_>>) -> Result<(), Error> {
    match asked {
        Some(asked) => asked.await,
        None => pending().await,
    }
}
