//! Failpoints: a test ends its process at one of them to show that a crash loses nothing.
//!
//! Compiled only for this crate's tests and under the feature `mutants`; otherwise `pass` does
//! nothing. The watcher is process-wide, because a crash ends the whole process.

/// A point at which a test may end the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failpoint {
    /// A trigger has recorded a row of a local write; its transaction is open.
    AfterTrigger,
    /// A transaction is completely written and not committed.
    BeforeCommit,
    /// A transaction is committed and its observer not yet notified.
    AfterCommit,
    /// The first bytes of a response have arrived, so the server has decided; nothing was read.
    RequestSent,
    /// The response is completely read, and nothing of it is applied.
    AnswerRead,
    /// A response's rows are in the base; overlapping pending mutations are undone and not yet
    /// redone.
    HalfApplied,
    /// A response's rows and verdicts are written; the cursor is not.
    BeforeCursor,
    /// The differences of a staged snapshot are computed, not applied; then again: applied, and the
    /// staging tables still exist.
    MidMerge,
    /// The tables have their new form; the file's format number or manifest is still the old one.
    MidMigration,
    /// A reset has deleted the rows, but not the cursor and the other facts about them.
    MidReset,
    /// A checkpoint is about to move the write-ahead log into the file; then again: it has.
    Checkpoint,
}

impl Failpoint {
    /// All failpoints.
    pub const ALL: [Self; 11] = [
        Self::AfterTrigger,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::RequestSent,
        Self::AnswerRead,
        Self::HalfApplied,
        Self::BeforeCursor,
        Self::MidMerge,
        Self::MidMigration,
        Self::MidReset,
        Self::Checkpoint,
    ];
}

#[cfg(any(test, feature = "mutants"))]
static WATCHER: std::sync::OnceLock<Box<dyn Fn(Failpoint) + Send + Sync>> =
    std::sync::OnceLock::new();

/// Calls `watcher` at each failpoint, on the thread that reaches it; it need not return. Only the
/// first watcher of a process is used.
#[cfg(any(test, feature = "mutants"))]
pub fn watch(watcher: impl Fn(Failpoint) + Send + Sync + 'static) {
    // Two watchers would have to share the failpoints; no test needs that.
    let _ = WATCHER.set(Box::new(watcher));
}

/// Marks a failpoint.
#[cfg(any(test, feature = "mutants"))]
pub(crate) fn pass(place: Failpoint) {
    if let Some(watcher) = WATCHER.get() {
        watcher(place);
    }
}

/// Marks a failpoint; does nothing in a release.
#[cfg(not(any(test, feature = "mutants")))]
#[inline]
pub(crate) fn pass(_: Failpoint) {}
