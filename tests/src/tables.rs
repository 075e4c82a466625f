//! The tables of the stories: places, and visits to them.

/// The server's tables. `places.score` has a CHECK that the manifest does not carry; `visits` belong to a place.
pub const SERVER: &str = "
    CREATE TABLE places (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, note TEXT,
        score INTEGER CHECK (score BETWEEN 0 AND 5),
        user_id TEXT NOT NULL, created_at TEXT, updated_at TEXT, deleted_at TEXT
    );
    CREATE TABLE visits (
        id TEXT PRIMARY KEY, place_id TEXT NOT NULL REFERENCES places (id), day TEXT,
        created_at TEXT, updated_at TEXT, deleted_at TEXT
    );
";
