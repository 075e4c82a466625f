//! One run of the real server, replayed: its exchanges in recorded order, and the changes made
//! between them without HTTP.
//!
//! The clock is scripted with the readings that the recording shows: a response contains the time
//! of its transaction, of the trigger and of the process. Readings that it does not show are added
//! by hand ([`Session::readings`]).

use std::collections::BTreeSet;

use rejoin_plain::{Clock, Config, PlainServer, Request, Response};
use serde_json::Value as Json;

use crate::recorded::{Recorded, comparable, recorded};

/// The two users of the recordings.
pub(crate) const A: &str = "11111111-1111-1111-1111-111111111111";
pub(crate) const B: &str = "22222222-2222-2222-2222-222222222222";

/// A run of the server.
pub(crate) struct Session {
    pub(crate) server: PlainServer,
    pub(crate) headers: Vec<(String, String)>,
    readings: Option<Vec<i64>>,
    replayed: BTreeSet<String>,
}

impl Session {
    pub(crate) fn new(config: Config) -> Self {
        let server = PlainServer::new(config, Clock::at(at("2026-11-20T06:00:00Z")));
        Self { server, headers: Vec::new(), readings: None, replayed: BTreeSet::new() }
    }

    /// The names of the replayed exchanges.
    pub(crate) fn finish(self) -> BTreeSet<String> {
        self.replayed
    }

    /// Sets the clock for the next change without HTTP.
    pub(crate) fn clock(&mut self, text: &str) -> &mut Self {
        let clock = self.server.clock().clone();
        clock.end_script();
        clock.set(at(text));
        clock.step_by(0);
        self
    }

    /// The clock readings in the next exchange, if its response does not show them.
    pub(crate) fn readings(&mut self, texts: &[&str]) -> &mut Self {
        self.readings = Some(texts.iter().map(|text| at(text)).collect());
        self
    }

    /// Replays exchanges of a user and compares the responses.
    #[track_caller]
    pub(crate) fn replay(&mut self, user: &str, numbers: &[&str]) -> &mut Self {
        for number in numbers {
            let headers = vec![("X-User-ID".to_owned(), user.to_owned())];
            self.replay_with(number, headers);
        }
        self
    }

    /// Replays one exchange of user A whose recorded response had this header field.
    #[track_caller]
    pub(crate) fn replay_for_header(&mut self, number: &str, name: &str, value: &str) {
        let answer = self.replay_with(number, vec![("X-User-ID".to_owned(), A.to_owned())]);
        assert_eq!(answer.header(name), Some(value), "{number}: {name}");
    }

    /// Replays one exchange with these header fields.
    #[track_caller]
    pub(crate) fn replay_with(&mut self, number: &str, headers: Vec<(String, String)>) -> Response {
        let (name, exchange) = recorded(number);
        let body = match &exchange.request {
            Json::Null => Vec::new(),
            Json::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let readings = self.readings.take().unwrap_or_else(|| readings(&exchange));
        self.server.clock().end_script();
        self.server.clock().script(readings);
        let headers = headers.into_iter().chain(self.headers.clone()).collect();
        let request = Request { method: exchange.method, path: exchange.path, headers, body };
        let answer = self.server.handle(&request).unwrap_or_else(|| panic!("{name}: no response"));
        let body: Json = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(u64::from(answer.status), exchange.status, "{name}: {body}");
        let (ours, theirs) = (comparable(body), comparable(exchange.response));
        assert_eq!(ours, theirs, "{name}: ours first");
        assert_eq!(self.server.clock().end_script(), 0, "{name}: every reading must be used");
        assert!(self.replayed.insert(name.clone()), "{name} was replayed twice");
        answer
    }
}

/// Parses a text to microseconds since 1970; a time alone is on the day of the recordings.
#[track_caller]
pub(crate) fn at(text: &str) -> i64 {
    let text = if text.contains('T') { text.to_owned() } else { format!("2026-11-20T{text}Z") };
    let parsed: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    parsed.as_microsecond()
}

/// The readings that a response shows, in the order in which the server takes them: of the
/// transaction, of each update by the trigger, and of the process.
fn readings(exchange: &Recorded) -> Vec<i64> {
    let time = |json: &Json| json.as_str().map(at);
    let end = time(&exchange.response["server_time"]);
    let accepted = exchange.response["accepted"].as_array().cloned().unwrap_or_default();
    let of = |operation: &str| {
        let matching = accepted.iter().filter(move |one| one["operation"] == operation);
        matching.filter_map(|one| time(&one["server_updated_at"])).collect::<Vec<_>>()
    };
    let begin = of("create").first().copied();
    let deleted = accepted.iter().find_map(|one| time(&one["server_deleted_at"]));
    let mut readings = Vec::new();
    if exchange.path == "/sync/push" {
        readings.extend(begin.or(deleted).or_else(|| of("update").first().copied()).or(end));
        readings.extend(of("update"));
    }
    readings.extend(end);
    readings
}
