//! Switches that break one rule each (D35), so that a simulation can show that it would notice.
//!
//! Compiled with the feature `mutants` only; without it [`on`] is `false` and costs nothing. A switch is per thread, so that
//! tests run side by side; work for another thread takes it along ([`inherited`]). One list for the client, the log and the
//! server: a simulated world has all of them.

/// The rules that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is named after its rule; what breaks is said where it is asked.
pub enum Mutant {
    NoClosureByRows,    // R3
    GuardLeftOpen,      // R5
    BlindWritesFree,    // R2
    NotStartedOver,     // R4
    UncertainRunAgain,  // R7
    ReadsUntied,        // O4
    NoTakeOver,         // R11
    CancelForgets,      // O12
    UndoOverLater,      // O13
    AnswerByPieces,     // O5
    UncertainJudged,    // O6
    NoRecheck,          // O9
    ColumnsByName,      // S1
    TwoRecordsOfARow,   // P1
    RecordThawed,       // P2
    BaseNotFolded,      // P4
    RestNotKept,        // P8
    NothingVoid,        // L1
    RevisionKept,       // L2
    RunUnasked,         // L4
    KeyBelowSeen,       // L6
    OwnNotSent,         // L8
    NotToldGone,        // L8
    NoFloor,            // L11
    HistoryNotRecalled, // O14

    // Of the server.
    VerdictForgotten,   // O2: the mutation is applied again
    AfterIgnored, // O4: a mutation is applied although one that it depends on was not accepted
    OtherLifeUnnoticed, // a cursor from before a restore is valid
    WatermarkIgnored, // a cursor before the start of the log is valid
    BucketsUnwalked, // a pull neither sends the rows of a new bucket nor drops those of a former one
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is broken on this thread just now.
#[cfg(feature = "mutants")]
pub fn on(mutant: Mutant) -> bool {
    ACTIVE.with(|active| active.get() == Some(mutant))
}

/// Whether this rule is broken: never, in a release.
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

/// `body`, for another thread, with what is broken on this one.
#[cfg(feature = "mutants")]
pub fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let active = ACTIVE.get();
    move || {
        ACTIVE.set(active);
        body()
    }
}

/// `body` as it is: nothing is broken in a release.
#[cfg(not(feature = "mutants"))]
pub fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    body
}
