//! What the two inspectors do while they are offline. Each entry is one transaction, so one mutation.

/// One edit: what is told of it, and its statements.
pub(crate) struct Edit {
    pub(crate) device: &'static str,
    pub(crate) told: &'static str,
    pub(crate) statements: &'static [&'static str],
}

/// Edited apart in different columns.
pub(crate) const MERGED: &str = "geo-3413829";
/// Edited apart in the same column.
pub(crate) const CONTESTED: &str = "geo-3161732";
/// Deleted on one device, edited on the other.
pub(crate) const DELETED: &str = "geo-2988507";
/// In the order in which they are made.
pub(crate) const EDITS: [Edit; 10] = [
    Edit {
        device: "tablet",
        told: "marks Reykjavik as inspected (its status)",
        statements: &["UPDATE places SET status = 'inspected' WHERE id = 'geo-3413829'"],
    },
    Edit {
        device: "phone",
        told: "signs Reykjavik (its inspector: another column of the same row)",
        statements: &["UPDATE places SET inspector = 'Ada' WHERE id = 'geo-3413829'"],
    },
    Edit {
        device: "tablet",
        told: "closes Bergen",
        statements: &["UPDATE places SET status = 'closed' WHERE id = 'geo-3161732'"],
    },
    Edit {
        device: "phone",
        told: "calls Bergen urgent (the same column of the same row)",
        statements: &["UPDATE places SET status = 'urgent' WHERE id = 'geo-3161732'"],
    },
    Edit {
        device: "tablet",
        told: "deletes Paris",
        statements: &["DELETE FROM places WHERE id = 'geo-2988507'"],
    },
    Edit {
        device: "phone",
        told: "edits Paris",
        statements: &["UPDATE places SET status = 'revisit' WHERE id = 'geo-2988507'"],
    },
    Edit {
        device: "tablet",
        told: "visits Tokyo and writes two notes, in one transaction",
        statements: &[
            "INSERT INTO visits (id, place_id, visited_at, score) VALUES ('visit-tablet', 'geo-1850147', '2026-11-20T08:00:00.000000Z', 88)",
            "INSERT INTO notes (id, visit_id, body) VALUES ('note-tablet-1', 'visit-tablet', 'gate \u{2714} \u{6771}\u{4eac}')",
            "INSERT INTO notes (id, visit_id, body) VALUES ('note-tablet-2', 'visit-tablet', 'roof dry')",
        ],
    },
    Edit {
        device: "phone",
        told: "gives a visit 140 points (the server's own CHECK says at most 100; the device cannot know)",
        statements: &[
            "INSERT INTO visits (id, place_id, visited_at, score) VALUES ('visit-refused', 'geo-1850147', '2026-11-20T08:05:00.000000Z', 140)",
        ],
    },
    Edit {
        device: "phone",
        told: "visits Tokyo too, with a note",
        statements: &[
            "INSERT INTO visits (id, place_id, visited_at, score) VALUES ('visit-phone', 'geo-1850147', '2026-11-20T08:10:00.000000Z', 71)",
            "INSERT INTO notes (id, visit_id, body) VALUES ('note-phone-1', 'visit-phone', 'lift out of order')",
        ],
    },
    Edit {
        device: "phone",
        told: "corrects that visit's score, on top of what is not yet sent",
        statements: &["UPDATE visits SET score = 72 WHERE id = 'visit-phone'"],
    },
];
