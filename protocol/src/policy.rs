//! Conflict policies: what happens to a device's edit when another device changed the same data.
//!
//! The server's configuration sets the policy of a table, and the manifest carries it; a device may
//! override it locally. The server applies only its own policy (`docs/policies.md`).

use serde::{Deserialize, Serialize};

/// A table's policy for plain SQL. Actions run again instead of being merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The server's row wins; the edit is parked with both rows.
    #[default]
    AcceptServer,
    /// The edit's columns overwrite the server's row and are sent again; an edit of a deleted row
    /// is parked.
    Rebase,
    /// The server compares the times of both; the earlier one is parked as superseded.
    LastWriteWins,
    /// As `Rebase`, and an edit of a deleted row restores the row.
    KeepLocal,
    /// As `AcceptServer`, and keeps the original row as well, so that the app can merge.
    Manual,
}

impl Policy {
    /// All policies, in the order of the documentation.
    pub const ALL: [Self; 5] =
        [Self::AcceptServer, Self::Rebase, Self::KeepLocal, Self::Manual, Self::LastWriteWins];

    /// The name in configuration and manifest.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AcceptServer => "accept_server",
            Self::Rebase => "rebase",
            Self::LastWriteWins => "last_write_wins",
            Self::KeepLocal => "keep_local",
            Self::Manual => "manual",
        }
    }

    /// The policy with this name.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.word() == word)
    }

    /// Whether it is the default policy.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an edit may overwrite the server's row after repeated conflicts.
    pub fn may_force(self) -> bool {
        matches!(self, Self::Rebase | Self::KeepLocal)
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn policy_names_match_the_wire() {
        for policy in Policy::ALL {
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{}\"", policy.word()));
            assert_eq!(Policy::of_word(policy.word()), Some(policy));
        }
        assert_eq!(Policy::of_word("server"), None);
        assert!(Policy::AcceptServer.is_default() && !Policy::Manual.is_default());
    }
}
