//! The wire in the trace of a run: each request with its response, if the environment variable
//! `REJOIN_WIRE` is set.

use std::cell::RefCell;

use rejoin_core::sync::session::{Request, Response};

use super::Told;

/// Requests and responses since they were last reported.
#[derive(Debug, Default)]
pub(super) struct Wire(RefCell<Vec<String>>);

impl Wire {
    pub(super) fn note(&self, request: &Request, answer: Option<&Response>) {
        if std::env::var_os("REJOIN_WIRE").is_none() {
            return;
        }
        let asked = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default());
        let said = answer.map(|answer| String::from_utf8_lossy(&answer.body));
        self.0.borrow_mut().push(format!("{} {asked} -> {said:?}", request.path));
    }

    pub(super) fn tell(&self, told: &mut Told) {
        for line in self.0.take() {
            told.say(|| format!("      {line}"));
        }
    }
}
