//! News of other nodes: a connection of its own that LISTENs, and calls whoever asked for it with the log's end.
//!
//! Whoever numbers entries notifies, in the transaction that numbers (D28). The writers of the tables do not: at its commit a
//! transaction that has notified holds a lock of the whole database server, so that all of them would commit one after the other;
//! those that number do that anyway. What outside programs write is numbered by the next look, of any node. While this connection
//! is lost, looking is all there is.

use futures_util::stream::{self, StreamExt};
use tokio::time::{Duration, sleep};
use tokio_postgres::{AsyncMessage, Error};

use super::error::told;
use super::pool::{FIRST_PAUSE, LONGEST_PAUSE};
use super::tls::Target;
use crate::store::Heard;

const LISTEN: &str = "LISTEN rejoin";

/// Listens until nobody asks any more; connects again, with pauses that double, whenever the connection is lost.
pub(super) async fn listen(target: Target, heard: Heard) {
    let mut pause = Duration::ZERO;
    loop {
        sleep(pause).await;
        let mut is_listening = false;
        match hear(&target, &heard, &mut is_listening).await {
            Ok(()) => return,
            Err(error) => {
                let why = told(&error);
                tracing::debug!(why, "news of other nodes are lost, the log is looked at instead");
            }
        }
        pause =
            if is_listening { FIRST_PAUSE } else { (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
    }
}

async fn hear(target: &Target, heard: &Heard, is_listening: &mut bool) -> Result<(), Error> {
    let (client, mut connection) = target.connect().await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let asked = client.batch_execute(LISTEN);
    tokio::pin!(asked);
    loop {
        tokio::select! {
            done = &mut asked, if !*is_listening => {
                done?;
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
                Some(Err(error)) => return Err(error),
                // In order, by the server; as a loss it is tried again.
                None => return if *is_listening { client.batch_execute("").await } else { asked.await },
            }
        }
    }
}
