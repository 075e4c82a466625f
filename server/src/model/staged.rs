//! Parts of a group that is larger than one request.

/// The content of a device that the server has in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedSize {
    /// Names the content, as the device does.
    pub content: String,
    /// The number of bytes that have arrived, from the first on.
    pub bytes: i64,
}

/// A part of a content.
#[derive(Debug, Clone, Copy)]
pub struct StagedPart<'a> {
    /// Names the content.
    pub content: &'a str,
    /// The length of the content.
    pub size: i64,
    /// Where the part begins.
    pub offset: i64,
    /// The part.
    pub bytes: &'a [u8],
    /// When it arrived.
    pub at: &'a str,
}
