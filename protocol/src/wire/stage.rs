//! `POST /sync/stage?client_id=...`: a part of a group that is larger than one request.
//!
//! The body is a piece of the bytes of a [`GroupContent`](super::push::GroupContent) as JSON. The
//! server keeps one content for each device. When it has all bytes, a push names the content
//! ([`Staged`]), and the group is applied as a whole.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::push::Staged;

/// The query of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageAsk {
    /// The device.
    pub client_id: String,
    /// The content to which the part belongs, as in [`Staged`]. The server forgets another content of
    /// the device.
    pub content: String,
    /// The length of the content in bytes.
    pub bytes: u64,
    /// Where in the content the part begins, in bytes.
    pub offset: u64,
}

impl StageAsk {
    /// The address of this request below `path`.
    pub fn path(&self, path: &str) -> String {
        let text = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let (client_id, content) = (text(&self.client_id), text(&self.content));
        let Self { bytes, offset, .. } = self;
        format!("{path}?client_id={client_id}&content={content}&bytes={bytes}&offset={offset}")
    }

    /// The content.
    pub fn staged(&self) -> Staged {
        Staged { content: self.content.clone(), bytes: self.bytes }
    }
}

/// The response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageAnswer {
    /// The bytes of the content that the server has. If the part does not begin here, the server has
    /// not stored it, and the device continues here.
    pub have: u64,
}
