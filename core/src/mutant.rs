//! Named mutants (D35): switches that break one rule each, so that tests can prove that they would notice.
//!
//! Compiled only for this crate's tests and under the feature `mutants`; elsewhere [`on`] is `false` and costs nothing.
//! A switch is per thread, so that tests run side by side; threads of the engine have the switch of who started them.

/// The rules that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is named after its rule; what breaks is said where it is asked.
pub enum Mutant {
    QueuedApart,         // I1
    EffectRenewed,       // R1
    NoClosureByRows,     // R3
    GuardLeftOpen,       // R5
    LocalInActions,      // R6
    BlindWritesFree,     // R2
    LaterWritesSeen,     // R3
    NotStartedOver,      // R4
    UncertainRunAgain,   // R7
    FailedLaidDown,      // R8
    NewValueExcuses,     // O1
    ReadsUntied,         // O4
    ReadsUnsent,         // O8
    RunUntimed,          // D18
    RebaseUntimed,       // D18
    CaptureNotCut,       // D1
    VersionOfPresent,    // R9
    NoBecauseOf,         // R10
    DeleteStandsAlone,   // R10
    NoTakeOver,          // R11
    RunNotHandedOn,      // R11
    ChainLeft,           // R10
    RetryAsItWas,        // O12
    RetrySameAttempt,    // O2
    RetryInPlace,        // O12
    RetryAsCreate,       // O12
    EditOverLater,       // O12
    CancelForgets,       // O12
    FollowersGoOn,       // O12
    AsideOvertaken,      // O4
    GivenUpJudged,       // O12
    ReadIsKnown,         // I4
    ReofferTold,         // O14
    UndoOverLater,       // O13
    UndoOfActionExcused, // O1
    EditTramples,        // O1
    DisplacedBelieved,   // O13
    SentAfterSend,       // O5
    AnswerByPieces,      // O5
    UncertainJudged,     // O6
    NoRecheck,           // O9
    CursorBeforeRows,    // I6
    FirstCheckpointLost, // C5
    NoSweep,             // C5
    StagingWithoutAcks,  // C5
    ColumnsByName,       // S1
    RestForWhole,        // S2
    LocalBackfill,       // S3
    OtherSchemaApplied,  // S4
    ImportOverOthers,    // R9
    HeldNotWoken,        // D18
    HeldAfterEnd,        // D18
    HeldKept,            // D1
    HeldHalf,            // D1
    BudgetForEach,       // D18
    TimedOutParked,      // D18
    OfferedAsItWas,      // O10
    MachineBlamed,       // D18
    AskedLate,           // D16
    HistoryJudged,       // P6
    OlderSkipped,        // P6
    NoReach,             // P9
    TwoRecordsOfARow,    // P1
    RecordThawed,        // P2
    ClockDecides,        // P3
    BaseNotFolded,       // P4
    OwnRowForeign,       // P5
    HalvesNotPrefixes,   // P7
    RestNotKept,         // P8
    DiscardForgets,      // P10
    NothingVoid,         // L1
    RevisionKept,        // L2
    PlainRecaptured,     // L3
    RunUnasked,          // L4
    RowsAloneDecide,     // L4
    WriteSetOverlooked,  // L4
    FailedReadsLost,     // L4
    BlindWritesUnread,   // L4
    RefereeOverruled,    // L5
    RefereeUnheard,      // L5
    RefereeSeesAll,      // L5
    CorrectionUnread,    // L5
    OneKeyAlone,         // L6
    KeyBelowSeen,        // L6
    CounterUnbounded,    // L6
    OldRequestRead,      // L7
    BatchGoesOn,         // L7
    IdentityLast,        // L7
    AckCoversAll,        // L7
    OwnNotSent,          // L8
    NotToldGone,         // L8
    ViewNotRenewed,      // L9
    NotFrozen,           // L10
    AuthorityKept,       // L10
    NoFloor,             // L11
    IdsForgotten,        // L11
    RetentionIgnored,    // L11
    RowsAsTheyStand,     // L12
    EpochOverlooked,     // L12
    OldSnapshotFinal,    // L12
    CopyUnnoticed,       // L12
    OwnEffectsAlways,    // L13
    VoidRowsUnnamed,     // L14
    LaterWritersStay,    // L14
    RunUnchecked,        // L14
    OpeningUnnamed,      // D10
    CloneRenamed,        // O15
    CopyUnasked,         // R7
    BasisHashed,         // O15
    AnyUser,             // D10
    HistoryNotRecalled,  // O14
    CursorUnshown,       // O14
    PushUnwitnessed,     // O14
    RebaseKeepsOld,      // O11
    NeverInsists,        // O10
    PolicyForActions,    // O7
    ReofferByPolicy,     // O11
    ViewBroughtBack,     // R10
    ConflictSentAgain,   // O10
    TimeJudgedHere,      // O11
    PresentSeen,         // O11
    OwnCountsAsForeign,  // O11
    ResetUnnamed,        // I3
    AnswerOutlivesReset, // O5
}

#[cfg(any(test, feature = "mutants"))]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is broken on this thread just now.
#[cfg(any(test, feature = "mutants"))]
pub fn on(mutant: Mutant) -> bool {
    ACTIVE.with(|active| active.get() == Some(mutant))
}

/// Whether this rule is broken: never, in a release.
#[cfg(not(any(test, feature = "mutants")))]
#[inline]
pub fn on(_: Mutant) -> bool {
    false
}

/// Runs `body` with one rule broken on this thread.
#[cfg(any(test, feature = "mutants"))]
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
#[cfg(any(test, feature = "mutants"))]
pub(crate) fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let active = ACTIVE.get();
    move || {
        ACTIVE.set(active);
        body()
    }
}

/// `body` as it is: nothing is broken in a release.
#[cfg(not(any(test, feature = "mutants")))]
pub(crate) fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    body
}
