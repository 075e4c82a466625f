//! Sends the content of a group that is larger than one request, in parts.
//!
//! A part follows after everything else of a pass, so that other edits and pulls do not wait for a
//! long upload. What the server has of a content stays there: a later pass continues behind it.

use rejoin_protocol::wire::push::Staged;
use rejoin_protocol::wire::stage::{StageAnswer, StageAsk};

use crate::ids::Seq;

/// Bytes of a part at first: a slow network sends it well before a request times out.
const PART: usize = 512 << 10;

/// Bytes of a part at least: below it, a network that refuses parts refuses everything.
const LEAST: usize = 4 << 10;

/// Parts after which new edits are pushed and changes are pulled.
const IN_A_ROW: u32 = 8;

/// A content on its way.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) seq: Seq,
    staged: Staged,
    content: Vec<u8>,
    /// The bytes that the server has; `None` until it was asked.
    have: Option<usize>,
    part: usize,
    sent: u32,
}

impl Upload {
    /// `most`: the bytes that a request may have.
    pub(super) fn new(seq: Seq, content: Vec<u8>, most: usize) -> Self {
        let staged = Staged::of(&content);
        Self { seq, staged, content, have: None, part: PART.min(most), sent: 0 }
    }

    /// Whether the server has all of it.
    pub(super) fn is_done(&self) -> bool {
        self.have == Some(self.content.len())
    }

    /// Whether it is the upload of this content.
    pub(super) fn is_of(&self, content: &[u8]) -> bool {
        self.content == content
    }

    /// The path and the body of the next part. The first one is empty: it asks what the server has.
    pub(super) fn request(&self, client_id: String) -> (StageAsk, Vec<u8>) {
        let from = self.have.unwrap_or(0);
        let length = if self.have.is_some() { self.part } else { 0 };
        let part = self.content.get(from..).unwrap_or_default();
        let part = part.get(..length).unwrap_or(part).to_vec();
        let Staged { content, bytes } = self.staged.clone();
        (StageAsk { client_id, content, bytes, offset: from as u64 }, part)
    }

    /// Notes what the server has. Returns whether it is time for other requests.
    pub(super) fn answered(&mut self, answer: StageAnswer) -> bool {
        let have = usize::try_from(answer.have).unwrap_or(usize::MAX);
        self.have = Some(have.min(self.content.len()));
        self.sent += 1;
        self.is_done() || self.sent.is_multiple_of(IN_A_ROW)
    }

    /// Halves the parts after a 413; `false` if they cannot be smaller.
    pub(super) fn halve(&mut self) -> bool {
        self.part /= 2;
        self.part >= LEAST
    }
}
