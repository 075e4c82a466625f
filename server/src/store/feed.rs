//! How far the resolvers of buckets are behind: what a store says of its feed.

use std::time::Duration;

/// What waits for a resolver of buckets in Rust. A store that has none says that nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// How many changes wait; a store may stop counting at 100,000.
    pub waiting: u64,
    /// For how long the oldest of them has waited; `None` if nothing waits.
    pub oldest: Option<Duration>,
    /// Whether there is a feeder, in this process or in another one; `true` where none is needed.
    pub is_fed: bool,
}

impl Feed {
    /// That of a store without resolvers.
    pub const NONE: Self = Self { waiting: 0, oldest: None, is_fed: true };
}
