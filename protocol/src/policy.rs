//! What becomes of a device's edit where somebody else's change of the same thing meets it: a table's policy.
//!
//! The server's configuration says it and the manifest carries it; a device may have another opinion for itself. What the
//! server does with what it is sent follows from its own alone (`docs/policies.md`).

use serde::{Deserialize, Serialize};

/// A table's policy. It is for plain SQL: an action is run again, never merged (O7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The server's row stands; the edit is parked with both rows.
    #[default]
    AcceptServer,
    /// The edit's columns go over the server's row, and are sent again; the edit of a deleted row is parked.
    Rebase,
    /// The server compares the times of both; the earlier one is parked as superseded.
    LastWriteWins,
    /// As `Rebase`; and the edit of a deleted row brings the row back.
    KeepLocal,
    /// As `AcceptServer`, with what the edit had found kept beside both rows, for the app to merge.
    Manual,
}

impl Policy {
    /// Each, in the order of the documentation.
    pub const ALL: [Self; 5] =
        [Self::AcceptServer, Self::Rebase, Self::KeepLocal, Self::Manual, Self::LastWriteWins];

    /// As configuration and manifest write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AcceptServer => "accept_server",
            Self::Rebase => "rebase",
            Self::LastWriteWins => "last_write_wins",
            Self::KeepLocal => "keep_local",
            Self::Manual => "manual",
        }
    }

    /// The policy that is written so.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.word() == word)
    }

    /// Whether it is the one that holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an edit may go over whatever stands there, after it was in conflict again and again (O10).
    pub fn may_force(self) -> bool {
        matches!(self, Self::Rebase | Self::KeepLocal)
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn the_words_are_those_of_the_wire() {
        for policy in Policy::ALL {
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{}\"", policy.word()));
            assert_eq!(Policy::of_word(policy.word()), Some(policy));
        }
        assert_eq!(Policy::of_word("server"), None);
        assert!(Policy::AcceptServer.is_default() && !Policy::Manual.is_default());
    }
}
