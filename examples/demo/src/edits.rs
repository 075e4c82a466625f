//! The offline edits of both devices. Each entry is one transaction and so one mutation.

/// One edit: its description and its statements.
pub(crate) struct Edit {
    pub(crate) device: &'static str,
    pub(crate) text: &'static str,
    pub(crate) statements: &'static [&'static str],
}

/// Edited on both devices in different columns.
pub(crate) const MERGED: &str = "geo-3413829";
/// Edited on both devices in the same column.
pub(crate) const CONTESTED: &str = "geo-3161732";
/// Deleted on one device, edited on the other.
pub(crate) const DELETED: &str = "geo-2988507";
/// In the order in which the demo makes them.
pub(crate) const EDITS: [Edit; 10] = [
    Edit {
        device: "tablet",
        text: "marks Reykjavik as inspected (column status)",
        statements: &["UPDATE places SET status = 'inspected' WHERE id = 'geo-3413829'"],
    },
    Edit {
        device: "phone",
        text: "signs Reykjavik (column inspector of the same row)",
        statements: &["UPDATE places SET inspector = 'Ada' WHERE id = 'geo-3413829'"],
    },
    Edit {
        device: "tablet",
        text: "closes Bergen",
        statements: &["UPDATE places SET status = 'closed' WHERE id = 'geo-3161732'"],
    },
    Edit {
        device: "phone",
        text: "marks Bergen as urgent (same column of the same row)",
        statements: &["UPDATE places SET status = 'urgent' WHERE id = 'geo-3161732'"],
    },
    Edit {
        device: "tablet",
        text: "deletes Paris",
        statements: &["DELETE FROM places WHERE id = 'geo-2988507'"],
    },
    Edit {
        device: "phone",
        text: "edits Paris",
        statements: &["UPDATE places SET status = 'revisit' WHERE id = 'geo-2988507'"],
    },
    Edit {
        device: "tablet",
        text: "adds a visit to Tokyo with two notes, in one transaction",
        statements: &[
            "INSERT INTO visits (id, place_id, visited_at, score) VALUES ('visit-tablet', 'geo-1850147', '2026-11-20T08:00:00.000000Z', 88)",
            "INSERT INTO notes (id, visit_id, body) VALUES ('note-tablet-1', 'visit-tablet', 'gate \u{2714} \u{6771}\u{4eac}')",
            "INSERT INTO notes (id, visit_id, body) VALUES ('note-tablet-2', 'visit-tablet', 'roof dry')",
        ],
    },
    Edit {
        device: "phone",
        text: "adds a visit with score 140 (the server has a CHECK of at most 100, the device has not)",
        statements: &[
            "INSERT INTO visits (id, place_id, visited_at, score) VALUES ('visit-refused', 'geo-1850147', '2026-11-20T08:05:00.000000Z', 140)",
        ],
    },
    Edit {
        device: "phone",
        text: "adds another visit to Tokyo with a note",
        statements: &[
            "INSERT INTO visits (id, place_id, visited_at, score) VALUES ('visit-phone', 'geo-1850147', '2026-11-20T08:10:00.000000Z', 71)",
            "INSERT INTO notes (id, visit_id, body) VALUES ('note-phone-1', 'visit-phone', 'lift out of order')",
        ],
    },
    Edit {
        device: "phone",
        text: "corrects the score of that visit, which is not sent yet",
        statements: &["UPDATE visits SET score = 72 WHERE id = 'visit-phone'"],
    },
];
