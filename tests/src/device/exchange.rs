//! An exchange of a device with its server, and its faults.
//!
//! As the driver does, it requests the next page of a snapshot before the last one is applied.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rejoin_core::engine::Engine;
use rejoin_core::sync::session::{Request, Response, Session};
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Ending, PushAnswer, PushRequest, PushResponse, Verdict};

use super::Device;
use crate::fault::Fault;
use crate::peer::Peer;

impl Device {
    pub(super) fn carry(&mut self, server: &dyn Peer, request: Request) -> Result<()> {
        let user = self.user.clone();
        let fault = self.faults.pop_front();
        let engine = self.engine.as_mut().context("closed")?;
        let early = self.early.take().filter(|(who, early, _)| (who, early) == (&user, &request));
        let answer = match fault {
            None if early.is_some() => early.and_then(|(.., answer)| answer),
            None => server.exchange(&user, &request),
            Some(Fault::Doubled) => {
                server.exchange(&user, &request);
                server.exchange(&user, &request)
            }
            Some(Fault::RequestLost) => None,
            Some(Fault::AnswerLost) => {
                server.exchange(&user, &request);
                None
            }
            Some(Fault::Late) => {
                self.late.push((user, request));
                None
            }
            Some(Fault::Failed) => Some(response(500, "<html>oops</html>")),
            Some(Fault::FailedAfterwards) => {
                server.exchange(&user, &request);
                Some(response(500, r#"{"error":"push changes"}"#))
            }
            Some(Fault::Unavailable) => Some(response(503, r#"{"error":"busy","retry_after":1}"#)),
            Some(Fault::CutBody) => server.exchange(&user, &request).map(|whole| {
                let half = whole.body.len() / 2;
                Response { body: whole.body.slice(..half), ..whole }
            }),
            Some(Fault::Html) => Some(response(200, "<html>please log in</html>")),
            Some(Fault::TooLarge) => Some(response(413, r#"{"code":"too_large"}"#)),
        };
        let Some(answer) = answer else { return Ok(lost(&mut self.session, engine)?) };
        if answer.status == 200 {
            let next = self.session.ahead(engine, &answer.body, Some(answer.took))?;
            self.early = next.map(|next| {
                let answer = server.exchange(&self.user, &next);
                (self.user.clone(), next, answer)
            });
        }
        Ok(self.session.answered(engine, answer)?)
    }
}

pub(super) fn lost(session: &mut Session, engine: &mut Engine) -> rejoin_core::Result<()> {
    session.lost(engine, Some(Duration::ZERO))?;
    Err(rejoin_core::Error::Sync(rejoin_core::SyncFault::Offline("the test lost it".to_owned())))
}

/// The response to this push of a server that cannot decide at the moment.
pub fn undecided(push: &[u8]) -> Response {
    let push: PushRequest = serde_json::from_slice(push).expect("a push reads as a push");
    let ask = push.rejoin.expect("ours");
    let groups = ask.groups.iter().map(|group| (group.id.clone(), group.attempt));
    let cancelled = ask.cancel.iter().map(|cancel| (cancel.id.clone(), 0));
    let verdicts = cancelled.chain(groups).map(|(id, attempt)| Verdict {
        code: Some(code::TRANSIENT.to_owned()),
        retryable: true,
        ..Verdict::new(id, attempt, Ending::Retry)
    });
    let answer = PushResponse {
        accepted: Vec::new(),
        rejected: Vec::new(),
        checkpoint: 0,
        server_time: String::new(),
        schema_version: push.schema_version,
        schema_hash: push.schema_hash,
        rejoin: Some(PushAnswer {
            request: ask.request,
            epoch: ask.epoch,
            verdicts: verdicts.collect(),
            rows: Vec::new(),
            ..PushAnswer::default()
        }),
    };
    let body = serde_json::to_vec(&answer).expect("an answer is written");
    Response { status: 200, body: body.into(), ..Response::default() }
}

fn response(status: u16, body: &'static str) -> Response {
    let retry_after = (status == 503).then_some(Duration::from_secs(1));
    Response { status, retry_after, body: body.into(), ..Response::default() }
}
