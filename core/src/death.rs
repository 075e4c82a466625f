//! Named places to die (failpoints): a test ends its process there, to see that a crash changes nothing.
//!
//! Compiled only for this crate's tests and under the feature `mutants`; elsewhere `pass` does nothing and costs nothing.
//! Who watches is one for the whole process, because what dies is a process.

/// Where the engine passes on its way, and a process may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A trigger has recorded a row of a local write; its transaction is open.
    AfterTrigger,
    /// All of a transaction is written, nothing of it is committed.
    BeforeCommit,
    /// It is committed, and nobody has been told.
    AfterCommit,
    /// The server has begun to answer, so it has decided; nothing of the answer is read.
    RequestSent,
    /// The whole answer is here, nothing of it is applied.
    AnswerRead,
    /// Rows of an answer are in the base, what waits on them is undone and not laid down again.
    HalfApplied,
    /// Rows and verdicts of an answer are written, the facts that cover them (the cursor) are not.
    BeforeCursor,
    /// The differences of a staged snapshot are found and not applied; and then: applied, and the staging is still there.
    MidMerge,
    /// Tables have their new form, and the file's number, or its manifest, is still the old one.
    MidMigration,
    /// The rows of a reset are gone, the facts that say how far they were here are not.
    MidReset,
    /// The write-ahead log is about to move into the file; and then: it has.
    Checkpoint,
}

impl Place {
    /// All of them.
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
static WATCHER: std::sync::OnceLock<Box<dyn Fn(Place) + Send + Sync>> = std::sync::OnceLock::new();

/// From here on `watcher` is called at each place that any thread passes, on that thread; it need not return. Only the
/// first watcher of a process is heard.
#[cfg(any(test, feature = "mutants"))]
pub fn watch(watcher: impl Fn(Place) + Send + Sync + 'static) {
    // A second one would have to share with the first: no test wants that.
    let _ = WATCHER.set(Box::new(watcher));
}

/// The engine is at this place.
#[cfg(any(test, feature = "mutants"))]
pub(crate) fn pass(place: Place) {
    if let Some(watcher) = WATCHER.get() {
        watcher(place);
    }
}

/// The engine is at this place: nobody watches, in a release.
#[cfg(not(any(test, feature = "mutants")))]
#[inline]
pub(crate) fn pass(_: Place) {}
