//! The stored form of a verdict, with which a repeated mutation is answered.

/// A stored verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVerdict {
    /// The attempt that the verdict is for.
    pub attempt: i64,
    /// The hash of that attempt's content.
    pub hash: String,
    /// `accepted`, `rejected`, ...: the name on the wire.
    pub ending: String,
    /// The device.
    pub client_id: String,
    /// The mutation's number in the device's queue.
    pub seq: i64,
    /// The whole verdict as JSON.
    pub verdict: String,
    /// The before-images of an accepted mutation, as JSON.
    pub displaced: Option<String>,
    /// When the verdict was given.
    pub at: String,
}
