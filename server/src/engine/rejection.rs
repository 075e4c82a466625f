//! Why a change is not applied: a rejection that becomes the group's verdict, or a fault of the request.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;

use crate::error::Fault;
use crate::model::Violation;
use crate::store::WriteError;

/// The parts of a verdict that rejects a change.
pub(super) struct Rejection {
    pub(super) ending: Ending,
    pub(super) code: &'static str,
    pub(super) column: Option<String>,
    pub(super) message: String,
    /// Whether other rows decide it: see [`Violation::is_among_rows`].
    pub(super) is_among_rows: bool,
}

/// Why a change is not applied.
pub(super) enum ChangeError {
    Rejected(Box<Rejection>),
    Fault(Fault),
}

impl ChangeError {
    /// Whether other rows decide it: the change may succeed once they are written.
    pub(super) fn is_among_rows(&self) -> bool {
        matches!(self, Self::Rejected(why) if why.is_among_rows)
    }
}

impl From<Fault> for ChangeError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<WriteError> for ChangeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Fault(fault) => Self::Fault(fault),
            WriteError::Rule(Violation { code, column, message, is_among_rows }) => {
                // A policy of the database says what the engine says of a right that is missing.
                let is_right = code == code::OWNERSHIP;
                let ending = if is_right { Ending::Refused } else { Ending::Rejected };
                let why = Rejection { ending, code, column, message, is_among_rows };
                Self::Rejected(Box::new(why))
            }
        }
    }
}

/// Rejects a change with this code.
pub(super) fn reject<T>(
    ending: Ending,
    code: &'static str,
    column: Option<&str>,
    message: impl Into<String>,
) -> Result<T, ChangeError> {
    let (column, message) = (column.map(str::to_owned), message.into());
    let is_among_rows = false;
    let why = Rejection { ending, code, column, message, is_among_rows };
    Err(ChangeError::Rejected(Box::new(why)))
}
