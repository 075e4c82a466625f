//! Faults that the simulation turns on to show that it would notice them.
//!
//! Compiled only with the feature `mutants`; without it `is_on` is `false` and costs nothing. A fault is turned on for a
//! thread (`with`); work for another thread takes it along (`inherited`).

/// A rule of the server that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The stored verdict of a mutation is ignored: the mutation is applied again.
    VerdictForgotten,
    /// A mutation is applied although one that it depends on was not accepted.
    AfterIgnored,
    /// A cursor from before a restore passes for a valid one.
    OtherLifeUnnoticed,
    /// A cursor before the start of the log passes for a valid one.
    WatermarkIgnored,
    /// A pull does not send the rows of a new bucket, and does not drop those of a former one.
    BucketsUnwalked,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is off on this thread.
#[cfg(feature = "mutants")]
pub(crate) fn is_on(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Whether this rule is off: never, without the feature.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) fn is_on(_: Mutant) -> bool {
    false
}

/// Runs `body` with one rule off on this thread.
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

/// `body` for another thread, with the same rule off as on this one.
#[cfg(feature = "mutants")]
pub(crate) fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let active = ACTIVE.get();
    move || {
        ACTIVE.set(active);
        body()
    }
}

/// `body` as it is.
#[cfg(not(feature = "mutants"))]
pub(crate) fn inherited<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    body
}
