//! Fault injection: switches that break one rule each, so that a simulation can prove that it
//! detects the fault.
//!
//! Compiled only with the feature `mutants`; otherwise [`on`] is `false`. A switch is per thread,
//! so that tests run in parallel; [`inherited`] passes it to another thread. Client, log and server
//! share one list, because a simulation has all of them.

/// The rules that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The comments name the broken rule.
pub enum Mutant {
    NoClosureByRows,    // shared rows do not order mutations
    GuardLeftOpen,      // capture and rules stay on for base rows
    BlindWritesFree,    // writes without a read do not count as reads
    NotStartedOver,     // a redo that meets later mutations does not restart
    UncertainRunAgain,  // a sent action without a verdict runs again
    ReadsUntied,        // reads do not order mutations on the server
    NoTakeOver,         // later edits keep old values of a parked one
    CancelForgets,      // an accepted cancelled mutation is not reverted
    UndoOverLater,      // undo overwrites later changes
    AnswerByPieces,     // an answer is applied in several transactions
    UncertainJudged,    // policy is applied to edits without a verdict
    NoRecheck,          // rows are not read again after access changes
    ColumnsByName,      // columns are identified by name
    TwoRecordsOfARow,   // two records of a row in one request
    RecordThawed,       // a sent record changes before its verdict
    BaseNotFolded,      // accepted columns are not written to the base
    RestNotKept,        // the rest of a partly accepted mutation is lost
    NothingVoid,        // effects outside the write set are applied
    PastUnguarded,      // a late entry changes rows outside its write set
    RevisionKept,       // new effects keep their revision
    RunUnasked,         // entries re-run without a reason
    KeyBelowSeen,       // a new key is below keys already seen
    OwnNotSent,         // an author's own hidden entries are not sent
    NotToldGone,        // entries that became hidden are not reported
    NoFloor,            // a cursor before compaction is valid
    HistoryNotRecalled, // history is not sent again after an epoch change
    EndedNotSent,       // an ended subscription is not sent while mutations wait

    // Server rules.
    VerdictForgotten,   // a mutation is applied again
    AfterIgnored,       // a mutation is applied before its dependency is accepted
    OtherLifeUnnoticed, // a cursor from before a restore is valid
    WatermarkIgnored,   // a cursor before the start of the log is valid
    BucketsUnwalked,    // a pull ignores added and removed buckets
    LostPageTaken,      // a shared page of a lost state is applied
    ReadersWrite,       // a user writes each bucket that the user reads
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is broken on this thread.
#[cfg(feature = "mutants")]
pub fn on(mutant: Mutant) -> bool {
    ACTIVE.with(|active| active.get() == Some(mutant))
}

/// Always `false` without the feature.
#[cfg(not(feature = "mutants"))]
#[inline]
pub fn on(_: Mutant) -> bool {
    false
}

/// Runs `body` with one rule broken on this thread.
#[cfg(feature = "mutants")]
pub fn with<T>(mutant: Mutant, body: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ACTIVE.with(|active| active.set(None));
        }
    }
    ACTIVE.with(|active| active.set(Some(mutant)));
    let _off = Off;
    body()
}

/// Wraps `body` for another thread, with this thread's switches.
#[cfg(feature = "mutants")]
pub fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let active = ACTIVE.get();
    move || {
        ACTIVE.set(active);
        body()
    }
}

/// Returns `body` unchanged.
#[cfg(not(feature = "mutants"))]
pub fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    body
}
