//! What devices and server exchanged: events, which are counted, and requests with their responses,
//! which are traced if the environment variable `REJOIN_WIRE` is set.

use std::cell::RefCell;

use rejoin_core::sync::session::{Request, Response};

use super::RunReport;

/// Exchanges and events since the last call of [`WireLog::write_to`].
#[derive(Debug, Default)]
pub(super) struct WireLog {
    exchanges: RefCell<Vec<String>>,
    events: RefCell<Vec<&'static str>>,
}

impl WireLog {
    pub(super) fn record(&self, request: &Request, answer: Option<&Response>) {
        if std::env::var_os("REJOIN_WIRE").is_none() {
            return;
        }
        let sent = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default());
        let received = answer.map(|answer| String::from_utf8_lossy(&answer.body));
        self.exchanges.borrow_mut().push(format!("{} {sent} -> {received:?}", request.path));
    }

    pub(super) fn count(&self, event: &'static str) {
        self.events.borrow_mut().push(event);
    }

    /// Forgets the events.
    pub(super) fn clear(&self) {
        self.events.take();
    }

    pub(super) fn write_to(&self, report: &mut RunReport) {
        for line in self.exchanges.take() {
            report.trace(|| format!("      {line}"));
        }
        for event in self.events.take() {
            report.count(event);
        }
    }
}
