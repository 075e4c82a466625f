//! What can happen to one exchange on its way.

/// The end of one exchange other than a plain answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request never arrives.
    RequestLost,
    /// The server does the work; its answer never arrives.
    AnswerLost,
    /// The request arrives twice; the second answer is the one that comes back.
    Doubled,
    /// The request is given up by the device and arrives later ([`crate::Device::deliver_late`]).
    Late,
    /// 500 before any work.
    Failed,
    /// The server does the work and answers 500.
    FailedAfterwards,
    /// 503 with `Retry-After: 1`.
    Unavailable,
    /// The server does the work; its answer is cut in half.
    CutBody,
    /// A captive portal answers 200 with a page for people.
    Html,
    /// 413 before any work.
    TooLarge,
}

impl Fault {
    /// Every fault that leaves a push uncertain, and that a retry heals.
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
