//! Named mutants of the server (D35): switches that break one rule each, so that a simulation can show that it would notice.
//!
//! Compiled only under the feature `mutants`; elsewhere `is_on` is `false` and costs nothing. A server is told to break one
//! (`Server::breaking`), or a thread is (`with`): work that is handed to another thread takes that along.

/// The rules that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is named after its rule; what breaks is said where it is asked.
pub enum Mutant {
    ReadsUncompared,    // O8
    AbsentUncompared,   // O8
    ChecksUnasked,      // O8
    VerdictForgotten,   // O2
    ImagesFromBefore,   // O3
    AfterIgnored,       // O4
    ForeseenKept,       // O1: a row that was written is still what it was before
    OtherLifeUnnoticed, // O14
    ReadEndForgotten,   // O14
    ChildrenLeft,       // O15
    TimeUnasked,        // O11
    NamesAsTheyAre,     // S1
    NumbersAgain,       // C2
    WatermarkIgnored,   // C3
    BoundaryRebuilt,    // C3: the seed's off by one
    CompactsTogether,   // of two servers over one database
    BucketsUnwalked,    // C4
    FirstPageForgotten, // C5
    BucketsForged,      // I10: a device puts rows into buckets that its user does not hold
    UnfedSeen,          // D26: a row of which its resolver has not spoken is still where it was
    UnfedUnwalked,      // C4, D26: such a row is passed over when a bucket is taken away
    FormerUntold,       // D26: whoever held a bucket in which a row was is not told that it left
    StaleAnswer,        // D26: what was said of a row counts although it was written again
    FedAlone,           // O15, D26: what is below a row is not told of when its resolver has spoken
    FeederBelieved,     // /readyz believes that the feeder does its work
    AllWoken,           // D28: a change wakes everybody
    GrantUnread,        // D28: who is given a bucket is woken by those that he had
    VetoKept,           // what a hook vetoes stays
    HookRepeated,       // O2: the hook is asked about what has its verdict
    PanicAccepted,      // a hook that panics has said yes
    ConflictsAlways,    // every update is told of as a conflict
    GateOpen,           // the host's door is passed by
    PredicatesOff,      // I10: every row is everybody's to read and to write
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is broken on this thread just now.
#[cfg(feature = "mutants")]
pub(crate) fn is_on(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Whether this rule is broken: never, in a release.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) fn is_on(_: Mutant) -> bool {
    false
}

/// Whether this rule is the one that a server was told to break, or is broken on this thread.
pub(crate) fn on(broken: Option<Mutant>, mutant: Mutant) -> bool {
    cfg!(feature = "mutants") && (broken == Some(mutant) || is_on(mutant))
}

/// Runs `body` with one rule broken on this thread.
#[cfg(feature = "mutants")]
pub fn with<T>(mutant: Mutant, body: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ACTIVE.set(None);
        }
    }
    ACTIVE.set(Some(mutant));
    let _off = Off;
    body()
}

/// `body`, for another thread, with what is broken on this one.
#[cfg(feature = "mutants")]
pub(crate) fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let active = ACTIVE.get();
    move || {
        ACTIVE.set(active);
        body()
    }
}

/// `body` as it is: nothing is broken in a release.
#[cfg(not(feature = "mutants"))]
pub(crate) fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    body
}
