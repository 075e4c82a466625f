//! Adds each request with its response to the trace of a run, if the environment variable
//! `REJOIN_WIRE` is set.

use std::cell::RefCell;

use rejoin_core::sync::session::{Request, Response};

use super::RunReport;

/// Requests and responses since the last call of [`Wire::tell`].
#[derive(Debug, Default)]
pub(super) struct Wire(RefCell<Vec<String>>);

impl Wire {
    pub(super) fn note(&self, request: &Request, answer: Option<&Response>) {
        if std::env::var_os("REJOIN_WIRE").is_none() {
            return;
        }
        let sent = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default());
        let received = answer.map(|answer| String::from_utf8_lossy(&answer.body));
        self.0.borrow_mut().push(format!("{} {sent} -> {received:?}", request.path));
    }

    pub(super) fn tell(&self, report: &mut RunReport) {
        for line in self.0.take() {
            report.say(|| format!("      {line}"));
        }
    }
}
