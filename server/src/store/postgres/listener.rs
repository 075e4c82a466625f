//! News of other nodes: a connection of its own that LISTENs, and calls whoever asked for it with the log's end.
//!
//! Whoever numbers entries notifies, in the transaction that numbers (D28). The writers of the tables do not: at its commit a
//! transaction that has notified holds a lock of the whole database server, so that all of them would commit one after the other;
//! those that number do that anyway. What outside programs write is numbered by the next look, of any node. While this connection
//! is lost, looking is all there is. A connection on which nothing comes is probed, and made again if nothing answers.

use std::future::pending;
use std::pin::Pin;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Duration, sleep, timeout};
use tokio_postgres::{AsyncMessage, Error};

use super::error::log_text;
use super::pool::{FIRST_PAUSE, LONGEST_PAUSE};
use super::tls::Target;
use crate::store::Heard;

const LISTEN: &str = "LISTEN rejoin";

/// A statement that has no answer yet.
type Asked<'c> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'c>>;

/// Listens until nobody asks any more; connects again, with pauses that double, whenever the connection is lost.
pub(super) async fn listen(target: Target, heard: Heard) {
    let mut pause = Duration::ZERO;
    loop {
        sleep(pause).await;
        let mut is_listening = false;
        match hear(&target, &heard, &mut is_listening).await {
            Ok(()) => return,
            Err(why) => {
                tracing::debug!(why, "news of other nodes are lost, the log is looked at instead");
            }
        }
        pause =
            if is_listening { FIRST_PAUSE } else { (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
    }
}

async fn hear(target: &Target, heard: &Heard, is_listening: &mut bool) -> Result<(), String> {
    let words = |error: Error| log_text(&error);
    let silent = || String::from("the database does not answer");
    let connected = timeout(target.connects_within(), target.connect()).await;
    let (client, mut connection) = connected.map_err(|_| silent())?.map_err(words)?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let ask = |text| -> Asked<'_> { Box::pin(client.batch_execute(text)) };
    // What is asked and has no answer yet: first to listen, then whether the other side is still there.
    let mut asked = Some(ask(LISTEN));
    loop {
        tokio::select! {
            done = answer(asked.as_mut()) => {
                done.map_err(words)?;
                asked = None;
                *is_listening = true;
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(news))) => {
                    // Somebody else may notify on this channel, too; what is no position says nothing.
                    if let Ok(head) = news.payload().parse()
                        && !heard(head)
                    {
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

/// The answer to what was asked; none ever where nothing was.
async fn answer(asked: Option<&mut Asked<'_>>) -> Result<(), Error> {
    match asked {
        Some(asked) => asked.await,
        None => pending().await,
    }
}
