//! Network and server faults of a single exchange.

/// The outcome of one exchange other than a plain response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request never arrives.
    RequestLost,
    /// The server executes the request; its response never arrives.
    AnswerLost,
    /// The request arrives twice; the device receives the second response.
    Doubled,
    /// The device gives up on the request, which arrives later ([`crate::Device::deliver_late`]).
    Late,
    /// 500 before any work.
    Failed,
    /// The server executes the request and answers 500.
    FailedAfterwards,
    /// 503 with `Retry-After: 1`.
    Unavailable,
    /// The server executes the request; its response is cut in half.
    CutBody,
    /// A captive portal answers 200 with an HTML page.
    Html,
    /// 413 before any work.
    TooLarge,
}

impl Fault {
    /// Every fault that leaves a push uncertain and that a retry resolves.
    pub const ALL: [Self; 9] = [
        Self::RequestLost,
        Self::AnswerLost,
        Self::Doubled,
        Self::Late,
        Self::Failed,
        Self::FailedAfterwards,
        Self::Unavailable,
        Self::CutBody,
        Self::Html,
    ];
}
